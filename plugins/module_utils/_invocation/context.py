# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operation knows about how it is run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .samples import Samples


def _silent(_text: str) -> None:
    """A module has no channel for progress: its output is read when it ends."""


@dataclass(frozen=True)
class Context:
    """Check mode, diff mode, progress and the clock. ``now`` is monotonic; times are in seconds.

    ``changes`` are the requests that have changed something, so that a failure after them says so.
    ``progress`` shows one line to a person; ``warn`` adds a warning to the result; ``sample`` keeps an observation for
    the report. ``controller_pid`` is the process of the whole run, ``None`` in a module, which cannot know it.
    """

    check_mode: bool = False
    diff_mode: bool = False
    progress: Callable[[str], None] = _silent
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    warnings: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    controller_pid: int | None = None
    samples: Samples = field(default_factory=Samples)

    def warn(self, text: str) -> None:
        """Add ``text`` to the warnings of the result, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def sample(self, kind: str, /, **values: Any) -> None:
        """Keep an observation of this moment for the report's pictures. It costs microseconds, and may be thinned.

        The kinds, with the keys and values of each:

        * ``instances``: app id -> healthy tasks;
        * ``versions``: version -> tasks that serve, where one app has several;
        * ``share``: app id -> percent of the traffic that the load balancers send there;
        * ``server_share``: address -> percent, and ``servers``: address -> app id, where one operation knows not both;
        * ``sessions``: load balancer -> open and queued sessions at the servers that are drained;
        * ``old_workers``: load balancer -> workers from before a reload that still serve;
        * ``pending``: ``operations`` that the drained tasks have not finished, and how many tasks are ``silent``;
        * ``errors``: version or app id -> ``{"requests": n, "errors": n}``, counted from the start of the operation;
        * ``evidence``: ``text``, the observation on which the step may go on;
        * ``decision``: ``text``, what was decided, and ``reason``.
        """
        self.samples.add(self.now(), kind, values)
