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
Beta(1, b) with ``b`` such that its mean lies at the tenfold odds where the share is small, 1 (uniform) where it is not.
It is kept as points with weights, so that the sum over them is exact for this prior, for all shares that follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_POINTS = 256
_TYPICAL_ODDS = 10.0


@dataclass(frozen=True)
class OddsTest:
    """The state of the test: ``odds`` of the prior's points, and for each of them the log of weight times ratio."""

    odds: tuple[float, ...]
    log_masses: tuple[float, ...]

    @classmethod
    def at_share(cls, share: float) -> OddsTest:
        """The test before any error. ``share``: of the first stretch, between 0 and 1, both excluded."""
        second = max(1.0, (1.0 - share) / (_TYPICAL_ODDS * share))
        odds, weights = [], []
        for number in range(_POINTS):
            # Denser at the share: there are the small differences, which it takes many errors to tell.
            place = (number + 0.5) / _POINTS
            chance = share + (1.0 - share) * place * place
            odds.append(chance * (1.0 - share) / ((1.0 - chance) * share))
            weights.append((1.0 - chance) ** (second - 1.0) * place)
        log_total = math.log(sum(weights))
        return cls(tuple(odds), tuple(math.log(weight) - log_total for weight in weights))

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
        highest = max(self.log_masses)
        return highest + math.log(sum(math.exp(mass - highest) for mass in self.log_masses))
