# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test on errors of a canary keeps what it promises, however often one looks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._analysis.intervals import beta_share, log_beta
from ansible_collections.zdd.rollout.plugins.module_utils._analysis.odds_test import OddsTest

shares = st.floats(0.005, 0.995)
few = st.integers(0, 60)
stretches = st.lists(st.tuples(few, few, shares), max_size=8)


def ratio_of(seen: list[tuple[int, int, float]], start: float) -> float:
    test = OddsTest.at_share(start)
    for canary, baseline, share in seen:
        test = test.after(canary, baseline, share)
    return test.log_ratio


def in_closed_form(a: int, b: int, share: float) -> float:
    """The log of the mixture of one share: a ratio of incomplete Beta functions."""
    second = max(1.0, 2 * (1 - share) / (10 * share))
    above = math.log(beta_share(1 - share, second + b, 2 + a)) - math.log(beta_share(1 - share, second, 2))
    prior = log_beta(2 + a, second + b) - log_beta(2, second)
    return prior + above - a * math.log(share) - b * math.log1p(-share)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.5, 0.9])
@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (0, 5), (3, 2), (10, 19), (40, 40), (200, 300)])
def test_with_one_share_it_is_the_mixture_in_closed_form(a: int, b: int, share: float) -> None:
    closed, kept = in_closed_form(a, b, share), ratio_of([(a, b, share)], share)
    # Where the errors speak for the canary, the mass lies in a corner, and how little it is decides nothing.
    assert kept == pytest.approx(closed, abs=0.01) or max(kept, closed) < -3


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.8])
@pytest.mark.parametrize("errors", [1, 5, 30])
def test_its_mean_is_one_when_both_are_equally_good(share: float, errors: int) -> None:
    """Given the errors, each falls on the canary with its share of the traffic: the heart of the promise."""
    start = OddsTest.at_share(0.3).after(4, 2, 0.2)  # after whatever was seen before, with another share
    mean = sum(
        math.comb(errors, a)
        * share**a
        * (1 - share) ** (errors - a)
        * math.exp(start.after(a, errors - a, share).log_ratio)
        for a in range(errors + 1)
    )
    assert mean == pytest.approx(math.exp(start.log_ratio))


@pytest.mark.parametrize(("canary", "baseline", "errors"), [(20, 380, 25), (20, 20, 30), (5, 95, 90), (1, 1, 1)])
def test_its_mean_is_no_larger_with_finitely_many_requests(canary: int, baseline: int, errors: int) -> None:
    """Errors are drawn from the requests without putting them back, so they are spread more evenly than by chance."""
    start = OddsTest.at_share(0.1)
    share = canary / (canary + baseline)
    mean = sum(
        math.comb(canary, a)
        * math.comb(baseline, errors - a)
        / math.comb(canary + baseline, errors)
        * math.exp(start.after(a, errors - a, share).log_ratio)
        for a in range(max(0, errors - baseline), min(canary, errors) + 1)
    )
    assert mean <= 1 + 1e-9


@given(stretches, shares)
def test_a_canary_without_errors_never_speaks_against_itself(seen: list[tuple[int, int, float]], start: float) -> None:
    assert ratio_of([(0, baseline, share) for _canary, baseline, share in seen], start) <= 1e-9


@given(stretches, few, shares, shares)
def test_another_error_of_the_canary_raises_it(
    seen: list[tuple[int, int, float]], baseline: int, share: float, start: float
) -> None:
    before = ratio_of([*seen, (3, baseline, share)], start)
    assert ratio_of([*seen, (4, baseline, share)], start) > before


@given(stretches, few, shares, shares)
def test_another_error_of_the_old_version_lowers_it(
    seen: list[tuple[int, int, float]], canary: int, share: float, start: float
) -> None:
    before = ratio_of([*seen, (canary, 3, share)], start)
    assert ratio_of([*seen, (canary, 4, share)], start) < before


@given(st.lists(st.tuples(few, few), min_size=1, max_size=8), shares)
def test_with_one_share_only_the_sums_count(seen: list[tuple[int, int]], share: float) -> None:
    """So nothing depends on how often one looks."""
    apart = ratio_of([(canary, baseline, share) for canary, baseline in seen], share)
    together = ratio_of([(sum(one[0] for one in seen), sum(one[1] for one in seen), share)], share)
    assert apart == pytest.approx(together, abs=1e-6)


@given(stretches, shares)
def test_the_order_of_stretches_does_not_matter(seen: list[tuple[int, int, float]], start: float) -> None:
    assert ratio_of(seen, start) == pytest.approx(ratio_of(seen[::-1], start), abs=1e-6)


@pytest.mark.parametrize("share", [1e-6, 1e-4, 0.5, 0.9999])
def test_extreme_counts_and_shares_stay_finite(share: float) -> None:
    test = OddsTest.at_share(share)
    for errors in ((10**6, 0), (0, 10**6), (10**6, 10**6)):
        assert math.isfinite(test.after(*errors, share).log_ratio)
