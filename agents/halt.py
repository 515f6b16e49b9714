"""Who answers nothing, and tells what was asked: for looking at a call before, or instead of, making it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from pydantic import BaseModel

from psyllm.messages import Prompt, Step
from psyllm.records import Role


class Asked(Exception):
    """An agent has asked."""

    def __init__(self, step: Step, prompt: Prompt, schema: type[BaseModel]) -> None:
        super().__init__(step.path)
        self.step, self.prompt, self.schema = step, prompt, schema


@dataclass(frozen=True)
class Halt:
    """An Asker that raises Asked at the first call."""

    native_roles: frozenset[Role] = frozenset()
    """Roles whose reasoning would come from the model's reasoning channel."""

    async def ask(self, step: Step, prompt: Prompt, schema: type[BaseModel]) -> NoReturn:
        raise Asked(step, prompt, schema)

    def native(self, role: Role) -> bool:
        return role in self.native_roles

    def rehearsed(self, dialogue_id: str) -> bool:
        return False
