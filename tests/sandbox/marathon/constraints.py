# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement constraints (Marathon 1.8's Constraints): where a task may go, and which to kill first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from tests.sandbox.marathon.model import Agent, App, Instance


def _value(field: str, agent: Agent) -> str | None:
    """Agents have no attributes, only a host name."""
    return agent.host if field in ("hostname", "@hostname") else None


def _allows(constraint: Sequence[str], placed: Sequence[Agent], agent: Agent) -> bool:
    field, operator = constraint[0], constraint[1]
    wanted = constraint[2] if len(constraint) > 2 else ""
    offered = _value(field, agent)
    if offered is None:
        return operator == "UNLIKE"
    groups = Counter(_value(field, one) for one in placed)
    match operator:
        case "LIKE":
            return bool(wanted) and re.fullmatch(wanted, offered) is not None
        case "UNLIKE":
            return bool(wanted) and re.fullmatch(wanted, offered) is None
        case "UNIQUE":
            return offered not in groups
        case "CLUSTER":
            return offered == wanted if wanted else not placed or _value(field, placed[0]) == offered
        case "MAX_PER":
            return groups[offered] < int(wanted)
        case "GROUP_BY":
            least = int(wanted) if wanted else 0
            if offered not in groups:
                return True
            return len(groups) >= least and groups[offered] == min(groups.values())
        case _:
            return offered == wanted


def allowed(app: App, placed: Sequence[Agent], agent: Agent) -> bool:
    """Whether a task of ``app`` may go to ``agent`` when others are ``placed`` already."""
    return all(_allows(one, placed, agent) for one in app.definition.get("constraints", ()))


def first_to_kill(app: App, running: Sequence[Instance], count: int) -> list[Instance]:
    """Those of ``running`` that GROUP_BY lets go, in their order; fewer than ``count`` where it says nothing.

    After each one the groups are as even as they can be (a difference of 1 is tolerated), or more even than before.
    """
    if count >= len(running):
        return list(running)
    fields = [one[0] for one in app.definition.get("constraints", ()) if one[1] == "GROUP_BY"]
    chosen: list[Instance] = []
    while fields and len(chosen) < count:
        left = [instance for instance in running if instance not in chosen and instance.task is not None]
        fitting = [one for one in left if all(_stays_even(field, running, chosen, one) for field in fields)]
        if not fitting:
            break
        chosen.append(fitting[0])
    return chosen


def _stays_even(field: str, running: Sequence[Instance], chosen: Sequence[Instance], candidate: Instance) -> bool:
    before, after = _unevenness(field, running, chosen), _unevenness(field, running, [*chosen, candidate])
    return after <= 1 or after < before


def _unevenness(field: str, running: Sequence[Instance], gone: Sequence[Instance]) -> int:
    sizes: dict[str | None, int] = {}
    for instance in running:
        if instance.task is not None:
            group = _value(field, instance.task.agent)
            sizes[group] = sizes.get(group, 0) + (instance not in gone)
    return max(sizes.values(), default=0) - min(sizes.values(), default=0)
