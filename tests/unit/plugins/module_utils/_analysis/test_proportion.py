# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interval holds the true share as often as it says."""

from __future__ import annotations

from math import comb, isclose, sqrt
from statistics import NormalDist, fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._analysis.proportion import wilson_interval

COUNTS = st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
CONFIDENCES = st.floats(0.5, 0.9999)


def coverage(share: float, total: int, confidence: float) -> float:
    """How often the interval of ``total`` clients holds ``share``, exactly."""
    chances = (comb(total, count) * share**count * (1 - share) ** (total - count) for count in range(total + 1))
    held = (wilson_interval(count, total, confidence) for count in range(total + 1))
    return sum(chance for chance, (low, high) in zip(chances, held, strict=True) if low <= share <= high)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_true_share_lies_in_it_as_often_as_it_is_sure(confidence: float) -> None:
    found = [coverage(percent / 100, 100, confidence) for percent in range(5, 96)]

    assert abs(fmean(found) - confidence) < 0.01
    assert min(found) > confidence - 0.04


@given(COUNTS, CONFIDENCES)
def test_its_ends_are_the_shares_that_a_test_just_does_not_reject(counts: tuple[int, int], confidence: float) -> None:
    count, total = counts
    z = NormalDist().inv_cdf((1 + confidence) / 2)

    for end in wilson_interval(count, total, confidence):
        if 0 < end < 1:
            assert isclose(abs(count / total - end), z * sqrt(end * (1 - end) / total), rel_tol=1e-6, abs_tol=1e-9)


@given(COUNTS, CONFIDENCES)
def test_it_holds_what_was_seen_and_stays_between_none_and_all(counts: tuple[int, int], confidence: float) -> None:
    count, total = counts
    low, high = wilson_interval(count, total, confidence)

    assert 0 <= low <= count / total <= high <= 1
    assert (low > 0) == (count > 0), "what was seen is possible, what was not seen is not excluded"
    assert (high < 1) == (count < total)


@given(COUNTS, CONFIDENCES)
def test_both_sides_of_a_coin_are_judged_alike(counts: tuple[int, int], confidence: float) -> None:
    count, total = counts
    low, high = wilson_interval(count, total, confidence)
    other_low, other_high = wilson_interval(total - count, total, confidence)

    assert isclose(low, 1 - other_high, abs_tol=1e-9)
    assert isclose(high, 1 - other_low, abs_tol=1e-9)


@given(st.integers(0, 100), CONFIDENCES)
def test_more_clients_make_it_narrower(count: int, confidence: float) -> None:
    low, high = wilson_interval(count, 100, confidence)
    narrow_low, narrow_high = wilson_interval(10 * count, 1000, confidence)

    assert narrow_high - narrow_low < high - low


def test_of_nothing_nothing_is_known() -> None:
    assert wilson_interval(0, 0, 0.95) == (0.0, 1.0)
