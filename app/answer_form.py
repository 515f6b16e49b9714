"""A JSON schema as a form to fill in, written in YAML, and the filled form as JSON.

    technique:  # one of: guided_discovery, psychoeducation
    text: |-  # at most 1200 characters

Long words go below their name, indented. JSON is YAML too, and is taken as well.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from psyllm.errors import UsageError

Json = dict[str, Any]
WIDTH = 116


def blank_form(schema: Json) -> str:
    """Every field of the schema, empty; what it may hold stands in comments."""
    return "".join(f"{line}\n" for line in _fields(schema, schema, ""))


def filled(text: str, schema: Json) -> tuple[Json, list[str]]:
    """The answer of a form and what is wrong with it, a line each. Raises UsageError if it is no YAML object."""
    from jsonschema import Draft202012Validator

    try:
        answer = _trimmed(yaml.safe_load(text))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        hint = "indent long words by two spaces below `name: |-`"
        raise UsageError(f"line {line}: {error.problem or 'is no YAML'}", hint=hint) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"is no YAML: {error}", hint="delete what is not needed") from error
    if not isinstance(answer, dict):
        raise UsageError("holds no fields", hint="write each as `name: value`")
    errors = sorted(Draft202012Validator(schema).iter_errors(answer), key=lambda error: str(list(error.path)))
    mistakes = (_mistake([*map(str, error.path)], error.instance, error.message) for error in errors)
    return answer, list(dict.fromkeys(mistakes))


def _mistake(path: list[str], value: Any, message: str) -> str:
    said = "is empty" if value in (None, "", []) else textwrap.shorten(message, 300)
    return f"{'.'.join(path) or 'answer'}: {said}"


def _trimmed(value: Any) -> Any:
    """Without line ends around words, and without the items that a form offered and nobody filled in."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, dict):
        return {key: _trimmed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [item for item in map(_trimmed, value) if not _empty(item)]
    return value


def _empty(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_empty, value.values()))
    return value in (None, "", [])


def _fields(schema: Json, root: Json, pad: str) -> Iterator[str]:
    for name, field in schema["properties"].items():
        yield from _field(f"{pad}{name}:", _resolved(field, root), root, pad)


def _field(head: str, schema: Json, root: Json, pad: str) -> Iterator[str]:
    """The lines of one field. `head` is its first line so far, `pad` that line's indentation."""
    inner = pad + "  "
    hint = _hint(schema)
    if len(head) + len(hint) > WIDTH:
        lead = f"{pad}# {head.strip(' -')} "
        yield from textwrap.wrap(
            hint, WIDTH, initial_indent=lead, subsequent_indent=f"{pad}#   ", break_long_words=False
        )
        hint = ""
    comment = f"  # {hint}" if hint else ""
    if "properties" in schema:
        yield head + comment
        yield from _fields(schema, root, inner)
    elif schema.get("type") == "array":
        yield head + comment
        item = _resolved(schema.get("items", {}), root)
        for _ in range(max(1, schema.get("minItems", 0))):
            if "properties" in item:
                lines = list(_fields(item, root, inner + "  "))
                first = next(n for n, line in enumerate(lines) if not line.lstrip().startswith("#"))
                yield from lines[:first]
                yield f"{inner}- {lines[first].lstrip()}"
                yield from lines[first + 1 :]
            else:
                yield from _field(f"{inner}-", item, root, inner)
    elif schema.get("type") == "string" and "enum" not in schema and "const" not in schema:
        yield f"{head} |-{comment}"
        yield inner
    else:
        yield head + comment


def _resolved(schema: Json, root: Json) -> Json:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _hint(schema: Json) -> str:
    """What a field may hold, in words."""
    if options := schema.get("anyOf"):
        return " or ".join(filter(None, map(_hint, options)))
    if "const" in schema:
        return f"{schema['const']}"
    if "enum" in schema:
        return "one of: " + ", ".join(map(str, schema["enum"]))
    kind = schema.get("type", "")
    if kind in ("integer", "number"):
        low, high = schema.get("minimum"), schema.get("maximum")
        return f"{low} to {high}" if low is not None and high is not None else "a number"
    if kind == "string":
        most = schema.get("maxLength")
        return f"at most {most} characters" if most else ""
    if kind == "array":
        least, most = schema.get("minItems"), schema.get("maxItems")
        count = f"{least or 0} to {most}" if most else f"{least} or more" if least else "any number"
        return f"{count} of these; leave empty for none" if not least else f"{count} of these"
    return {"boolean": "true or false", "null": "null"}.get(kind, "")
