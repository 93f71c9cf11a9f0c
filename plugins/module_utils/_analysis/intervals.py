# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounds of a rate by Clopper and Pearson, exact for any count, with the incomplete Beta function behind them."""

from __future__ import annotations

import math

_TINY = 1e-300
_PRECISION = 1e-15
_HALVINGS = 100


def upper_bound(failures: int, trials: int, confidence: float) -> float:
    """The largest rate at which ``failures`` or fewer of ``trials`` still have the probability ``1 - confidence``.

    Clopper and Pearson (Biometrika 26, 1934), one-sided. 0 of 299 at 0.95 gives 0.00997. It holds for a number of
    trials that does not depend on the outcomes. 1 when there are no trials, or nothing but failures.
    """
    if failures >= trials:
        return 1.0
    if failures == 0:
        return -math.expm1(math.log1p(-confidence) / trials)
    return beta_quantile(confidence, failures + 1, trials - failures)


def lower_bound(failures: int, trials: int, confidence: float) -> float:
    """The smallest rate at which ``failures`` or more of ``trials`` still have the probability ``1 - confidence``."""
    return 1.0 - upper_bound(trials - min(failures, trials), trials, confidence)


def trials_for(rate: float, confidence: float) -> int:
    """The fewest trials that show a rate below ``rate`` when none of them fails; 0 where no rate is too high."""
    if rate >= 1:
        return 0
    return math.floor(math.log1p(-confidence) / math.log1p(-rate)) + 1


def log_beta(a: float, b: float) -> float:
    """The logarithm of the Beta function."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def beta_share(x: float, a: float, b: float) -> float:
    """The share of Beta(a, b) below ``x``: the regularised incomplete Beta function.

    By its continued fraction (Abramowitz and Stegun 26.5.8), evaluated by Lentz's method, at the side of the mean where
    it converges fast.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_share(1.0 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) - log_beta(a, b) - math.log(a)
    return min(1.0, math.exp(log_front) / _fraction(x, a, b))


def beta_quantile(share: float, a: float, b: float) -> float:
    """The ``x`` below which lies ``share`` of Beta(a, b), by bisection."""
    low, high = 0.0, 1.0
    for _halving in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if beta_share(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return high


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + …)) of the incomplete Beta function. The number of terms grows with the root of a + b."""
    value, c, d = 1.0, 1.0, 0.0
    for term in range(1, 1000 + 10 * math.isqrt(int(a + b))):
        half = term // 2
        if term % 2:
            step = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            step = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        c = _kept_from_zero(1.0 + step / c)
        d = 1.0 / _kept_from_zero(1.0 + step * d)
        change = c * d
        value *= change
        if abs(change - 1.0) < _PRECISION:
            break
    return value


def _kept_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
