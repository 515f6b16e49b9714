"""The form of an answer: what the request says of it, and what is read from words that more or less fit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from psyllm.forms import Form, Misfit, Mode, form_of


class Part(BaseModel):
    name: str


class Answer(BaseModel):
    model_config = ConfigDict(title="an_answer", extra="forbid")

    text: str = Field(min_length=1)
    parts: list[Part] = []


GOOD = '{"text": "I see {you}.", "parts": [{"name": "a"}]}'


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every object schema inside a schema, itself included."""
    if isinstance(schema, list):
        return [found for item in schema for found in objects(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if "properties" in schema else []
    return own + [found for value in schema.values() for found in objects(value)]


def test_a_server_that_knows_schemas_is_sent_a_closed_one_and_no_words() -> None:
    form = Form(Answer, "json_schema")
    sent = form.request["response_format"]
    assert (sent["type"], sent["json_schema"]["name"], sent["json_schema"]["strict"]) == (
        "json_schema",
        "an_answer",
        True,
    )
    inner = objects(sent["json_schema"]["schema"])
    assert len(inner) == 2
    assert all(found["additionalProperties"] is False for found in inner)
    assert form.instruction == ""


@pytest.mark.parametrize(("mode", "request_"), [("json_object", {"type": "json_object"}), ("text", None)])
def test_other_servers_are_told_in_words(mode: Mode, request_: dict[str, str] | None) -> None:
    form = Form(Answer, mode)
    assert form.request.get("response_format") == request_
    assert json.loads(form.instruction[form.instruction.index("{") :]) == form.json_schema


@pytest.mark.parametrize(
    "words",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here it is:\n```\n{GOOD}\n```\nAnything else?",
        f"Sure. {GOOD} I hope that helps.",
        f"\n\n  {GOOD}\n",
    ],
)
@pytest.mark.parametrize("mode", ["json_object", "text"])
def test_the_object_is_found_among_other_words(mode: Mode, words: str) -> None:
    assert form_of(Answer, mode).read(words, "stop").text == "I see {you}."


def test_a_server_that_keeps_to_the_schema_is_taken_at_its_word() -> None:
    form = form_of(Answer, "json_schema")
    assert form.read(GOOD, "stop").parts[0].name == "a"
    with pytest.raises(Misfit):
        form.read(f"Sure. {GOOD}", "stop")


@pytest.mark.parametrize("mode", ["json_schema", "json_object", "text"])
@pytest.mark.parametrize(
    ("words", "reason", "told"),
    [
        (GOOD, "length", "cut off"),
        ("", "stop", "empty"),
        (" \n", "stop", "empty"),
        ("I would rather talk.", "stop", "does not fit"),
        ("}{", "stop", "does not fit"),
        ('{"text": ""}', "stop", "text: String should have at least 1 character"),
        ('{"text": "x", "parts": [{}]}', "stop", "parts.0.name: Field required"),
        ('{"text": "x", "mood": 1}', "stop", "mood: Extra inputs are not permitted"),
    ],
)
def test_what_does_not_fit_is_said_so_that_the_model_can_mend_it(
    mode: Mode, words: str, reason: str, told: str
) -> None:
    with pytest.raises(Misfit, match=told):
        form_of(Answer, mode).read(words, reason)


def test_a_long_list_of_mistakes_is_cut() -> None:
    many = json.dumps({"text": "x", "parts": [{}] * 50})
    with pytest.raises(Misfit) as misfit:
        form_of(Answer, "text").read(many, "stop")
    assert str(misfit.value).count("Field required") == 6


def test_another_mode_or_schema_is_another_form() -> None:
    hashes = {form_of(schema, mode).sha256 for schema in (Answer, Part) for mode in ("json_schema", "text")}
    assert len(hashes) == 4
    assert form_of(Answer, "text").sha256 == Form(Answer, "text").sha256
