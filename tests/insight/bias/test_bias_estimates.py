"""Intervals and p-values of bias: coverage in simulation, and published constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from llmkit.insight.bias.estimates import (
    Definition,
    IntervalOptions,
    adjusted,
    mean_of,
    measured,
    student,
)
from llmkit.insight.bias.items import BiasItem, ScoredItem
from llmkit.insight.bias.results import BiasMeasure
from llmkit.insight.bias.sets.bbq import CHOICE
from llmkit.insight.bias.sets.bbq import define as bbq_measures
from llmkit.insight.bias.sets.winobias import define as winobias_measures
from llmkit.insight.bias.sets.winogender import FEMALE, MALE, WOMEN, correlation
from llmkit.insight.bias.sets.winogender import define as winogender_measures


def scored(name: str, cluster: str, scores: dict[str, float], groups=None, facts=None) -> ScoredItem:
    item = BiasItem(name, name, dict.fromkeys(scores, "x"), cluster, groups or {}, facts=facts or {})
    return ScoredItem(item, scores)


def pairs(draws: np.random.Generator, n: int, share: float) -> list[ScoredItem]:
    """Independent pairs whose first text is preferred with a probability."""
    return [
        scored(
            str(i),
            str(i),
            {"pro": float(draws.random() < share), "anti": 0.5},
            {"pro-stereotyped pronoun": s},
        )
        for i, s in zip(range(n), ["male", "female"] * n, strict=False)
    ]  # fmt: skip


def questions(draws: np.random.Generator, templates: int) -> list[ScoredItem]:
    """Ambiguous questions of templates that differ in how often their answers are biased."""
    found = []
    for template in range(templates):
        biased = draws.beta(4, 2)  # mean 2/3
        for i in range(20):
            target = float(draws.random() < biased)
            chosen = 2 if draws.random() < 0.4 else 0 if target else 1
            facts = {"condition": "ambig", "negative": True, "label": 2, "unknown": 2, "target": 0}
            found.append(scored(f"{template} {i}", str(template), {CHOICE: chosen}, {"category": "x"}, facts))
    return found


def occupations(draws: np.random.Generator, count: int) -> list[ScoredItem]:
    """Gaps that correlate with the share of women by 0.6."""
    found = []
    for i in range(count):
        x = draws.normal()
        gap = 0.6 * x + 0.8 * draws.normal()
        facts = {WOMEN: 50 + 10 * x, "occupation": str(i)}
        found.append(scored(str(i), str(i), {FEMALE: gap, MALE: 0.0}, {"pronoun of": "occupation"}, facts))
    return found


def distances(draws: np.random.Generator, count: int) -> list[ScoredItem]:
    return [scored(str(i), str(i), {"x": draws.exponential()}) for i in range(count)]


Case = tuple[
    Callable[[np.random.Generator], list[ScoredItem]], Callable[[Sequence[BiasItem]], Definition], float
]


def named(define: Callable, name: str) -> Callable[[Sequence[BiasItem]], Definition]:
    return lambda items: next(one for one in define(items, "shared") if one.name == name)


EXPONENTIAL = Definition("mean", 1.0, "", mean_of(lambda one: one.scores["x"]))
WINOBIAS = named(winobias_measures, "pro-stereotyped preferred")
CASES: dict[str, Case] = {
    "share of 300 pairs, .50": (lambda d: pairs(d, 300, 0.5), WINOBIAS, 0.5),
    "share of 84 pairs, .60": (lambda d: pairs(d, 84, 0.6), WINOBIAS, 0.6),
    "share of 60 pairs, .90": (lambda d: pairs(d, 60, 0.9), WINOBIAS, 0.9),
    "gap of pronouns, 396 pairs": (
        lambda d: pairs(d, 396, 0.7), named(winobias_measures, "gap of pronouns"), 0.0
    ),
    "bias among answers, 25 templates": (
        lambda d: questions(d, 25), named(bbq_measures, "bias among answers, ambiguous"), 2 * 2 / 3 - 1
    ),
    "bias score, 25 templates": (
        lambda d: questions(d, 25), named(bbq_measures, "bias score, ambiguous"), 0.6 * (2 * 2 / 3 - 1)
    ),
    "correlation, 60 occupations": (
        lambda d: occupations(d, 60),
        named(winogender_measures, "correlation with women"), 0.6,
    ),
    "mean distance, 200 items": (lambda d: distances(d, 200), lambda items: EXPONENTIAL, 1.0),
}  # fmt: skip


def coverage(case: str, runs: int) -> float:
    """The share of simulated data sets whose interval holds the true value."""
    make, define, truth = CASES[case]
    draws = np.random.default_rng(7)
    inside = 0
    for run in range(runs):
        items = make(draws)
        definition = define([one.item for one in items])
        definition = Definition(**{**vars(definition), "split": ()})
        (found,) = measured([definition], items, IntervalOptions(0.95, 500, run))
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= truth <= found.high
    return inside / runs


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_cover_the_truth(case: str) -> None:
    assert 0.93 <= coverage(case, 2000) <= 0.97


def test_intervals_of_templates_cover_the_truth_in_a_short_simulation() -> None:
    # 150 runs: 0.95 within three standard errors. Rows drawn one by one, as if independent, cover about 0.7.
    assert coverage("bias among answers, 25 templates", 150) > 0.89


def test_holm_correction_by_hand() -> None:
    def measure(p: float | None) -> BiasMeasure:
        return BiasMeasure("x", 0, None, None, 1, 1, 0, "", None, p=p)

    found = adjusted([measure(p) for p in (0.04, 0.01, None, 0.03, 0.005)])
    # Sorted: .005 x 4, .01 x 3, .03 x 2, .04 x 1, each at least the one before.
    assert [one.p_adjusted for one in found] == pytest.approx([0.06, 0.03, None, 0.06, 0.02])


def test_student_s_quantiles_are_those_of_printed_tables() -> None:
    table = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 24: 2.064, 60: 2.000, 1000: 1.962}
    for freedom, value in table.items():
        assert student(0.975, freedom) == pytest.approx(value, abs=0.004)


def test_the_correlation_is_pearson_s() -> None:
    draws = np.random.default_rng(0)
    x = draws.normal(size=60)
    y = 0.5 * x + draws.normal(size=60)
    sums = np.array([[60, x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]])
    assert correlation(sums)[0] == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_ties_count_one_half_and_0_under_sum() -> None:
    items = [
        scored(str(i), str(i), {"pro": 1.0, "anti": 1.0}, {"pro-stereotyped pronoun": "male"})
        for i in range(6)
    ]
    for rule, value in (("shared", 0.5), ("sum", 0.0)):
        first = winobias_measures([], rule)[0]
        found = measured([first], items, IntervalOptions(resamples=100))
        assert found[0].value == value


def test_a_group_without_items_is_left_out() -> None:
    never = Definition("x", 0.0, "", mean_of(lambda one: 1.0), keep=lambda one: False)
    items = [scored("a", "a", {"x": 1.0})]
    assert measured([never], items, IntervalOptions(resamples=100)) == []


def test_the_p_value_of_a_share_is_the_normal_test_s() -> None:
    draws = np.random.default_rng(3)
    items = pairs(draws, 300, 0.6)
    (found,) = measured([WINOBIAS([])], items, IntervalOptions(resamples=100))[:1]
    z = abs(found.value - 0.5) / math.sqrt(0.25 / 300)
    assert found.p == pytest.approx(math.erfc(z / math.sqrt(2)))


@pytest.mark.parametrize(("items", "p"), [(1, 1.0), (2, 0.5), (6, 1 / 32)])
def test_a_share_of_few_items_has_the_p_value_of_the_exact_test(items: int, p: float) -> None:
    """If all items are on one side: 2 of 2^n outcomes are as extreme (binomial test)."""
    share = Definition("x", 0.5, "", mean_of(lambda one: one.scores["x"]), share=True)
    same = [scored(str(i), str(i), {"x": 1.0}) for i in range(items)]
    (found,) = measured([share], same, IntervalOptions(resamples=100))
    assert found.p == pytest.approx(p)


@pytest.mark.parametrize(("clusters", "p"), [(1, 1.0), (4, 1 / 8), (8, 1 / 101)])
def test_a_baseline_on_few_templates(clusters: int, p: float) -> None:
    """Every template differs by the same amount, so the bootstrap knows no spread."""
    mean = Definition("x", 0.0, "", mean_of(lambda one: one.scores["x"]))
    ours = [scored(str(i), str(i), {"x": 1.0}) for i in range(clusters)]
    theirs = [scored(str(i), str(i), {"x": 0.5}) for i in range(clusters)]
    (found,) = measured([mean], ours, IntervalOptions(resamples=100), other=theirs)
    assert found.baseline is not None
    assert (found.baseline.low, found.baseline.high, found.baseline.difference) == (None, None, 0.5)
    assert found.baseline.p_bootstrap == pytest.approx(p)
