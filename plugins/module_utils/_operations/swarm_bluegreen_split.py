# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work out which tasks the proxies of a group on Docker Swarm need, with which weights, for a split of the traffic.

Nothing is changed: the proxies may be out of the controller's reach, so what they need is told, not done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, NotFound
from .._haproxy.weights import EQUAL, split
from .._invocation.context import Context
from .._rollout.state import COLOURS, other_colour
from .._swarm.client import SWARM_SPEC, Swarm
from .._swarm.definitions import check_name
from .._swarm.group import service_name
from .._swarm.observing import ENDPOINT_SPEC, Seen, endpoint_of, look
from .._swarm.tasks import may_serve, ready
from .._swarm.views import name_pattern, server_name
from .._wait import Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **SWARM_SPEC,
    **ENDPOINT_SPEC,
    "name": {"type": "str", "required": True},
    "colour": {"type": "str", "choices": list(COLOURS), "required": True},
    "share": {"type": "float"},
    "instances": {"type": "int", "default": 1},
    "partial": {"type": "bool", "default": False},
    "wait_timeout": {"type": "float", "default": 60},
}

Json = Mapping[str, Any]

_PAUSES = Pauses(0.25, 1.5, 2)


@dataclass(frozen=True)
class _Tasks:
    """The tasks of one colour that matter to a proxy, and where they are reached (by task id)."""

    service: str
    ready: Sequence[Json]
    running: Sequence[Json]
    addresses: Mapping[str, str]
    exists: bool = True

    def server(self, task: Json, weight: int, *, admitted: bool = True) -> dict[str, Any]:
        """The task as a server of ``haproxy_backend``."""
        return {
            "name": server_name(self.service, task.get("Slot"), task["ID"]),
            "address": self.addresses[task["ID"]],
            "weight": weight,
            "state": "ready" if admitted else "drain",
        }

    def at(self, tasks: Sequence[Json]) -> list[str]:
        """The addresses of ``tasks``."""
        return [self.addresses[task["ID"]] for task in tasks]


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    share, colour, name = params["share"], params["colour"], check_name(params["name"])
    if share is not None and not 0 <= share <= 100:
        raise InvalidInput("invalid_option", f"Option share is {share:g}; it is a percentage from 0 to 100.")
    endpoint_of(params)
    with Swarm.from_params(params, context) as swarm:
        own, other = _enough(swarm, params, context, name)
    idle = other.running if share == 100 else ()
    busy = () if share == 100 else other.ready
    weights, other_weights = _weights(share, len(own.ready), len(busy))
    admitted = [own.server(task, weight, admitted=share != 0) for task, weight in zip(own.ready, weights, strict=True)]
    rest = [other.server(task, weight) for task, weight in zip(busy, other_weights, strict=True)]
    out = [other.server(task, EQUAL, admitted=False) for task in idle]
    context.sample(
        "servers",
        **dict.fromkeys(other.addresses.values(), other.service),
        **dict.fromkeys(own.at(own.ready), own.service),
    )
    return {
        "changed": False,
        "addresses": {colour: own.at(own.ready), other_colour(colour): other.at(other.ready)},
        "servers": admitted,
        "other_servers": [*rest, *out],
        "own_addresses": own.at(own.ready),
        "other_addresses": other.at(other.running),
        "running_addresses": own.at(own.running),
        "known_addresses": [*own.at(own.running), *other.at(other.running)],
        "idle_tasks": [task["ID"] for task in idle],
        "idle_addresses": other.at(idle),
        "name_pattern": name_pattern(name),
    }


def _enough(swarm: Swarm, params: Json, context: Context, name: str) -> tuple[_Tasks, _Tasks]:
    """The colour with at least ``instances`` ready tasks, and the other one.

    :raises NotFound: its service is not there, and with ``partial`` that is no way to be.
    :raises DeadlinePassed: fewer are ready; with ``partial``: none is.
    """
    colour, wanted = params["colour"], params["instances"]
    service = service_name(name, colour)

    def seen() -> tuple[_Tasks, _Tasks]:
        found = look(swarm, name)
        if colour not in found.services and wanted and not params["partial"]:
            raise NotFound("not_found", f"There is no service {service}.", system=swarm.url, request="GET /services")
        return (
            _tasks(name, colour, found, params, current=True),
            _tasks(name, other_colour(colour), found, params, current=False),
        )

    def too_few(state: tuple[_Tasks, _Tasks]) -> str | None:
        count = len(state[0].ready)
        return None if count >= wanted else f"{count} of {wanted} tasks of {service} are ready"

    try:
        return wait_until(context, seen, too_few, timeout=params["wait_timeout"], pauses=_PAUSES)
    except DeadlinePassed as error:
        if not params["partial"]:
            raise
        own, other = seen()
        if own.exists and not own.ready:
            raise
        context.warn(f"{error.message}: the traffic goes to these.")
        return own, other


def _tasks(name: str, colour: str, found: Seen, params: Json, *, current: bool) -> _Tasks:
    """``current``: only tasks of the present definition count as ready; a version is not what was there before it."""
    service = service_name(name, colour)
    if colour not in found.services:
        return _Tasks(service, (), (), {}, exists=False)
    running = [task for task in found.tasks[colour] if may_serve(task)]
    healthy = ready(found.current[colour] if current else found.tasks[colour])
    known = endpoint_of(params).addresses([*running, *healthy], found.nodes, found.services[colour])
    by_slot = sorted(running, key=_order)
    return _Tasks(
        service,
        [task for task in sorted(healthy, key=_order) if task["ID"] in known],
        [task for task in by_slot if task["ID"] in known],
        known,
    )


def _order(task: Json) -> tuple[int, str]:
    return task.get("Slot") or 0, task["ID"]


def _weights(share: float | None, count: int, other_count: int) -> tuple[list[int], list[int]]:
    if share is None or share in (0, 100) or not (count and other_count):
        return [EQUAL] * count, [EQUAL] * other_count
    return split(share, count, other_count)
