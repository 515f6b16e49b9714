"""Walks a finished dialogue again up to one step, answering from its journal: what replay and fork begin with.

The graph itself runs, so that the state before the step is exactly the one it was; nothing is sent to a model.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from agents.cast import Asker, Cast
from agents.halt import Asked, Halt
from clinical import Knowledge
from graphs.dialogue import STEP_LIMIT, DialogueState, build_graph
from graphs.table import fingerprint
from prompts.library import Library
from psyllm.errors import UsageError
from psyllm.messages import Prompt, Step
from psyllm.records import Dialogue, Post, PromptRef, Role
from psyllm.runs import Run, StoredCall
from psyllm.settings import Settings

Answered = TypeVar("Answered", bound=BaseModel)


class Retrace:
    """Answers with a dialogue's stored calls up to the visit that makes `call`; from there on somebody else does."""

    def __init__(self, calls: Sequence[StoredCall], call: StoredCall, after: Asker) -> None:
        self.until = visit(call)
        self.after = after
        self.before = before(calls, call)
        self._there = False

    async def ask(self, step: Step, prompt: Prompt, schema: type[Answered]) -> tuple[Answered, str]:
        """Raises UsageError if the graph leaves the way that the dialogue took."""
        self._there = self._there or step.path == self.until
        if self._there:
            return await self.after.ask(step, prompt, schema)
        made = [call for call in self.before if visit(call) == step.path]
        if not made or made[-1].parsed is None:
            raise UsageError(
                f"the dialogue cannot be walked again: it has no answer at {step.path}",
                hint="checks or clinical data have changed since it was grown; the psyllm of that time can do it",
            )
        return schema.model_validate_json(made[-1].parsed), made[-1].reasoning

    def native(self, role: Role) -> bool:
        return self.after.native(role)

    def rehearsed(self, dialogue_id: str) -> bool:
        return any(call.rehearsal for call in self.before) or self.after.rehearsed(dialogue_id)


@dataclass(frozen=True)
class Edition:
    """The prompts of a run, or an edited edition of them."""

    library: Library
    changed: tuple[tuple[PromptRef, str], ...]
    """The file that was laid over them, with its text; empty if none was."""


@dataclass(frozen=True)
class Origin:
    """A dialogue to replay or to fork from, and the run that it stands in."""

    run: Run
    dialogue: Dialogue
    calls: tuple[StoredCall, ...]
    call: StoredCall
    """The call at the step in question."""
    settings: Settings
    profile: str
    recast: str = ""
    """The profile, where it is another than the run's own."""

    @classmethod
    def find(cls, run: Run, short_id: str, step: int, settings: Settings, profile: str | None) -> Origin:
        """Raises UsageError for an unknown dialogue, step or profile."""
        dialogue = run.dialogue(short_id)
        calls = tuple(run.calls(dialogue.id))
        if step >= len(calls):
            raise UsageError(
                f"dialogue {dialogue.id} has no step {step}",
                hint=f"steps are 0 to {len(calls) - 1}" if calls else "it was screened out before any call",
            )
        own = run.meta.get("profile") or settings.profile
        settings.cast(profile or own)
        recast = profile if profile and profile != own else ""
        return cls(run, dialogue, calls, calls[step], settings, profile or own, recast)

    def changed(self) -> tuple[str, ...]:
        """What a dialogue's fate depends on and is no longer as it was, prompts aside: those come from the run."""
        then = self.run.fingerprint
        now = json.loads(json.dumps(fingerprint(self.settings, self.profile, self.run.rules, Library())))
        facts = {*then, *now}
        return tuple(sorted(f for f in facts if not f.startswith("prompts.") and then.get(f) != now.get(f)))

    @property
    def post(self) -> Post:
        return self.run.post(self.dialogue.post_id)

    def edition(self, file: Path | None) -> Edition:
        """The prompts that the run keeps, with one file laid over them. Raises UsageError naming that file."""
        kinds = [name.split(".")[1:] for name in self.run.fingerprint if name.startswith("prompts.")]
        kept = {name: (kind, self.run.prompt(name)[1]) for kind, name in kinds}
        own = ""
        if file is not None:
            own, changed = _own(file)
            if own not in kept:
                raise UsageError(f"{file}: the run has no prompt {own!r}", hint=f"it has {', '.join(sorted(kept))}")
            kept[own] = (kept[own][0], changed)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for name, (kind, text) in kept.items():
                path = folder / kind / f"{name}.md"
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="")
            try:
                library = Library(folder)
                ref = library.find(own).ref if own else None
            except UsageError as error:
                said = re.sub(rf"{re.escape(scratch)}\S*?\.md", str(file), str(error))
                raise UsageError(said, hint=error.hint) from error
        return Edition(library, ((ref, kept[own][1]),) if ref else ())

    async def reach(self, library: Library) -> Asked:
        """Walk to the step with these prompts; what the graph asks there. Raises UsageError if it comes elsewhere."""
        asker = Retrace(self.calls, self.call, Halt(self.settings.native_roles(self.profile)))
        knowledge = Knowledge.load(self.run.rules.systems)
        cast = Cast(asker, library, knowledge, self.run.rules, rehearsal=False, models={})
        state: DialogueState = {"post": self.post, "repeat": self.dialogue.repeat, "id": self.dialogue.id}
        try:
            await build_graph(cast).ainvoke(state, {"recursion_limit": STEP_LIMIT})
        except Asked as asked:
            return asked
        raise UsageError(
            f"the dialogue cannot be walked again: it ended before {self.call.path}",
            hint="checks or clinical data have changed since it was grown; the psyllm of that time can do it",
        )


def before(calls: Sequence[StoredCall], call: StoredCall) -> Sequence[StoredCall]:
    """The calls made before the step that `call` belongs to: those that are answered from the journal."""
    return calls[: next(n for n, made in enumerate(calls) if visit(made) == visit(call))]


def visit(call: StoredCall) -> str:
    """round/node/attempt: the step that a call and its corrections belong to."""
    return call.path.rpartition("/")[0]


def _own(file: Path) -> tuple[str, str]:
    """Id and text of a prompt file."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{file} cannot be read: {why}", hint="name a prompt file, e.g. prompts/modalities/cbt.md"
        ) from error
    found = re.search(r"^id:\s*[\"']?([a-z][a-z0-9_]*)", text, re.MULTILINE)
    return (found[1] if found else file.stem), text
