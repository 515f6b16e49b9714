"""Knowledge as shipped, and turns made of plain sentences."""

from collections.abc import Callable, Sequence

import pytest

from clinical import Knowledge
from psyllm.records import Reply, Sentence, Turn

Say = Callable[..., list[Turn]]


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    return Knowledge.load()


@pytest.fixture
def say() -> Say:
    """Each argument is one client turn, a list of sentences; the counsellor asks `asked` after each."""

    def turns(*client: Sequence[str], asked: str = "Go on?") -> list[Turn]:
        made: list[Turn] = []
        n = 0
        for words in client:
            sentences = tuple(Sentence(n=n + i, text=text) for i, text in enumerate(words, start=1))
            n += len(words)
            reply = Reply(reasoning="r", technique="t", text=asked)
            made.append(Turn(round=len(made) + 1, client=sentences, reply=reply))
        return [*made[:-1], made[-1].model_copy(update={"reply": None})]

    return turns
