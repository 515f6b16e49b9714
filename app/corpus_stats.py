"""`psyllm corpus stats`: corpora side by side, as tables on the terminal and as a page with plots."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.table import Table

from agents.checks import labels_of
from agents.markers import Counted
from agents.words import listed
from app.embedding import EmbeddingOptions, embedder
from app.plain import plain
from app.screen import REHEARSAL, console, dollars, out, tokens
from clinical import Knowledge
from corpus.stats import BLEU_SAMPLE, SAMPLE, SCALES, CorpusStats, MarkerCounts, Patterns, stats
from prompts.library import KnownMarker, Library
from psyllm import __version__
from psyllm.errors import Failure, UsageError
from psyllm.records import Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BY_CODE = (
    "% of replies; a school's own of those of its school, where the corpus names schools. Forms and set words alone, so"
    " most are lower bounds; markers that words do not show are not counted (docs/evaluation.md)."
)
BY_CRITIC = "% of the replies it read: the word of the model that played the critic in this run, checked by nobody."
_TOP = 8
"""Most rows of a distribution on the terminal."""
MISSING = "-"


@dataclass(frozen=True)
class Section:
    """One table: a line a figure, a column a corpus."""

    title: str
    rows: list[tuple[str, list[str]]]
    note: str = ""


def stats_command(
    sources: Sequence[Path], html: Path | None, figure_folder: Path | None, embeddings: EmbeddingOptions
) -> None:
    """Print the tables, write page and figures if asked. Raises UsageError for a source that cannot be read."""
    if html is not None and html.exists():
        raise UsageError(f"{html} exists", hint="give another --html, or remove it")
    if figure_folder is not None and figure_folder.exists():
        raise UsageError(f"{figure_folder} exists", hint="give another --figures, or remove it")
    knowledge, library = Knowledge.load(), Library()
    markers = Counted.of(library, knowledge)
    patterns = Patterns(
        leak=listed("instruction_leak").exact,
        stock=listed("stock_opening").exact,
        labels=labels_of(knowledge).exact,
        stock_phrase=listed("stock_phrase").exact,
        reflection=listed("reflection").exact,
        markers=markers.shown,
    )
    names = _names(sources)
    corpora = []
    model = embedder(embeddings.resolved().model)
    for path, name in zip(sources, names, strict=True):
        with console.status(f"reading {plain(str(path))}"):
            corpora.append(stats(path, patterns, name, model))
    sections = _sections(corpora, markers, library, model.name if model else "")
    for section in sections:
        out.print(_table(section, names))
        if section.note:
            out.print(section.note, style="dim")
        out.print()
    if any(corpus.rehearsal for corpus in corpora):
        out.print(REHEARSAL, style="yellow")
    if html is not None or figure_folder is not None:
        from corpus.figures import figures

        drawn = figures(corpora)
        try:
            if figure_folder is not None:
                _save(drawn, figure_folder)
            if html is not None:
                html.write_text(_page(corpora, sections, drawn), encoding="utf-8")
        except OSError as error:
            raise Failure(
                "store",
                f"cannot write {error.filename or html}: {error.strerror}",
                hint="free some space or mend the rights",
            ) from error


def _names(sources: Sequence[Path]) -> list[str]:
    """Short names that tell the sources apart."""
    short = [plain(source.resolve().stem) for source in sources]
    return short if len(set(short)) == len(short) else [plain(str(source)) for source in sources]


# ---------------------------------------------------------------- tables


def _sections(corpora: Sequence[CorpusStats], markers: Counted, library: Library, model: str) -> list[Section]:
    def row(label: str, value: Callable[[CorpusStats], str]) -> tuple[str, list[str]]:
        return label, [value(corpus) for corpus in corpora]

    sections = [
        Section(
            "sizes",
            [
                row("dialogues", lambda c: f"{c.dialogues:,}"),
                row("exchanges", lambda c: f"{c.exchanges:,}"),
                row("exchanges a dialogue", lambda c: f"{c.exchanges / c.dialogues:.1f}"),
                row("words of the client, a turn", lambda c: f"{c.mean_words('client'):.1f}"),
                row("words of reasoning", lambda c: f"{c.mean_words('reasoning'):.1f}" if c.traces else MISSING),
                row("words of a reply", lambda c: f"{c.mean_words('reply'):.1f}"),
                row("client words per reply word", lambda c: f"{c.mean_words('client') / c.mean_words('reply'):.2f}"),
            ],
        ),
        Section(
            "grounding, leaks, habits",
            [
                *((name, [_percent(*c.rates()[name]) for c in corpora]) for name in corpora[0].rates()),
                row("questions a reply", lambda c: f"{c.found['questions'] / c.exchanges:.2f}"),
                row("reflections a question", lambda c: f"{c.found['reflections'] / max(1, c.found['questions']):.2f}"),
                row("stock phrases a reply", lambda c: f"{c.found['stock phrases'] / c.exchanges:.2f}"),
            ],
        ),
        Section(
            "diversity of replies",
            [(name, [f"{c.diversity[name]:.2f}" for c in corpora]) for name in corpora[0].diversity],
        ),
    ]
    if model:
        sections.append(
            Section(
                f"diversity by meaning ({plain(model)})",
                [(name, [f"{c.meaning[name]:.2f}" for c in corpora]) for name in corpora[0].meaning],
            )
        )
    sections += filter(
        None,
        (
            _markers("markers that code counts", BY_CODE, [c.counted for c in corpora], markers.known),
            _markers("markers by the critic's word", BY_CRITIC, [c.critic for c in corpora], library.markers),
        ),
    )
    sections += filter(None, (_distribution(title, corpora) for title in corpora[0].distributions()))
    if any(corpus.status for corpus in corpora):
        sections.append(_acceptance(corpora))
    return sections


def _markers(title: str, note: str, counts: Sequence[MarkerCounts], known: Mapping[str, KnownMarker]) -> Section | None:
    """Share of the replies of a marker's school that show it; None if no reply was looked at, or none shows any."""
    rates = [count.rates(known) for count in counts]
    rows = [
        (known[name].title if name in known else plain(name), [_percent(*rate.get(name, (0, 0))) for rate in rates])
        for name in dict.fromkeys(name for rate in rates for name in rate)
        if any(rate.get(name, (0, 0))[0] for rate in rates)
    ]
    return Section(title, rows, note) if rows else None


def _distribution(title: str, corpora: Sequence[CorpusStats]) -> Section | None:
    """The commonest values, or all of an ordered scale; None if no corpus records them."""
    tables = [corpus.distributions()[title] for corpus in corpora]
    share: Counter[str] = Counter()
    for table, total in tables:
        share.update({value: count / total for value, count in table.items()})
    values = sorted(share, key=lambda value: (-share[value], value))[:_TOP]
    rows = [
        (value, [_percent(table.get(value, 0), total) for table, total in tables])
        for value in SCALES.get(title, values)
    ]
    return Section(title, rows) if share else None


def _acceptance(corpora: Sequence[CorpusStats]) -> Section:
    def of_runs(value: Callable[[CorpusStats, int], str]) -> list[str]:
        accepted = [corpus.status.get(Status.ACCEPTED, 0) for corpus in corpora]
        return [value(corpus, n) if n else MISSING for corpus, n in zip(corpora, accepted, strict=True)]

    rows = [
        ("accepted", of_runs(lambda c, n: _percent(n, sum(c.status.values())))),
        ("cost", of_runs(lambda c, n: dollars(None if c.cost_usd is None else c.cost_usd / n))),
        ("tokens", of_runs(lambda c, n: tokens(c.tokens // n))),
    ]
    return Section("acceptance, and what an accepted dialogue takes", rows)


def _percent(found: int, total: int) -> str:
    if not total:
        return MISSING
    share = 100 * found / total
    return f"{share:.1f}%" if share < 10 else f"{share:.0f}%"


def _table(section: Section, names: Sequence[str]) -> Table:
    table = Table(title=section.title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("", min_width=34)
    for name in names:
        table.add_column(name, justify="right", min_width=10)
    for label, values in section.rows:
        table.add_row(label, *values)
    return table


# ---------------------------------------------------------------- page and figures


def _save(drawn: dict[str, Figure], folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, figure in drawn.items():
        for kind in ("svg", "png"):
            figure.savefig(folder / f"{name}.{kind}", dpi=200, metadata={"Date": None} if kind == "svg" else None)


def _svg(figure: Figure) -> Markup:
    """The figure as an element of the page; matplotlib escapes the words in it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Markup(buffer.getvalue()[buffer.getvalue().index("<svg") :])  # noqa: S704


def _page(corpora: Sequence[CorpusStats], sections: Sequence[Section], drawn: dict[str, Figure]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("corpus_stats.html").render(
        corpora=corpora,
        names=[corpus.name for corpus in corpora],
        sections=sections,
        figures=[_svg(figure) for figure in drawn.values()],
        sample=SAMPLE,
        bleu_sample=BLEU_SAMPLE,
        version=__version__,
        rehearsal=REHEARSAL if any(corpus.rehearsal for corpus in corpora) else "",
    )
