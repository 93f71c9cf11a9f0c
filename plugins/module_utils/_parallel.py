# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask several systems at the same time, with few threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 8

Item = TypeVar("Item")
Found = TypeVar("Found")


def each(function: Callable[[Item], Found], items: Sequence[Item], threads: int = THREADS) -> list[Found]:
    """Return ``function(item)`` for each item, in order; an exception is raised when all have been asked."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(threads, len(items))) as pool:
        return list(pool.map(function, items))
