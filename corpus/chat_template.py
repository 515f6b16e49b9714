"""Chat templates of models: rendered as `transformers` renders them, without importing it.

template = ChatTemplate.read(Path("trainer/templates/smollm2.jinja"))
template.require_reasoning(row)      # refuses a row whose rendered completion lacks its reasoning
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, TemplateSyntaxError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from psyllm.errors import Failure, UsageError


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


_JINJA = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
_JINJA.globals["raise_exception"] = _raise


@dataclass(frozen=True)
class ChatTemplate:
    name: str
    template: Template

    @classmethod
    def read(cls, path: Path) -> ChatTemplate:
        """Raises UsageError for a file that is missing or no template."""
        try:
            return cls(str(path), _JINJA.from_string(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", hint="name a .jinja file") from error
        except (TemplateSyntaxError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is no chat template: {error}", hint="mend it") from error

    def render(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = False) -> str:
        """The text that a model reads. Raises Failure('schema') if the template refuses the messages."""
        try:
            return self.template.render(messages=messages, add_generation_prompt=add_generation_prompt)
        except TemplateError as error:
            raise Failure(
                "schema", f"{self.name} refuses the messages: {error}", hint="use another template"
            ) from error

    def completion(self, prompt: Sequence[Mapping[str, Any]], answer: Sequence[Mapping[str, Any]]) -> str:
        """What the answer adds to the rendered prompt. Raises Failure('schema') if the prompt changes under it."""
        asked = self.render(prompt, add_generation_prompt=True)
        whole = self.render([*prompt, *answer])
        if not whole.startswith(asked):
            raise Failure(
                "schema",
                f"{self.name} renders a prompt in another way once it is answered: training and serving would differ",
                hint="use a template that only appends",
            )
        return whole.removeprefix(asked)

    def require_reasoning(self, row: Mapping[str, Any]) -> None:
        """Refuse a row whose rendered answers lack their reasoning: of messages only the last reply can hold it.

        Raises Failure('schema') naming the row.
        """
        messages = row.get("messages", ())
        prompt = row["prompt"] if "prompt" in row else messages[:-1]
        answers = [row[name] for name in ("completion", "chosen", "rejected") if name in row] or [messages[-1:]]
        for answer in answers:
            text = self.completion(prompt, answer)
            reasoning = (answer[0].get("reasoning_content") or "").strip() if answer else ""
            if not reasoning or reasoning not in text:
                raise Failure(
                    "schema",
                    f"row {row.get('id', '')}: rendered by {self.name}, its answer lacks its reasoning",
                    hint="use a template that renders reasoning_content, such as trainer/templates/smollm2.jinja",
                )
