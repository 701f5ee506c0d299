"""Intervals and p-values: what theory says of them, by simulation with fixed seeds."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from llmkit.evaluation import resampling
from llmkit.evaluation.resampling import Resampler, interval, p_value, wilson


def resample(columns, *, samples=1000, seed=0, systems=1):
    resampler = Resampler(samples=samples, seed=seed, systems=systems)
    for row in columns:
        resampler.add(row)
    return resampler.finish()


@pytest.mark.parametrize("block", [1024, 64])
def test_samples_vary_as_theory_says(monkeypatch, block):
    """The mean's standard error is the standard deviation over the root of the number of rows."""
    monkeypatch.setattr(resampling, "BLOCK", block)
    values = np.random.default_rng(3).normal(5, 2, 900)
    sums = resample([(value, 1.0) for value in values])
    means = sums.samples[:, 0] / sums.samples[:, 1]
    assert sums.rows == 900
    assert sums.total.tolist() == pytest.approx([values.sum(), 900])
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(values.std() / 30, rel=0.06)
    # Drawn with replacement, every sample has as many rows as the corpus; Poisson counts only about as many.
    assert (sums.samples[:, 1] == 900).all() == (block == 1024)


def test_rows_at_the_edge_of_a_block():
    for rows in (1, resampling.BLOCK - 1, resampling.BLOCK, resampling.BLOCK + 1, 2 * resampling.BLOCK):
        sums = resample([(1.0,)] * rows, samples=8)
        assert (sums.rows, sums.total[0]) == (rows, rows)


@pytest.mark.parametrize("block", [1024, 32])
def test_coverage_of_the_interval(monkeypatch, block):
    """Of 600 corpora of 200 rows, the 95% interval of a share holds the true share in 93 to 97%."""
    monkeypatch.setattr(resampling, "BLOCK", block)
    corpora = np.random.default_rng(11).random((600, 200)) < 0.4
    held = 0
    for seed, corpus in enumerate(corpora):
        sums = resample([(float(value), 1.0) for value in corpus], samples=400, seed=seed)
        low, high = interval(sums.samples[:, 0] / sums.samples[:, 1], 0.95)
        held += low <= 0.4 <= high
    assert 0.93 <= held / len(corpora) <= 0.97


def test_p_values_are_uniform_where_there_is_no_difference():
    """Two systems that differ by chance alone differ significantly at 5% about once in twenty times."""
    generator = np.random.default_rng(5)
    randomization, bootstrap = 0, 0
    for seed in range(400):
        rows = generator.normal(0, 1, (120, 2))
        sums = resample(rows.tolist(), samples=300, seed=seed, systems=2)
        difference = (sums.total[0] - sums.total[1]) / 120
        drawn = (sums.samples[:, 0] - sums.samples[:, 1]) / 120
        swapped = (sums.swapped[0][:, 0] - sums.swapped[0][:, 1]) / 120
        bootstrap += p_value(drawn, difference, 120, center=difference) < 0.05
        randomization += p_value(swapped, difference, 120) < 0.05
    assert 0.03 <= randomization / 400 <= 0.075
    assert 0.03 <= bootstrap / 400 <= 0.075


def test_swapping_keeps_the_sum_of_both():
    rows = np.random.default_rng(1).random((50, 4))
    sums = resample(rows.tolist(), samples=20, systems=2)
    both = sums.swapped[0][:, :2] + sums.swapped[0][:, 2:]
    assert both == pytest.approx(np.tile(sums.total[:2] + sums.total[2:], (20, 1)))


def test_all_swaps_of_few_rows_are_as_far_as_the_difference():
    """With one row, swapped or not, the difference keeps its size, rounding or no rounding: p is 1."""
    sums = resample([(0.1, 0.3)], samples=50, systems=2)
    difference = float(sums.total[0] - sums.total[1])
    assert p_value(sums.swapped[0][:, 0] - sums.swapped[0][:, 1], difference, 1) == 1


def test_the_seed_decides():
    rows = np.random.default_rng(2).random((30, 2)).tolist()
    first, again, other = (resample(rows, seed=seed, samples=10).samples for seed in (4, 4, 5))
    assert (first == again).all()
    assert (first != other).any()


def test_interval_leaves_out_samples_without_a_score():
    values = np.array([np.nan, *range(101), np.nan], dtype=float)
    assert interval(values, 0.90) == pytest.approx((5, 95))
    assert interval(np.array([np.nan, np.nan]), 0.90) == (None, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert interval(np.array([1.0, np.inf, np.inf, np.inf]), 0.90) == (None, None)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, np.inf])
def test_equal_samples_give_no_interval(value):
    """Sums of equal rows differ by rounding alone."""
    sums = resample([(value, 1.0)] * 7, samples=50)
    assert interval(sums.samples[:, 0] / sums.samples[:, 1], 0.95) == (None, None)


@pytest.mark.parametrize(("rows", "p"), [(1, 1), (2, 1 / 2), (3, 1 / 4), (5, 1 / 16), (40, 1 / 201)])
def test_no_p_value_is_below_that_of_all_swaps(rows, p):
    """Rows that all differ by the same amount: of 2^n ways to swap them, two are as extreme."""
    sums = resample([(1.0, 0.0)] * rows, samples=200, systems=2)
    drawn = sums.samples[:, 0] - sums.samples[:, 1]
    assert p_value(drawn, float(rows), rows, center=float(rows)) == p


def test_p_value_is_never_zero():
    assert p_value(np.zeros(99), 5.0, 100) == 1 / 100


def test_nothing_to_resample():
    with pytest.raises(ValueError, match="nothing to resample"):
        Resampler(samples=10, seed=0).finish()


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_s_interval(hits, rows, low, high):
    """Newcombe 1998, Two-sided confidence intervals for the single proportion, table I, method 3."""
    assert wilson(hits / rows, rows, 0.95) == pytest.approx((low, high), abs=5e-5)
