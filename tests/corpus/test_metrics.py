"""Metrics on texts whose figures can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from corpus.metrics import (
    asks,
    distinct,
    is_verbatim,
    mean_distance,
    opening,
    quotes,
    readability,
    self_bleu,
    spread,
    vendi,
)


def test_openings_questions_and_quotes_are_counted_as_a_reader_would() -> None:
    assert opening("“That” sounds — hard. And?") == "that sounds hard"
    assert asks("How long? I wonder. And who knows?") == 2
    assert quotes('She said “I can’t go on like this” and "no".') == ["I can't go on like this"]


def test_a_quote_is_verbatim_whatever_its_quotes_case_and_marks() -> None:
    said = ["I can’t sleep, not since May."]
    assert is_verbatim("can't sleep not", said)
    assert not is_verbatim("cannot sleep, not since", said)
    assert not is_verbatim("sleep not sinc", said)


def test_diversity_tells_alike_from_unlike() -> None:
    alike = ["I hear how tired you are of all this now"] * 5
    unlike = [f"{n} walked past the {n}th blue door whistling number {n * 7} again" for n in range(5)]
    assert distinct(["a b a", "b a"], 2) == pytest.approx(2 / 3)
    assert distinct(["a"], 2) == 0
    assert self_bleu(alike) == pytest.approx(1)
    assert self_bleu(unlike) < 0.8
    assert spread(alike) == pytest.approx(0)
    assert spread(["one two", "three four"]) == pytest.approx(1)
    assert (self_bleu(["one"]), spread(["one"])) == (0, 0)


def test_vectors_of_one_direction_are_one_text_and_those_at_right_angles_are_as_many_as_they_are() -> None:
    one, four = np.tile(np.eye(4)[:1], (5, 1)), np.eye(4)
    assert (mean_distance(one), vendi(one)) == pytest.approx((0, 1))
    assert (mean_distance(four), vendi(four)) == pytest.approx((1, 4))
    pairs = np.repeat(np.eye(4), 2, axis=0)
    assert (mean_distance(pairs), vendi(pairs)) == pytest.approx((1 - 4 / 28, 4))
    assert (mean_distance(four[:1]), vendi(four[:0])) == (0, 0)


def test_long_words_read_harder() -> None:
    easy, hard = readability("I am sad. It is cold."), readability("Comprehensive psychotherapeutic considerations.")
    assert easy is not None
    assert hard is not None
    assert easy < 3 < 20 < hard
    assert readability("...") is None
