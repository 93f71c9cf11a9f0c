# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of zdd.py mean for a group as it is (reference A2, A4 and A6): a pure decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import InvalidInput
from .._haproxy.marathon_lb_decision import GROUP, NEW_INSTANCES
from .deployment_group import same_version, target_of

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Options:
    """Those of zdd.py; counts that were not given are ``None``."""

    new_instances: int = 0
    initial_instances: int | None = None
    linear_increase: int = 0
    complete_cur: bool = False
    complete_prev: bool = False
    resume: bool = False


@dataclass(frozen=True)
class Meaning:
    """``goal`` is deploy, promote, rollback or none; ``app`` the definition to deploy, ``steps`` those of a canary."""

    goal: str
    app: Json | None = None
    steps: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = field(default=())


def meaning(definition: Json, apps: Sequence[Json], options: Options) -> Meaning:
    """What is to be done with the ``apps`` of the definition's group, the one that was started first at the front.

    :raises InvalidInput: zdd.py would not do it either, or the options contradict each other.
    """
    _check(definition, options)
    if options.complete_cur or options.complete_prev:
        return Meaning("promote" if options.complete_cur else "rollback")
    if len(apps) > 1:
        return _beside(definition, apps, options)
    if not apps:
        return Meaning("deploy", definition)
    live = int(apps[0]["instances"])
    notes = _count_notes(definition, live)
    kept = {key: value for key, value in definition.items() if key != "instances"}
    steps, more = _steps(options, live)
    return Meaning("deploy", kept, steps, (*notes, *more))


def growth(first: int, goal: int, linear: int, *, whole: bool) -> list[int]:
    """The counts that zdd.py gives the new app one after the other: half as many again, or ``linear`` more.

    Reference A4, scaling formula. ``whole``: the goal is the count of the whole app, and it jumps there as soon as the
    next count would reach what is left of the old app.
    """
    counts = [min(first, goal)]
    left = goal  # of the old app, as it is read before the tasks that have drained meanwhile are killed
    while counts[-1] < goal:
        now = counts[-1]
        following = now + linear if linear else now + (now + 1) // 2
        if whole and not linear and following >= left:
            following = goal
        counts.append(min(following, goal))
        left = goal - now
    return counts


def without_nulls(value: Any) -> Any:
    """A copy without the keys and items that are null, as zdd.py sends and shows definitions."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value if item is not None] if isinstance(value, list) else value


def _check(definition: Json, options: Options) -> None:
    if GROUP not in (definition.get("labels") or {}):
        raise InvalidInput(
            "invalid_definition",
            f"{definition.get('id')}: the label {GROUP} is missing, by which zdd.py finds the apps.",
        )
    for name in ("new_instances", "linear_increase", "initial_instances"):
        value = getattr(options, name)
        if value is not None and value < (1 if name == "initial_instances" else 0):
            raise InvalidInput("invalid_option", f"Option {name} is {value}; it is a count.")
    chosen = [name for name in ("complete_cur", "complete_prev", "resume") if getattr(options, name)]
    if len(chosen) > 1:
        raise InvalidInput("invalid_option", f"Options {' and '.join(chosen)}: give one of them.")


def _beside(definition: Json, apps: Sequence[Json], options: Options) -> Meaning:
    """Two apps are there: half done, or a hybrid."""
    old, new = apps
    target = target_of(new) or max(int(old["instances"]), int(new["instances"]))
    if options.resume:
        hybrid = (new.get("labels") or {}).get(NEW_INSTANCES) or "0"
        count = int(hybrid) if hybrid.isdecimal() and int(hybrid) else options.new_instances
        if not count:
            return Meaning("promote")
        if new["instances"] >= count and old["instances"] <= max(0, target - count):
            note = f"{new['id']} has the {count} instances at which it was to stop: nothing is left to resume."
            return Meaning("none", notes=(note,))
        steps, notes = _steps(replace(options, new_instances=count), target)
        return Meaning("promote", None, steps, notes)
    if not same_version(definition, new):
        raise InvalidInput(
            "in_progress",
            f"The group has two apps, {old['id']} and {new['id']}, and {new['id']} runs another version than the one "
            "that is given. Finish it (complete_cur or resume) or take it back (complete_prev) first.",
        )
    kept = {key: value for key, value in definition.items() if key != "instances"}
    steps, notes = _steps(options, target)
    note = f"{new['id']} runs this version already: what was begun goes on."
    return Meaning("deploy", kept, steps, (note, *notes))


def _steps(options: Options, target: int) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """The steps of a canary by counts; none for all at once."""
    notes: list[str] = []
    goal = target
    if options.new_instances >= target:
        notes.append(f"new_instances is {options.new_instances} of {target} instances: all of them, so no hybrid.")
    elif options.new_instances:
        goal = options.new_instances
    counts = [goal]
    if options.initial_instances is not None or options.linear_increase:
        counts = growth(options.initial_instances or 1, goal, options.linear_increase, whole=goal == target)
    if counts == [target]:
        return (), tuple(notes)
    steps: list[dict[str, Any]] = [{"instances": count} for count in counts]
    if goal < target:
        steps[-1]["pause"] = True
    return tuple(steps), tuple(notes)


def _count_notes(definition: Json, live: int) -> tuple[str, ...]:
    wanted = definition.get("instances")
    if wanted is None or wanted == live:
        return ()
    return (f"The {wanted} instances of the definition are not looked at, {live} are live: as zdd.py does it.",)
