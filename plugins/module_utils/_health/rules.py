# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a health check says of a target, and of all of them. Pure.

.. code-block:: text

    a target    up       each attempt is as expected, and fast
                slow     each attempt is as expected, at least one takes longer than the target's slow_seconds
                failing  some attempts are not as expected
                down     none is
    in all      down     all targets of the way in are down
                failing  else: any target is failing or down
                slow     else: any target is slow
                up       else

The way in is what the users come through: the targets of kind ``proxy``; where there are none those of kind
``outside``; where there are none either, the tasks. Targets that are not critical are shown, and count nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STATES = ("up", "slow", "failing", "down")
KINDS = ("proxy", "outside", "task")  # in the order in which they are taken for the way in


@dataclass(frozen=True)
class Attempt:
    """One request. ``seconds`` until the whole answer was there (``None``: none was), ``error``: what is wrong."""

    seconds: float | None
    status: int | None = None
    error: str | None = None


def exit_code(state: str) -> int:
    """0 for up, 1 for slow, 2 for failing, 3 for down."""
    return STATES.index(state)


def state_of(attempts: Sequence[Attempt], slow_seconds: float) -> str:
    """The state of one target; ``attempts`` is not empty."""
    bad = sum(attempt.error is not None for attempt in attempts)
    if bad:
        return "down" if bad == len(attempts) else "failing"
    return "slow" if any((attempt.seconds or 0) > slow_seconds for attempt in attempts) else "up"


def state_of_all(targets: Sequence[Mapping[str, Any]]) -> str:
    """The state in all; at least one of ``targets`` (with ``from``, ``state``, ``critical``) is critical."""
    counted = [target for target in targets if target["critical"]]
    way_in = next(
        found for kind in KINDS if (found := [target["state"] for target in counted if target["from"] == kind])
    )
    if all(state == "down" for state in way_in):
        return "down"
    worst = max((target["state"] for target in counted), key=exit_code)
    return "failing" if worst == "down" else worst
