"""What a request holds: the schema's name, options and bounds, and the data in its tagged blocks."""

from __future__ import annotations

import hashlib
import json
import random
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from psyllm.rehearsal.words import clip, sentences

Json = dict[str, Any]
_SPEAKER = re.compile(r"^(Client|Counsellor):$", re.MULTILINE)
_NUMBER = re.compile(r"^\[s(\d+)\] ")


def digest(*parts: object) -> str:
    """sha256, as hex, of the parts' canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Spoken:
    """One speaker's words in one round."""

    client: bool
    lines: tuple[tuple[int, str], ...]
    """Sentence number (0 where the transcript shows none) and text, one a line."""

    @property
    def text(self) -> str:
        return " ".join(line for _, line in self.lines)


class Asked:
    """One request, read. `seed` is the server's own."""

    def __init__(self, body: Json, seed: int) -> None:
        form = (body.get("response_format") or {}).get("json_schema") or {}
        self.schema: Json = form.get("schema") or {}
        self.model = str(body.get("model"))
        self.name: str = self.schema.get("title") or form.get("name", "")
        self.messages = [(str(m.get("role")), _content(m)) for m in body["messages"]]
        self.system = next((text for role, text in self.messages if role == "system"), "")
        self.user = next((text for role, text in self.messages if role == "user"), "")
        self.corrected = any(role == "assistant" for role, _ in self.messages)
        self.rng = random.Random(digest(seed, body.get("model"), body["messages"], body.get("seed")))

    def block(self, tag: str) -> str:
        """The text between <tag> and </tag>, '' if there is no such block. Only whole lines open a block."""
        found = re.search(rf"^<{tag}>\n?(.*?)\n?</{tag}>$", self.user, re.MULTILINE | re.DOTALL)
        return found[1] if found else ""

    def client_profile(self) -> Json:
        """The hidden client of <client>; {} if there is none."""
        return yaml.load(self.block("client"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}  # noqa: S506

    @cached_property
    def talk(self) -> list[Spoken]:
        """The transcript in order; of a plain chat, its messages after the system's."""
        if not self.schema:
            spoken = [message for message in self.messages if message[0] != "system"]
            return [Spoken(role == "user", tuple((0, line) for line in sentences(text))) for role, text in spoken]
        pieces = _SPEAKER.split(self.block("transcript"))
        return [
            Spoken(speaker == "Client", tuple(_line(line) for line in words.splitlines() if line.strip()))
            for speaker, words in zip(pieces[1::2], pieces[2::2], strict=True)
        ]

    @property
    def client(self) -> list[Spoken]:
        return [spoken for spoken in self.talk if spoken.client]

    @property
    def counsellor(self) -> list[Spoken]:
        return [spoken for spoken in self.talk if not spoken.client]

    def node(self, *path: str) -> Json:
        """The schema at a path of property names, through arrays; {} where there is none."""
        here = self.resolve(self.schema)
        for name in path:
            here = self.resolve(here.get("items", here))
            here = self.resolve(here.get("properties", {}).get(name, {}))
        return here

    def options(self, *path: str) -> list[str]:
        """The enum at a path, or of its array's items; [] where any string goes."""
        here = self.node(*path)
        here = self.resolve(here.get("items", here))
        return [str(here["const"])] if "const" in here else [str(value) for value in here.get("enum", [])]

    def resolve(self, schema: Json) -> Json:
        while "$ref" in schema:
            schema = self.schema["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        return schema

    def fit(self, value: Any, schema: Json | None = None) -> Any:
        """`value` within every bound of the schema: clipped, cut, filled up; None becomes the smallest instance."""
        schema = self.resolve(self.schema if schema is None else schema)
        if options := schema.get("anyOf") or schema.get("allOf"):
            open_ = any(option.get("type") == "null" for option in options)
            return value if value is not None or open_ else self.fit(None, options[0])
        if "const" in schema or "enum" in schema:
            allowed = [schema["const"]] if "const" in schema else schema["enum"]
            return value if value in allowed else allowed[0]
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if kind == "object":
            given = value or {}
            return {name: self.fit(given.get(name), part) for name, part in schema.get("properties", {}).items()}
        if kind == "array":
            least, most = schema.get("minItems", 0), schema.get("maxItems", 100)
            items = [*(value or [])][:most]
            return [self.fit(item, schema["items"]) for item in [*items, *[None] * (least - len(items))]]
        if kind in ("integer", "number"):
            number = value if value is not None else schema.get("minimum", 0)
            return max(schema.get("minimum", number), min(schema.get("maximum", number), number))
        if kind == "boolean":
            return bool(value)
        text = clip(str(value or ""), schema.get("maxLength", 100_000))
        return text if len(text) >= schema.get("minLength", 0) else text + "." * (schema["minLength"] - len(text))


def _content(message: Json) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)


def _line(line: str) -> tuple[int, str]:
    number = _NUMBER.match(line)
    return (int(number[1]), line[number.end() :]) if number else (0, line.strip())
