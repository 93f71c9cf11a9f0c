# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounds of a rate are exact."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._analysis.intervals import (
    beta_quantile,
    beta_share,
    lower_bound,
    trials_for,
    upper_bound,
)

counts = st.integers(1, 400).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


def test_no_error_in_299_requests_shows_less_than_one_percent_at_95_percent() -> None:
    assert upper_bound(0, 299, 0.95) < 0.01 <= upper_bound(0, 298, 0.95)
    assert trials_for(0.01, 0.95) == 299


@pytest.mark.parametrize(
    ("failures", "trials", "lower", "upper"),
    [  # two-sided 95 % intervals as printed in tables
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (5, 100, 0.0164, 0.1128),
        (10, 100, 0.0490, 0.1762),
        (50, 100, 0.3983, 0.6017),
    ],
)
def test_the_bounds_are_those_of_the_tables(failures: int, trials: int, lower: float, upper: float) -> None:
    assert lower_bound(failures, trials, 0.975) == pytest.approx(lower, abs=5e-5)
    assert upper_bound(failures, trials, 0.975) == pytest.approx(upper, abs=5e-5)


def at_most(failures: int, trials: int, rate: float) -> float:
    """The probability of so many failures or fewer, term by term."""
    return math.fsum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(failures + 1))


@given(counts, st.sampled_from([0.9, 0.95, 0.99, 0.999]))
def test_at_the_upper_bound_so_few_failures_are_as_improbable_as_asked_for(
    count: tuple[int, int], confidence: float
) -> None:
    failures, trials = count
    upper = upper_bound(failures, trials, confidence)
    if failures == trials:
        assert upper == 1
    else:
        assert at_most(failures, trials, upper) == pytest.approx(1 - confidence, rel=1e-9)


@given(counts, st.floats(0.5, 0.999))
def test_the_bounds_enclose_the_rate_and_mirror_each_other(count: tuple[int, int], confidence: float) -> None:
    failures, trials = count
    assert 0 <= lower_bound(failures, trials, confidence) <= failures / trials
    assert failures / trials <= upper_bound(failures, trials, confidence) <= 1
    assert lower_bound(failures, trials, confidence) == pytest.approx(
        1 - upper_bound(trials - failures, trials, confidence)
    )


@given(counts)
def test_another_failure_raises_the_bound_and_another_success_lowers_it(count: tuple[int, int]) -> None:
    failures, trials = count
    assert upper_bound(failures + 1, trials + 1, 0.95) >= upper_bound(failures, trials, 0.95)
    assert upper_bound(failures, trials + 1, 0.95) <= upper_bound(failures, trials, 0.95)


@given(st.floats(0.0001, 0.9), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_fewest_trials_are_enough_and_one_fewer_is_not(rate: float, confidence: float) -> None:
    trials = trials_for(rate, confidence)
    assert upper_bound(0, trials, confidence) < rate * (1 + 1e-9)
    assert trials == 1 or upper_bound(0, trials - 1, confidence) >= rate * (1 - 1e-9)


def test_nothing_is_known_of_nothing() -> None:
    assert (lower_bound(0, 0, 0.95), upper_bound(0, 0, 0.95)) == (0, 1)


def test_more_failures_than_trials_are_all_of_them() -> None:
    """A source that contradicts itself must not make a canary look better."""
    assert upper_bound(7, 5, 0.95) == 1


@pytest.mark.parametrize(
    ("x", "a", "b", "share"),
    [
        (0.5, 1, 1, 0.5),
        (0.25, 2, 1, 0.0625),
        (0.25, 1, 2, 0.4375),
        (0.5, 0.5, 0.5, 0.5),
        (0.3, 2, 3, 0.3483),
        (0.5, 10, 10, 0.5),
        (0.0, 2, 3, 0.0),
        (1.0, 2, 3, 1.0),
    ],
)
def test_the_incomplete_beta_function_has_its_known_values(x: float, a: float, b: float, share: float) -> None:
    assert beta_share(x, a, b) == pytest.approx(share, abs=1e-12)


@given(st.floats(0.5, 2000), st.floats(0.5, 2000), st.floats(0.001, 0.999))
def test_the_quantile_undoes_the_share(a: float, b: float, share: float) -> None:
    assert beta_share(beta_quantile(share, a, b), a, b) == pytest.approx(share, abs=1e-6)


def test_large_counts_agree_with_the_normal_approximation() -> None:
    rate, trials = 0.01, 10_000_000
    spread = math.sqrt(rate * (1 - rate) / trials)
    assert upper_bound(int(rate * trials), trials, 0.975) == pytest.approx(rate + 1.959964 * spread, abs=spread / 100)
