"""Templates: Jinja2, strict, and cut down to placing, choosing and repeating what the code hands in.

    {% for technique in techniques %}- {{ technique }}
    {% endfor %}

Calls, arithmetic, assignments and private attributes are refused when a file is read, so that a template can neither
run for long nor reach for anything.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

FILTERS = frozenset({"capitalize", "default", "first", "join", "last", "length", "lower", "trim", "upper"})
_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_JINJA.globals.clear()
_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Test,
    nodes.For, nodes.Filter, nodes.Tuple, nodes.List, nodes.Neg,
)  # fmt: skip


class TemplateFault(Exception):
    """What is wrong in a template, the value, and its 1-based line."""

    def __init__(self, line: int, value: str, message: str) -> None:
        super().__init__(f"{value}: {message}" if value else message)
        self.line, self.value, self.message = line, value, message


@lru_cache(maxsize=256)
def _compiled(text: str) -> Template:
    return _JINJA.from_string(text)


def render(text: str, variables: Mapping[str, object]) -> str:
    """The text with its variables filled in. Raises TemplateFault."""
    try:
        return _compiled(text).render(variables).strip()
    except TemplateSyntaxError as error:
        raise TemplateFault(error.lineno, "", error.message or "is no template") from error
    except Exception as error:  # whatever a template does wrong while it runs is its own fault
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
        raise TemplateFault((lines[-1] if lines else 1) or 1, "", str(error) or type(error).__name__) from error


def faults(text: str, known: Mapping[str, object]) -> Iterator[TemplateFault]:
    """All that can be told without running: syntax, what is not allowed, unknown variables."""
    try:
        tree = _JINJA.parse(text)
    except TemplateSyntaxError as error:
        yield TemplateFault(error.lineno, "", error.message or "is no template")
        return
    yield from _forbidden(tree, looped=False)
    names = list(tree.find_all(nodes.Name))
    bound = known.keys() | {name.name for name in names if name.ctx == "store"}
    for name in names:
        if name.name not in bound:
            yield TemplateFault(name.lineno, name.name, "unknown variable")


def _forbidden(node: nodes.Node, *, looped: bool) -> Iterator[TemplateFault]:
    if not isinstance(node, _ALLOWED):
        name = type(node).__name__.lower()
        yield TemplateFault(node.lineno, name, "is not allowed; a template may place, choose and repeat variables")
        return
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        yield TemplateFault(node.lineno, node.attr, "private attributes are not allowed")
    if isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Const):
        yield TemplateFault(node.lineno, "[...]", "takes a number only")
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        yield TemplateFault(node.lineno, node.name, f"is no filter here; there are {', '.join(sorted(FILTERS))}")
    if isinstance(node, nodes.For) and (looped or node.recursive):
        yield TemplateFault(node.lineno, "for", "a loop inside a loop is not allowed")
        return
    for child in node.iter_child_nodes():
        yield from _forbidden(child, looped=looped or isinstance(node, nodes.For))
