# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operation knows about how it is run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


def _silent(_text: str) -> None:
    """A module has no channel for progress: its output is read when it ends."""


@dataclass(frozen=True)
class Context:
    """Check mode, diff mode, progress and the clock. ``now`` is monotonic; times are in seconds.

    ``changes`` are the requests that have changed something, so that a failure after them says so.
    ``progress`` shows one line to a person; ``warn`` adds a warning to the result. ``controller_pid`` is the process of
    the whole run, ``None`` in a module, which cannot know it.
    """

    check_mode: bool = False
    diff_mode: bool = False
    progress: Callable[[str], None] = _silent
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    warnings: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    controller_pid: int | None = None

    def warn(self, text: str) -> None:
        """Add ``text`` to the warnings of the result, once."""
        if text not in self.warnings:
            self.warnings.append(text)
