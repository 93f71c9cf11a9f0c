# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment has ended, was undone, or was cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import Hopeless, NotFound
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.ending import ENDING_TYPES, Ending, judge
from .._marathon.events import Events
from .._marathon.progress import unsettled
from .._wait import WAIT_SPEC

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "wait": WAIT_SPEC["wait"],
    "wait_timeout": WAIT_SPEC["wait_timeout"],
    "deployment_id": {"type": "str"},
    "app_id": {"type": "str"},
    "state": {"type": "str", "choices": ["done", "rolled_back", "cancelled"], "default": "done"},
}

ARGUMENT_RULES: dict[str, Any] = {
    "mutually_exclusive": [["deployment_id", "app_id"]],
    "required_one_of": [["deployment_id", "app_id"]],
}

Json = Mapping[str, Any]


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return ``{deployment, changed, diff?, requests}``.

    ``deployment`` is ``{id, result, reason, version, affected_apps, rollback_id}``; ``result`` is ``running``,
    ``success``, ``cancelled`` or ``unknown`` (it had ended before anybody looked).
    """
    with Marathon.from_params(params, context) as marathon:
        ending = Ending(
            marathon,
            context,
            ids=[params["deployment_id"]] if params["deployment_id"] else [],
            apps=[params["app_id"]] if params["app_id"] else [],
        )
        with Events(marathon, ENDING_TYPES, ending.matters) as events:
            listed = next(iter(ending.running()), None)
            result = outcome(context, "deployment", _shown(params, listed), _shown(params, listed, params["state"]))
            if context.check_mode or (listed is None) or not (params["wait"] or result["changed"]):
                facts = _facts(params, listed, "running" if listed else "unknown")
            else:
                ending.watch(listed["id"])
                facts = _ended(marathon, ending, events, listed, params, context)
        return {**result, "deployment": facts, "requests": marathon.requests}


def _ended(
    marathon: Marathon, ending: Ending, events: Events, listed: Json, params: Mapping[str, Any], context: Context
) -> dict[str, Any]:
    """Do what is asked with a deployment that runs, and wait for its end."""
    changes = params["state"] != "done"
    rollback = None
    if changes:
        try:
            rollback = marathon.cancel_deployment(listed["id"], force=params["state"] == "cancelled")
        except NotFound:
            changes = False  # it has ended in this moment: find out how
        if rollback:
            ending.watch(rollback)
    if not params["wait"]:
        return _facts(params, listed, "cancelled" if changes else "running", rollback_id=rollback)
    with marathon.blamed(changed=changes):
        ending.wait(events, timeout=params["wait_timeout"])
    result, reason = _verdict(marathon, ending, listed, cancelled=changes)
    if params["state"] == "done" and result == "cancelled":
        raise Hopeless(
            "deployment_cancelled",
            f"Deployment {listed['id']} of {', '.join(listed.get('affectedApps', []))} was cancelled: {reason}",
            system=marathon.url,
            detail=_facts(params, listed, result, reason),
        )
    return _facts(params, listed, result, reason, rollback)


def _verdict(marathon: Marathon, ending: Ending, listed: Json, *, cancelled: bool) -> tuple[str, str | None]:
    end = ending.end_of(listed["id"])
    if end is not None:
        success = end["eventType"] == "deployment_success"
        return ("success", None) if success else ("cancelled", end.get("reason") or "Marathon gave no reason")
    if cancelled:
        return "cancelled", "cancelled by this task"
    apps: dict[str, Json | None] = {}
    for app_id in listed.get("affectedApps", []):
        try:
            apps[app_id] = marathon.app(app_id)
        except NotFound:
            apps[app_id] = None
    settled = {app_id: app is not None and _is_settled(app) for app_id, app in apps.items()}
    if judge(listed, apps, settled):
        return "success", None
    return "cancelled", "the apps are not as the deployment wanted them"


def _is_settled(app: Json) -> bool:
    return unsettled({**app, "deployments": []}) is None


def _shown(params: Mapping[str, Any], listed: Json | None, state: str = "done") -> dict[str, Any]:
    """What the diff shows: waiting for the end of a deployment changes nothing."""
    identity = {"app_id": params["app_id"], "id": listed["id"] if listed else params["deployment_id"]}
    if listed is None:
        return {**identity, "state": "ended"}
    return {**identity, "state": "running" if state == "done" else state}


def _facts(
    params: Mapping[str, Any],
    listed: Json | None,
    result: str,
    reason: str | None = None,
    rollback_id: str | None = None,
) -> dict[str, Any]:
    listed = listed or {}
    return {
        "id": listed.get("id") or params["deployment_id"],
        "result": result,
        "reason": reason,
        "version": listed.get("version"),
        "affected_apps": listed.get("affectedApps") or [],
        "rollback_id": rollback_id,
    }
