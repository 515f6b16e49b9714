"""The form an answer must take: a JSON schema in one of three structured-output modes, and how to read it back."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

Answered = TypeVar("Answered", bound=BaseModel)
Mode = Literal["json_schema", "json_object", "text"]

_FENCE = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)


class Plain(BaseModel):
    """An answer in plain words: no JSON is asked for, whatever the model's settings say."""

    text: str = Field(min_length=1)


class Misfit(Exception):
    """An answer that does not fit; its text is what the model is told."""


@dataclass(frozen=True)
class Form(Generic[Answered]):
    schema: type[Answered]
    mode: Mode

    @cached_property
    def json_schema(self) -> dict[str, Any]:
        closed: dict[str, Any] = _closed(self.schema.model_json_schema())
        return closed

    @property
    def plain(self) -> bool:
        return issubclass(self.schema, Plain)

    @property
    def name(self) -> str:
        return str(self.json_schema["title"])

    @cached_property
    def sha256(self) -> str:
        """Hash of schema and mode: part of the key under which an answer is reused."""
        return hashlib.sha256(f"{self.mode}\n{json.dumps(self.json_schema, sort_keys=True)}".encode()).hexdigest()

    @cached_property
    def request(self) -> dict[str, Any]:
        """What the request body says about it."""
        if self.plain:
            return {}
        if self.mode == "json_schema":
            inner = {"name": self.name, "schema": self.json_schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": inner}}
        return {"response_format": {"type": "json_object"}} if self.mode == "json_object" else {}

    @cached_property
    def instruction(self) -> str:
        """What the system message must add where the server does not know the schema; '' where it does."""
        if self.plain or self.mode == "json_schema":
            return ""
        return f"Answer with one JSON object and nothing else. Its schema:\n{json.dumps(self.json_schema)}"

    def read(self, content: str, finish_reason: str) -> Answered:
        """The parsed answer. Raises Misfit with a message for the model."""
        if finish_reason == "length":
            raise Misfit("The answer was cut off before its end. Answer again, shorter.")
        if not content.strip():
            raise Misfit("The answer was empty.")
        if self.plain:
            return self.schema.model_validate({"text": content.strip()})
        text = content
        if self.mode != "json_schema":
            fenced = _FENCE.search(content)
            text = fenced[1] if fenced else content[content.find("{") : content.rfind("}") + 1]
        try:
            return self.schema.model_validate_json(text)
        except ValidationError as error:
            places = [f"{'.'.join(map(str, e['loc'])) or 'answer'}: {e['msg']}" for e in error.errors()[:6]]
            raise Misfit("The answer does not fit its schema. " + "; ".join(places)) from error


def _closed(schema: Any) -> Any:
    """The schema with every object closed, as strict structured output asks."""
    if isinstance(schema, dict):
        closed = {key: _closed(value) for key, value in schema.items()}
        return closed | {"additionalProperties": False} if "properties" in schema else closed
    return [_closed(item) for item in schema] if isinstance(schema, list) else schema


@lru_cache(maxsize=256)
def form_of(schema: type[Answered], mode: Mode) -> Form[Answered]:
    return Form(schema, mode)
