"""Who sits at an evaluation: models that counsel, play clients and judge, by their names of psyllm.toml."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from agents.cast import Cast
from clinical import Knowledge
from prompts.library import Library
from prompts.matter import did_you_mean
from psyllm.calls import Caller
from psyllm.chat import chat_model, http_session
from psyllm.endpoints import Endpoint, endpoint_of
from psyllm.errors import UsageError
from psyllm.journal import Journal
from psyllm.records import ROLES
from psyllm.servers import serving
from psyllm.settings import Rules, Settings


def check_models(settings: Settings, names: Sequence[str]) -> None:
    """Raises UsageError for a model that psyllm.toml does not hold, or whose key is not set."""
    for name in names:
        if name not in settings.models:
            known = ", ".join(sorted(settings.models))
            near = did_you_mean(name, settings.models)
            raise UsageError(f"there is no model {name!r}{near}", hint=f"models of psyllm.toml: {known}")
        settings.models[name].api_key(name)


@dataclass(frozen=True)
class Table:
    endpoints: Mapping[str, Endpoint]
    """By the model's name in psyllm.toml."""
    caller: Caller
    """Reads and writes the journal; `seat` gives it its models."""
    knowledge: Knowledge
    library: Library

    def seat(self, model: str) -> Caller:
        """A caller that has one model in every chair."""
        return self.caller.beside(dict.fromkeys(ROLES, self.endpoints[model]))

    def cast(self, model: str, rules: Rules, library: Library | None = None) -> Cast:
        """A cast of which one model plays every role."""
        settings = self.endpoints[model].settings
        return Cast(
            asker=self.seat(model),
            library=library or self.library,
            knowledge=self.knowledge,
            rules=rules,
            rehearsal=settings.kind == "rehearsal",
            models=dict.fromkeys(ROLES, settings.model),
        )


@asynccontextmanager
async def laid(
    settings: Settings, names: Sequence[str], journal: Journal, library: Library, seed: int, concurrency: int | None
) -> AsyncIterator[Table]:
    """A table at which these models answer. One server of each built-in kind serves all models of that kind."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(http_session())
        servers: dict[str, tuple[str, ...]] = {}
        endpoints: dict[str, Endpoint] = {}
        for name in dict.fromkeys(names):
            model = settings.models[name]
            places = concurrency or model.concurrency
            urls = servers.get(model.kind) if model.kind != "endpoint" else None
            if urls is None:
                server = serving(model, rehearsal_latency_ms=0, slots=places)
                urls = servers[model.kind] = await stack.enter_async_context(server)
            chats = {url: await asyncio.to_thread(chat_model, model, name, url, session) for url in urls}
            endpoints[name] = endpoint_of(name, model, chats, places)
        knowledge = await asyncio.to_thread(Knowledge.load)
        yield Table(endpoints, Caller(journal, {}, seed), knowledge, library)
