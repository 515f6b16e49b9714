"""Every answer schema is bounded and closed, so that no model can run on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from agents.critic import StillAnswersReply, client_critique_schema, evidence_check_schema, reply_critique_schema
from agents.diagnostician import diagnosis_schema
from agents.patient import PatientReply
from agents.planner import plan_schema
from agents.therapist import reply_schema
from clinical import Knowledge
from psyllm.forms import form_of

SCHEMAS: dict[str, type[BaseModel]] = {
    "plan": plan_schema(frozenset(("act", "cbt", "mi")), "cbt", 2, 4),
    "patient_turn": PatientReply,
    "diagnosis": diagnosis_schema(Knowledge.load(), ("mdd", "gad")),
    "reply": reply_schema(("thought_record", "worry_time"), native=False),
    "evidence_check": evidence_check_schema(3, ("suicide",)),
    "client_critique": client_critique_schema(),
    "still_answers": StillAnswersReply,
    "reply_critique": reply_critique_schema(("F0a", "CBT1"), ()),
}


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if "type" in schema:
            yield path, schema
        for key, value in schema.items():
            yield from nodes(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for value in schema:
            yield from nodes(value, path)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_string_list_and_number_has_a_limit(name: str) -> None:
    form = form_of(SCHEMAS[name], "json_schema")
    assert form.name == name
    for path, node in nodes(form.json_schema):
        if node["type"] == "string":
            assert "enum" in node or "const" in node or "maxLength" in node, path
        elif node["type"] == "array":
            assert "maxItems" in node, path
        elif node["type"] == "integer":
            assert {"minimum", "maximum"} <= node.keys(), path
        elif node["type"] == "object":
            assert node["additionalProperties"] is False, path
            assert sorted(node["required"]) == sorted(node["properties"]), path


def test_the_trace_comes_before_the_reply_and_only_when_it_is_written() -> None:
    assert list(reply_schema(("a",), native=False).model_fields) == ["reasoning", "technique", "text"]
    assert list(reply_schema(("a",), native=True).model_fields) == ["technique", "text"]
