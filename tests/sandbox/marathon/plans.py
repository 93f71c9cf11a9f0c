# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployment plans, without any doing: which actions lead from one set of apps to another (reference B5)."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.sandbox.marathon import constraints
from tests.sandbox.marathon.definitions import config_differs
from tests.sandbox.marathon.model import App, Instance

Apps = Mapping[str, App]


@dataclass(frozen=True)
class Action:
    """One step's part for one app; ``kill`` are the instances that a scaling takes first."""

    kind: str
    app: App
    kill: tuple[Instance, ...] = ()

    def shown(self) -> dict[str, Any]:
        return {"action": f"{self.kind}Application", "app": self.app.id}


@dataclass(frozen=True)
class Plan:
    """Steps from ``original`` to ``target``; the actions of a step run side by side."""

    id: str
    version: str
    original: Apps
    target: Apps
    steps: tuple[tuple[Action, ...], ...]

    @property
    def affected(self) -> list[str]:
        return sorted({action.app.id for step in self.steps for action in step})

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, "version": self.version, "steps": [step_shown(step) for step in self.steps]}


def step_shown(step: Sequence[Action]) -> dict[str, Any]:
    return {"actions": [action.shown() for action in step]}


def _level(app: App, apps: Apps, seen: frozenset[str] = frozenset()) -> int:
    """1 for an app that depends on nothing, else one more than the highest level that it depends on."""
    below = [one for one in app.definition.get("dependencies", ()) if one in apps and one not in seen]
    return 1 + max((_level(apps[one], apps, seen | {app.id}) for one in below), default=0)


def _change(old: App | None, new: App, kill: Sequence[Instance]) -> Action:
    if old is None:
        return Action("Scale", new)
    only_count = old.instances != new.instances and not config_differs(old.definition, new.definition)
    if new.instances == 0 or only_count:
        return Action("Scale", new, tuple(kill))
    return Action("Restart", new)


def plan(original: Apps, target: Apps, version: str, kill: Mapping[str, Sequence[Instance]]) -> Plan:
    """The plan; without steps when nothing differs."""
    steps = [
        tuple(Action("Stop", app) for app in original.values() if app.id not in target),
        tuple(Action("Start", app) for app in target.values() if app.id not in original),
    ]
    levels: dict[int, list[Action]] = {}
    for app in target.values():
        old = original.get(app.id)
        if old != app:
            levels.setdefault(_level(app, target), []).append(_change(old, app, kill.get(app.id, ())))
    steps += [tuple(levels[level]) for level in sorted(levels)]
    return Plan(str(uuid.uuid4()), version, dict(original), dict(target), tuple(step for step in steps if step))


class Scaling(NamedTuple):
    """What a scaling does: these instances go, so many are started."""

    kill: list[Instance]
    start: int


WEIGHTS = {"Unreachable": 1, "Staging": 2, "Starting": 3, "Running": 4}


def scaling(app: App, instances: Sequence[Instance], sentenced: Sequence[Instance]) -> Scaling:
    """Which instances go and how many come, to have ``app.instances`` of them.

    Marathon's ScalingProposition, trap included: scheduled and provisioned instances have no weight of their own
    and so go *last*, after running ones (reference A13).
    """
    running = [one for one in instances if one.wanted]
    doomed = [one for one in running if one in sentenced]
    others = [one for one in running if one not in sentenced]
    count = max(len(running) - app.instances, len(doomed))
    uneven = constraints.first_to_kill(app, others, count - len(doomed)) if app.definition.get("constraints") else []
    sign = -1 if app.definition["killSelection"] == "YOUNGEST_FIRST" else 1
    rest = sorted(
        (one for one in others if one not in uneven),
        key=lambda one: (WEIGHTS.get(one.condition, 5), sign * (one.active_since or one.since)),
    )
    return Scaling((doomed + uneven + rest)[:count], app.instances - len(running) + count)


class Ignition(NamedTuple):
    """How a rolling restart begins: kill so many at once, never run more than ``most``."""

    kill: int
    most: int


def ignition(app: App, total: int, healthy: int) -> Ignition:
    """The arithmetic of ``upgradeStrategy`` (reference B6) for ``total`` old and new instances that are wanted.

    With 4 instances, minimumHealthCapacity 1 and maximumOverCapacity 0, one more than 4 runs for a time.
    """
    wanted = app.instances
    strategy = app.definition["upgradeStrategy"]
    least = math.ceil(wanted * strategy["minimumHealthCapacity"])
    most = math.floor(wanted * (1 + strategy["maximumOverCapacity"]))
    kill = max(0, healthy - least)
    if least == most and most <= healthy:
        most += 1
    if wanted < total:
        kill = max(total - wanted, kill)
    return Ignition(kill, most)
