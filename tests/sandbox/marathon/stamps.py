# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time as Marathon writes it: UTC, milliseconds, a ``Z``."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def stamp(seconds: float | None = None) -> str:
    """``2026-01-31T12:00:00.123Z`` of seconds since the epoch, now by default."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


class Versions:
    """Hands out versions: stamps, each later than the one before."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> str:
        self._last = max(self._last + 1, int(time.time() * 1000))
        return stamp(self._last / 1000 + 0.0001)  # off the border, so that rounding cannot repeat a stamp
