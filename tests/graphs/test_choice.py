"""Which modality a post gets: by what its words indicate and forbid, then by the wanted shares."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from agents.cast import Cast
from graphs.choice import Choice
from graphs.grow import Grower
from prompts.library import Library
from psyllm.records import Dialogue, Post, Status
from psyllm.runs import Run
from psyllm.settings import Rules
from tests.conftest import Endpoint
from tests.graphs.conftest import PLAN, SCRIPT, grow, served, table

Start = Callable[[dict[str, Any]], Endpoint]
SHARES = {"cbt": 3.0, "act": 2.0, "dbt": 1.0, "mi": 0.0}


def post(text: str, name: str = "p") -> Post:
    return Post(id=name, text=text)


def library_with(name: str, **lists: tuple[str, ...]) -> Library:
    """The shipped prompts, with other indications or contraindications for one modality, and none for the others."""
    library = Library()
    blank = {"indications": ("no_diagnosis",), "contraindications": ()}
    for own, modality in library.modalities.items():
        changes = blank | (lists if own == name else {})
        library.modalities[own] = replace(modality, matter=modality.matter.model_copy(update=changes))
    return library


@pytest.fixture
def choose(tmp_path: Path, scripted: Start) -> Callable[..., Any]:
    """Choice.for_post for these rules and prompts."""

    numbers = count()

    async def of(posts: list[Post], rules: Rules, library: Library | None = None) -> list[Choice]:
        model = served(scripted(SCRIPT).base_url)
        async with table(tmp_path / f"run{next(numbers)}", model, rules, library) as (cast, _, _):
            return [Choice.for_post(cast, one) for one in posts]

    return of


def ids(choice: Choice) -> list[str]:
    return [modality.matter.id for modality in choice.candidates]


async def test_posts_are_drawn_by_the_wanted_shares(choose: Callable[..., Any]) -> None:
    posts = [post("I need to talk to somebody.", f"p{n}") for n in range(3000)]
    choices = await choose(posts, Rules(coverage=SHARES), library_with("cbt"))
    first = Counter(ids(choice)[0] for choice in choices)
    assert set(first) == {"cbt", "act", "dbt"}, "mi weighs nothing, and unnamed ones are not on offer"
    for name, share in Rules(coverage=SHARES).shares(SHARES).items():
        error = math.sqrt(share * (1 - share) / len(posts))
        assert abs(first[name] / len(posts) - share) < 4 * error


async def test_the_draw_does_not_depend_on_company_or_order(choose: Callable[..., Any]) -> None:
    posts = [post("I need to talk to somebody.", f"p{n}") for n in range(40)]
    choices = await choose(posts, Rules(coverage=SHARES))
    (alone,) = await choose([posts[7]], Rules(coverage=SHARES))
    other_seed = await choose(posts, Rules(coverage=SHARES, seed=1))
    assert ids(alone) == ids(choices[7])
    assert [ids(c) for c in other_seed] != [ids(c) for c in choices]


async def test_what_the_post_indicates_weighs_twice_and_what_it_forbids_is_not_offered(
    choose: Callable[..., Any],
) -> None:
    words = "I can't fall asleep before four and lie awake every night. Some days I want to kill myself."
    for heard in ("insomnia", "insomnia.A1", "suicide:2"):
        rules = Rules(modalities=("act", "cbt", "mi"))
        posts = [post(words, f"p{n}") for n in range(600)]
        first = [ids(choice)[0] for choice in await choose(posts, rules, library_with("mi", indications=(heard,)))]
        assert abs(first.count("mi") / len(first) - 1 / 2) < 4 * math.sqrt(1 / 4 / len(first))
        for choice in await choose(posts, rules, library_with("mi", contraindications=(heard,))):
            assert sorted(ids(choice)) == ["act", "cbt"]
            assert choice.refused == (("mi", heard),)
    (calm,) = await choose(
        [post("The garden is dull.")], Rules(), library_with("mi", contraindications=("insomnia", "suicide:1"))
    )
    assert "mi" in ids(calm)


async def grown_alone(cast: Cast, caller: Any, journal: Any, one: Post) -> Dialogue:
    grown: list[Dialogue] = []
    await Grower(cast, caller, journal, [one], open_dialogues=1, on_dialogue=grown.append).run()
    return grown[0]


async def test_a_post_against_every_modality_costs_no_call(tmp_path: Path, scripted: Start) -> None:
    endpoint = scripted(SCRIPT)
    library = library_with("mi", contraindications=("suicide:3",))
    async with table(tmp_path / "run", served(endpoint.base_url), Rules(modalities=("mi",)), library) as seats:
        dialogue = await grown_alone(*seats, post("I think about it all night: tonight I am going to kill myself."))
    assert (dialogue.status, dialogue.reasons[0].code) == (Status.SCREENED_OUT, "no_modality_fits")
    assert dialogue.reasons[0].detail == "mi: suicide:3"
    assert endpoint.requests() == []


async def test_the_planner_passes_over_the_first_candidate_only_with_a_reason(tmp_path: Path, scripted: Start) -> None:
    rules = Rules(coverage={"act": 1e9, "mi": 1, "cbt": 1, "dbt": 1})
    silent = PLAN | {"against_first": " ", "rejected": [{"id": name, "why": "The eggs."} for name in ("mi", "dbt")]}
    endpoint = scripted(SCRIPT | {"plan": [silent, PLAN]})
    dialogue, *_ = await grow(tmp_path / "run", served(endpoint.base_url), rules)
    assert dialogue.plan is not None
    assert (dialogue.plan.modality.drawn, dialogue.plan.modality.chosen) == ("act", "cbt")
    assert next((r.id, r.why) for r in dialogue.plan.modality.rejected) == ("act", PLAN["against_first"])
    complaint = endpoint.requests()[1]["messages"][-1]["content"]
    assert "choose the first candidate, act, or say in `against_first` why not" in complaint
    with Run(tmp_path / "run") as run:
        counts = {row.modality: (row.drawn, row.chosen, row.accepted) for row in run.coverage()}
    assert counts["act"] == (1, 0, 0) and counts["cbt"] == (0, 1, 1)


def test_shares_add_up_over_what_is_on_offer() -> None:
    assert Rules(modalities=("mi", "cbt"), coverage={"cbt": 1}).shares(()) == {"cbt": 1.0}
    assert Rules().shares(("a", "b")) == {"a": 0.5, "b": 0.5}
    assert Rules(modalities=("mi",), coverage={"cbt": 1}).shares(()) == {}
