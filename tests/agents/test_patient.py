"""How long a client's message wants to be."""

from itertools import pairwise

from agents.patient import LENGTHS, length_of
from psyllm.messages import Step


def lengths(post: str, seed: int = 0) -> list[str]:
    return [length_of(seed, Step("d", post, 0, round_, "patient", 0)) for round_ in range(1, 7)]


def test_no_length_comes_twice_running_and_every_length_comes() -> None:
    drawn = [lengths(f"p{n}") for n in range(40)]
    assert all(one != other for talk in drawn for one, other in pairwise(talk))
    assert {length for talk in drawn for length in talk} == set(LENGTHS)


def test_a_length_depends_on_seed_post_and_round_alone() -> None:
    assert lengths("p1") == lengths("p1")
    assert lengths("p1") != lengths("p2") and lengths("p1") != lengths("p1", seed=1)
