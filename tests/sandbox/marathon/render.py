# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How apps, tasks, groups and the rest look in answers."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from statistics import mean, median
from typing import Any

from tests.sandbox.marathon.core import Marathon
from tests.sandbox.marathon.definitions import service_ports
from tests.sandbox.marathon.model import TASK_STATES, App, Instance
from tests.sandbox.marathon.stamps import stamp

PREFIXES = ("group.apps.", "apps.", "app.")
KNOWN = {
    "tasks": {"tasks", "deployments"},
    "failures": {"tasks", "lastTaskFailure", "deployments"},
    "deployments": {"deployments"},
    "readiness": {"readiness"},
    "lastTaskFailure": {"lastTaskFailure"},
    "counts": {"counts"},
    "taskStats": {"taskStats"},
}


def embeds(names: Sequence[str]) -> set[str]:
    """What ``embed`` asks for, whatever prefix it came with; unknown names are ignored."""
    wanted: set[str] = set()
    for name in names:
        prefix = next((one for one in PREFIXES if name.startswith(one)), "")
        wanted |= KNOWN.get(name[len(prefix) :], set())
    return wanted


def task_shown(marathon: Marathon, instance: Instance, ports_of: App | None = None) -> dict[str, Any] | None:
    """The task of an instance, ``None`` when it has none yet; ``ports_of`` adds that app's service ports."""
    task = instance.task
    if task is None:
        return None
    launched = task.condition != "Provisioned"
    result: dict[str, Any] = {
        "appId": instance.app.id,
        "healthCheckResults": [one.shown(instance.id) for one in marathon.health.of(instance)],
        "host": task.agent.host,
        "id": task.id,
        "ipAddresses": [{"ipAddress": one, "protocol": "IPv4"} for one in task.addresses] if launched else [],
        "localVolumes": [],
        "ports": [],
        "servicePorts": service_ports(ports_of.definition) if ports_of else [],
        "slaveId": task.agent.id,
        "state": TASK_STATES[task.condition],
    }
    if instance.active:
        result.update(ports=task.ports, stagedAt=stamp(task.staged_at), version=instance.app.version)
        if task.started_at is not None:
            result["startedAt"] = stamp(task.started_at)
    return result


def tasks_shown(marathon: Marathon, instances: Sequence[Instance]) -> list[dict[str, Any]]:
    shown = (task_shown(marathon, one) for one in instances)
    return [one for one in shown if one is not None]


def counts(marathon: Marathon, instances: Sequence[Instance]) -> dict[str, int]:
    """Staged, running, healthy and unhealthy tasks; one that waits for its relaunch is none."""
    result = {"tasksStaged": 0, "tasksRunning": 0, "tasksHealthy": 0, "tasksUnhealthy": 0}
    for instance in instances:
        if instance.scheduled or instance.task is None:
            continue
        results = marathon.health.of(instance)
        result["tasksStaged"] += instance.condition == "Provisioned"
        result["tasksRunning"] += instance.condition == "Running"
        result["tasksHealthy"] += bool(results) and all(one.alive for one in results)
        result["tasksUnhealthy"] += any(not one.alive for one in results)
    return result


def _statistics(marathon: Marathon, instances: Sequence[Instance]) -> dict[str, Any]:
    found = counts(marathon, instances)
    stats: dict[str, Any] = {"counts": {key[len("tasks") :].lower(): value for key, value in found.items()}}
    times = [time.time() - one.task.started_at for one in instances if one.task and one.task.started_at and one.active]
    if times:
        stats["lifeTime"] = {"averageSeconds": mean(times), "medianSeconds": median(times)}
    return {"stats": stats}


def _task_stats(marathon: Marathon, app: App, instances: Sequence[Instance]) -> dict[str, Any]:
    groups = {
        "startedAfterLastScaling": [one for one in instances if one.app.version >= app.last_scaling_at],
        "withLatestConfig": [one for one in instances if one.app.version >= app.last_config_change_at],
        "withOutdatedConfig": [one for one in instances if one.app.version < app.last_config_change_at],
        "totalSummary": list(instances),
    }
    return {key: _statistics(marathon, group) for key, group in groups.items() if group}


def app_shown(marathon: Marathon, app: App, wanted: Collection[str]) -> dict[str, Any]:
    """The app with what is to be embedded (names as ``embeds`` returns them)."""
    instances = marathon.tracker.of(app.id)
    result = app.shown()
    if "counts" in wanted:
        result.update(counts(marathon, instances))
    if "deployments" in wanted:
        result["deployments"] = [{"id": one.plan.id} for one in marathon.deployments.of(app.id)]
    if "readiness" in wanted:
        found = [one.readiness_of(app.id) for one in marathon.deployments.of(app.id)]
        result["readinessCheckResults"] = [one for results in found for one in results]
    if "tasks" in wanted:
        result["tasks"] = tasks_shown(marathon, instances)
    if "lastTaskFailure" in wanted and app.id in marathon.tracker.failures:
        result["lastTaskFailure"] = marathon.tracker.failures[app.id].shown()
    if "taskStats" in wanted:
        result["taskStats"] = _task_stats(marathon, app, instances)
    return result


def group_shown(marathon: Marathon, group_id: str, names: Sequence[str]) -> dict[str, Any]:
    """A group with its sub-groups and apps, as far as ``embed`` asks for them (all when it says nothing)."""
    wanted = set(names) or {"group.groups", "group.apps", "group.pods"}
    result: dict[str, Any] = {"id": group_id, "dependencies": [], "version": marathon.version}
    if "group.apps" in wanted or any(name.startswith("group.apps.") for name in wanted):
        direct = [one for one in marathon.in_group(group_id) if (one.id.rpartition("/")[0] or "/") == group_id]
        result["apps"] = [app_shown(marathon, one, embeds(names)) for one in direct]
    if "group.groups" in wanted:
        below = sorted(one for one in marathon.groups if (one.rpartition("/")[0] or "/") == group_id)
        result["groups"] = [group_shown(marathon, one, names) for one in below]
    if "group.pods" in wanted:
        result["pods"] = []
    return result
