# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Marathon runs, as hosts of an inventory: their names, variables and groups. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.inventory.group import to_safe_group_name

from ..module_utils._errors import InvalidInput
from ..module_utils._haproxy.marathon_lb_decision import GROUP, Undecidable, decide
from ..module_utils._marathon.definitions import service_ports
from ..module_utils._marathon.deployment_group import colour_of, lb_groups, version_of
from ..module_utils._marathon.progress import ENDED, counts, is_current, is_healthy
from ..module_utils._task_targets import port_address

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Host:
    """One host. ``variables`` are plain data, ``groups`` names that Ansible accepts."""

    name: str
    variables: dict[str, Any]
    groups: list[str]


def describe(apps: Iterable[Json], members: Mapping[str, Sequence[Json]]) -> list[dict[str, Any]]:
    """Return what is told of each app, its tasks under ``tasks``, in the order of the ids.

    Environments are left out: there are passwords in them, and inventories are printed and cached.

    ``apps``: as Marathon lists them with tasks and counts. ``members`` has all apps of each deployment group that one
    of them is in: which of them takes the traffic depends on the others.
    """
    admitted = {group: _admitted(grouped) for group, grouped in members.items()}
    described = []
    for app in sorted(apps, key=lambda app: app["id"]):
        group = group_of(app)
        addresses = _admitted([app]) if group is None else admitted[group]
        tasks = [_task(app, task, addresses) for task in app.get("tasks") or ()]
        described.append(
            {
                "id": app["id"],
                "group": group,
                "colour": _colour(app),
                "version": version_of(app),
                "live": None if addresses is None else any(task["live"] for task in tasks),
                "instances": app["instances"],
                "counts": counts(app).as_dict(),
                "image": ((app.get("container") or {}).get("docker") or {}).get("image"),
                "labels": dict(app.get("labels") or {}),
                "service_ports": service_ports(app),
                "deployments": [deployment["id"] for deployment in app.get("deployments") or ()],
                "tasks": sorted(tasks, key=lambda task: task["id"]),
            }
        )
    return described


def group_of(app: Json) -> str | None:
    """The deployment group of an app by its label, as people call it: without the leading slash."""
    return ((app.get("labels") or {}).get(GROUP) or "").removeprefix("/") or None


def grouped(apps: Iterable[Json]) -> dict[str, list[Json]]:
    """The apps, as Marathon lists them or as described, by their deployment groups; those in none are left out."""
    found: dict[str, list[Json]] = {}
    for app in apps:
        group = group_of(app)
        if group is not None:
            found.setdefault(group, []).append(app)
    return found


def _admitted(apps: Sequence[Json]) -> frozenset[str] | None:
    """The addresses to which marathon-lb sends new requests, were these all apps; ``None`` when it cannot decide."""
    try:
        rows = decide(apps, groups=lb_groups(apps))["servers"]
    except Undecidable:
        return None
    return frozenset(row["address"] for row in rows if not row["disabled"])


def _colour(app: Json) -> str | None:
    try:
        return colour_of(app)
    except InvalidInput:  # not one of ours: a rollout refuses it, a list need not
        return None


def _task(app: Json, task: Json, admitted: frozenset[str] | None) -> dict[str, Any]:
    addresses = list(_addresses(app, task))
    current = is_current(app, task.get("version"))
    return {
        "id": task["id"],
        "state": task.get("state"),
        "healthy": is_healthy(app, task),
        "live": None if admitted is None else not admitted.isdisjoint(addresses),
        # What an earlier definition was called, its tasks do not say.
        "version": version_of(app) if current else None,
        "current": current,
        "started_at": task.get("startedAt"),
        "host": task.get("host"),
        "agent_id": task.get("slaveId"),
        "ports": list(task.get("ports") or ()),
        "ip_addresses": [address["ipAddress"] for address in task.get("ipAddresses") or () if "ipAddress" in address],
        "addresses": addresses,
    }


def _addresses(app: Json, task: Json) -> Iterator[str]:
    """``host:port`` of each port of a task; nothing while it has no address."""
    for index in range(len(service_ports(app))):
        try:
            host, port = port_address(app, task, index)
        except InvalidInput:  # not launched yet
            return
        yield f"{host}:{port}"


def hosts(kind: str, cluster: str, described: Sequence[Json]) -> list[Host]:
    """Return the hosts of one cluster. ``kind``: ``tasks``, ``apps``, ``groups`` or ``clusters``."""
    return [
        Host(name, {"marathon_cluster": cluster, **variables}, [_name("cluster", cluster), *groups])
        for name, variables, groups in _KINDS[kind](cluster, described)
    ]


Found = Iterator[tuple[str, dict[str, Any], list[str]]]


def _task_hosts(cluster: str, described: Sequence[Json]) -> Found:
    for app in described:
        for task in app["tasks"]:
            if task["state"] in ENDED or not task["host"]:
                continue  # there is nothing any more, or not yet
            variables = {
                "ansible_host": task["addresses"][0].rpartition(":")[0] if task["addresses"] else task["host"],
                "marathon_task": task,
                "marathon_app": _without_tasks(app),
            }
            groups = _app_groups(app)
            if task["version"] is not None:
                groups.append(_name("version", task["version"]))
            yield f"{task['id']}@{cluster}", variables, groups


def _app_hosts(cluster: str, described: Sequence[Json]) -> Found:
    for app in described:
        variables = {**_LOCAL, "marathon_app": _without_tasks(app), "marathon_tasks": app["tasks"]}
        yield f"{_flat(app['id'])}@{cluster}", variables, [*_app_groups(app), _name("version", app["version"])]


def _group_hosts(cluster: str, described: Sequence[Json]) -> Found:
    for name, apps in sorted(grouped(described).items()):
        variables = {
            **_LOCAL,
            "marathon_group": {
                "name": name,
                "apps": [app["id"] for app in apps],
                "live": [app["id"] for app in apps if app["live"]],
                "versions": {app["id"]: app["version"] for app in apps},
                "colours": {app["id"]: app["colour"] for app in apps},
            },
        }
        yield f"{_flat(name)}@{cluster}", variables, sorted({group for app in apps for group in _member_groups(app)})


def _cluster_host(cluster: str, described: Sequence[Json]) -> Found:
    names = sorted(grouped(described))
    variables = {**_LOCAL, "marathon_app_ids": [app["id"] for app in described], "marathon_group_names": names}
    yield cluster, variables, sorted({name for app in described for name in _member_groups(app)})


_KINDS: dict[str, Callable[[str, Sequence[Json]], Found]] = {
    "tasks": _task_hosts,
    "apps": _app_hosts,
    "groups": _group_hosts,
    "clusters": _cluster_host,
}

# There is nothing to log in to.
_LOCAL: dict[str, Any] = {"ansible_connection": "local"}


def _without_tasks(app: Json) -> dict[str, Any]:
    return {key: value for key, value in app.items() if key != "tasks"}


def _app_groups(app: Json) -> list[str]:
    colour = [] if app["colour"] is None else [_name("colour", app["colour"])]
    return [*_member_groups(app), *colour]


def _member_groups(app: Json) -> list[str]:
    group = [] if app["group"] is None else [_name("group", app["group"])]
    return [_name("app", _flat(app["id"])), *group]


def _flat(path: str) -> str:
    """An id of an app or of a group without slashes, as HAProxy's names have it."""
    return path.strip("/").replace("/", "_")


def _name(kind: str, value: str) -> str:
    return to_safe_group_name(f"{kind}_{value}", force=True, silent=True)
