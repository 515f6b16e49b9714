"""Makes posts of rows: which column is the text, who wrote it, which words of a conversation are the client's.

    {"id": "a1", "title": "...", "text": "...", "source": "my forum", "license": "CC0-1.0", "retrieved": "2026-03-01"}

Only a text is needed. Reddit submissions, question-answer pairs and conversations are known by their columns; for
others a recipe, or `--map text=body`, names them. Fields of other names are kept as metadata, but for those that say
who wrote the post. A mistake is a UsageError that names file and
line, or, when invalid rows are skipped, is counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import PydanticSerializationError

from corpus.sources import EXAMPLE, Row, Source
from psyllm.errors import UsageError
from psyllm.records import Post
from psyllm.rows import text_hash

Field = Literal["id", "text", "title", "source", "license", "retrieved", "author", "messages", "dialogue", "role"]
_OWN: tuple[Field, ...] = ("id", "title", "source", "license", "retrieved")
_SHAPES: tuple[tuple[frozenset[str], dict[Field, str]], ...] = (
    (frozenset({"selftext"}), {"text": "selftext"}),
    (frozenset({"messages"}), {"messages": "messages"}),
    (frozenset({"conversations"}), {"messages": "conversations"}),
    (frozenset({"conversation"}), {"messages": "conversation"}),
    (frozenset({"dialog"}), {"messages": "dialog"}),
    (frozenset({"text"}), {"text": "text"}),
    (frozenset({"question", "answer"}), {"text": "question"}),
    (frozenset({"questionText"}), {"text": "questionText", "title": "questionTitle", "id": "questionID"}),
    (frozenset({"Context", "Response"}), {"text": "Context"}),
)
"""Columns that tell what a row is, and where its post stands then; the first that fits."""
_ANSWERS = frozenset({"answer", "answers", "answertext", "response", "therapistinfo", "therapisturl"})
_WRITER = {
    *("author", "author_fullname", "author_flair_text", "username", "user", "user_id", "userid", "profile", "ip"),
    *("name", "full_name", "first_name", "last_name", "email", "mail", "phone", "address"),
    *("permalink", "url", "link", "questionlink"),
}
"""Columns that say who wrote a post, in lower case; their values are not kept."""
_CLIENTS = frozenset({"user", "human", "client", "patient", "seeker", "help_seeker", "usr", "caller"})
_SPEAKER, _SAID = ("role", "from", "speaker", "author"), ("content", "value", "text", "utterance")
_MISTAKES = 20


class Recipe(BaseModel):
    """How to read a source, as YAML. What a row says of itself goes before what the recipe says of all rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[Field, str] = {}
    """Field of a post -> column of the source."""
    client_roles: tuple[str, ...] = ()
    """Who is the client in a conversation; empty: user, human, client, patient, seeker ..."""
    source: str = ""
    license: str = ""
    retrieved: date | None = None
    split: str = "train"
    """Of a Hugging Face dataset."""
    config: str | None = None
    """Of a Hugging Face dataset that has several."""

    def sources(self, names: Sequence[str | Path]) -> list[Source]:
        return [Source(name, split=self.split, config=self.config) for name in names]

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Raises UsageError that names the file and what is wrong in it."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read: {error.strerror}", hint="give a recipe, see docs/intake.md"
            ) from error
        except yaml.YAMLError as error:
            raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"{path}: {place}: {first['msg']}", hint="see docs/intake.md") from error


@dataclass(frozen=True, slots=True)
class Raw:
    """A post as it was found, before anything was taken out of it."""

    post: Post
    origin: bytes
    """Hash of the post as found: the same as long as its row says the same."""
    place: str
    author: str = ""
    """Who wrote it, where the source says so; never kept."""
    named: str = ""
    """Its id in the source, where the post has got another one."""


@dataclass
class Reader:
    """The posts of some sources, in their order; can be read again and again. Counts grow while it is read."""

    sources: Sequence[Source]
    recipe: Recipe = field(default_factory=Recipe)
    skip_invalid: bool = False
    on_bytes: Callable[[int], None] = lambda done: None
    """Told, now and then, how many bytes of all sources have been read."""
    rows: int = 0
    skipped: int = 0
    mistakes: list[str] = field(default_factory=list)
    """The first messages "file:line: what" of rows that were left out."""
    extra_fields: set[str] = field(default_factory=set)
    """Names of other fields found; their values are kept in `Post.metadata`."""

    def __iter__(self) -> Iterator[Raw]:
        """Raises UsageError for a source that cannot be read, and for an invalid row unless those are skipped."""
        self.rows = self.skipped = before = 0
        self.mistakes.clear()
        for source in self.sources:
            source.cut_off = self.skip_invalid
            for row in self._whole(source.rows()):
                self.rows += 1
                if self.rows % 256 == 0:
                    self.on_bytes(before + source.read_bytes)
                try:
                    raw = self._raw(row)
                except UsageError as error:
                    if not self.skip_invalid:
                        raise
                    self.skip(str(error))
                    continue
                self.extra_fields |= raw.post.metadata.keys()
                yield raw
            before += source.read_bytes
            self.on_bytes(before)

    def skip(self, mistake: str) -> None:
        """Count a row as left out."""
        self.skipped += 1
        if len(self.mistakes) < _MISTAKES:
            self.mistakes.append(mistake)

    def size(self) -> int | None:
        """Bytes of all sources; None if one of them cannot tell."""
        sizes = [source.size() for source in self.sources]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def _whole(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Rows as they are, or, where each is one utterance of a dialogue, the rows of a dialogue as one."""
        columns = self.recipe.columns
        if "dialogue" not in columns:
            yield from rows
            return
        if missing := [name for name in ("role", "text") if name not in columns]:
            raise UsageError(
                f"a dialogue a column also needs its {' and '.join(missing)}",
                hint="--map dialogue=COLUMN --map role=COLUMN --map text=COLUMN",
            )
        name, role, text = columns["dialogue"], columns["role"], columns["text"]
        for _, group in groupby(((row, _object(row)) for row in rows), key=lambda pair: pair[1].get(name)):
            pairs = list(group)
            first, value = pairs[0]
            said: JsonValue = [{"role": of.get(role), "content": of.get(text)} for _, of in pairs]
            rest = {key: content for key, content in value.items() if key not in (name, role, text)}
            whole: JsonValue = rest | {"id": value.get(name), "messages": said}
            yield Row(first.place, lambda whole=whole: whole)  # type: ignore[misc]

    def _raw(self, row: Row) -> Raw:
        value = _object(row)
        columns = self._columns(row, value)
        text, utterances = self._words(row, value, columns)
        found = {name: value.get(columns.get(name, name)) for name in _OWN}
        found["license"] = found["license"] or value.get("licence")
        own = {name: _as_text(row, name, content) for name, content in found.items() if content not in (None, "")}
        named = own.pop("id", "")
        reddit = columns.get("text") == "selftext"
        if reddit:
            own.setdefault("source", f"Reddit, r/{value.get('subreddit', 'unknown')}")
        defaults = {"source": self.recipe.source, "license": self.recipe.license}
        defaults["retrieved"] = self.recipe.retrieved.isoformat() if self.recipe.retrieved else ""
        given = {name: default for name, default in defaults.items() if default} | own
        taken: set[str] = {*columns.values(), *_OWN, "licence", *(["messages", "utterances"] if utterances else [])}
        rest = {key: content for key, content in value.items() if key not in taken and _keeps(key)}
        if isinstance(own_metadata := rest.get("metadata"), dict):
            rest = {key: content for key, content in rest.items() if key != "metadata"} | own_metadata
        metadata = _of_reddit(value) if reddit else rest
        post_id = _hashed("reddit", named) if reddit and named else named or _hashed("post", text)
        fields: dict[str, Any] = given | {"id": post_id, "text": text, "utterances": utterances, "metadata": metadata}
        if "screened" in metadata:
            fields["screened"] = metadata.pop("screened")
        post, origin = _post(row, fields)
        return Raw(post, origin, row.place, str(value.get(columns.get("author", "author")) or ""), named)

    def _columns(self, row: Row, value: Mapping[str, Any]) -> Mapping[Field, str]:
        columns = dict(self.recipe.columns)
        if "dialogue" in columns:
            return {"messages": "messages"}
        if "text" in columns or "messages" in columns:
            if missing := [name for name in columns.values() if name not in value]:
                raise UsageError(
                    f"{row.place}: no column {' and no column '.join(missing)}; found: {', '.join(value)}",
                    hint="name the columns of this source with --map or in the recipe",
                )
            return columns
        for marks, shape in _SHAPES:
            if marks <= value.keys():
                return shape | columns
        raise UsageError(
            f"{row.place}: no text; found: {', '.join(value) or 'nothing'}",
            hint="say which column holds it: --map text=COLUMN, or --map messages=COLUMN for a conversation",
        )

    def _words(self, row: Row, value: Mapping[str, Any], columns: Mapping[Field, str]) -> tuple[str, tuple[str, ...]]:
        """The post's text, and the client's messages of a conversation."""
        if "messages" in columns:
            utterances = self._client_side(row, value[columns["messages"]])
            return "\n\n".join(utterances), utterances
        content = value[columns["text"]]
        if not isinstance(content, str):
            raise UsageError(f"{row.place}: text is {_short(content)}, not a text", hint='write "text": "..."')
        if not content.strip():
            raise UsageError(f"{row.place}: text is empty", hint="fill it in, or remove the row")
        before = value.get("utterances") or ()
        if isinstance(before, list) and all(isinstance(one, str) for one in before):
            return content, tuple(before)
        return content, ()

    def _client_side(self, row: Row, messages: object) -> tuple[str, ...]:
        if isinstance(messages, str):
            try:
                messages = json.loads(messages)
            except ValueError:
                messages = None
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise UsageError(
                f"{row.place}: messages are no list of objects",
                hint='write [{"role": "client", "content": "..."}, ...]',
            )
        clients = frozenset(role.casefold() for role in self.recipe.client_roles) or _CLIENTS
        said = [(_first(message, _SPEAKER).casefold(), _first(message, _SAID).strip()) for message in messages]
        runs = [
            (who in clients, "\n".join(words for _, words in group))
            for who, group in groupby(((w, t) for w, t in said if t and w != "system"), key=lambda pair: pair[0])
        ]
        utterances = tuple(words for client, words in runs if client)
        if not utterances:
            found = ", ".join(sorted({who or "nobody" for who, _ in said})) or "no message"
            raise UsageError(
                f"{row.place}: no words of a client; speakers: {found}", hint="name the client with --client-role"
            )
        return utterances


@dataclass(frozen=True, slots=True)
class PostFile:
    """Posts held in memory, for files that fit it."""

    posts: tuple[Post, ...]
    extra_fields: tuple[str, ...]
    skipped: tuple[str, ...]
    """The first messages "file:line: what" of rows left out."""


def read_posts(paths: Sequence[Path], *, skip_invalid: bool = False) -> PostFile:
    """Read whole files, as they are. Raises UsageError as `Reader` does, and for an id used twice."""
    reader = Reader([Source(path) for path in paths], skip_invalid=skip_invalid)
    posts: dict[str, Post] = {}
    places: dict[str, str] = {}
    for raw in reader:
        if raw.post.id in posts:
            mistake = used_twice(raw, places[raw.post.id])
            if not skip_invalid:
                raise mistake
            reader.skip(str(mistake))
            continue
        posts[raw.post.id] = raw.post
        places[raw.post.id] = raw.place
    return PostFile(tuple(posts.values()), tuple(sorted(reader.extra_fields)), tuple(reader.mistakes))


def used_twice(raw: Raw, before: str = "") -> UsageError:
    where = f", at {before}" if before else ""
    return UsageError(f"{raw.place}: id {raw.post.id!r} was used before{where}", hint="give each post its own id")


def _object(row: Row) -> dict[str, Any]:
    value = row.read()
    if not isinstance(value, dict):
        raise UsageError(f"{row.place}: not an object but {_short(value)}", hint=f"write {EXAMPLE}")
    return value


def _first(message: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(message[name]) for name in names if message.get(name) is not None), "")


def _as_text(row: Row, name: str, content: object) -> str:
    if name == "id" and isinstance(content, int) and not isinstance(content, bool):
        return str(content)
    if not isinstance(content, str):
        raise UsageError(f"{row.place}: {name} is {_short(content)}, not a text", hint=f'write "{name}": "..."')
    return content


def _keeps(column: str) -> bool:
    return column.casefold() not in _WRITER | _ANSWERS


def _of_reddit(value: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What is kept of a submission besides its words: the forum and the year."""
    kept: dict[str, JsonValue] = {"subreddit": str(value.get("subreddit", "unknown"))}
    try:
        kept["year"] = datetime.fromtimestamp(float(value["created_utc"]), UTC).year
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return kept
    return kept


def _hashed(kind: str, text: str) -> str:
    return f"{kind}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}"


def _post(row: Row, fields: Mapping[str, Any]) -> tuple[Post, bytes]:
    try:
        post = Post.model_validate(fields)
        return post, text_hash(post.model_dump_json())
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{row.place}: {'.'.join(map(str, first['loc']))}: {first['msg']}", hint="mend the row, or remove it"
        ) from error
    except PydanticSerializationError as error:
        raise UsageError(f"{row.place}: {error}", hint="mend the row, or remove it") from error


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
