# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a canary: pure decisions from :class:`Evidence`.

Two errors are possible, and each has its own bound:

* *To abort a canary that is as good as the old version*: ``alpha`` at most, over all looks together, as the test on
  which it rests may be looked at for ever (:mod:`odds_test`). With a second test, on slow requests, each of the two has
  half of it.
* *To promote a canary that is as bad as the limit or worse*: the bound of Clopper and Pearson holds for one look whose
  time does not depend on the errors. So it is not asked at each look, but at numbers of requests that are set before:
  first when errorless requests would be enough, then each time when there are half as many more. The first time has
  ``1 - confidence``, the k-th later one ``(1 - confidence) / 2^k``; all later ones together are as likely to be wrong
  as the first, so the bound for all is ``2 (1 - confidence)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .evidence import Counts, Evidence
from .intervals import lower_bound, trials_for, upper_bound
from .odds_test import OddsTest

PROMOTE = "promote"
ABORT = "abort"
INCONCLUSIVE = "inconclusive"

_MORE_REQUESTS = 1.5
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class Limits:
    """What is asked of a canary; rates and shares are between 0 and 1, ``None`` is no limit.

    It is good enough when its error rate is shown to be below ``max_error_rate`` or below the old version's plus
    ``margin`` (one of the two is set), and its share of slow requests below ``max_slow_share``. ``with_slow``: whether
    slow requests are counted. ``hard_error_rate`` of at least ``hard_min_requests`` requests ends it at once.
    """

    alpha: float = 0.01
    confidence: float = 0.95
    max_error_rate: float | None = 0.01
    margin: float | None = None
    max_slow_share: float | None = None
    with_slow: bool = False
    hard_error_rate: float | None = 0.5
    hard_min_requests: int = 20

    @property
    def ratio_needed(self) -> float:
        """The likelihood ratio at which a test aborts."""
        return (2 if self.with_slow else 1) / self.alpha


@dataclass(frozen=True)
class Verdict:
    """``kind`` is one of ``PROMOTE``, ``ABORT``, ``INCONCLUSIVE``; ``cause`` names what an abort rests on."""

    kind: str
    reason: str
    cause: str | None = None


@dataclass(frozen=True)
class Evaluations:
    """How often the bounds were asked whether the canary may be promoted, what was ``missing`` the last time, and with
    how many requests they are next.
    """

    count: int = 0
    next_at: int = 0
    missing: str | None = None

    def risk(self, limits: Limits) -> float:
        """The probability of a wrong promotion that the next one may have."""
        return (1.0 - limits.confidence) / 2**self.count

    def after(self, requests: int, missing: str | None = None) -> Evaluations:
        """After one with ``requests`` requests."""
        return Evaluations(self.count + 1, math.ceil(requests * _MORE_REQUESTS), missing)

    def said(self, requests: int) -> str:
        """What is missing, with ``requests`` requests now."""
        if self.missing:
            return f"{self.missing}; looked at again with {self.next_at} requests"
        return f"{requests} of the {self.next_at} requests that it takes at least"


def first_evaluation(limits: Limits) -> Evaluations:
    """The first evaluation: with the fewest requests that are enough when none of them fails."""
    risk = 1.0 - limits.confidence
    rates = [limit for limit in (limits.max_error_rate, limits.margin) if limit is not None]
    needed = [trials_for(max(rates), 1.0 - _canary_risk(risk, limits))]
    if limits.max_slow_share is not None:
        needed.append(trials_for(limits.max_slow_share, limits.confidence))
    return Evaluations(0, max(1, *needed))


def judge(
    evidence: Evidence, limits: Limits, evaluations: Evaluations, forbids_promotion: str | None
) -> tuple[Verdict, Evaluations]:
    """The verdict now, and the evaluations after it. ``forbids_promotion`` says why the canary may not be promoted yet
    (the bake is not over, the source is silent), whatever the numbers say.
    """
    abort = hard_stop(evidence.canary, limits) or difference(evidence, limits)
    if abort:
        return abort, evaluations
    if forbids_promotion:
        return Verdict(INCONCLUSIVE, forbids_promotion), evaluations
    if not evidence.canary.is_sound:
        return Verdict(INCONCLUSIVE, f"the source contradicts itself: {_told(evidence.canary)}"), evaluations
    requests = evidence.canary.requests
    if requests < evaluations.next_at:
        return Verdict(INCONCLUSIVE, evaluations.said(requests)), evaluations
    missing, shown = good_enough(evidence, limits, evaluations.risk(limits))
    evaluations = evaluations.after(requests, missing)
    if missing:
        return Verdict(INCONCLUSIVE, evaluations.said(requests)), evaluations
    return Verdict(PROMOTE, shown), evaluations


def hard_stop(canary: Counts, limits: Limits) -> Verdict | None:
    """The abort that no comparison is needed for."""
    if limits.hard_error_rate is None or canary.requests < max(1, limits.hard_min_requests):
        return None
    if canary.errors < limits.hard_error_rate * canary.requests:
        return None
    return Verdict(
        ABORT,
        f"{canary.errors} of {canary.requests} requests to the canary failed, {percent(canary.error_rate)}; "
        f"{percent(limits.hard_error_rate)} is where it ends at once",
        "hard_error_rate",
    )


def difference(evidence: Evidence, limits: Limits) -> Verdict | None:
    """The abort by the sequential tests."""
    kinds: list[tuple[str, str, OddsTest | None, int, int]] = [
        ("errors", "failed", evidence.errors, evidence.canary.errors, evidence.baseline.errors)
    ]
    if limits.with_slow:
        kinds.append(("slow", "were slow", evidence.slow, evidence.canary.slow, evidence.baseline.slow))
    for cause, what, test, canary, baseline in kinds:
        if test is not None and test.log_ratio >= math.log(limits.ratio_needed):
            return Verdict(
                ABORT,
                f"{canary} of {evidence.canary.requests} requests to the canary {what}, {baseline} of "
                f"{evidence.baseline.requests} to the old version: likelihood ratio {ratio(test):.4g}, "
                f"{limits.ratio_needed:g} is enough",
                cause,
            )
    return None


def good_enough(evidence: Evidence, limits: Limits, risk: float) -> tuple[str | None, str]:
    """What forbids to call the canary good enough (``None``: nothing does), and what was shown.

    ``risk`` is the probability with which a canary at the limit may be called good enough.
    """
    canary, baseline = evidence.canary, evidence.baseline
    canary_risk = _canary_risk(risk, limits)
    upper = upper_bound(canary.errors, canary.requests, 1.0 - canary_risk)
    allowed, named = -1.0, ""
    if limits.max_error_rate is not None:
        allowed, named = limits.max_error_rate, "the limit"
    if limits.margin is not None:
        lower = lower_bound(baseline.errors, baseline.requests, 1.0 - (risk - canary_risk))
        if lower + limits.margin > allowed:
            allowed = lower + limits.margin
            named = f"the old version's {percent(lower)} at least, and the margin"
    shown = (
        f"{canary.errors} of {canary.requests} requests to the canary failed, so its error rate is "
        f"{percent(upper)} at most"
    )
    if upper >= allowed:
        return f"{shown}; it has to be below {percent(allowed)} ({named})", shown
    shown += f", below {percent(allowed)} ({named})"
    if limits.max_slow_share is not None:
        slow = upper_bound(canary.slow, canary.requests, 1.0 - risk)
        told = f"{canary.slow} were slow, {percent(slow)} at most"
        if slow >= limits.max_slow_share:
            return f"{told}; it has to be below {percent(limits.max_slow_share)}", shown
        shown += f"; {told}, below {percent(limits.max_slow_share)}"
    return None, shown


def numbers(evidence: Evidence, limits: Limits) -> dict[str, Any]:
    """The numbers behind a verdict, as plain data."""
    canary, baseline = evidence.canary, evidence.baseline
    sides: Mapping[str, Counts] = {"canary": canary, "baseline": baseline}
    found: dict[str, Any] = {
        side: {
            "requests": counts.requests,
            "errors": counts.errors,
            "error_rate": counts.error_rate,
            "slow": counts.slow if limits.with_slow else None,
            "upper_bound": upper_bound(counts.errors, counts.requests, limits.confidence),
            "lower_bound": lower_bound(counts.errors, counts.requests, limits.confidence),
        }
        for side, counts in sides.items()
    }
    found["likelihood_ratio"] = ratio(evidence.errors)
    found["slow_likelihood_ratio"] = ratio(evidence.slow) if limits.with_slow else None
    found["ratio_needed"] = limits.ratio_needed
    return found


def summary(evidence: Evidence, limits: Limits) -> str:
    """The numbers in one line."""
    canary, baseline = evidence.canary, evidence.baseline
    text = (
        f"canary {_told(canary)}, old {_told(baseline)}, likelihood ratio {ratio(evidence.errors):.3g} of "
        f"{limits.ratio_needed:g}"
    )
    if limits.with_slow:
        text += f", slow {canary.slow} and {baseline.slow}, ratio {ratio(evidence.slow):.3g}"
    return text


def ratio(test: OddsTest | None) -> float:
    """The likelihood ratio to six digits, 1 before anything was seen, a finite number always."""
    return 1.0 if test is None else float(f"{math.exp(min(test.log_ratio, _LARGEST_EXPONENT)):.6g}")


def percent(rate: float | None) -> str:
    """A rate as people read it."""
    return "no requests" if rate is None else f"{100 * rate:.3g} %"


def _told(counts: Counts) -> str:
    return f"{counts.errors} of {counts.requests} failed"


def _canary_risk(risk: float, limits: Limits) -> float:
    """Where the old version's rate is estimated too, each of the two bounds has half of the risk."""
    return risk if limits.margin is None else risk / 2
