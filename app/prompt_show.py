"""`psyllm prompt show`: the exact messages that a role would be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.rule import Rule
from rich.text import Text

from agents import critic, diagnostician, patient, planner, therapist
from agents.cast import Cast
from agents.halt import Asked, Halt
from app.prompt_sample import Sample, sample
from app.screen import out
from clinical import Knowledge
from corpus.posts import read_posts
from corpus.scrub import scrubbed
from prompts.files import Modality
from prompts.library import Library
from prompts.matter import did_you_mean
from psyllm.errors import UsageError
from psyllm.forms import form_of
from psyllm.messages import CHARACTERS_PER_TOKEN, Message, Step, with_instruction
from psyllm.records import ROLES, Post, Role
from psyllm.settings import Settings, load_settings


@dataclass(frozen=True)
class Shown:
    """One call that would be made."""

    title: str
    refs: tuple[str, ...]
    messages: tuple[Message, ...]


def show_command(
    name: str,
    place: str | None,
    role: str | None,
    profile: str | None,
    prompts: Path | None,
    settings_file: Path | None,
) -> None:
    """Print the messages. Raises UsageError for an unknown id, role or post, and for a file with mistakes."""
    settings = load_settings(settings_file)
    library = Library(prompts or settings.prompts)
    file = library.find(name)
    post = _post(place) if place else None
    if name == "counsellor":
        shown = [Shown("counsellor", (name,), (Message("system", (file.render("system"),)),))]
    else:
        shown = messages(settings, profile, library, name, post, _roles(name, file, role))
    source = f"post {place}; its words stand in as the client's first ones" if place else "the example conversation"
    head = f"{file.matter.name}, version {file.matter.version}, {file.path}; over {source}"
    out.print(Text(head, style="dim"), soft_wrap=True)
    for each in shown:
        _print(each)


def _roles(name: str, file: object, role: str | None) -> tuple[Role, ...]:
    usual: tuple[Role, ...] = (
        ("therapist", "critic") if isinstance(file, Modality) else tuple(known for known in ROLES if known == name)
    )
    if role is None:
        return usual
    chosen = tuple(known for known in ROLES if known == role)
    if not chosen:
        raise UsageError(f"there is no role {role!r}{did_you_mean(role, ROLES)}", hint=f"roles: {', '.join(ROLES)}")
    if not isinstance(file, Modality) and chosen != usual:
        raise UsageError(f"{name} is a role itself", hint="--role picks one of a modality's")
    return chosen


def _post(place: str) -> Post:
    path, _, post_id = place.rpartition("#")
    if not path:
        raise UsageError(f"{place!r} names no post", hint="write FILE#ID")
    posts = {post.id: post for post in read_posts([Path(path)]).posts}
    if post_id not in posts:
        raise UsageError(f"{path} holds no post {post_id!r}{did_you_mean(post_id, posts)}", hint="write FILE#ID")
    return scrubbed(posts[post_id])


def messages(
    settings: Settings, profile: str | None, library: Library, name: str, post: Post | None, roles: tuple[Role, ...]
) -> list[Shown]:
    """Every call that these roles would make at this point of the conversation, for a role or in a modality."""
    models = {role: settings.models[model] for role, model in settings.cast(profile).items()}
    knowledge = Knowledge.load(settings.rules.systems)
    cast = Cast(Halt(settings.native_roles(profile)), library, knowledge, settings.rules, rehearsal=False, models={})
    case = sample(knowledge, post)
    own = library.modality(name if name in library.modalities else case.plan.modality.chosen)
    candidates = (own,) if name in library.modalities else tuple(library.modalities.values())
    shown = []
    for role in roles:
        for title, call in _calls(cast, case, own, candidates)[role]:
            asked = asyncio.run(_asked(call))
            if role == "critic" and name == own.matter.id and own.ref not in asked.prompt.refs:
                continue
            form = form_of(asked.schema, models[role].structured)
            refs = tuple(f"{ref.id}@{ref.version}#{ref.sha256}" for ref in asked.prompt.refs)
            shown.append(Shown(title, refs, with_instruction(asked.prompt.messages, form.instruction)))
    return shown


_Call = Callable[[], Coroutine[Any, Any, Any]]


def _calls(
    cast: Cast, case: Sample, own: Modality, candidates: tuple[Modality, ...]
) -> dict[Role, list[tuple[str, _Call]]]:
    now = case.turns[-1]
    step = Step(dialogue_id="", post_id=case.post.id, repeat=0, round=now.round, node="", attempt=0)
    raised = [risk for risk in now.risks if risk.level]
    return {
        "planner": [("planner", lambda: planner.plan(cast, step, case.post, candidates))],
        "patient": [("patient", lambda: patient.speak(cast, step, case.plan, case.turns[:-1], ()))],
        "diagnostician": [("diagnostician", lambda: diagnostician.diagnose(cast, step, _heard(case)))],
        "therapist": [("therapist", lambda: therapist.respond(cast, step, own, case.turns, ()))],
        "critic": [
            ("critic, of the client", lambda: critic.judge_client(cast, step, case.plan, case.turns)),
            (
                "critic, of the evidence",
                lambda: critic.check_evidence(cast, step, case.turns, (*now.evidence, *now.facts), raised),
            ),
            ("critic, of the reply", lambda: critic.judge_reply(cast, step, own, case.turns, case.reply)),
        ],
    }


def _heard(case: Sample) -> tuple[Any, ...]:
    return (*case.turns[:-1], case.turns[-1].model_copy(update={"evidence": (), "facts": (), "findings": ()}))


async def _asked(call: _Call) -> Asked:
    try:
        await call()
    except Asked as asked:
        return asked
    raise AssertionError("an agent answered without asking")


def _print(shown: Shown) -> None:
    """One call; its words are data, and no line of them is broken."""
    total = sum(len(message.text) for message in shown.messages) // CHARACTERS_PER_TOKEN
    out.print(Rule(Text(f"{shown.title}, about {total:,} tokens", style="bold"), align="left"))
    out.print(Text(", ".join(shown.refs), style="dim"), soft_wrap=True)
    for message in shown.messages:
        out.print(Text(f"{message.role}, about {len(message.text) // CHARACTERS_PER_TOKEN:,} tokens", style="magenta"))
        out.print(Text(message.text + "\n"), soft_wrap=True)
