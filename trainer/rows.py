"""Turns as token ids: the prompt exactly as a server would render it, and what the model is to answer.

Prompt and completion are rendered by the model's chat template and tokenised apart, as at inference. A turn that the
template does not render whole, or that is longer than `max_length`, is left out and named; nothing is ever cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psyllm.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from trainer.sources import Conversation, Message, Turn

Ids = list[int]


@dataclass(frozen=True)
class Row:
    """One turn as token ids; loss falls on the completion."""

    prompt: Ids
    completion: Ids


@dataclass(frozen=True)
class Encoded:
    """The rows of one conversation in the order of its turns."""

    id: str
    rows: tuple[Row, ...]


@dataclass
class Dropped:
    """Turns that are not trained on: reason -> places, as "dialogue/turn"."""

    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, why: str, place: str) -> None:
        self.places.setdefault(why, []).append(place)

    def counts(self) -> Counter[str]:
        return Counter({why: len(places) for why, places in self.places.items()})


NO_REASONING = "no reasoning_content"
TOO_LONG = "longer than max_length"
NOT_RENDERED = "the chat template leaves out reasoning or reply"


def encode(
    conversations: Iterable[Conversation], tokenizer: PreTrainedTokenizerBase, max_length: int, dropped: Dropped
) -> list[Encoded]:
    """Per-turn rows. What is left out goes to `dropped`.

    Raises UsageError if nothing is left, saying why.
    """
    found = []
    for one in conversations:
        named = [(f"{one.id}/{number}", turn) for number, turn in enumerate(one.turns, 1)]
        texts = [(place, *rendered(turn, tokenizer)) for place, turn in named if _reasons(place, turn, dropped)]
        if not texts:
            continue
        prompts = ids_of(tokenizer, [prompt for _, prompt, _ in texts])
        completions = ids_of(tokenizer, [completion or "" for _, _, completion in texts])
        rows = []
        for (place, _, completion_text), prompt, completion in zip(texts, prompts, completions, strict=True):
            if completion_text is None:
                dropped.add(NOT_RENDERED, place)
            elif len(prompt) + len(completion) > max_length:
                dropped.add(TOO_LONG, place)
            else:
                rows.append(Row(prompt, completion))
        if rows:
            found.append(Encoded(one.id, tuple(rows)))
    if not found:
        refuse_empty(dropped, max_length)
    return found


def rendered(turn: Turn, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str | None]:
    """A turn as `apart` renders it."""
    answer = {"role": "assistant", "reasoning_content": turn.reasoning, "content": turn.reply}
    return apart(turn.prompt, answer, tokenizer)


def apart(prompt: Sequence[Message], answer: Message, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str | None]:
    """(prompt, completion) as text; the completion is None if it does not hold both reasoning and reply."""
    asked = str(tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True))
    whole = str(tokenizer.apply_chat_template([*prompt, answer], tokenize=False))
    completion = whole.removeprefix(asked)
    holds = all(words.strip() in completion for words in (answer["reasoning_content"], answer["content"]))
    return asked, completion if holds and whole.startswith(asked) else None


def keep_all(
    conversations: Iterable[Conversation], tokenizer: PreTrainedTokenizerBase, max_length: int, dropped: Dropped
) -> list[tuple[Ids, Ids]]:
    """(ids, labels) of whole conversations in which later turns see earlier reasoning, for models served like that.

    Raises UsageError if the chat template drops earlier reasoning, or nothing is left.
    """
    found = []
    for one in conversations:
        if not all(_reasons(f"{one.id}/{number}", turn, dropped) for number, turn in enumerate(one.turns, 1)):
            continue
        ids: Ids = []
        labels: Ids = []
        before: list[Message] = []
        seen = ""
        for turn in one.turns:
            answer = {"role": "assistant", "reasoning_content": turn.reasoning, "content": turn.reply}
            prompt, completion = apart([*before, *turn.prompt[len(before) :]], answer, tokenizer)
            if completion is None or not prompt.startswith(seen):
                raise UsageError(
                    "layout keep-all: this chat template drops the reasoning of earlier turns, as its model does",
                    hint="set layout to tree or rows, or chat_template_path to a template that keeps reasoning",
                )
            asked, answered = ids_of(tokenizer, [prompt.removeprefix(seen), completion])
            ids += asked + answered
            labels += [-100] * len(asked) + answered
            seen, before = prompt + completion, [*before, *turn.prompt[len(before) :], answer]
        if len(ids) > max_length:
            dropped.add(TOO_LONG, one.id)
        else:
            found.append((ids, labels))
    if not found:
        refuse_empty(dropped, max_length)
    return found


def _reasons(place: str, turn: Turn, dropped: Dropped) -> bool:
    if not turn.reasoning.strip():
        dropped.add(NO_REASONING, place)
    return bool(turn.reasoning.strip())


def ids_of(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[Ids]:
    ids: list[Ids] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids


def refuse_empty(dropped: Dropped, max_length: int) -> None:
    counts = dropped.counts()
    why = ", ".join(f"{n} turns: {reason}" for reason, n in counts.most_common()) or "no turns"
    hints = {
        NO_REASONING: "assistant messages need `reasoning_content` (not `thinking` or `reasoning`)",
        TOO_LONG: f"raise max_length (now {max_length})",
        NOT_RENDERED: "set chat_template_path, e.g. to trainer/templates/smollm2.jinja",
    }
    hint = hints[counts.most_common(1)[0][0]] if counts else ""
    raise UsageError(f"no turn is left to train on ({why})", hint=hint)
