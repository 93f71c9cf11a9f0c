# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what is live on Docker Swarm: the services of a group, their tasks, and what every proxy sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._invocation.context import Context
from .._rollout.state import COLOURS
from .._swarm.client import SWARM_SPEC, Swarm
from .._swarm.definitions import check_name
from .._swarm.group import COLOUR_LABEL, GROUP_LABEL, SwarmGroup, service_name
from .._swarm.observing import ENDPOINT_SPEC, PROXIES_SPEC, Seen, endpoint_of, look, seen_group
from .._swarm.tasks import ENDED_STATES, error_of, failed, node_name, state_of

ARGUMENT_SPEC: dict[str, Any] = {
    **SWARM_SPEC,
    **ENDPOINT_SPEC,
    **PROXIES_SPEC,
    "name": {"type": "str"},
}

Json = Mapping[str, Any]


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    endpoint_of(params)
    with Swarm.from_params(params, context) as swarm:
        names = [check_name(params["name"])] if params["name"] else _names(swarm.services())
        observed = {name: look(swarm, name) for name in names}
        url = swarm.url
    groups, lines = {}, []
    for name, seen in observed.items():
        group = seen_group(name, seen, params)
        groups[name] = _described(group, seen, params)
        lines += _lines(group)
    return {
        "changed": False,
        "docker_host": url,
        "groups": groups,
        "live": groups[names[0]]["live"] if len(names) == 1 else None,
        "lines": lines or ["There is no group."],
    }


def _names(services: Sequence[Json]) -> list[str]:
    """The groups whose services are there."""
    labels = [service["Spec"].get("Labels") or {} for service in services]
    return sorted({label[GROUP_LABEL] for label in labels if label.get(GROUP_LABEL) and label.get(COLOUR_LABEL)})


def _described(group: SwarmGroup, seen: Seen, params: Json) -> dict[str, Any]:
    return {
        "live": group.live,
        "idle": group.idle,
        "agreed": group.agreed,
        "colours": {colour: _colour(group, seen, colour, params) for colour in group.colours},
        "proxies": [view.as_dict() for view in group.views],
    }


def _colour(group: SwarmGroup, seen: Seen, colour: str, params: Json) -> dict[str, Any]:
    there, service = group.colours[colour], seen.services[colour]
    tasks = [task for task in seen.tasks[colour] if state_of(task) not in ENDED_STATES or failed(task)]
    running = [task for task in tasks if not failed(task)]
    addresses = endpoint_of(params).addresses(running, seen.nodes, service)
    return {
        "service": there.service,
        "version": there.version,
        "image": there.image,
        "replicas": there.replicas,
        "ready": there.ready,
        "healthy": there.ready >= there.replicas > 0,
        "deployed_at": there.deployed_at,
        "share": group.as_colour(colour).share,
        "traffic": group.traffic(colour).value,
        "tasks": [_task(task, seen, addresses) for task in tasks],
    }


def _task(task: Json, seen: Seen, addresses: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": task["ID"],
        "node": node_name(task, seen.nodes),
        "state": state_of(task),
        "error": error_of(task) if failed(task) else None,
        "address": addresses.get(task["ID"]),
    }


def _lines(group: SwarmGroup) -> list[str]:
    """The group for people: who is live, and a table of both colours."""
    rows = [("colour", "service", "version", "replicas", "ready", "requests")]
    for colour in COLOURS:
        if colour not in group.colours:
            rows.append((colour, service_name(group.name, colour), "none", "", "", ""))
            continue
        there, seen = group.colours[colour], group.as_colour(colour)
        least, most = seen.lowest_share or 0, seen.share or 0
        share = f"{most:g} %" if most - least <= 1 else f"{least:g} to {most:g} %"
        rows.append((colour, there.service, there.version, str(there.replicas), str(there.ready), share))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return [_head(group), *table, *(f"  {line}" for line in _proxies(group))]


def _head(group: SwarmGroup) -> str:
    if not group.views:
        return f"{group.name}: no proxy was asked, so it is not known what is live"
    if not group.agreed:
        return f"{group.name}: the proxies disagree"
    if group.live:
        return f"{group.name}: {group.live} is live"
    return f"{group.name}: both colours have traffic" if group.split else f"{group.name}: nothing is live"


def _proxies(group: SwarmGroup) -> list[str]:
    lines = []
    for view in group.views:
        shares = ", ".join(f"{view.served(colour):g} % to {colour}" for colour in COLOURS)
        old = f"; {view.old_workers} old workers still serve" if view.old_workers else ""
        lines.append(f"{view.name}: {shares}{old}")
    return lines
