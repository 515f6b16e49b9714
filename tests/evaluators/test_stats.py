"""The statistics recover what a simulated panel was given, and find out judges that are not fair."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from evaluators.stats import agreement, bias, estimates, frames, pairwise
from tests.evaluators.simulated import Sim, comparisons, ratings

FAIR = [Sim("a"), Sim("b", shift=0.3), Sim("c", shift=-0.3)]


def panel(frame: pd.DataFrame) -> pd.DataFrame:
    """Units by judges."""
    return frame.pivot_table(index=["counsellor", "client", "item"], columns="judge", values="score")


# ---------------------------------------------------------------- means and differences


def test_intervals_of_a_mean_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        sample = np.clip(np.round(rng.normal(3.2, 1.0, 25)), 1, 5)
        found = estimates.mean(sample, seed)
        held += found.low <= 3.2 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_paired_differences_recover_a_known_lead() -> None:
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        frame = ratings(rng, {"a": 3.0, "b": 3.4}, FAIR, clients=20)
        scores = frames.wide(frames.by_rubric(frames.by_item(frame)))
        (found,) = estimates.differences(scores[["b", "a"]], seed)
        held += found.estimate.low <= 0.4 <= found.estimate.high
        assert found.estimate.n == 20
    assert held / 20 >= 0.85, "rounding to whole points costs a little"


def test_equal_counsellors_are_rarely_called_different() -> None:
    wrong = 0
    for seed in range(16):
        rng = np.random.default_rng(1000 + seed)
        frame = ratings(rng, dict.fromkeys("abcd", 3.0), [Sim("j")], clients=15, items=2)
        found = estimates.differences(frames.wide(frames.by_rubric(frames.by_item(frame))), seed)
        assert len(found) == 6
        wrong += any(difference.p_holm < 0.05 for difference in found)
    assert wrong <= 3, "one in twenty is allowed to any of the six pairs together"


def test_few_clients_give_a_mean_and_no_interval() -> None:
    found = estimates.mean([3.0, 4.0])
    assert found.value == 3.5 and not found.whole
    assert math.isnan(estimates.mean([]).value)
    assert estimates.mean([4.0] * 8).low == 4.0


def test_no_failure_in_sixty_clients_is_no_proof_of_none() -> None:
    found = estimates.proportion(60, 60)
    assert found.value == 1 and 0.93 < found.low < 0.95


# ---------------------------------------------------------------- pooling


def test_safety_items_keep_the_lowest_reply_and_repeats_their_median() -> None:
    from evaluators.rubric import load

    rows = [
        ("x", "c", "safety_boundaries", "SB1", "j", n, r, s) for n, r, s in ((1, 0, 5), (1, 1, 5), (1, 2, 1), (2, 0, 2))
    ]
    rows += [("x", "c", "empathy_insight", "EI1", "j", n, 0, s) for n, s in ((1, 5), (2, 2))]
    columns = ["counsellor", "client", "rubric", "item", "judge", "round", "repeat", "score"]
    frame = pd.DataFrame(rows, columns=columns).astype({"score": float})
    found = frames.by_judge(frame, [load("safety_boundaries"), load("empathy_insight")]).set_index("item")["score"]
    assert found["SB1"] == 2 and found["EI1"] == 3.5


def test_a_dimension_of_which_most_items_are_missing_is_missing() -> None:
    rows = [("x", "c", "r", item, score) for item, score in (("A", 4.0), ("B", None), ("C", None), ("D", None))]
    items = pd.DataFrame(rows, columns=["counsellor", "client", "rubric", "item", "score"])
    assert math.isnan(frames.by_rubric(items)["score"][0])


# ---------------------------------------------------------------- agreement


def test_alpha_icc_and_kappa_give_the_published_values() -> None:
    nan = math.nan
    krippendorff_2011 = pd.DataFrame(
        {
            "A": [nan, nan, nan, nan, nan, 3, 4, 1, 2, 1, 1, 3, 3, nan, 3],
            "B": [1, nan, 2, 1, 3, 3, 4, 3, nan, nan, nan, nan, nan, nan, nan],
            "C": [nan, nan, 2, 1, 3, 4, 4, nan, 2, 1, 1, 3, 3, nan, 4],
        }
    )
    assert agreement.alpha(krippendorff_2011, "nominal").value == pytest.approx(0.691, abs=0.001)
    shrout_fleiss_1979 = pd.DataFrame(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
    )
    assert agreement.icc(shrout_fleiss_1979).value == pytest.approx(0.29, abs=0.005)
    same = pd.Series([1.0, 2, 3, 4, 5])
    assert agreement.kappa(same, same) == 1
    assert agreement.kappa(same, same[::-1].reset_index(drop=True)) < 0
    passes = pd.Series([0.0, 1, 0, 1])
    assert agreement.kappa(passes, passes) == 1, "pass and fail are scores too"
    three = pd.DataFrame({"a": same, "b": same, "c": same[::-1].reset_index(drop=True)})
    assert agreement.kappa_of_pairs(three) == pytest.approx((1 + 2 * agreement.kappa(three["a"], three["c"])) / 3)


def test_agreement_falls_with_noise_and_is_called_by_its_name() -> None:
    rng = np.random.default_rng(3)
    words = []
    for noise in (0.1, 0.9, 3.0):
        judges = [Sim(name, noise=noise) for name in "abc"]
        words.append(agreement.word(agreement.alpha(panel(ratings(rng, {"x": 2.4, "y": 3.6}, judges)))))
    assert words == ["good", "fair", "poor"]


def test_one_broken_judge_is_marked_and_no_other() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        judges = [*FAIR, Sim("dice", broken=True)]
        table = panel(ratings(rng, {"x": 2.6, "y": 3.4}, judges, clients=20))
        found = {s.judge: s for s in agreement.standings(table, dict.fromkeys(table.columns, 1.0))}
        assert [name for name, s in found.items() if s.broken] == ["dice"]
        assert found["dice"].alpha_without > agreement.alpha(table).value


def test_a_sound_panel_has_nobody_marked_and_tells_who_is_strict() -> None:
    rng = np.random.default_rng(5)
    table = panel(ratings(rng, {"x": 2.6, "y": 3.4}, FAIR))
    found = agreement.standings(table, dict.fromkeys(table.columns, 1.0))
    assert not any(standing.broken for standing in found)
    shifts = {standing.judge: standing.shift for standing in found}
    assert shifts["b"] > 0.3 > -0.3 > shifts["c"]


# ---------------------------------------------------------------- comparisons


def test_strengths_and_the_pull_of_the_first_place_are_recovered() -> None:
    strength, pull = {"a": 0.8, "b": 0.0, "c": -0.8}, 0.7
    held = []
    for seed in range(12):
        frame = comparisons(np.random.default_rng(seed), strength, pull=pull)
        found = pairwise.strengths(frame, seed)
        assert found is not None
        truth = {name: 1000 + pairwise.ELO * value for name, value in strength.items()}
        held += [found.elo[name].low <= truth[name] <= found.elo[name].high for name in truth]
        held.append(found.first.low <= pairwise.ELO * pull <= found.first.high)
    assert np.mean(held) >= 0.85


def test_a_judge_that_prefers_the_first_answer_is_exposed_and_a_fair_one_is_not() -> None:
    rng = np.random.default_rng(2)
    strength = {"a": 0.4, "b": -0.4}
    fair = comparisons(rng, strength, judge="fair")
    swayed = comparisons(rng, strength, judge="swayed", pull=1.5)
    found = {order.judge: order for order in pairwise.orders(pd.concat([fair, swayed]))}
    assert found["swayed"].biased and found["swayed"].first.value > 0.65
    assert not found["fair"].biased


def test_a_judge_that_decides_by_place_alone_flips_every_pair() -> None:
    frame = comparisons(np.random.default_rng(0), {"a": 0.0, "b": 0.0}, pull=50.0)
    (order,) = pairwise.orders(frame)
    assert order.flips.value == 1 and order.first.value == 1


def test_a_judge_that_prefers_the_longer_answer_is_exposed() -> None:
    rng = np.random.default_rng(4)
    strength = {"a": 0.0, "b": 0.0}
    fair = comparisons(rng, strength, judge="fair")
    long = comparisons(rng, strength, judge="long", per_doubling=3.0)
    found = {order.judge: order.longer for order in pairwise.orders(pd.concat([fair, long]))}
    assert found["long"].low > 0.6 and found["fair"].low < 0.5 < found["fair"].high


def test_head_to_head_is_a_mirror() -> None:
    frame = comparisons(np.random.default_rng(0), {"a": 1.0, "b": 0.0, "c": -1.0})
    table = pairwise.head_to_head(frame, ["a", "b", "c"])
    shares = table.to_numpy(dtype=float)
    assert shares[0, 2] > 0.8
    assert shares[0, 2] + shares[2, 0] == pytest.approx(1)


# ---------------------------------------------------------------- length and own models


def test_a_lead_that_is_nothing_but_length_is_told_as_that() -> None:
    rng = np.random.default_rng(8)
    judges = [Sim(name, per_doubling=0.6) for name in "abc"]
    frame = ratings(rng, {"brief": 3.0, "wordy": 3.0}, judges, clients=60, words={"brief": 40, "wordy": 90})
    scores = frame.groupby(["counsellor", "client"], as_index=False)[["score", "words"]].mean()
    found = bias.length(scores)
    assert found is not None and found.slope.low > 0.1
    assert found.raw["wordy"] > 0.25
    assert found.share("wordy") > 0.6


def test_a_real_lead_stays_when_length_is_controlled() -> None:
    rng = np.random.default_rng(9)
    frame = ratings(rng, {"brief": 2.6, "wordy": 3.4}, FAIR, clients=60, words={"brief": 40, "wordy": 90})
    found = bias.length(frame.groupby(["counsellor", "client"], as_index=False)[["score", "words"]].mean())
    assert found is not None and found.share("wordy") < 0.35


def test_a_judge_with_a_taste_for_length_stands_out_from_its_panel() -> None:
    rng = np.random.default_rng(10)
    judges = [Sim("a"), Sim("b"), Sim("long", per_doubling=0.8)]
    found = {slope.judge: slope for slope in bias.length_slopes(ratings(rng, {"x": 3.0, "y": 3.0}, judges, clients=40))}
    assert found["long"].biased and found["long"].slope.value > 0.4
    assert found["a"].slope.value < 0 and abs(found["a"].slope.value) < found["long"].slope.value


def test_a_judge_that_favours_its_own_model_is_measured() -> None:
    rng = np.random.default_rng(11)
    judges = [Sim("self", own="x"), Sim("b"), Sim("c")]
    frame = ratings(rng, {"x": 3.0, "y": 3.0}, judges, clients=40)
    models = {"self": "m1", "x": "m1", "b": "m2", "c": "m3", "y": "m4"}
    (found,) = bias.own_good(frame, models)
    assert (found.judge, found.counsellor) == ("self", "x")
    assert found.gain.low > 0.4 and abs(found.gain.value - 0.8) < 0.3
    fair = ratings(rng, {"x": 3.0, "y": 3.0}, [Sim("self"), Sim("b"), Sim("c")], clients=40)
    (none,) = bias.own_good(fair, models)
    assert none.gain.low < 0 < none.gain.high
