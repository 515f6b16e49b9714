"""Seats a cast: starts the servers of a profile, opens their chat models, and gives the agents someone to ask."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psyllm
from agents.cast import Cast
from clinical import Knowledge
from prompts.library import Library
from psyllm.calls import Caller
from psyllm.chat import Chat, chat_model, http_session
from psyllm.desk import Desk
from psyllm.endpoints import Endpoint, endpoint_of
from psyllm.journal import Journal
from psyllm.records import Role
from psyllm.servers import serving
from psyllm.settings import Rules, Settings


def fingerprint(settings: Settings, profile: str | None, rules: Rules, library: Library) -> dict[str, Any]:
    """Everything that a dialogue's fate depends on besides its post, by dotted name.

    Endpoints, prices and limits are left out: they may change from one start to the next.
    """
    facts: dict[str, Any] = {f"grow.{key}": value for key, value in rules.model_dump(mode="json").items()}
    for role, name in settings.cast(profile).items():
        model = settings.models[name]
        facts[f"models.{role}"] = f"{model.model} ({model.kind})"
        facts[f"models.{role}.sampling"] = model.sampling
        facts[f"models.{role}.context"] = model.context
        facts[f"models.{role}.form"] = f"{model.structured}, {model.trace} trace, seed {model.send_seed}"
    for kind, files in (("roles", library.roles), ("modalities", library.modalities)):
        for name, file in files.items():
            facts[f"prompts.{kind}.{name}"] = f"{file.matter.version}#{file.sha256[:12]}"
    house = Path(psyllm.__file__).parent.parent
    facts["clinical"] = _hash_of(house / "clinical")
    facts["checks"] = _hash_of(house / "agents", house / "psyllm" / "reason_codes.yaml")
    return facts


def _hash_of(*places: Path) -> str:
    digest = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*.yaml")) if place.is_dir() else [place]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@asynccontextmanager
async def seated(
    settings: Settings,
    profile: str | None,
    rules: Rules,
    library: Library,
    journal: Journal,
    *,
    concurrency: int | None = None,
    rehearsal_latency_ms: float = 0,
) -> AsyncIterator[tuple[Cast, Caller]]:
    """A cast whose models answer. Raises UsageError for a missing key, model or package, before any call."""
    names = settings.cast(profile)
    used = {name: settings.models[name] for name in dict.fromkeys(names.values())}
    knowledge = await asyncio.to_thread(Knowledge.load, rules.systems)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(http_session())
        desk = Desk(journal.folder)
        endpoints: dict[str, Endpoint] = {}
        for name, model in used.items():
            at_desk = model.kind == "desk"
            places = (not at_desk and concurrency) or model.concurrency
            server = serving(model, rehearsal_latency_ms=rehearsal_latency_ms, slots=places)
            chats: dict[str, Chat | Desk] = {
                url: desk if at_desk else await asyncio.to_thread(chat_model, model, name, url, session)
                for url in await stack.enter_async_context(server)
            }
            endpoints[name] = endpoint_of(name, model, chats, places)
        by_role: dict[Role, Endpoint] = {role: endpoints[name] for role, name in names.items()}
        caller = Caller(journal, by_role, rules.seed)
        cast = Cast(
            asker=caller,
            library=library,
            knowledge=knowledge,
            rules=rules,
            rehearsal=any(model.kind == "rehearsal" for model in used.values()),
            models={role: endpoint.settings.model for role, endpoint in by_role.items()},
        )
        yield cast, caller
