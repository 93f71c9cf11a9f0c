# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the input of zdd.py and say what it means for the group as it is. Nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .._errors import InvalidInput
from .._invocation.context import Context
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definition_files import read_definition
from .._marathon.definitions import check_definition as check_types
from .._marathon.deployment_group import by_age, check_definition, group_name
from .._marathon.observation import group_apps
from .._marathon.zdd_input import Options, meaning, without_nulls

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "json": {"type": "path", "required": True},
    "new_instances": {"type": "int", "default": 0},
    "initial_instances": {"type": "int"},
    "linear_increase": {"type": "int", "default": 0},
    "complete_cur": {"type": "bool", "default": False},
    "complete_prev": {"type": "bool", "default": False},
    "resume": {"type": "bool", "default": False},
    "pre_kill_hook": {"type": "path"},
    "step_delay": {"type": "int"},
    "force": {"type": "bool", "default": False},
}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    definition = without_nulls(read_definition(params["json"]))
    check_types(definition)
    check_definition(definition)
    name = group_name(definition)
    hook = _hook(params["pre_kill_hook"])
    options = Options(
        new_instances=params["new_instances"],
        initial_instances=params["initial_instances"],
        linear_increase=params["linear_increase"],
        complete_cur=params["complete_cur"],
        complete_prev=params["complete_prev"],
        resume=params["resume"],
    )
    with Marathon.from_params(params, context) as marathon:
        found = meaning(definition, by_age(group_apps(marathon, name)), options)
    return {
        "changed": False,
        "zdd": {
            "goal": found.goal,
            "group": name,
            "app": found.app,
            "canary_steps": list(found.steps),
            "pre_kill_hook": hook,
            "notes": [*_without_effect(params), *found.notes],
        },
    }


def _hook(path: str | None) -> str | None:
    """Its whole path: it would be found missing when something has been changed already."""
    if path is None:
        return None
    whole = os.path.abspath(path)
    if not (os.path.isfile(whole) and os.access(whole, os.X_OK)):
        raise InvalidInput("invalid_option", f"Option pre_kill_hook: {whole} is no file that can be executed.")
    return whole


def _without_effect(params: Mapping[str, Any]) -> list[str]:
    notes = []
    if params["step_delay"] is not None:
        notes.append("step_delay has no effect: nothing is slept, the load balancers are looked at until they show it.")
    if params["force"]:
        notes.append("force has no effect: nothing is asked here before a step.")
    return notes
