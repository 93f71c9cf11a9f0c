# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do errors fall on the canary more often than its share of the traffic explains? A test for any number of looks.

Given that ``n`` requests have failed in a stretch of time in which the canary got the share ``r`` of all requests, each
error falls on the canary with the probability ``r`` if both versions are equally good. If the odds of an error are
``w`` times higher there, it is ``t(w) = w r / (w r + 1 - r)``. So a stretch with ``a`` errors on the canary and ``b``
on the old version multiplies the likelihood ratio of ``w`` by ``(t(w)/r)^a ((1 - t(w))/(1 - r))^b``.

For each ``w`` the product over the stretches, each with a share of its own, is a martingale while both are equally
good: each factor has the mean 1, whatever was seen before. So is its mixture over ``w`` by any prior that was fixed
before. By Ville's inequality the mixture ever reaches ``1/alpha`` with a probability of ``alpha`` at most, however
often one looks. This is the mixture likelihood ratio of Lindon and others (arXiv 2205.14762, 2011.03567) for two arms,
with the product over stretches in place of one constant share. What follows from the form:

* A rate of errors that changes with time (both versions worse at noon) does no harm: each stretch stands for itself.
* Counts are whole numbers out of finitely many requests, so the true law is hypergeometric, not binomial. It is smaller
  in convex order (Hoeffding 1963) and a factor is convex in ``a``, so its mean is 1 at most: the bound still holds.
* A canary without errors never gets a ratio above 1, as ``w > 1``.

The prior is a Beta distribution of ``t``, truncated to ``(r, 1)``, with the share ``r`` of the first stretch:
Beta(2, b) with ``b`` such that its mean lies at tenfold odds, as with 5 % of errors where 0.5 % are usual, but 1 at
least. It is kept as points with weights, so that the sum over them is exact for this prior, whatever shares follow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_POINTS = 256
_TYPICAL_ODDS = 10.0
_FIRST_PARAMETER = 2.0
_LARGEST_LOG_ODDS = 12.0


@dataclass(frozen=True)
class OddsTest:
    """The state of the test: ``odds`` of the prior's points, and for each of them the log of weight times ratio."""

    odds: tuple[float, ...]
    log_masses: tuple[float, ...]

    @classmethod
    def at_share(cls, share: float) -> OddsTest:
        """The test before any error. ``share``: of the first stretch, between 0 and 1, both excluded."""
        second = max(1.0, _FIRST_PARAMETER * (1.0 - share) / (_TYPICAL_ODDS * share))
        odds, log_weights = [], []
        for number in range(_POINTS):
            # Denser where the odds are nearly equal: there are the differences that it takes many errors to tell.
            place = (number + 0.5) / _POINTS
            ratio = math.exp(_LARGEST_LOG_ODDS * place * place)
            log_sum = math.log1p((ratio - 1.0) * share)
            log_chance = math.log(share * ratio) - log_sum
            log_rest = math.log1p(-share) - log_sum
            odds.append(ratio)
            # The Beta density, times d(chance)/d(log odds) = chance (1 - chance), times d(log odds)/d(place).
            log_weights.append(_FIRST_PARAMETER * log_chance + second * log_rest + math.log(place))
        log_total = _log_sum(log_weights)
        return cls(tuple(odds), tuple(log_weight - log_total for log_weight in log_weights))

    def after(self, canary_errors: int, baseline_errors: int, share: float) -> OddsTest:
        """The test after a stretch. ``share`` is the canary's share of its requests, between 0 and 1, both excluded."""
        if not canary_errors and not baseline_errors:
            return self
        # t(w)/r = w / (w r + 1 - r) and (1 - t(w))/(1 - r) = 1 / (w r + 1 - r)
        errors = canary_errors + baseline_errors
        masses = tuple(
            mass + canary_errors * math.log(odds) - errors * math.log1p((odds - 1.0) * share)
            for odds, mass in zip(self.odds, self.log_masses, strict=True)
        )
        return OddsTest(self.odds, masses)

    @property
    def log_ratio(self) -> float:
        """The natural logarithm of the mixture likelihood ratio."""
        return _log_sum(self.log_masses)


def _log_sum(logs: Sequence[float]) -> float:
    """The logarithm of the sum of what ``logs`` are the logarithms of."""
    highest = max(logs)
    return highest + math.log(sum(math.exp(log - highest) for log in logs))
