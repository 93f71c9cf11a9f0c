# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe a deployment group and plan the steps from there to the goal. Nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .._errors import InvalidInput
from .._haproxy.endpoints import MARATHON_LB_SPEC, instances
from .._haproxy.marathon_lb import servers_of, untaken_out
from .._haproxy.marathon_lb_decision import drained_count
from .._invocation.context import Context
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definition_files import read_definition
from .._marathon.definitions import app_path, service_ports
from .._marathon.definitions import check_definition as check_types
from .._marathon.deployment_group import (
    alive_tasks,
    assigned_ports,
    check_definition,
    colour_definition,
    group_name,
    lb_groups,
    same_version,
    started_at,
    template_is_stock,
    version_of,
)
from .._marathon.haproxy_group import observe_behind_haproxy
from .._marathon.left_by_zdd import left_by_zdd
from .._marathon.observation import Observation, observe_group
from .._marathon.prediction import check_prediction
from .._rollout.analysis_options import check_analysis
from .._rollout.canary import Stage, stages
from .._rollout.plan_options import PLAN_SPEC, check_limits, task_files
from .._rollout.planner import GOALS, Plan, Policy, Wanted, plan

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    **MARATHON_LB_SPEC,
    "marathon_lb_url": {**MARATHON_LB_SPEC["marathon_lb_url"], "required": False},
    "lb_mode": {"type": "str", "choices": ["marathon_lb", "haproxy"], "default": "marathon_lb"},
    "haproxy_lbs": {"type": "list", "elements": "dict", "default": []},
    "port_index": {"type": "int", "default": 0},
    "goal": {"type": "str", "choices": list(GOALS), "default": "deploy"},
    "app": {"type": "dict"},
    "src": {"type": "path"},
    "app_id": {"type": "str"},
    "image": {"type": "str"},
    "group": {"type": "str"},
    "version": {"type": "str"},
    "batch_size": {"type": "str", "default": "100%"},
    **PLAN_SPEC,
    "sticky": {"type": "bool", "default": False},
    "accept_check_change": {"type": "bool", "default": False},
    "fresh_state": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
}
ARGUMENT_RULES: dict[str, Any] = {
    "mutually_exclusive": [("app", "src")],
    "required_one_of": [("app", "src", "group")],
    "required_if": [("goal", "deploy", ("app", "src"), True), ("lb_mode", "marathon_lb", ("marathon_lb_url",))],
}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    check_limits(params)
    definition = _definition(params)
    deploys, weighted = params["goal"] == "deploy", params["lb_mode"] == "haproxy"
    if deploys:
        check_definition(definition, marathon_lb=not weighted)
        _refuse_unsticky(definition, params)
        _refuse_unknown_port(definition, params["port_index"])
    name = group_name(definition, params["group"])
    hooks, check_files = task_files(params)
    with Marathon.from_params(params, context) as marathon:
        if weighted:
            observed = observe_behind_haproxy(marathon, name, params["haproxy_lbs"], params["port_index"])
        else:
            observed = observe_group(marathon, instances(params), name, context, params["retry_timeout"])
        if deploys and not weighted and not observed.apps:
            _refuse_foreign_port(marathon, definition)
    count = max((app["instances"] for app in observed.apps), default=definition.get("instances") or 1)
    stages_in = _stages(params, observed, definition)
    if stages_in and params["canary_analysis"]:
        check_analysis(params["canary_analysis"], stages_in)
    policy = Policy(
        batch_size=_batch_size(params["batch_size"], count),
        weighted=weighted,
        canary=stages_in,
        analysis=bool(params["canary_analysis"]),
        bake_seconds=params["bake_seconds"],
        keep_old=params["keep_old"],
        checks=params["checks"],
        pending_operations=bool(params["pending_operations"]),
        hooks=hooks,
    )
    wanted = _wanted(definition, params["version"], observed) if deploys else None
    made = plan(observed.group, params["goal"], policy, wanted, _idle_tasks)
    left = None if weighted else left_by_zdd(observed.apps, _drained(observed))
    if left is not None:
        made = replace(made, notes=(*left.lines, *made.notes))
    result = {"changed": False, "plan": {**made.as_dict(), "group": name}}
    app = None
    if deploys and made.new_id is not None:
        app = _app_to_deploy(definition, params, observed, made, wanted.version, name)
        if not weighted:
            check_prediction(observed, made, app, accept_check_change=params["accept_check_change"])
    result["plan"]["app"] = app
    result["plan"]["to"] = wanted.version if wanted else _version_at_the_end(made, observed)
    result["plan"]["from"] = _version_at_the_start(made, observed)
    result["plan"]["check_files"] = check_files
    result["plan"]["lines"] = _lines(made, result["plan"])
    return result


def _drained(observed: Observation) -> dict[str, int]:
    """How many tasks of each app no LB sends requests to."""
    return {
        app["id"]: sum(untaken_out(observed.views, servers_of(app, task)) is None for task in alive_tasks(app))
        for app in observed.apps
    }


def _refuse_unsticky(definition: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Behind marathon-lb the definition says whether clients stay at a task; plain HAProxy has a preflight."""
    labels = definition.get("labels") or {}
    says = any(re.fullmatch(r"HAPROXY_\d+_STICKY", name) and labels[name].lower() == "true" for name in labels)
    if params["sticky"] and params["lb_mode"] == "marathon_lb" and not says:
        raise InvalidInput(
            "invalid_option",
            "Option sticky: marathon-lb binds clients to a task when the definition has the label HAPROXY_0_STICKY "
            f"with the value true; {definition['id']} has not.",
        )


def _refuse_unknown_port(definition: Mapping[str, Any], index: int) -> None:
    count = len(service_ports(definition))
    if index < 0 or (count and index >= count):
        raise InvalidInput(
            "invalid_option", f"Option port_index is {index}; {definition['id']} has {count} ports, counted from 0."
        )


def _stages(params: Mapping[str, Any], observed: Observation, definition: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages of a canary. Their counts are of what the new version will have when it takes over.

    :raises InvalidInput: also where batches are asked for: the stages are the batches of a canary.
    """
    if not params["canary_steps"] or params["goal"] not in ("deploy", "promote"):
        return ()
    if params["batch_size"].strip() != "100%":
        raise InvalidInput(
            "invalid_option", "Options batch_size and canary_steps: the steps of a canary say how it goes on; give one."
        )
    old, new = observed.group.old, observed.group.new
    live = old.instances if old else 0
    wanted = definition.get("instances") if params["goal"] == "deploy" else None
    target = min(live, wanted or live) or wanted or 1
    if new is not None and new.target is not None:
        target = new.target
    return stages(params["canary_steps"], target, weighted=params["lb_mode"] == "haproxy")


def _idle_tasks(receiving: int, other: int, target: int) -> int:
    return drained_count(other, other, receiving, target)


def _definition(params: Mapping[str, Any]) -> dict[str, Any]:
    """The wanted definition; only an id for goals that need none."""
    definition = params["app"]
    if params["src"]:
        definition = read_definition(params["src"])
    if definition is None:
        return {"id": params["group"]}
    check_types(definition)
    return _completed(definition, params)


def _completed(definition: dict[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with the id and the image that were given beside it; the version is the tag of a bare image."""
    made = dict(definition)
    if params["app_id"]:
        made["id"] = params["app_id"]
    if params["image"]:
        container = dict(made.get("container") or {})
        if not isinstance(container.get("docker"), Mapping):
            raise InvalidInput(
                "invalid_option",
                f"Option image: the definition of {made.get('id')} has no container.docker whose image it could be.",
            )
        image = params["image"]
        tagged = ":" in image.rpartition("/")[2] or "@" in image
        image = image if tagged or not params["version"] else f"{image}:{params['version']}"
        made["container"] = {**container, "docker": {**container["docker"], "image": image}}
    return made


def _batch_size(text: str, count: int) -> int | None:
    """``"25%"`` (rounded up) or ``"3"``; ``None`` for all at once."""
    number = text.strip().removesuffix("%").strip()
    if not number.isdecimal() or int(number) < 1 or (text.strip().endswith("%") and int(number) > 100):
        raise InvalidInput(
            "invalid_option",
            f"Option batch_size is {text!r}; it is a count like 3, or a share like 25%, and at least 1.",
        )
    size = -(-count * int(number) // 100) if text.strip().endswith("%") else int(number)
    return None if size >= count else size


def _wanted(definition: Mapping[str, Any], version: str | None, observed: Observation) -> Wanted:
    return Wanted(
        base_id=app_path(definition["id"]),
        version=version or version_of(definition),
        instances=definition.get("instances"),
        same_as=frozenset(app["id"] for app in observed.apps if same_version(definition, app)),
    )


def _app_to_deploy(
    definition: Mapping[str, Any],
    params: Mapping[str, Any],
    observed: Observation,
    made: Plan,
    version: str,
    name: str,
) -> dict[str, Any]:
    """The new colour's definition: as it stands where the app is there already (a rollout goes on), else a new one."""
    live = observed.app(made.new_id)
    creates = any(step.name == "create" for step in made.steps)
    if live is not None and not creates:
        return {**definition, "id": live["id"], "labels": live["labels"], "instances": live["instances"]}
    stock = params["lb_mode"] == "marathon_lb" and template_is_stock(observed.heads)
    fresh = params["fresh_state"] == "always" or (params["fresh_state"] == "auto" and stock)
    return colour_definition(
        definition,
        colour=made.new_colour,
        group=name,
        version=version,
        started_at=started_at(observed.apps, datetime.now(UTC)),
        target=made.target,
        instances=made.instances,
        turnable=params["lb_mode"] == "marathon_lb" and (made.old is None or made.old.target is not None),
        fresh_state=fresh,
        live_ports=assigned_ports(observed.apps[-1]) if observed.apps else (),
    )


def _refuse_foreign_port(marathon: Marathon, definition: Mapping[str, Any]) -> None:
    """Two apps outside of a common group on one service port give a configuration that HAProxy refuses."""
    wanted_ports = {port for port in service_ports(definition) if port}
    for app in marathon.apps(embed=()):
        shared = wanted_ports & set(service_ports(app)) if lb_groups([app]) else set()
        if shared:
            raise InvalidInput(
                "port_taken",
                f"The service port {min(shared)} of {definition['id']} is served by {app['id']}, which is not in its "
                "deployment group. Give that app the label HAPROXY_DEPLOYMENT_GROUP first, or choose another port.",
            )


def _version_at_the_start(made: Plan, observed: Observation) -> str | None:
    if made.goal == "rollback" and observed.group.new is not None:
        return observed.group.new.version
    return made.old.version if made.old else None


def _version_at_the_end(made: Plan, observed: Observation) -> str | None:
    if made.goal == "promote" and observed.group.new is not None:
        return observed.group.new.version
    return made.old.version if made.old else None


def _lines(made: Plan, described: Mapping[str, Any]) -> list[str]:
    """The plan for people."""
    if not made.steps:
        return [*made.notes, f"{described['group']}: nothing to do, {described['to'] or 'nothing'} is live."]
    head = f"{described['group']}: {described['from'] or 'nothing'} -> {described['to'] or 'nothing'} ({made.goal})"
    steps = [f"{number}. {step.name}: {step.title}" for number, step in enumerate(made.steps, 1)]
    return [head, *made.notes, *steps]
