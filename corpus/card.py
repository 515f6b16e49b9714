"""The dataset card (README.md) of a Hugging Face folder, written from the manifest by the template card.md."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined

from corpus.manifest import Manifest
from corpus.rows import MODES
from corpus.splits import NAMES
from psyllm.reasons import meaning

_SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000))


def card(manifest: Manifest) -> str:
    """Front matter with one configuration a kind of row, then what the data is and is not."""
    environment = Environment(  # noqa: S701 (Markdown; what others wrote goes through `cell`)
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = cell
    template = environment.from_string((Path(__file__).parent / "card.md").read_text(encoding="utf-8"))
    body = template.render(
        m=manifest,
        title="Counselling dialogues with checked reasoning" + (" (rehearsal)" if manifest.rehearsal else ""),
        rows_table=_rows(manifest),
        strata_tables="\n\n".join(_strata(manifest, name) for name in ("modality", "severity", "mode", "risk_level")),
        left_out_table=_left_out(manifest),
        sources_table=_table(
            ("source", "licence", "dialogues"),
            ((*key.rsplit(" | ", 1), count) for key, count in manifest.sources.most_common()),
        ),
        models_table=_table(
            ("role", "model", "dialogues"),
            ((role, model, n) for role, models in sorted(manifest.models.items()) for model, n in models.most_common()),
        ),
        prompts_table=_table(("prompt", "dialogues"), sorted(manifest.prompts.items())),
    )
    return f"---\n{yaml.safe_dump(_front_matter(manifest), sort_keys=False, allow_unicode=True)}---\n\n{body}"


def cell(value: object) -> str:
    """Words of others as plain text in Markdown: one line, no markup."""
    text = " ".join(str(value).split())
    return text.translate({ord(mark): f"\\{mark}" for mark in "\\|`*_[]<>#"})


def _front_matter(manifest: Manifest) -> dict[str, object]:
    licences = {key.rsplit(" | ", 1)[1] for key in manifest.sources}
    single = next(iter(licences)).lower() if len(licences) == 1 else "other"
    return {
        "license": "unknown" if licences == {"unknown"} else single,
        "language": ["en"],
        "pretty_name": "Counselling dialogues with checked reasoning",
        "size_categories": [next((name for name, size in _SIZES if manifest.exported < size), "n>1M")],
        "tags": ["synthetic", "counselling", "mental-health", "reasoning", *(["rehearsal"] * manifest.rehearsal)],
        "configs": [
            {
                "config_name": kind,
                **({"default": True} if kind == "messages" else {}),
                "description": f"files {_fingerprint(manifest, kind)}",
                "data_files": [{"split": split, "path": f"{kind}/{split}-*.parquet"} for split in _ordered(splits)],
            }
            for kind, splits in manifest.rows.items()
        ],
    }


def _fingerprint(manifest: Manifest, kind: str) -> str:
    """Tells the files of two exports apart: `datasets` keeps what it loaded once under what the front matter says."""
    hashes = "".join(file.sha256 for file in manifest.files if file.name.startswith(f"{kind}/"))
    return hashlib.sha256(hashes.encode()).hexdigest()[:12]


def _ordered(splits: Iterable[str]) -> list[str]:
    return sorted(splits, key=NAMES.index)


def _rows(manifest: Manifest) -> str:
    splits = _ordered(manifest.splits)
    rows = ((f"`{kind}` rows", *(counts.get(split, 0) for split in splits)) for kind, counts in manifest.rows.items())
    return _table(("", *splits), rows, escape=False)


def _strata(manifest: Manifest, name: str) -> str:
    splits = _ordered(manifest.splits)
    values = list(manifest.table(name))
    order = MODES if name == "mode" else ("minimal", "mild", "moderate", "severe") if name == "severity" else ()
    values.sort(key=lambda value: (order.index(value) if value in order else len(order), value))
    rows = ((value or "none", *(manifest.splits[split][name].get(value, 0) for split in splits)) for value in values)
    return _table((name.replace("_", " "), *splits), rows)


def _left_out(manifest: Manifest) -> str:
    if not manifest.left_out:
        return "Nothing."
    rows = ((code, meaning(code), count) for code, count in manifest.left_out.items())
    return _table(("code", "why", "dialogues"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, escape: bool = True) -> str:
    lines = [heads, ["---"] * len(heads), *([cell(value) if escape else str(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
