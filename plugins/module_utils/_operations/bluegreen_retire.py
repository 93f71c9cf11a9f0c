# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove what a rollout has drained, on evidence that is read right before it.

Between the drain and the removal lie a bake, hooks, perhaps a night. Whoever scales an app of the group meanwhile turns
the traffic, so the evidence is looked at once more in the operation that kills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._errors import DeadlinePassed, OperationError
from .._haproxy.endpoints import MARATHON_LB_SPEC, instances
from .._haproxy.marathon_lb import IDLE_PROCESSES, Server, Watch, servers_of, untaken_out
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import app_path, normalise
from .._marathon.deployment_group import group_name, launched_tasks, receiver
from .._marathon.ending import ENDING_TYPES, Ending
from .._marathon.events import Events
from .._marathon.haproxy_group import addressed_tasks, addresses, observe_behind_haproxy
from .._marathon.observation import Observation, observe_group

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    **MARATHON_LB_SPEC,
    "marathon_lb_url": {**MARATHON_LB_SPEC["marathon_lb_url"], "required": False},
    "lb_mode": {"type": "str", "choices": ["marathon_lb", "haproxy"], "default": "marathon_lb"},
    "haproxy_lbs": {"type": "list", "elements": "dict", "default": []},
    "port_index": {"type": "int", "default": 0},
    "cut": {"type": "bool", "default": False},
    "group": {"type": "str", "required": True},
    "app_id": {"type": "str", "required": True},
    "tasks": {"type": "list", "elements": "str"},
    "drained_tasks": {"type": "list", "elements": "str", "default": []},
    "scaled_at": {"type": "dict", "default": {}},
    "count_workers": {"type": "bool", "default": True},
    "idle_processes": {"type": "int", "default": IDLE_PROCESSES},
    "drain_timeout": {"type": "float", "default": 300},
    "wait_timeout": {"type": "float", "default": 120},
}
ARGUMENT_RULES: dict[str, Any] = {"required_if": [("lb_mode", "marathon_lb", ("marathon_lb_url",))]}

Json = Mapping[str, Any]


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    app_id = app_path(params["app_id"])
    name = group_name({"id": app_id}, params["group"])
    plain = params["lb_mode"] == "haproxy"
    lbs = [] if plain else instances(params)
    with Marathon.from_params(params, context) as marathon:
        if plain:
            observed = observe_behind_haproxy(marathon, name, params["haproxy_lbs"], params["port_index"])
        else:
            observed = observe_group(marathon, lbs, name, context, params["drain_timeout"])
        app = observed.app(app_id)
        before = normalise(app) if app is not None else None
        count = len(params["tasks"]) if params["tasks"] is not None else 0
        after = None if params["tasks"] is None or app is None else {**before, "instances": app["instances"] - count}
        result = outcome(context, "app", before, after)
        if app is not None and plain:
            _refuse_known(app, _doomed(app, params["tasks"]), params)
            _refuse_without_another(observed, app)
        elif app is not None:
            _refuse_served(observed, app, _doomed(app, params["tasks"]))
        if context.check_mode:
            return result
        if app is not None and plain:
            evidence = "sent requests to" if params["cut"] else "knew"
            context.sample("evidence", text=f"right before the removal no LB {evidence} a task of {app_id} any more")
        elif app is not None:
            evidence = "nobody has scaled the group, and no task was added, since the drain was seen"
            if not _unchanged_since(observed, app, params):
                _drain_again(context, app, params)
                evidence = "the drain was seen again"
            context.sample("evidence", text=f"right before the removal no LB sent requests to {app_id}: {evidence}")
        _remove(marathon, context, app, app_id, params)
        context.sample("instances", **{app_id: 0 if after is None else after["instances"]})
        return result


def _doomed(app: Json, ids: Sequence[str] | None) -> list[Json]:
    tasks = launched_tasks(app)
    return tasks if ids is None else [task for task in tasks if task["id"] in ids]


def _refuse_served(observed: Observation, app: Json, doomed: Sequence[Json]) -> None:
    """Nothing that gets new requests is removed; to stop here harms nothing."""
    why = None
    if len(observed.apps) > 1:
        receiving = receiver(observed.apps)
        if receiving is not None and receiving["id"] == app["id"]:
            why = f"marathon-lb sends the traffic to {app['id']} now: somebody has scaled it"
    why = why or untaken_out(observed.views, [server for task in doomed for server in servers_of(app, task)])
    if why is not None:
        raise OperationError("held", f"{app['id']} was not removed, it has traffic: {why}. Run this again.")


def _refuse_known(app: Json, doomed: Sequence[Json], params: Mapping[str, Any]) -> None:
    """Plain HAProxy takes a server away only when it is idle; one of its configuration stays, in maintenance.

    With ``cut`` it may be there, and busy, as long as nothing new comes.
    """
    ids = {task["id"] for task in doomed}
    there = [task for task in addressed_tasks(app) if task["id"] in ids]
    gone = set(addresses(app, there, params["port_index"]).values())
    for lb in params["haproxy_lbs"]:
        for name, server in lb["servers"].items():
            busy = not params["cut"] and (server["sessions"] or server["queued"])
            if server["address"] in gone and (server["state"] != "maint" or busy):
                raise OperationError(
                    "held",
                    f"{app['id']} was not removed, lb {lb['lb']} still has its server {name} ({server['state']}). Run "
                    "this again.",
                )


def _refuse_without_another(observed: Observation, app: Json) -> None:
    """A reload may have made an LB forget the servers of the version that stays."""
    for colour in (observed.group.old, observed.group.new):
        if colour is not None and colour.app_id != app["id"] and not colour.lowest_share:
            raise OperationError(
                "held",
                f"{app['id']} was not removed, not every lb sends requests to {colour.app_id}, which is to stay. Run "
                "this again.",
            )


def _unchanged_since(observed: Observation, app: Json, params: Mapping[str, Any]) -> bool:
    """Whether nobody scaled an app of the group, and no task was added, since the drain was seen."""
    scaled = {one["id"]: (one.get("versionInfo") or {}).get("lastScalingAt") for one in observed.apps}
    known = set(params["drained_tasks"])
    return scaled == params["scaled_at"] and all(task["id"] in known for task in _doomed(app, params["tasks"]))


def _drain_again(context: Context, app: Json, params: Mapping[str, Any]) -> None:
    servers: list[Server] = [server for task in _doomed(app, params["tasks"]) for server in servers_of(app, task)]
    if not servers:
        return
    watch = Watch(context, lambda: instances(params), servers, idle_processes=params["idle_processes"])
    try:
        if params["count_workers"]:
            watch.wait_drained(params["drain_timeout"])
        else:
            watch.wait_taken_out(params["drain_timeout"])
    except DeadlinePassed as error:
        raise OperationError("held", f"{app['id']} was not removed: {error.message}.", detail=watch.left()) from None


def _remove(marathon: Marathon, context: Context, app: Json | None, app_id: str, params: Mapping[str, Any]) -> None:
    """Marathon takes an app from its list at once and kills its tasks afterwards: so wait for the deployment."""
    ending = Ending(marathon, context, apps=[app_id])
    if app is None and not ending.running():
        return
    with Events(marathon, ENDING_TYPES, ending.matters) as events:
        if app is not None and params["tasks"] is None:
            # A version that never got healthy is still being deployed; that must not keep it.
            marathon.delete_app(app_id, force=True)
        elif app is not None:
            marathon.kill_and_scale(params["tasks"], {app_id: app["instances"]}, force=True)
        with marathon.blamed(changed=app is not None):
            ending.wait(events, timeout=params["wait_timeout"], just_begun=app is not None)
