"""Counsellors under test: a model, and the strategy by which it is asked.

plain        the counsellor prompt and the spoken words; a fine-tuned model is served so
in_context   the same, with the nearest example exchanges shown first
two_phase    assess in one call, answer in a second
graph, graph_no_diagnostician, graph_no_modality, graph_no_critic
             our own team of agents, whole or without one of them (graphs/team.py)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import yaml

from corpus.rows import inference_messages
from evaluators.files import HERE, prompt
from evaluators.table import Table
from prompts.files import PromptFile
from psyllm.calls import Caller
from psyllm.errors import UsageError
from psyllm.forms import Plain
from psyllm.messages import Message, Prompt, Step
from psyllm.records import PromptRef, Reply, Turn

STRATEGIES = ("plain", "in_context", "two_phase")
WORKED = HERE.parent / "examples" / "worked_dialogues.yaml"
SHOWN = 2
"""Examples that the in-context strategy shows."""
_THINK = re.compile(r"^(?:\s*<think>)?(.*?)</think>\s*", re.DOTALL)


class Counsellor(Protocol):
    async def answer(self, step: Step, turns: Sequence[Turn]) -> Turn:
        """The last turn with a reply to it. Raises Failure as Caller.ask does."""
        ...


Maker = Callable[[Table, str], Counsellor]
"""Makes a counsellor of a model's name at a table."""


def split(name: str, strategies: Sequence[str]) -> tuple[str, str]:
    """'qwen:two_phase' -> model and strategy; 'plain' where none is named. Raises UsageError for an unknown one."""
    model, _, strategy = name.partition(":")
    strategy = strategy or "plain"
    if strategy not in strategies:
        raise UsageError(f"counsellor {name!r}: no strategy {strategy!r}", hint=f"strategies: {', '.join(strategies)}")
    return model, strategy


def conversation(system: PromptFile, turns: Sequence[Turn], *more: str) -> tuple[Message, ...]:
    """Spoken words alone, as a served counsellor is sent them; `more` is added to the system message."""
    spoken = [text for turn in turns for text in (turn.client_text, turn.reply and turn.reply.text) if text]
    first, *rest = inference_messages(system, spoken)
    return (
        Message("system", (first["content"], *more)),
        *(Message("user" if sent["role"] == "user" else "assistant", (sent["content"],)) for sent in rest),
    )


def apart(text: str, channel: str = "") -> tuple[str, str]:
    """(reply, reasoning): a thought before the reply is no part of it; `channel` is what came beside the text."""
    thought = _THINK.match(text)
    return (text[thought.end() :], channel or thought[1].strip()) if thought else (text, channel)


@dataclass(frozen=True)
class Plainly:
    """One call: the counsellor prompt, the spoken words."""

    table: Table
    model: str

    @cached_property
    def caller(self) -> Caller:
        return self.table.seat(self.model)

    async def answer(self, step: Step, turns: Sequence[Turn]) -> Turn:
        more, refs = self._more(turns)
        messages = conversation(self.role, _heard(turns), *more)
        return _with_reply(turns[-1], *await self._ask(step, messages, (self.role.ref, *refs)))

    @property
    def role(self) -> PromptFile:
        return self.table.library.roles["counsellor"]

    def _more(self, turns: Sequence[Turn]) -> tuple[tuple[str, ...], tuple[PromptRef, ...]]:
        """What the strategy adds to the system message, and the prompt files it comes from."""
        return (), ()

    async def _ask(self, step: Step, messages: tuple[Message, ...], refs: tuple[PromptRef, ...]) -> tuple[str, str]:
        answer, channel = await self.caller.ask(step, Prompt("therapist", messages, refs), Plain)
        return apart(answer.text, channel)


@dataclass(frozen=True)
class InContext(Plainly):
    """Plainly, with the example exchanges nearest to the client's last words shown first."""

    def _more(self, turns: Sequence[Turn]) -> tuple[tuple[str, ...], tuple[PromptRef, ...]]:
        shots = prompt("in_context")
        return (shots.render("examples", examples=self._nearest(turns[-1].client_text)),), (shots.ref,)

    def _nearest(self, words: str) -> list[tuple[str, str]]:
        vectorizer, index = self._index
        near = (index @ vectorizer.transform([words]).T).toarray().ravel()
        return [self._examples[n] for n in near.argsort()[::-1][:SHOWN]]

    @cached_property
    def _examples(self) -> list[tuple[str, str]]:
        return worked_exchanges(WORKED)

    @cached_property
    def _index(self):  # type: ignore[no-untyped-def]
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True)
        return vectorizer, vectorizer.fit_transform([client for client, _ in self._examples])


@dataclass(frozen=True)
class TwoPhase(Plainly):
    """Two calls: notes on feeling, verdicts, danger and step; then the reply with the notes at hand."""

    async def answer(self, step: Step, turns: Sequence[Turn]) -> Turn:
        phases = prompt("two_phase")
        spoken = _heard(turns)
        assess = Step(step.dialogue_id, step.post_id, step.repeat, step.round, f"{step.node}.assess", step.attempt)
        listening = (Message("system", (phases.render("assess"),)), *conversation(self.role, spoken)[1:])
        notes, _ = await self._ask(assess, listening, (phases.ref,))
        messages = conversation(self.role, spoken, phases.render("notes", notes=notes))
        text, channel = await self._ask(step, messages, (self.role.ref, phases.ref))
        return _with_reply(turns[-1], text, "\n\n".join(filter(None, (notes, channel))))


MAKERS: dict[str, Maker] = {"plain": Plainly, "in_context": InContext, "two_phase": TwoPhase}


def worked_exchanges(path: Path) -> list[tuple[str, str]]:
    """(client, counsellor) of every round of the worked dialogues."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    rounds = [one for dialogue in data["dialogues"] for one in dialogue["rounds"]]
    return [(" ".join(one["patient"].values()), one["therapist"]["reply"]) for one in rounds]


def _heard(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns, the last one as yet unanswered."""
    return (*turns[:-1], turns[-1].model_copy(update={"reply": None}))


def _with_reply(turn: Turn, text: str, thought: str) -> Turn:
    reply = Reply(reasoning=thought, technique="", text=text.strip(), trace="native")
    return turn.model_copy(update={"reply": reply})
