# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognise a deployment that zdd.py left half done, and say how far it had come and what it was going to do.

Its way (reference A4 to A6): create the new app small, then again and again kill the old tasks that are drained and
scale the new app up; with ``--new-instances`` that ends at a hybrid, which ``--complete-cur`` finishes and
``--complete-prev`` takes back. Nothing is decided by what is said here: the plan follows from what is observed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._haproxy.marathon_lb_decision import NEW_INSTANCES, STARTED_AT
from .deployment_group import ALT_PORT, VERSION, receiver, target_of, version_of

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Left:
    """``phase``: how far it had come, in a word or two; ``lines``: what is there, and what it was going to do."""

    phase: str
    lines: tuple[str, ...]


def left_by_zdd(apps: Sequence[Json], drained: Mapping[str, int]) -> Left | None:
    """What zdd.py left of the apps of a group, the one that was started first at the front; ``None`` when nothing.

    ``drained`` has how many tasks of each app (by id) the load balancers have taken out.

    :raises Undecidable: marathon-lb cannot decide whom it sends the traffic to.
    """
    if len(apps) != 2 or not made_by_zdd(apps[1]):
        return None
    old, new = apps
    return _described(_State(old, new, drained.get(old["id"], 0), drained.get(new["id"], 0)))


def made_by_zdd(app: Json) -> bool:
    """Whether zdd.py deployed the app: it leaves its own input label in, and knows nothing of this collection's."""
    labels = app.get("labels") or {}
    return VERSION not in labels and all(label in labels for label in (ALT_PORT, STARTED_AT, NEW_INSTANCES))


@dataclass(frozen=True)
class _State:
    old: Json
    new: Json
    old_drained: int
    new_drained: int

    @property
    def target(self) -> int:
        """Of the new app: the count that the whole app had when the deployment began."""
        return target_of(self.new) or int(self.new["instances"])

    @property
    def hybrid(self) -> int:
        """The count of new instances at which it was going to stop; 0 for a whole deployment."""
        text = self.new["labels"][NEW_INSTANCES]
        return int(text) if text.isdecimal() else 0

    @property
    def goes_back(self) -> bool:
        """Whether the old app has grown since the new one was created: only ``--complete-prev`` lets it grow."""
        scaled = self.old["versionInfo"]["lastScalingAt"]
        return scaled > self.new["versionInfo"]["lastConfigChangeAt"] and any(
            (task.get("stagedAt") or "") >= scaled for task in self.old.get("tasks") or ()
        )

    @property
    def turned(self) -> bool:
        """Whether marathon-lb takes the old app for the one that receives, and drains the new one."""
        receiving = receiver([self.old, self.new])
        return receiving is not None and receiving["id"] == self.old["id"] and self.new_drained > 0


def _described(state: _State) -> Left:
    old, new = state.old["id"], state.new["id"]
    phase, rest = _phase(state)
    counts = (
        f"{new} ({version_of(state.new)}) has {state.new['instances']} of {state.target} instances, "
        f"{old} ({version_of(state.old)}) has {state.old['instances']}"
    )
    busy = (
        " Marathon is still busy with its last request."
        if any(a.get("deployments") for a in (state.old, state.new))
        else ""
    )
    return Left(phase, (f"zdd.py left this group {phase}: {counts}; {_drained(state)}.{busy}", rest))


def _drained(state: _State) -> str:
    taken = [
        f"{count} of {app['id']}"
        for app, count in ((state.old, state.old_drained), (state.new, state.new_drained))
        if count
    ]
    return f"out of traffic: {' and '.join(taken)}" if taken else "nothing is drained"


def _phase(state: _State) -> tuple[str, str]:
    old, new = state.old["id"], state.new["id"]
    if state.goes_back:
        whole = target_of(state.old) or state.target
        grows = "" if state.old["instances"] >= whole else f"scale {old} up to {whole}, "
        return "on its way back (--complete-prev)", (
            f"It was going to {grows}kill the tasks of {new} as they drain, and remove {new} at the end."
        )
    if state.turned:
        return "in a state that it cannot leave", (
            f"{old} was scaled last, so marathon-lb drains {new} and not the rest of {old}: zdd.py would wait for "
            f"{old} to drain until somebody stops it."
        )
    if state.hybrid and state.new["instances"] <= state.hybrid:
        return _hybrid(state)
    remove = f"remove {old}"
    if state.new["instances"] >= state.target:
        if state.old_drained == state.old["instances"]:
            return _forward(state, "just before its end"), f"All that it had left to do was to {remove}."
        return _forward(state, "near its end"), f"It was going to wait until {old} is drained, and then to {remove}."
    kill = (
        f"kill the {_tasks(state.old_drained)} of {old} that {_are(state.old_drained)} drained, "
        if state.old_drained
        else ""
    )
    return _forward(state, "half-way"), (
        f"It was going to {kill}scale {new} up to {state.target}, kill more of {old} in turns, and {remove} at the end."
    )


def _forward(state: _State, words: str) -> str:
    return f"{words} (--complete-cur)" if state.hybrid else words


def _hybrid(state: _State) -> tuple[str, str]:
    old, new, count = state.old["id"], state.new["id"], state.hybrid
    rest = (target_of(state.old) or state.target) - count
    if state.new["instances"] == count and state.old["instances"] == rest:
        return "as a hybrid (--new-instances)", (
            f"It had ended as it was told to: {count} new and {rest} old share the traffic, until --complete-cur or "
            "--complete-prev."
        )
    return "on its way to a hybrid (--new-instances)", (
        f"It was going to stop at {count} of {new} beside {rest} of {old}."
    )


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
