"""Accepted dialogues of one or more runs as a dataset: selected, split, written whole or not at all.

    with Run(Path("runs/mine")) as run:
        manifest = export([run], Path("corpus"), Options(format="hf"))

Two passes over the runs, one dialogue at a time: the first selects (`corpus.selection`), the second writes. What is
known of each dialogue in between lies in temporary files (`corpus.candidates`, `corpus.duplicates`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from corpus import splits
from corpus.candidates import Exclusion, Selection
from corpus.card import card
from corpus.chat_template import ChatTemplate
from corpus.duplicates import Signatures
from corpus.held_out import held_out
from corpus.manifest import Manifest, SourceRun
from corpus.rows import BUILDERS, with_contacts
from corpus.selection import Filters, balance, candidate, drop_near_duplicates, drop_stock_openings, unwanted
from corpus.tables import MANIFEST, JsonlWriter, ParquetWriter, RowWriter, schema
from prompts.library import PromptFile, stored_role
from psyllm.errors import Failure, UsageError
from psyllm.labels import Labels
from psyllm.records import Dialogue, Status
from psyllm.runs import Run

Format = Literal["messages", "per-turn", "openr1-psy", "preference", "parquet", "hf"]
FORMATS: tuple[Format, ...] = get_args(Format)
WHOLE = "all"
"""The split of a dataset that is not split."""
DEFAULT_SPLITS: Mapping[str, float] = {"train": 0.9, "validation": 0.05, "test": 0.05}

_HF_TABLES = ("messages", "per-turn", "preference")


@dataclass(frozen=True)
class Options:
    format: Format = "messages"
    include_rehearsal: bool = False
    filters: Filters = field(default_factory=Filters)
    held_out: tuple[Path, ...] = ()
    """Files whose posts must not be trained on; see `corpus.held_out`."""
    limits: bool = True
    """Whether near duplicates and stock openings are left out."""
    shares: Mapping[str, float] | None = None
    """Wanted share of each modality; None leaves the corpus as it is."""
    splits: Mapping[str, float] | None = None
    """Split -> share; None writes one file. Format hf is always split."""
    seed: int = 0
    contacts: str | None = None
    """What `{crisis_contacts}` is filled with; None leaves it literal."""
    unverified_contacts: tuple[str, ...] = ()
    """Names of contacts that nobody has checked, for the card."""
    counsellor: PromptFile | None = None
    """Another system prompt than the one that the run was grown with."""
    chat_template: ChatTemplate | None = None
    """Refuses rows whose reasoning it does not render."""

    @property
    def split_shares(self) -> Mapping[str, float]:
        return self.splits or (DEFAULT_SPLITS if self.format == "hf" else {WHOLE: 1.0})

    @property
    def is_folder(self) -> bool:
        return self.format == "hf" or self.splits is not None


def manifest_path(out: Path) -> Path:
    """Where the manifest of an export stands."""
    return out / MANIFEST if out.is_dir() else out.with_suffix(f".{MANIFEST}")


def export(runs: Sequence[Run], out: Path, options: Options, advance: Callable[[], None] = lambda: None) -> Manifest:
    """Write the dataset and its manifest; `advance` is called twice for each accepted dialogue.

    Raises UsageError for rehearsal output that was not asked for, an `out` that exists, or nothing to write;
    Failure('store') if it cannot be written, Failure('schema') for a row that the chat template mangles.
    """
    for path in (out, manifest_path(out)):
        if path.exists():
            raise UsageError(f"{path} exists", hint="give another --out, or remove it")
    if not out.parent.is_dir():
        raise UsageError(f"folder {out.parent} does not exist", hint=f"mkdir -p {out.parent}")
    for run in runs:
        if not run.status_counts()[Status.ACCEPTED]:
            raise UsageError(f"{run.folder} has no accepted dialogue", hint=f"`psyllm status {run.folder}` says why")
    with Selection(options.seed) as selection:
        select(selection, runs, options, advance)
        left_out = selection.left_out()
        manifest = Manifest(
            format=options.format,
            written=datetime.now(UTC),
            seed=options.seed,
            crisis_contacts="literal" if options.contacts is None else "filled",
            unverified_contacts=options.unverified_contacts,
            accepted=len(selection) + sum(left_out.values()),
            left_out=left_out,
            excluded=(_named(runs, exclusion) for exclusion in selection.excluded),
        )
        if not len(selection):
            reasons = ", ".join(f"{code} {count}" for code, count in left_out.items())
            raise UsageError(f"nothing is left to export: {reasons}", hint="loosen the filters")
        splits.assign(selection, options.split_shares)
        with _staged(out, options) as folder:
            _write(runs, selection, folder, out.name, options, manifest, advance)
            if options.format == "hf":
                (folder / "README.md").write_text(card(manifest), encoding="utf-8")
            manifest.write(folder / MANIFEST)
    return manifest


# ---------------------------------------------------------------- selecting


def select(selection: Selection, runs: Sequence[Run], options: Options, advance: Callable[[], None]) -> None:
    """Filters, then limits."""
    with held_out(options.held_out) as tests, Signatures() as posts, Signatures() as texts:
        for number, run in enumerate(runs):
            labels = Labels(run.folder).latest()
            for dialogue in run.dialogues(Status.ACCEPTED, forks=True):
                advance()
                _refuse_rehearsal(run, dialogue, options)
                post = run.post(dialogue.post_id)
                why = _elsewhere(runs[:number], dialogue) or unwanted(
                    dialogue, options.filters, labels.get(dialogue.id), tests, post
                )
                if why:
                    selection.exclude(Exclusion(number, dialogue.id, dialogue.post_id, *why))
                    continue
                selection.add(candidate(number, dialogue))
                posts.add(post.words)
                texts.add("\n".join(_spoken(dialogue)))
        selection.group(posts.groups(), texts.groups())
    if options.limits:
        drop_near_duplicates(selection)
        drop_stock_openings(selection)
    if options.shares is not None:
        balance(selection, options.shares)


def _refuse_rehearsal(run: Run, dialogue: Dialogue, options: Options) -> None:
    if dialogue.provenance.rehearsal and not options.include_rehearsal:
        raise UsageError(
            f"{run.folder} was made by the rehearsal backend: stand-in words, not training data",
            hint="add --include-rehearsal to try the format all the same",
        )


def _elsewhere(earlier: Sequence[Run], dialogue: Dialogue) -> tuple[str, str] | None:
    """(reason code, detail) if one of these runs holds it too."""
    holding = (run for run in earlier if run.has(dialogue.id, Status.ACCEPTED))
    return next((("same_dialogue", f"also in {run.folder.name}") for run in holding), None)


def _spoken(dialogue: Dialogue) -> Iterator[str]:
    for turn in dialogue.turns:
        yield turn.client_text
        if turn.reply is not None:
            yield turn.reply.text


def _named(runs: Sequence[Run], exclusion: Exclusion) -> dict[str, str]:
    return asdict(exclusion) | {"run": runs[exclusion.run].folder.name}


# ---------------------------------------------------------------- writing


@contextmanager
def _staged(out: Path, options: Options) -> Iterator[Path]:
    """A folder beside `out` whose content takes its place when all went well."""
    folder = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
        if options.is_folder:
            folder.rename(out)
        else:
            (folder / out.name).rename(out)
            (folder / MANIFEST).rename(manifest_path(out))
    except OSError as error:
        raise Failure(
            "store",
            f"cannot write {out}: {os.strerror(error.errno) if error.errno else error}",
            hint="free some space or mend the rights",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(
    runs: Sequence[Run],
    selection: Selection,
    folder: Path,
    name: str,
    options: Options,
    manifest: Manifest,
    advance: Callable[[], None],
) -> None:
    kinds = {"hf": _HF_TABLES, "parquet": ("messages",)}.get(options.format, (options.format,))
    writers: dict[tuple[str, str], RowWriter] = {}
    for number, run in enumerate(runs):
        counsellor = options.counsellor or stored_role("counsellor", run.prompt("counsellor")[1])
        manifest.runs.append(_source(run, counsellor))
        for dialogue in run.dialogues(Status.ACCEPTED, forks=True):
            advance()
            if (found := selection.chosen(number, dialogue.id)) is None:
                continue
            kept, split = found
            shown = dialogue if options.contacts is None else with_contacts(dialogue, options.contacts)
            rows = [(kind, row) for kind in kinds for row in BUILDERS[kind](shown, counsellor)]
            for kind, row in rows:
                if options.chat_template and kind != "openr1-psy":
                    options.chat_template.require_reasoning(row)
                if (kind, split) not in writers:
                    writers[kind, split] = _writer(folder, name, options, kind, split)
                writers[kind, split].write(row | {"run": run.folder.name} if _is_table(options) else row)
            if rows:
                manifest.count(split, kept, dialogue.provenance)
    for (kind, split), writer in sorted(writers.items()):
        written = writer.close()
        manifest.files += written
        manifest.rows.setdefault(kind, {})[split] = sum(file.rows for file in written)
    if not manifest.rows:
        raise UsageError("no reply was sent back and repaired: there are no pairs", hint="choose another --format")


def _is_table(options: Options) -> bool:
    return options.format in ("hf", "parquet")


def _writer(folder: Path, name: str, options: Options, kind: str, split: str) -> RowWriter:
    if options.format == "hf":
        return ParquetWriter(folder, f"{kind}/{split}-{{}}.parquet", schema(kind))
    if options.format == "parquet":
        return ParquetWriter(folder, f"{split}.parquet" if options.splits else name, schema(kind))
    file = f"{split}.jsonl" if options.splits else name
    return JsonlWriter(folder / file, file)


def _source(run: Run, counsellor: PromptFile) -> SourceRun:
    return SourceRun(
        run=run.folder.name,
        software_version=run.meta["software_version"],
        fingerprint=hashlib.sha256(run.meta["fingerprint"].encode()).hexdigest()[:12],
        accepted=run.status_counts()[Status.ACCEPTED],
        counsellor=f"{counsellor.ref.id}@{counsellor.ref.version}#{counsellor.ref.sha256}",
    )
