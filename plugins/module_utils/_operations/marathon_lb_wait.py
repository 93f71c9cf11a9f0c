# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until all marathon-lb instances admit given tasks, or until these can be killed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, NotFound
from .._haproxy.marathon_lb import (
    IDLE_PROCESSES,
    LB_PAUSES,
    MARATHON_LB_SPEC,
    LbView,
    Server,
    Watch,
    instances,
    reach,
    servers_of,
    unadmitted,
)
from .._invocation.context import Context
from .._marathon.client import MARATHON_SPEC, Marathon
from .._on_timeout import ON_TIMEOUT_SPEC, settle, settled
from .._task_targets import tasks_of
from .._wait import WAIT_SPEC, Pauses

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    **MARATHON_LB_SPEC,
    "app_id": {"type": "str"},
    "group": {"type": "str"},
    "tasks": {"type": "list", "elements": "raw"},
    "state": {"type": "str", "choices": ["admitted", "drained"], "required": True},
    "count_workers": {"type": "bool", "default": True},
    "idle_processes": {"type": "int", "default": IDLE_PROCESSES},
    **ON_TIMEOUT_SPEC,
    **WAIT_SPEC,
    "wait_sleep": {"type": "float", "default": LB_PAUSES.first},
}

ARGUMENT_RULES: dict[str, Any] = {"required_one_of": [("app_id", "group")]}

_GROUP = "HAPROXY_DEPLOYMENT_GROUP"

Json = Mapping[str, Any]


def run(params: Json, context: Context) -> dict[str, Any]:
    """Wait for the evidence; see the module's documentation. Nothing is changed."""
    lbs = instances(params)
    if params["idle_processes"] < 1:
        raise InvalidInput("invalid_option", "Option idle_processes: an instance has one process at least.")
    with Marathon.from_params(params, context) as marathon:
        found, gone = _tasks(params, marathon)
    servers = {task["id"]: servers_of(app, task) for app, task in found}
    nowhere = [task for task, names in servers.items() if not names]
    if nowhere or (not servers and (params["tasks"] is None or params["state"] == "admitted")):
        named = ", ".join(nowhere) if nowhere else params["app_id"] or params["group"]
        raise InvalidInput(
            "not_exposed",
            f"marathon-lb has no server for {named}: it needs a label HAPROXY_GROUP, a service port, and a task "
            "that runs and has an address.",
            detail=nowhere,
        )
    expected = [server for names in servers.values() for server in names]
    reach(context, lbs, params["retry_timeout"])
    watch = Watch(context, lambda: instances(params), expected, idle_processes=params["idle_processes"])
    missing, settlement = _wait(watch, params, context)
    lbs_shown = [_report(view, watch) for view in watch.views]
    if missing is None:
        context.sample("evidence", text=_evidence(watch, params))
    idle_times = [shown["keep_alive_seconds"] for shown in lbs_shown]
    return {
        "changed": False,
        "fulfilled": missing is None,
        "missing": missing,
        "tasks": list(servers),
        "gone": gone,
        "lbs": lbs_shown,
        "keep_alive_seconds": None if None in idle_times else max(idle_times),
        "evidence": {
            "state": params["state"],
            "servers": len(watch.expected),
            "workers_counted": params["state"] == "drained" and params["count_workers"],
        },
        **settlement,
    }


def _wait(watch: Watch, params: Json, context: Context) -> tuple[str | None, dict[str, Any]]:
    """What is still missing, and how the wait ended."""
    if not watch.expected:  # all tasks that were named are gone: there is nothing left to cut
        return None, settled()
    admitted = params["state"] == "admitted"
    if not params["wait"] or context.check_mode:
        if admitted:
            return unadmitted(watch.look_admitted(), watch.expected), settled()
        if params["count_workers"]:
            return watch.undrained(watch.look_drained()), settled()
        return watch.untaken_out(watch.look_taken_out()), settled()
    pauses = Pauses(params["wait_sleep"], LB_PAUSES.factor, max(LB_PAUSES.longest, params["wait_sleep"]))
    wait = watch.wait_admitted if admitted else watch.wait_drained if params["count_workers"] else watch.wait_taken_out
    try:
        wait(params["wait_timeout"], pauses)
    except DeadlinePassed as deadline:
        left = watch.left()
        if admitted:
            deadline.detail = left
            raise
        # How many sessions an old worker has cannot be asked over HTTP: with any left, the number is not known.
        unknown = any(lb["sessions"] is None or lb["old_workers"] != 0 for lb in left)
        count = None if unknown else sum(lb["sessions"] for lb in left)
        reached = watch.still_reached() if params["on_timeout"] == "cut" else None
        return deadline.message, settle(context, params["on_timeout"], deadline, left, count, reached=reached)
    return None, settled()


def _evidence(watch: Watch, params: Json) -> str:
    count, names = len(watch.expected), ", ".join(view.name for view in watch.views)
    if params["state"] == "admitted":
        return f"every LB ({names}) sends requests to these {count} servers"
    workers = "; no worker from before a reload is left" if params["count_workers"] else ""
    return f"no LB ({names}) sends requests to these {count} servers, and none has a session with them{workers}"


def _tasks(params: Json, marathon: Marathon) -> tuple[list[tuple[Json, Json]], list[str]]:
    """The tasks that are meant, each with its app, and the ids that no app has (any more)."""
    if params["app_id"]:
        apps = [marathon.app(params["app_id"])]
        of_group = (apps[0].get("labels") or {}).get(_GROUP)
        if params["group"] not in (None, of_group):
            raise InvalidInput(
                "wrong_group", f"{apps[0]['id']} belongs to the deployment group {of_group}, not to {params['group']}."
            )
    else:
        apps = marathon.apps(label=f"{_GROUP}=={params['group']}")
        if not apps:
            raise NotFound("not_found", f"Marathon has no app with the label {_GROUP}={params['group']}.")
    if params["tasks"] is None:
        return [(app, task) for app in apps for task in tasks_of(app, None)], []
    known = {task["id"]: (app, task) for app in apps for task in app.get("tasks") or []}
    found, gone = [], []
    for wanted in params["tasks"]:
        if isinstance(wanted, Mapping):
            found.append(_described(wanted, apps))
        elif wanted in known:
            found.append(known[wanted])
        else:
            gone.append(wanted)
    if gone and params["state"] == "admitted":
        named = ", ".join(app["id"] for app in apps)
        raise NotFound("unknown_tasks", f"{named} has no task {', '.join(map(str, gone))}.", detail=gone)
    return found, gone


def _described(task: Json, apps: Sequence[Json]) -> tuple[Json, Json]:
    """A task as Marathon has shown it before; it may be gone by now."""
    if not task.get("id") or not task.get("host"):
        raise InvalidInput("invalid_option", "Option tasks: a task needs at least the keys id and host.")
    return next((app for app in apps if app["id"] == task.get("appId")), apps[0]), task


def _report(view: LbView, watch: Watch) -> dict[str, Any]:
    idle_time = view.configuration.keep_alive if view.configuration else None
    left = next(lb for lb in watch.left() if lb["lb"] == view.name)
    return {
        **left,
        "servers": [_server(view, server) for server in watch.expected],
        "processes": len(view.processes.pids) if view.processes else None,
        "keep_alive_seconds": None if idle_time is None or math.isinf(idle_time) else idle_time,
    }


def _server(view: LbView, server: Server) -> dict[str, Any]:
    rows = view.rows or {}
    row = next((rows[key] for key in sorted(view.named(server)) if key in rows), None)
    return {
        "backend": server.backend,
        "server": server.server,
        "address": server.address,
        "status": row.status if row else None,
    }
