# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights of servers that split the traffic between two versions in a given share, whatever their counts are."""

from __future__ import annotations

LARGEST = 256  # HAProxy's, reference C4
# Of a server that shares with its likes only. The largest: while these come up beside servers that have other weights,
# or while those are drained, they never get a smaller share than before.
EQUAL = LARGEST

# A split that is so near (percentage points) is exact enough; then the one that is finer within a version is better.
_EXACT = 0.02


def split(share: float, count: int, other_count: int) -> tuple[list[int], list[int]]:
    """Return the weights of ``count`` servers that get ``share`` percent of the requests, and of the others.

    Each weight is 0 to 256, those of one version differ by 1 at most. ``share`` is above 0 and below 100, the counts
    are at least 1. HAProxy gives each server its weight's part of the sum of all weights.
    """
    wanted = share / 100
    most = min(LARGEST * count / wanted, LARGEST * other_count / (1 - wanted))
    found = []
    for total in range(2, int(most) + 1):
        part = min(max(1, round(total * wanted)), total - 1, LARGEST * count)
        if total - part > LARGEST * other_count:
            continue
        off = 100 * abs(part / total - wanted)
        found.append((off > _EXACT, off if off > _EXACT else 0.0, -total, part))
    best = min(found)
    return _divided(best[3], count), _divided(-best[2] - best[3], other_count)


def _divided(total: int, count: int) -> list[int]:
    each, more = divmod(total, count)
    return [each + 1] * more + [each] * (count - more)
