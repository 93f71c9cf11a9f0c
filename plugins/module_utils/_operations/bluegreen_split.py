# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work out which servers HAProxy needs, with which weights, for a split of the traffic between two versions.

Nothing is changed: the load balancers may be out of the controller's reach, so what they need is told, not done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, NotFound
from .._haproxy.marathon_lb import servers_of
from .._haproxy.weights import EQUAL, split
from .._invocation.context import Context
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import app_path
from .._marathon.deployment_group import alive_tasks, by_age, group_name
from .._marathon.haproxy_group import addressed_tasks, addresses
from .._marathon.observation import group_apps
from .._wait import Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "group": {"type": "str", "required": True},
    "app_id": {"type": "str", "required": True},
    "instances": {"type": "int", "default": 1},
    "partial": {"type": "bool", "default": False},
    "share": {"type": "float"},
    "idle": {"type": "int", "default": 0},
    "lb_mode": {"type": "str", "choices": ["marathon_lb", "haproxy"], "default": "haproxy"},
    "port_index": {"type": "int", "default": 0},
    "wait_timeout": {"type": "float", "default": 60},
}

Json = Mapping[str, Any]

_PAUSES = Pauses(0.5, 1.5, 10)
_FIRST_CHECKS = 20.0  # seconds, within which a running task has a result


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    share = params["share"]
    if share is not None and not 0 <= share <= 100:
        raise InvalidInput("invalid_option", f"Option share is {share:g}; it is a percentage from 0 to 100.")
    app_id = app_path(params["app_id"])
    with Marathon.from_params(params, context) as marathon:
        app, other = _apps(marathon, params, context, app_id)
    own_tasks, other_tasks = alive_tasks(app), addressed_tasks(other)
    idle = other_tasks if share == 100 else sorted(other_tasks, key=lambda task: task["id"])[: params["idle"]]
    # What Marathon does not know to be alive stays at the load balancers as it is: a new leader knows of no task.
    busy = [task for task in alive_tasks(other) if task not in idle] if other is not None else []
    own, others = _addresses(app, own_tasks, params), _addresses(other, other_tasks, params)
    running = _addresses(app, addressed_tasks(app), params)
    weights, other_weights = _weights(share, len(own_tasks), len(busy))
    servers = [_server(task["id"], own, weight, share != 0) for task, weight in zip(own_tasks, weights, strict=True)]
    rest = [_server(task["id"], others, weight) for task, weight in zip(busy, other_weights, strict=True)]
    out = [_server(task["id"], others, EQUAL, ready=False) for task in idle]
    if other is not None:
        apps = {**dict.fromkeys(others.values(), other["id"]), **dict.fromkeys(own.values(), app_id)}
        context.sample("servers", **apps)
    return {
        "changed": False,
        "servers": servers,
        "other_servers": [*rest, *out],
        "addresses": list(own.values()),
        "other_addresses": list(others.values()),
        "running_addresses": list(running.values()),
        "known_addresses": [*running.values(), *others.values()],
        "name_pattern": f"{re.escape(_base_of(app_id))}(-[a-z]+)?\\.",
        "idle_tasks": [task["id"] for task in idle],
        "idle_addresses": [others[task["id"]] for task in idle],
    }


def _apps(marathon: Marathon, params: Mapping[str, Any], context: Context, app_id: str) -> tuple[Json, Json | None]:
    """The app with at least ``instances`` tasks alive, and the other one, where it has a part too with known checks.

    :raises DeadlinePassed: fewer are alive; with ``partial``: none is.
    """
    name = group_name({"id": app_id}, params["group"])
    both = params["share"] is not None and 0 < params["share"] < 100

    def look() -> list[dict[str, Any]]:
        apps = by_age(group_apps(marathon, name))
        if not any(app["id"] == app_id for app in apps):
            raise NotFound("not_found", f"There is no app {app_id} in the deployment group {name}.")
        return apps

    def too_few(apps: Sequence[Json]) -> str | None:
        count = next(len(alive_tasks(app)) for app in apps if app["id"] == app_id)
        return None if count >= params["instances"] else f"{count} of {params['instances']} tasks of {app_id} are alive"

    def unknown(apps: Sequence[Json]) -> bool:
        return any(_is_unknown(task) for app in apps if app["id"] == app_id for task in app["tasks"])

    def none_alive(apps: Sequence[Json]) -> str | None:
        return None if any(app["id"] == app_id and alive_tasks(app) for app in apps) else too_few(apps)

    def pending(apps: Sequence[Json]) -> str | None:
        others = [task for app in apps if both and app["id"] != app_id for task in app["tasks"] if _is_unknown(task)]
        return too_few(apps) or (f"{len(others)} running tasks have no result of a check" if others else None)

    try:
        apps = wait_until(context, look, pending, timeout=params["wait_timeout"], pauses=_PAUSES)
    except DeadlinePassed as error:
        apps = look()
        if too_few(apps) is not None and not params["partial"]:
            raise
        # A new leader of Marathon knows of no task at first, and going back must not end at that.
        wait_until(context, look, none_alive, timeout=_FIRST_CHECKS if unknown(apps) else 0, pauses=_PAUSES)
        apps = look()
        context.warn(f"{error.message}: the traffic goes to these.")
    by_id = {app["id"]: app for app in apps}
    return by_id.pop(app_id), next(iter(by_id.values()), None)


def _is_unknown(task: Json) -> bool:
    """Whether nothing is known of it yet: it starts, or Marathon has a new leader. Its part of the traffic is not."""
    return task.get("state") == "TASK_RUNNING" and not task.get("healthCheckResults")


def _base_of(app_id: str) -> str:
    """How the ids of the tasks of all colours begin."""
    return re.sub(r"-(blue|green)$", "", app_id.strip("/")).replace("/", "_")


def _addresses(app: Json | None, tasks: Sequence[Json], params: Mapping[str, Any]) -> dict[str, str]:
    if app is None:
        return {}
    if params["lb_mode"] == "haproxy":
        return addresses(app, tasks, params["port_index"])
    found = {task["id"]: servers_of(app, task) for task in tasks}
    return {task: servers[0].address for task, servers in found.items() if servers}


def _weights(share: float | None, count: int, other_count: int) -> tuple[list[int], list[int]]:
    if share is None or share in (0, 100) or not (count and other_count):
        return [EQUAL] * count, [EQUAL] * other_count
    return split(share, count, other_count)


def _server(task_id: str, known: Mapping[str, str], weight: int, ready: bool = True) -> dict[str, Any]:
    return {"name": task_id, "address": known.get(task_id), "weight": weight, "state": "ready" if ready else "drain"}
