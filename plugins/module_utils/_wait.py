# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for a condition, with a deadline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ._errors import DeadlinePassed, Unreachable
from ._invocation.context import Context

WAIT_SPEC: dict[str, Any] = {
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "float", "default": 300},
    "wait_sleep": {"type": "float", "default": 0.05},
}

_PROGRESS_EVERY = 10.0
_PROGRESS_GAP = 0.5
_AWAY_PAUSE = 1.0

State = TypeVar("State")


@dataclass(frozen=True)
class Pauses:
    """How long to rest between two looks: ``first`` seconds, then ``factor`` times longer, up to ``longest``."""

    first: float
    factor: float = 1.3
    longest: float = 0.5

    def after(self, pause: float | None) -> float:
        """The pause that follows ``pause`` (``None``: the first one)."""
        return self.first if pause is None else max(self.first, min(pause * self.factor, self.longest))


def wait_until(
    context: Context,
    look: Callable[[], State],
    pending: Callable[[State], str | None],
    *,
    timeout: float,
    pauses: Pauses,
    rest: Callable[[float], object] | None = None,
    look_at_once: bool = True,
) -> State:
    """Look until ``pending(state)`` is ``None`` and return that state. Times are in seconds.

    A look that raises :class:`Unreachable` says nothing about the state; its message is what is missing then.

    ``pending`` names what is missing: that text is the progress line and the message when the deadline passes.
    What cannot get better is raised by ``look`` or ``pending``. ``rest(seconds)`` may come back early (an event was
    seen); it only makes the next look come sooner. The last look is at the deadline. Without ``look_at_once`` the first
    look comes after the first pause: what was begun a moment ago is not worth a request yet.

    :raises DeadlinePassed: after ``timeout``; ``detail`` has the key ``state`` when the state is plain data.
    """
    rest = rest or context.sleep
    deadline = context.now() + timeout
    shown, shown_at = None, -_PROGRESS_EVERY
    pause: float | None = None
    if not look_at_once:
        pause = pauses.after(None)
        rest(min(pause, timeout))
    while True:
        away: Unreachable | None = None
        try:
            state = look()
        except Unreachable as error:
            away, missing = error, error.message
        else:
            missing = pending(state)
            if missing is None:
                return state
        now = context.now()
        left = deadline - now
        if left <= 0:
            raise DeadlinePassed(
                "deadline_passed",
                f"After {timeout:g} s: {missing}",
                system=away.system if away else None,
                request=away.request if away else None,
            )
        since_shown = now - shown_at
        if (missing != shown and since_shown >= _PROGRESS_GAP) or since_shown >= _PROGRESS_EVERY:
            context.progress(f"{missing} ({left:.0f} s left)")
            shown, shown_at = missing, now
        if away:  # it is asked again soon, however seldom it would be worth it otherwise
            context.sleep(min(_AWAY_PAUSE, left))
            continue
        pause = pauses.after(pause)
        rest(min(pause, left))
