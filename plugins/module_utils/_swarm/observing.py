# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the services of a group and at what the proxies show of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import InvalidInput, NotFound
from .._rollout.state import COLOURS
from .client import Swarm
from .group import Endpoint, SwarmGroup, check_ours, observe, service_name
from .tasks import ENDPOINTS, may_serve
from .views import views, views_of_haproxy

# Where a task is reached, and what the proxies show.
ENDPOINT_SPEC: dict[str, Any] = {
    "target_port": {"type": "int"},
    "endpoint": {"type": "str", "choices": list(ENDPOINTS), "default": "host"},
    "network": {"type": "str"},
}
PROXIES_SPEC: dict[str, Any] = {
    "proxies": {"type": "list", "elements": "dict", "default": []},
    "haproxy_lbs": {"type": "list", "elements": "dict", "default": []},
}

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What the swarm says, by colour: the services that are there, and their tasks, all and of the present definition.

    A task of an earlier definition may run on for a while, and have requests.
    """

    services: Mapping[str, Json]
    tasks: Mapping[str, Sequence[Json]]
    current: Mapping[str, Sequence[Json]]
    nodes: Mapping[str, Json]

    def active_nodes(self) -> int:
        """How many nodes take new tasks."""
        return sum(
            node["Spec"].get("Availability") == "active" and node["Status"].get("State") == "ready"
            for node in self.nodes.values()
        )


def endpoint_of(params: Json) -> Endpoint:
    """The options of ``ENDPOINT_SPEC``.

    :raises InvalidInput: they do not fit together.
    """
    if params["endpoint"] == "overlay" and not (params["network"] and params["target_port"]):
        raise InvalidInput(
            "invalid_option", "With endpoint: overlay the options target_port and network say where a task is reached."
        )
    return Endpoint(params["endpoint"], params["target_port"], params["network"])


def look(swarm: Swarm, name: str) -> Seen:
    """Ask for the services of a group by their names, so that one which was made by somebody else is seen, too.

    :raises InvalidInput: there is such a one.
    """
    services = {}
    for colour in COLOURS:
        try:
            services[colour] = swarm.service(service_name(name, colour))
        except NotFound:
            continue
        check_ours(name, services[colour])
    names = {colour: service_name(name, colour) for colour in services}
    return Seen(
        services,
        {colour: swarm.tasks(service) for colour, service in names.items()},
        {colour: swarm.tasks(service, up_to_date=True) for colour, service in names.items()},
        swarm.nodes(),
    )


def seen_group(name: str, seen: Seen, params: Json) -> SwarmGroup:
    """The group, with what the options of ``PROXIES_SPEC`` show."""
    endpoint = endpoint_of(params)
    known = {
        colour: frozenset(
            endpoint.addresses(
                [task for task in seen.tasks[colour] if may_serve(task)], seen.nodes, seen.services[colour]
            ).values()
        )
        for colour in (seen.services if params["haproxy_lbs"] else ())
    }
    shown = (*views(params["proxies"]), *views_of_haproxy(params["haproxy_lbs"], name, known))
    return observe(name, seen.services, seen.current, seen.nodes, shown, endpoint)
