# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a canary, and how often it is wrong."""

from __future__ import annotations

import math
import random
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._analysis.evidence import Counts, Evidence, Stretch
from ansible_collections.zdd.rollout.plugins.module_utils._analysis.intervals import upper_bound
from ansible_collections.zdd.rollout.plugins.module_utils._analysis.verdict import (
    ABORT,
    INCONCLUSIVE,
    PROMOTE,
    Evaluations,
    Limits,
    Verdict,
    difference,
    first_evaluation,
    judge,
    numbers,
)

RUNS = 3000
LOOKS = 10
NOTHING = Counts()
USUAL = Limits()


def evidence_of(canary: Counts, baseline: Counts = NOTHING) -> Evidence:
    return Evidence().after({"lb": Stretch(canary, baseline)})


def verdict_on(
    canary: Counts, baseline: Counts = NOTHING, limits: Limits = USUAL, forbids: str | None = None
) -> Verdict:
    return judge(evidence_of(canary, baseline), limits, first_evaluation(limits), forbids)[0]


# Promotion


def test_no_error_in_299_requests_promotes_below_one_percent_and_298_do_not() -> None:
    assert verdict_on(Counts(299), Counts(1000)).kind == PROMOTE
    assert verdict_on(Counts(298), Counts(1000)).kind == INCONCLUSIVE


def test_a_canary_with_an_error_needs_more_requests() -> None:
    limits, evaluations = Limits(), first_evaluation(Limits())
    verdict, evaluations = judge(evidence_of(Counts(299, 1)), limits, evaluations, None)
    assert verdict.kind == INCONCLUSIVE and "has to be below 1 %" in verdict.reason
    verdict, evaluations = judge(evidence_of(Counts(473, 1)), limits, evaluations, None)
    assert verdict.kind == INCONCLUSIVE  # would be enough for one who looks once
    verdict, evaluations = judge(evidence_of(Counts(710, 1)), limits, evaluations, None)
    assert verdict.kind == PROMOTE


def test_between_evaluations_the_bounds_are_not_asked() -> None:
    """Or one could wait for the lucky moment."""
    limits = Limits()
    _verdict, evaluations = judge(evidence_of(Counts(299, 1)), limits, first_evaluation(limits), None)
    verdict, after = judge(evidence_of(Counts(evaluations.next_at - 1)), limits, evaluations, None)
    assert (verdict.kind, after) == (INCONCLUSIVE, evaluations)


@cache
def binomial(trials: int, rate: float) -> list[float]:
    return [
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * math.log(rate)
            + (trials - k) * math.log1p(-rate)
        )
        for k in range(min(trials, 150) + 1)
    ]


def promoted(rate: float, limits: Limits, until: int) -> float:
    """The exact probability that a canary with this error rate is promoted before it has had ``until`` requests."""
    evaluations, requests, found = first_evaluation(limits), 0, 0.0
    left = {0: 1.0}
    while evaluations.next_at <= until:
        more = binomial(evaluations.next_at - requests, rate)
        reached: dict[int, float] = {}
        for errors, probability in left.items():
            for new, chance in enumerate(more):
                if chance * probability > 1e-12:
                    reached[errors + new] = reached.get(errors + new, 0.0) + chance * probability
        requests, left, after = evaluations.next_at, {}, evaluations
        for errors, probability in reached.items():
            verdict, after = judge(evidence_of(Counts(requests, errors)), limits, evaluations, None)
            if verdict.kind == PROMOTE:
                found += probability
            else:
                left[errors] = probability
        evaluations = after
    return found


def test_a_canary_at_the_limit_is_promoted_as_seldom_as_promised_over_all_evaluations() -> None:
    limits = Limits(hard_error_rate=None)
    at_limit = promoted(0.01, limits, 8000)
    assert 0.045 < at_limit < 0.06  # documented: 5.6 %, and 10 % as the bound that holds for all limits
    assert promoted(0.02, limits, 3000) < 0.005


def test_a_good_canary_is_promoted() -> None:
    assert promoted(0.001, Limits(), 2000) > 0.98


def test_a_margin_compares_with_what_the_old_version_has_at_least() -> None:
    limits = Limits(max_error_rate=None, margin=0.01)
    many = Counts(40000, 800)  # 2 %
    assert verdict_on(Counts(2000, 40), many, limits).kind == PROMOTE
    assert verdict_on(Counts(2000, 40), Counts(50, 1), limits).kind == INCONCLUSIVE
    assert verdict_on(Counts(2000, 60), many, limits).kind != PROMOTE


def test_either_the_limit_or_the_margin_is_enough() -> None:
    both = Limits(max_error_rate=0.01, margin=0.01)
    assert verdict_on(Counts(400), Counts(), both).kind == PROMOTE
    assert verdict_on(Counts(2000, 40), Counts(40000, 800), both).kind == PROMOTE


def test_a_share_of_slow_requests_has_to_be_shown_too() -> None:
    limits = Limits(max_slow_share=0.05, with_slow=True)
    assert verdict_on(Counts(400, 0, 4), Counts(4000, 0, 40), limits).kind == PROMOTE
    refused = verdict_on(Counts(400, 0, 30), Counts(4000, 0, 300), limits)
    assert refused.kind == INCONCLUSIVE and "30 were slow" in refused.reason


def test_what_forbids_the_promotion_is_the_reason() -> None:
    forbidden = verdict_on(Counts(9999), Counts(9999), forbids="the source is silent")
    assert forbidden == Verdict(INCONCLUSIVE, "the source is silent")


def test_more_errors_than_requests_promote_nothing() -> None:
    verdict = verdict_on(Counts(300, 0, 301), Counts(300), Limits(with_slow=True))
    assert verdict.kind == INCONCLUSIVE and "contradicts itself" in verdict.reason


# Aborts


def test_a_bad_canary_is_aborted_with_the_numbers() -> None:
    verdict = verdict_on(Counts(200, 10), Counts(1800, 9))
    assert (verdict.kind, verdict.cause) == (ABORT, "errors")
    assert "10 of 200 requests to the canary failed, 9 of 1800 to the old version" in verdict.reason


def test_a_slow_canary_is_aborted() -> None:
    verdict = verdict_on(Counts(200, 0, 60), Counts(1800, 0, 90), Limits(with_slow=True))
    assert (verdict.kind, verdict.cause) == (ABORT, "slow")


def test_two_tests_share_the_probability_of_a_false_abort() -> None:
    assert Limits(alpha=0.01).ratio_needed == 100
    assert Limits(alpha=0.01, with_slow=True).ratio_needed == 200


def test_the_hard_stop_needs_no_comparison_but_enough_requests() -> None:
    assert verdict_on(Counts(20, 10), Counts(1000, 500)).cause == "hard_error_rate"
    assert verdict_on(Counts(20, 10), Counts()).cause == "hard_error_rate"
    assert verdict_on(Counts(19, 19), Counts()).kind == INCONCLUSIVE
    assert verdict_on(Counts(20, 9), Counts(1000, 500)).kind == INCONCLUSIVE


def test_an_abort_goes_before_whatever_forbids_a_promotion() -> None:
    assert verdict_on(Counts(200, 20), Counts(1800, 9), forbids="the bake is not over").kind == ABORT


# How often an abort is false, and how often a bad canary is caught


def failures(chance: random.Random, requests: int, rate: float) -> int:
    """Failures among ``requests``, by the gaps between them."""
    count, place, scale = 0, 0, math.log1p(-rate)
    while True:
        place += int(math.log(1.0 - chance.random()) / scale) + 1
        if place > requests:
            return count
        count += 1


def aborted(seed: int, canary: int, share: float, rates: tuple[float, float], runs: int = RUNS) -> float:
    """The share of runs that are aborted for the difference within ten looks of ``canary`` requests to the canary."""
    chance, limits = random.Random(seed), Limits()
    baseline = round(canary * (1 - share) / share)

    @cache
    def is_different(look: int, errors: tuple[int, int]) -> bool:  # with one share only the sums count
        sides = Counts(look * canary, errors[0]), Counts(look * baseline, errors[1])
        return difference(evidence_of(*sides), limits) is not None

    found = 0
    for _run in range(runs):
        errors = (0, 0)
        for look in range(1, LOOKS + 1):
            errors = (
                errors[0] + failures(chance, canary, rates[0]),
                errors[1] + failures(chance, baseline, rates[1]),
            )
            if is_different(look, errors):
                found += 1
                break
    return found / runs


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("requests", [20, 100])
def test_a_good_canary_is_aborted_in_one_run_of_a_hundred_at_most(requests: int, share: float) -> None:
    assert aborted(1, requests, share, (0.005, 0.005)) <= 0.01


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_a_canary_with_ten_times_the_errors_is_caught(share: float) -> None:
    assert aborted(2, 20, share, (0.05, 0.005), runs=1000) >= 0.85
    assert aborted(3, 100, share, (0.05, 0.005), runs=300) >= 0.99


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("requests", [20, 100])
def test_two_versions_that_are_equally_bad_are_not_aborted_for_the_difference(requests: int, share: float) -> None:
    assert aborted(4, requests, share, (0.05, 0.05), runs=1000) <= 0.01


def test_neither_changing_shares_nor_changing_rates_make_false_aborts() -> None:
    """Each look has a share and an error rate of its own; a test on the sums is fooled by that (the control)."""
    chance, limits, runs = random.Random(5), Limits(), 300
    found = fooled = 0
    for _run in range(runs):
        evidence, total = Evidence(), Stretch()
        wrong = False
        for _look in range(LOOKS):
            is_noon = chance.random() < 0.5
            canary, baseline, rate = (80, 20, 0.2) if is_noon else (5, 95, 0.005)
            seen = Stretch(
                Counts(canary, failures(chance, canary, rate)), Counts(baseline, failures(chance, baseline, rate))
            )
            evidence, total = evidence.after({"lb": seen}), total + seen
            wrong = wrong or difference(evidence, limits) is not None
        found += wrong
        fooled += difference(evidence_of(total.canary, total.baseline), limits) is not None
    assert found <= 0.01 * runs
    assert fooled > 0.5 * runs


# What holds for all numbers

sides = st.tuples(st.integers(0, 3000), st.integers(0, 300), st.integers(0, 300)).map(
    lambda found: Counts(max(found), min(found[1:]), max(found[1:]))
)
rates = st.sampled_from([0.001, 0.01, 0.05, 0.3])
limits_of = st.builds(
    Limits,
    alpha=st.sampled_from([0.001, 0.01, 0.1]),
    confidence=st.sampled_from([0.9, 0.95, 0.99]),
    max_error_rate=rates,
    margin=st.one_of(st.none(), rates),
    max_slow_share=st.one_of(st.none(), rates),
    with_slow=st.just(True),
    hard_error_rate=st.one_of(st.none(), rates),
    hard_min_requests=st.integers(1, 100),
)


@given(sides, sides, limits_of)
def test_every_verdict_has_a_reason_and_only_an_abort_has_a_cause(
    canary: Counts, baseline: Counts, limits: Limits
) -> None:
    verdict = verdict_on(canary, baseline, limits)
    assert verdict.kind in (PROMOTE, ABORT, INCONCLUSIVE) and verdict.reason
    assert (verdict.cause is not None) == (verdict.kind == ABORT)


@given(sides, sides, limits_of)
def test_a_canary_without_errors_and_slow_requests_is_never_aborted(
    canary: Counts, baseline: Counts, limits: Limits
) -> None:
    assert verdict_on(Counts(canary.requests), baseline, limits).kind != ABORT


@given(sides, sides, limits_of)
def test_nothing_is_promoted_that_is_above_both_limits(canary: Counts, baseline: Counts, limits: Limits) -> None:
    if verdict_on(canary, baseline, limits).kind == PROMOTE:
        seen = canary.error_rate or 0.0
        with_margin = (baseline.error_rate or 0.0) + (limits.margin or 0.0)
        assert seen < max(limits.max_error_rate or 0.0, with_margin)
        assert canary.requests > 0


@given(sides, sides, limits_of, st.sampled_from(["errors", "slow"]))
def test_more_errors_never_turn_a_verdict_for_the_better(
    canary: Counts, baseline: Counts, limits: Limits, kind: str
) -> None:
    better = {ABORT: 0, INCONCLUSIVE: 1, PROMOTE: 2}
    fields: dict[str, Any] = {**vars(canary), kind: min(canary.requests, vars(canary)[kind] + 1)}
    worse = Counts(**fields)
    assert better[verdict_on(worse, baseline, limits).kind] <= better[verdict_on(canary, baseline, limits).kind]


@given(sides, limits_of)
def test_two_versions_with_the_same_counts_do_not_differ(both: Counts, limits: Limits) -> None:
    assert difference(evidence_of(both, both), limits) is None


@given(sides, sides, limits_of)
def test_of_two_versions_one_at_most_is_the_bad_one(one: Counts, other: Counts, limits: Limits) -> None:
    errors_only = Limits(alpha=limits.alpha)
    verdicts = [difference(evidence_of(*sides), errors_only) for sides in ((one, other), (other, one))]
    assert None in verdicts


@given(sides, sides, limits_of)
def test_the_numbers_are_plain_and_finite(canary: Counts, baseline: Counts, limits: Limits) -> None:
    found = numbers(evidence_of(canary, baseline), limits)
    assert math.isfinite(found["likelihood_ratio"])
    assert found["canary"]["upper_bound"] == upper_bound(canary.errors, canary.requests, limits.confidence)


@given(st.integers(1, 10**9), limits_of)
def test_evaluations_get_rarer_and_stricter_and_never_end(requests: int, limits: Limits) -> None:
    evaluations: Evaluations = first_evaluation(limits)
    assert evaluations.risk(limits) == pytest.approx(1 - limits.confidence)
    later = evaluations.after(requests)
    assert later.next_at > requests and later.risk(limits) < evaluations.risk(limits)
    assert sum(Evaluations(count).risk(limits) for count in range(60)) <= 2 * (1 - limits.confidence) + 1e-9


def test_what_is_never_wrong_is_not_asked_for() -> None:
    """A rate below 100 % needs one request at least."""
    assert first_evaluation(Limits(max_error_rate=0.999999)).next_at == 1
