# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe a group on Docker Swarm and plan the steps from there to the goal. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .._errors import InvalidInput
from .._invocation.context import Context
from .._marathon.definition_files import read_definition
from .._rollout.analysis_options import check_analysis
from .._rollout.plan_options import PLAN_SPEC, check_limits, task_files
from .._rollout.planner import Policy
from .._rollout.state import COLOURS, other_colour
from .._swarm.client import SWARM_SPEC, Swarm
from .._swarm.definitions import Definition, check_name
from .._swarm.definitions import definition as checked_definition
from .._swarm.group import SwarmGroup, service_name
from .._swarm.observing import ENDPOINT_SPEC, PROXIES_SPEC, endpoint_of, look, seen_group
from .._swarm.plans import GOALS, Request, SwarmPlan, check_ports, swarm_plan

ARGUMENT_SPEC: dict[str, Any] = {
    **SWARM_SPEC,
    **ENDPOINT_SPEC,
    **PROXIES_SPEC,
    **PLAN_SPEC,
    "goal": {"type": "str", "choices": list(GOALS), "default": "deploy"},
    "service": {"type": "dict"},
    "src": {"type": "path"},
    "name": {"type": "str"},
    "image": {"type": "str"},
    "version": {"type": "str"},
    "replicas": {"type": "int"},
    "colour": {"type": "str", "choices": list(COLOURS)},
    "back_to": {"type": "str", "choices": list(COLOURS)},
    "keep_replicas": {"type": "str", "default": "all"},
    "published_ports": {"type": "dict", "default": {}},
    "resolve_image": {"type": "bool", "default": True},
}
ARGUMENT_RULES: dict[str, Any] = {
    "mutually_exclusive": [("service", "src")],
    "required_one_of": [("service", "src", "name")],
    "required_if": [("goal", "deploy", ("service", "src"), True)],
}

Json = Mapping[str, Any]


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    check_limits(params)
    keep = _count_to_keep(params["keep_replicas"])
    if not params["proxies"] and not params["haproxy_lbs"]:
        raise InvalidInput(
            "invalid_option", "Options proxies and haproxy_lbs are empty: nothing is known of what has the traffic."
        )
    given = read_definition(params["src"], "definition of a service") if params["src"] else params["service"]
    wanted = _definition(given or {}, params) if params["goal"] == "deploy" else None
    name = wanted.name if wanted else check_name(params["name"] or (given or {}).get("name"))
    hooks, check_files = task_files(params)
    with Swarm.from_params(params, context) as swarm:
        seen = look(swarm, name)  # first: that no manager answers says nothing about an image
        if wanted is not None:
            wanted = _pinned(wanted, params, swarm)
        url = swarm.url
    group = seen_group(name, seen, params)
    policy = Policy(
        weighted=True,
        analysis=bool(params["canary_analysis"]),
        bake_seconds=params["bake_seconds"],
        keep_old=params["keep_old"],
        checks=params["checks"],
        pending_operations=bool(params["pending_operations"]),
        hooks=hooks,
    )
    made = swarm_plan(group, _request(wanted, params, keep), policy, params["canary_steps"])
    if made.stages and params["canary_analysis"]:
        check_analysis(params["canary_analysis"], made.stages)
    check_ports(group, made, _ports(group, wanted, made, params), seen.active_nodes())
    service = _service(wanted, group, made)
    return {
        "changed": False,
        "docker_host": url,
        "plan": {**made.as_dict(), "service": service, "check_files": check_files},
    }


def _definition(given: Json, params: Json) -> Definition:
    return checked_definition(
        given,
        name=params["name"],
        image=params["image"],
        version=params["version"],
        replicas=params["replicas"],
        endpoint=endpoint_of(params),
        published_ports=params["published_ports"],
    )


def _pinned(wanted: Definition, params: Json, swarm: Swarm) -> Definition:
    """With the digest of the image.

    :raises InvalidInput: no registry has it.
    """
    resolves = params["resolve_image"] if wanted.resolves is None else wanted.resolves
    if not resolves or "@" in wanted.image:
        return wanted
    digest = swarm.image_digest(wanted.image)
    if digest is None:
        raise InvalidInput(
            "image_not_found",
            f"The image {wanted.image} is not there: its registry tells no digest for it. Push the image, or correct "
            "its name; for one that is on every node already, say resolve_image: false.",
            system=swarm.url,
            request=f"GET /distribution/{wanted.image}/json",
        )
    return wanted.pinned(digest)


def _count_to_keep(given: str) -> int | None:
    """``"all"`` (``None``) or a count."""
    text = given.strip()
    if text == "all":
        return None
    if not text.isdecimal():
        raise InvalidInput("invalid_option", f"Option keep_replicas is {given!r}; it is a count, 0 or more, or all.")
    return int(text)


def _request(wanted: Definition | None, params: Json, keep: int | None) -> Request:
    replicas = params["replicas"] if wanted is None else wanted.replicas
    return Request(
        goal=params["goal"],
        definition=wanted.hash() if wanted else None,
        version=wanted.version if wanted else "",
        replicas=replicas,
        colour=params["colour"],
        back_to=params["back_to"],
        keep=keep,
    )


def _ports(group: SwarmGroup, wanted: Definition | None, made: SwarmPlan, params: Json) -> dict[str, int | None]:
    """The fixed port of each colour behind the proxies; a copy has that of its model where none is given."""
    if wanted is not None and not made.copy_of:
        return {colour: wanted.port_of(colour) for colour in COLOURS}
    model = next((one.published_port for one in group.colours.values() if one.service == made.copy_of), None)
    given = {colour: int(port) for colour, port in params["published_ports"].items() if str(port).isdecimal()}
    return {colour: given.get(colour, model) for colour in COLOURS}


def _service(wanted: Definition | None, group: SwarmGroup, made: SwarmPlan) -> dict[str, Any] | None:
    """What docker_swarm_service is to create; ``None`` where nothing is, or where a service is copied."""
    created = made.created
    if wanted is None or created is None or made.copy_of:
        return None
    colour = next(one for one in COLOURS if service_name(group.name, one) == created.app_id)
    return wanted.service(colour, created.count, _deployed_at(group, colour, wanted, datetime.now(UTC)))


def _deployed_at(group: SwarmGroup, colour: str, wanted: Definition, now: datetime) -> str:
    """Later than whatever is there, however the clocks go; what goes on keeps its time, so that nothing is changed."""
    there, other = group.colours.get(colour), group.colours.get(other_colour(colour))
    if there is not None and there.runs(wanted.hash()) and (other is None or there.deployed_at > other.deployed_at):
        return there.deployed_at
    if other is not None:
        now = max(now, datetime.fromisoformat(other.deployed_at) + timedelta(microseconds=1))
    return now.isoformat(timespec="microseconds")
