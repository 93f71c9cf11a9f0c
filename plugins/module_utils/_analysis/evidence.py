# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was counted of a canary and of the old version since the analysis began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .odds_test import OddsTest


@dataclass(frozen=True)
class Counts:
    """Requests that were answered or failed, and how many of them failed or were slow."""

    requests: int = 0
    errors: int = 0
    slow: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.requests + other.requests, self.errors + other.errors, self.slow + other.slow)

    @property
    def is_sound(self) -> bool:
        """Whether no more requests have failed, or were slow, than there were."""
        return max(self.errors, self.slow) <= self.requests

    @property
    def error_rate(self) -> float | None:
        """Errors by requests; ``None`` without requests."""
        return min(1.0, self.errors / self.requests) if self.requests else None


@dataclass(frozen=True)
class Stretch:
    """What came since the last look, at one place that counts (a load balancer, say)."""

    canary: Counts = Counts()
    baseline: Counts = Counts()

    def __add__(self, other: Stretch) -> Stretch:
        return Stretch(self.canary + other.canary, self.baseline + other.baseline)

    @property
    def share(self) -> float:
        """The canary's share of the requests."""
        return self.canary.requests / (self.canary.requests + self.baseline.requests)

    @property
    def is_comparable(self) -> bool:
        """Whether both versions had requests, so that errors can be compared, and the counts fit each other.

        A count may run behind another one for a moment: an answer that breaks off fails after it was counted.
        """
        both = self.canary.requests > 0 and self.baseline.requests > 0
        return both and self.canary.is_sound and self.baseline.is_sound


@dataclass(frozen=True)
class Evidence:
    """The sums of both versions, and the tests on errors and on slow requests (``None`` before the first stretch).

    ``carried``: stretches by place that cannot be compared yet. They are joined with the next ones: when that is so
    depends on the numbers of requests alone, so the tests stay what they are.
    """

    canary: Counts = Counts()
    baseline: Counts = Counts()
    errors: OddsTest | None = None
    slow: OddsTest | None = None
    carried: Mapping[str, Stretch] = field(default_factory=dict)

    def after(self, stretches: Mapping[str, Stretch]) -> Evidence:
        """The evidence after one look, with the stretches by place."""
        canary, baseline, carried = self.canary, self.baseline, dict(self.carried)
        comparable = []
        for place, stretch in stretches.items():
            canary, baseline = canary + stretch.canary, baseline + stretch.baseline
            joined = carried.pop(place, Stretch()) + stretch
            if joined.is_comparable:
                comparable.append(joined)
            else:
                carried[place] = joined
        errors, slow = self.errors, self.slow
        if comparable and (errors is None or slow is None):
            errors = slow = OddsTest.at_share(sum(comparable, Stretch()).share)
        for one in comparable:
            errors = errors and errors.after(one.canary.errors, one.baseline.errors, one.share)
            slow = slow and slow.after(one.canary.slow, one.baseline.slow, one.share)
        return Evidence(canary, baseline, errors, slow, carried)
