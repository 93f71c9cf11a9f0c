# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks of a service say, read from the API's own data (Docker Engine API, object ``Task``). Pure.

A task goes through ``new``, ``allocated``, ``pending``, ``assigned``, ``accepted``, ``preparing``, ``ready``,
``starting``, ``running``, and ends as ``complete``, ``shutdown``, ``failed``, ``rejected``, ``remove`` or ``orphaned``.
With a health check it stays ``starting`` until its container is healthy. It is never started again: another task takes
its slot, and Docker keeps some of those before it (five by default).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# What a task is in that has failed by itself; ``complete`` too, as a service has no end.
FAILED_STATES = frozenset({"failed", "rejected", "complete"})
ENDED_STATES = FAILED_STATES | {"shutdown", "remove", "orphaned"}

HOST, OVERLAY = "host", "overlay"
ENDPOINTS = (HOST, OVERLAY)

Json = Mapping[str, Any]


def state_of(task: Json) -> str:
    """Where the task is on its way."""
    return task["Status"]["State"]


def wanted(task: Json) -> bool:
    """Whether the swarm wants this task to run (or to begin, once the one before it has ended)."""
    return task["DesiredState"] in ("running", "ready", "accepted")


def is_ready(task: Json) -> bool:
    """Whether the task runs, is wanted to, and is healthy where its image or service has a health check."""
    return state_of(task) == "running" and task["DesiredState"] == "running"


def ready(tasks: Iterable[Json]) -> list[Json]:
    """Those that are ready. Give the tasks of the present definition only, where that matters."""
    return [task for task in tasks if is_ready(task)]


def may_serve(task: Json) -> bool:
    """Whether the container of this task may be there, whatever is wanted of it."""
    return state_of(task) in ("starting", "running")


def failed(task: Json) -> bool:
    """Whether the task ended by itself, or was not taken by its node."""
    return state_of(task) in FAILED_STATES


def failures(tasks: Iterable[Json]) -> list[Json]:
    """Those that have failed, the latest last."""
    return sorted((task for task in tasks if failed(task)), key=lambda task: task["Status"].get("Timestamp", ""))


def error_of(task: Json) -> str:
    """The task's own words for what is wrong with it; the exit code where it has none."""
    status = task["Status"]
    code = (status.get("ContainerStatus") or {}).get("ExitCode")
    return status.get("Err") or (f"exit code {code}" if code else status.get("Message") or status["State"])


def slot_of(task: Json) -> str:
    """What the task stands for: its number among the replicas, or its node where the service is global."""
    return str(task.get("Slot") or task.get("NodeID") or task["ID"])


def node_name(task: Json, nodes: Mapping[str, Json]) -> str | None:
    """The host name of the task's node; ``None`` while it has none."""
    node_id = task.get("NodeID")
    if not node_id:
        return None
    return ((nodes.get(node_id) or {}).get("Description") or {}).get("Hostname") or node_id


def node_address(node: Json) -> str | None:
    """The address at which the other nodes see this one.

    A manager may see itself at an address that says nothing; the one that it tells the others is used then.
    """
    address = (node.get("Status") or {}).get("Addr")
    if address in (None, "", "0.0.0.0", "::", "127.0.0.1"):
        manager = (node.get("ManagerStatus") or {}).get("Addr", "").rpartition(":")[0].strip("[]")
        return manager or address or None
    return address


def address_of(
    task: Json, nodes: Mapping[str, Json], target_port: int, endpoint: str = HOST, network: str | None = None
) -> str | None:
    """``IP:PORT`` (``[IP]:PORT`` for IPv6) at which a load balancer reaches the task; ``None`` while there is none.

    ``host``: the node's address with the port that is published for ``target_port`` on the node itself (mode ``host``;
    Docker chooses one where the service fixes none). ``overlay``: the task's own address in ``network``, with
    ``target_port``.
    """
    if endpoint == OVERLAY:
        for attached in task.get("NetworksAttachments") or []:
            about = attached.get("Network") or {}
            if network in (about.get("ID"), (about.get("Spec") or {}).get("Name")) and attached.get("Addresses"):
                return _joined(attached["Addresses"][0].partition("/")[0], target_port)
        return None
    address = node_address(nodes.get(task.get("NodeID", ""), {}))
    for port in ((task["Status"].get("PortStatus") or {}).get("Ports")) or []:
        if (
            port.get("TargetPort") == target_port
            and port.get("PublishMode") == "host"
            and port.get("Protocol", "tcp") == "tcp"
            and port.get("PublishedPort")
            and address
        ):
            return _joined(address, port["PublishedPort"])
    return None


def addresses(
    tasks: Iterable[Json],
    nodes: Mapping[str, Json],
    target_port: int,
    endpoint: str = HOST,
    network: str | None = None,
) -> list[str]:
    """The addresses of those that have one, sorted."""
    found = (address_of(task, nodes, target_port, endpoint, network) for task in tasks)
    return sorted(address for address in found if address is not None)


def publishes(service: Json, target_port: int) -> bool:
    """Whether the service publishes ``target_port`` on the nodes of its tasks (mode ``host``)."""
    ports = (service["Spec"].get("EndpointSpec") or {}).get("Ports") or []
    return any(port.get("TargetPort") == target_port and port.get("PublishMode") == "host" for port in ports)


def replicas_of(service: Json) -> int | None:
    """How many tasks are wanted; ``None`` for a service that has one on each node, or that is a job."""
    replicated = (service["Spec"].get("Mode") or {}).get("Replicated")
    return None if replicated is None else replicated.get("Replicas", 1)


def facts(
    task: Json,
    nodes: Mapping[str, Json],
    target_port: int | None = None,
    endpoint: str = HOST,
    network: str | None = None,
) -> dict[str, Any]:
    """``{id, slot, node, state, address}`` for a result; ``address`` is ``None`` without a ``target_port``."""
    return {
        "id": task["ID"],
        "slot": task.get("Slot"),
        "node": node_name(task, nodes),
        "state": state_of(task),
        "address": None if target_port is None else address_of(task, nodes, target_port, endpoint, network),
    }


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
