# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployment groups on Marathon behind plain HAProxy, where the weights and states of servers decide on the traffic.

What an LB shows comes as the entries ``lbs`` of a result of ``haproxy_backend``: ``lb`` and ``servers``, by name, with
``address``, ``weight``, ``state`` (ready, drain, maint) and ``status``. A task is known by its address there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._errors import InvalidInput
from .._haproxy.marathon_lb import ipv4_of
from .._rollout.state import Colour, Group, Traffic
from .._task_targets import port_address
from .client import Marathon
from .deployment_group import alive_tasks, by_age, colour_of, launched_tasks, target_of, version_of
from .observation import Observation, group_apps

Json = Mapping[str, Any]

_NOT_YET = frozenset({"TASK_STAGING", "TASK_STARTING"})


def observe_behind_haproxy(marathon: Marathon, name: str, lbs: Sequence[Json], port_index: int) -> Observation:
    """The group as Marathon and the LBs show it.

    :raises InvalidInput: no LB was asked, or the group is none that a rollout can work on.
    """
    if not lbs:
        raise InvalidInput("invalid_option", "Option haproxy_lbs is empty: nothing is known of the load balancers.")
    apps = by_age(group_apps(marathon, name))
    colours = [_colour(app, apps, lbs, port_index) for app in apps]
    group = Group(name, colours[0] if colours else None, colours[1] if len(colours) > 1 else None)
    return Observation(apps, [], [], frozenset(), group)


def addresses(app: Json, tasks: Sequence[Json], port_index: int) -> dict[str, str]:
    """Task id to ``ip:port``, as a server's address in HAProxy.

    :raises InvalidInput: the app has no such port. :raises Unreachable: an agent's name has no address here.
    """
    found = {}
    for task in tasks:
        host, port = port_address(app, task, port_index)
        found[task["id"]] = f"{ipv4_of(host)}:{port}"
    return found


def _colour(app: Json, apps: Sequence[Json], lbs: Sequence[Json], port_index: int) -> Colour:
    own = set(addresses(app, alive_tasks(app), port_index).values())
    foreign = {
        address
        for other in apps
        if other is not app
        for address in addresses(other, addressed_tasks(other), port_index).values()
    }
    here = set(addresses(app, addressed_tasks(app), port_index).values())
    shares = [_share(lb, here, here | foreign) for lb in lbs]
    return Colour(
        app_id=app["id"],
        colour=colour_of(app),
        version=version_of(app),
        instances=app["instances"],
        healthy=len(own),
        target=target_of(app),
        traffic=_traffic(lbs, own, foreign),
        turnable=True,
        busy=bool(app.get("deployments")),
        share=max(shares),
        lowest_share=min(shares),
    )


def addressed_tasks(app: Json | None) -> list[Json]:
    """The tasks that may be at the load balancers and have requests: whatever Marathon hears of them now.

    One on an agent that the cluster has lost sight of may serve all the same, and one whose checks fail may be busy.
    """
    tasks = launched_tasks(app) if app else []
    return [task for task in tasks if task.get("host") and task.get("state") not in _NOT_YET]


def _share(lb: Json, own: set[str], group: set[str]) -> float:
    """Percent of the group's requests that an LB is set to give to the servers at ``own``, whatever its checks say."""
    weights = {
        server["address"]: server["weight"]
        for server in lb["servers"].values()
        if server["state"] == "ready" and server["address"] in group
    }
    total = sum(weights.values())
    return 100 * sum(weight for address, weight in weights.items() if address in own) / total if total else 0.0


def _traffic(lbs: Sequence[Json], own: set[str], foreign: set[str]) -> Traffic:
    served = [{server["address"] for server in lb["servers"].values() if _serves(server)} for lb in lbs]
    if not any(own & there for there in served):
        return Traffic.NONE
    everywhere = all(own <= there and not foreign & there for there in served)
    return Traffic.ALL if everywhere else Traffic.SOME


def _serves(server: Json) -> bool:
    """Whether it gets new requests: set ready, with a weight, and not found dead by its checks."""
    up = server["status"].startswith("UP") or server["status"] == "no check"
    return up and server["state"] == "ready" and server["weight"] > 0
