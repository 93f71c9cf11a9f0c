# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Marathon knows of one app, of those that a label selects, of a deployment group, or of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import NotFound
from .._invocation.context import Context
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import normalise, service_ports
from .._marathon.progress import counts, is_current, is_healthy, present_failure

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "app_id": {"type": "str"},
    "label": {"type": "str"},
    "group": {"type": "str"},
    "versions": {"type": "bool", "default": False},
}

ARGUMENT_RULES: dict[str, Any] = {"mutually_exclusive": [["app_id", "label", "group"]]}

_GROUP = "HAPROXY_DEPLOYMENT_GROUP"


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return ``{apps, changed, requests}``, the apps in the order of their ids."""
    with Marathon.from_params(params, context) as marathon:
        apps = sorted(_selected(marathon, params), key=lambda app: app["id"])
        described = [_described(marathon, app, params["versions"]) for app in apps]
        return {"changed": False, "apps": described, "requests": marathon.requests}


def _selected(marathon: Marathon, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    if params["app_id"] is not None:
        try:
            return [marathon.app(params["app_id"])]
        except NotFound:
            return []
    if params["group"] is not None:
        # Asked by the label's presence: a selector cannot hold every name that a group may have.
        return [app for app in marathon.apps(label=_GROUP) if app["labels"].get(_GROUP) == params["group"]]
    return marathon.apps(label=params["label"])


def _described(marathon: Marathon, app: Mapping[str, Any], with_versions: bool) -> dict[str, Any]:
    return {
        "id": app["id"],
        "definition": normalise(app),
        "service_ports": service_ports(app),
        "version": app.get("version"),
        "version_info": app.get("versionInfo"),
        "versions": marathon.versions(app["id"]) if with_versions else None,
        "counts": counts(app).as_dict(),
        "tasks": [_task(app, task) for task in app.get("tasks") or []],
        "deployments": [deployment["id"] for deployment in app.get("deployments") or []],
        "last_task_failure": present_failure(app),
    }


def _task(app: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": task["id"],
        "host": task.get("host"),
        "ports": task.get("ports") or [],
        "ip_addresses": [address["ipAddress"] for address in task.get("ipAddresses") or [] if "ipAddress" in address],
        "state": task.get("state"),
        "healthy": is_healthy(app, task),
        "current": is_current(app, task.get("version")),
        "version": task.get("version"),
        "started_at": task.get("startedAt"),
    }
