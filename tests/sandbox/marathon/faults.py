# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made to go wrong, each for some requests or some time."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Fault:
    """``count`` requests are left or ``until`` (monotonic seconds) has not come; ``None`` of both: until cleared.

    ``path`` limits it to paths that start so, ``agent`` to clients whose User-Agent contains it.
    """

    kind: str
    count: int | None = None
    until: float | None = None
    path: str | None = None
    agent: str | None = None
    status: int = 0
    delay: float = 0.0
    app: str | None = None
    since: float = 0.0

    @property
    def live(self) -> bool:
        if self.count is not None and self.count <= 0:
            return False
        return self.until is None or time.monotonic() < self.until

    def hits(self, path: str, agent: str) -> bool:
        if self.path is not None and not path.startswith(self.path):
            return False
        return self.agent is None or self.agent in agent


class Faults:
    """All that hold now."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def _live(self, kind: str) -> list[Fault]:
        self._faults = [one for one in self._faults if one.live]
        return [one for one in self._faults if one.kind == kind]

    def take(self, kind: str, path: str, agent: str) -> Fault | None:
        """The fault of this kind that hits a request, which uses up one of its ``count``."""
        for fault in self._live(kind):
            if fault.hits(path, agent):
                if fault.count is not None:
                    fault.count -= 1
                return fault
        return None

    def holds(self, kind: str) -> bool:
        return bool(self._live(kind))

    def holds_for(self, kind: str, app: str) -> bool:
        now = time.monotonic()
        return any(one.app == app and one.since <= now for one in self._live(kind))


def until(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds
