# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create the new version of an app, and keep the traffic on the old one while it warms up.

Both in one operation: the old app has to be touched before a task of the new one is healthy, or marathon-lb admits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import InvalidInput
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import app_path, differences, normalise
from .._marathon.deployment_group import by_age
from .._marathon.observation import group_apps
from .._marathon.touch import Touch

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "group": {"type": "str", "required": True},
    "app": {"type": "dict", "required": True},
    "keep_app_id": {"type": "str"},
    "wait_timeout": {"type": "float", "default": 60},
    "offer_timeout": {"type": "float", "default": 10},
}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    definition = params["app"]
    app_id = app_path(definition["id"])
    deadline = context.now() + params["wait_timeout"]
    with Marathon.from_params(params, context) as marathon:
        apps = {app["id"]: app for app in by_age(group_apps(marathon, params["group"]))}
        live = apps.get(app_id)
        if live is not None and differences(definition, live):
            raise InvalidInput("already_exists", f"{app_id} is there already, with another definition.")
        result = outcome(context, "app", normalise(live) if live else None, normalise(live or definition))
        result["extra_task"] = None
        if live is not None or context.check_mode:
            return result
        kept = _kept(apps, params["keep_app_id"])
        if kept is None:
            marathon.create_app(definition)
            context.sample("evidence", text=f"Marathon has taken {app_id}")
            return result
        with Touch(
            marathon,
            kept,
            context,
            offer_timeout=params["offer_timeout"],
            left=lambda: max(0.0, deadline - context.now()),
        ) as touch:
            marathon.create_app(definition)
            touch.scale()
            result["extra_task"] = touch.take_away()
        context.sample("evidence", text=f"{kept['id']} was scaled last, so it keeps the traffic while {app_id} starts")
        return result


def _kept(apps: Mapping[str, dict[str, Any]], keep_app_id: str | None) -> dict[str, Any] | None:
    if keep_app_id is None:
        return None
    kept = apps.get(app_path(keep_app_id))
    if kept is None:
        raise InvalidInput("not_found", f"There is no app {keep_app_id} in the group, whose traffic could be kept.")
    return kept
