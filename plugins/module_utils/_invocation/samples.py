# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operation has seen while it ran, for the pictures of the report: bounded, however long it watches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_OF_A_KIND = 48


class Samples:
    """Timed observations by kind. A time is one of ``Context.now``, in seconds.

    Of a run of equal observations the first and the last are kept: between them nothing changed. Where there are more
    than ``most`` of a kind, every second one is dropped and from then on fewer are taken, so that the ones that are
    kept cover the whole time evenly. The latest one is always there.
    """

    def __init__(self, most: int = MOST_OF_A_KIND) -> None:
        self._most = most
        self._kinds: dict[str, _Kind] = {}

    def add(self, at: float, kind: str, values: Mapping[str, Any]) -> None:
        """Take one observation."""
        self._kinds.setdefault(kind, _Kind(self._most)).add(at, dict(values))

    def before(self, now: float) -> list[list[Any]]:
        """Return ``[seconds before now, kind, values]`` of each, in the order of their times."""
        taken = [(at, kind, values) for kind, series in self._kinds.items() for at, values in series.taken()]
        return [[round(now - at, 3), kind, values] for at, kind, values in sorted(taken, key=lambda sample: sample[0])]


class _Kind:
    """``gap``: the least time between two of the kept ones, once there were too many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._gap = 0.0
        self._kept: list[tuple[float, dict[str, Any]]] = []
        self._latest: tuple[float, dict[str, Any]] | None = None

    def add(self, at: float, values: dict[str, Any]) -> None:
        """Keep the one before, unless this one says the same or comes too soon after the last that is kept."""
        before, self._latest = self._latest, (at, values)
        if before is None:
            return
        if self._kept and (before[1] == values == self._kept[-1][1] or before[0] - self._kept[-1][0] < self._gap):
            return
        self._kept.append(before)
        if len(self._kept) >= self._most:
            self._gap = 2 * (self._kept[-1][0] - self._kept[0][0]) / len(self._kept)
            self._kept = self._kept[::2]

    def taken(self) -> list[tuple[float, dict[str, Any]]]:
        """All that are kept, and the latest."""
        return [*self._kept, self._latest] if self._latest else []
