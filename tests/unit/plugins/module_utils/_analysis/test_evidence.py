# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is counted, and what can be compared of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._analysis.evidence import Counts, Evidence, Stretch


def stretch(canary: tuple[int, ...] = (), baseline: tuple[int, ...] = ()) -> Stretch:
    return Stretch(Counts(*canary), Counts(*baseline))


def log_ratio(evidence: Evidence) -> float:
    return 0.0 if evidence.errors is None else evidence.errors.log_ratio


def after(*looks: dict[str, Stretch]) -> Evidence:
    evidence = Evidence()
    for look in looks:
        evidence = evidence.after(look)
    return evidence


def test_sums_are_kept_of_all_places_and_looks() -> None:
    evidence = after({"a": stretch((5, 1, 2), (10,)), "b": stretch((1,), (3, 2, 1))}, {"a": stretch((4,), (1, 1))})
    assert evidence.canary == Counts(10, 1, 2)
    assert evidence.baseline == Counts(14, 3, 1)


def test_a_look_without_requests_of_one_side_is_joined_with_the_next_one() -> None:
    """At a canary of few requests most looks have none: the old version's errors in them count all the same."""
    apart = after({"a": stretch((), (30, 2))}, {"a": stretch((1, 1), (20, 0))}, {"a": stretch((4, 1), ())})
    assert log_ratio(apart) == pytest.approx(log_ratio(after({"a": stretch((1, 1), (50, 2))})))
    assert apart.carried["a"] == stretch((4, 1), ())
    assert apart.canary.errors == 2


def test_an_error_that_comes_after_its_request_waits_for_the_next_requests() -> None:
    """An answer that breaks off fails after it was counted: 1 of 0 requests."""
    late = after({"a": stretch((10,), (90,))}, {"a": stretch((0, 1), (5,))})
    assert late.carried["a"].canary == Counts(0, 1)
    assert late.after({"a": stretch((3,), (5,))}).carried == {}


def test_load_balancers_with_different_shares_are_compared_each_for_itself() -> None:
    """With the sums alone a good canary would look bad here: most of its traffic is at the balancer with the errors."""
    mixed = {"a": stretch((100, 20), (100, 20)), "b": stretch((10, 0), (990, 0))}
    assert log_ratio(after(mixed)) < 0
    assert log_ratio(after({"a": stretch((110, 20), (1090, 20))})) > math.log(100)


def test_a_time_in_which_both_are_bad_speaks_against_nobody() -> None:
    looks = [{"a": stretch((10, errors), (90, 9 * errors))} for errors in (0, 5, 10, 5, 0)]
    assert log_ratio(after(*looks)) < 0


def test_nothing_is_compared_before_both_had_requests() -> None:
    assert after({"a": stretch((100, 100), ())}).errors is None


counts = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: Counts(max(pair), min(pair)))
looks = st.lists(st.dictionaries(st.sampled_from("ab"), st.builds(Stretch, counts, counts)), max_size=6)


@given(looks)
def test_no_request_and_no_error_is_lost(seen: list[dict[str, Stretch]]) -> None:
    evidence = after(*seen)
    total = sum((one for look in seen for one in look.values()), Stretch())
    assert (evidence.canary, evidence.baseline) == (total.canary, total.baseline)


@given(looks)
def test_a_canary_without_errors_is_never_suspected(seen: list[dict[str, Stretch]]) -> None:
    clean = [
        {place: Stretch(Counts(one.canary.requests), one.baseline) for place, one in look.items()} for look in seen
    ]
    assert log_ratio(after(*clean)) <= 1e-9


@given(looks, st.integers(0, 5))
def test_one_more_error_of_the_canary_never_makes_it_look_better(seen: list[dict[str, Stretch]], number: int) -> None:
    changed, left = [], number
    for look in seen:
        copy = dict(look)
        for place, one in look.items():
            if left == 0 and one.canary.errors < one.canary.requests:
                copy[place] = Stretch(one.canary + Counts(0, 1), one.baseline)
            left -= 1
        changed.append(copy)
    assert log_ratio(after(*changed)) >= log_ratio(after(*seen)) - 1e-9
