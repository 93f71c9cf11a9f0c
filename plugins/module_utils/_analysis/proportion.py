# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How sure one can be of a share that was counted."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson_interval(count: int, total: int, confidence: float) -> tuple[float, float]:
    """Return the shares (0 to 1) between which the true one lies, by Wilson's score interval.

    It is the set of shares that a two-sided test at the level ``1 - confidence`` does not reject (Wilson 1927), so it
    never leaves 0 to 1 and means something for 0 of n too: ``wilson_interval(0, n, c)`` is ``(0, z²/(n + z²))``. Of
    nothing nothing is known: ``(0, 1)``.

    >>> [round(share, 3) for share in wilson_interval(20, 100, 0.95)]
    [0.133, 0.289]
    """
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # The ends are exact where the share is: rounding must not exclude it.
    return (0.0 if count == 0 else max(0.0, middle - reach)), (1.0 if count == total else min(1.0, middle + reach))
