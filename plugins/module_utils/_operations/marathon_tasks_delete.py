# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Given tasks are gone, replaced by others or with the app scaled down."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import InvalidInput, NotFound
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.events import Events
from .._marathon.progress import ENDED
from .._marathon.settling import concerns
from .._wait import WAIT_SPEC, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "wait": WAIT_SPEC["wait"],
    "wait_timeout": WAIT_SPEC["wait_timeout"],
    "ids": {"type": "list", "elements": "str", "required": True},
    "scale": {"type": "bool", "default": False},
    "wipe": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "batch": {"type": "int"},
}

_TYPES = ("status_update_event", "deployment_success", "deployment_failed")

# app_path.instance-UUID._app.N (1.8 and newer), app_path.instance-UUID.NAME or app_path.marathon-UUID (1.4 to 1.7),
# app_path.UUID before that; segments of the path are joined by "_" (reference B4).
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TASK_ID = re.compile(rf"(?P<app>[a-z0-9._-]+)\.(?:instance-|marathon-)?{_UUID}(?:\.[A-Za-z0-9_.-]+)?")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Sight:
    """The apps of the tasks as they are now: their counts, their tasks that live by id, the deployments that run."""

    counts: Mapping[str, int]
    alive: Mapping[str, Json]
    deployments: tuple[str, ...]


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return ``{tasks, changed, diff?, killed, unknown, deployment_ids, requests}``.

    ``tasks``: those of the given ids that are left. ``unknown``: ids that no app has (any more).
    """
    ids = list(dict.fromkeys(params["ids"]))
    if params["scale"] and params["wipe"]:
        raise InvalidInput("invalid_option", "Options scale and wipe exclude each other.")
    size = params["batch"] if params["batch"] is not None else max(len(ids), 1)
    if size < 1:
        raise InvalidInput("invalid_option", "Option batch: at least 1 task is killed at a time.")
    owners = {task_id: owner for task_id in ids if (owner := owner_of(task_id))}
    with Marathon.from_params(params, context) as marathon:
        apps = sorted(set(owners.values()))
        before = _look(marathon, apps)
        present = [task_id for task_id in ids if task_id in before.alive]
        dying = [task_id for task_id in present if before.alive[task_id].get("state") == "TASK_KILLING"]
        to_kill = [task_id for task_id in present if task_id not in dying]
        batches = [to_kill[start : start + size] for start in range(0, len(to_kill), size)]
        if len(batches) > 1 and not params["wait"]:
            raise InvalidInput("invalid_option", "Several batches need wait: each has to end before the next begins.")
        result = outcome(context, "tasks", to_kill, [])
        deployments: list[str] = []
        if not context.check_mode:
            killing = _Killing(marathon, context, before, params)
            if not batches and params["wait"] and remaining(before, dying, params["scale"]):
                batches = [[]]  # an earlier run died while it waited
            for batch in batches:
                deployments += killing.kill(batch, [*dying, *batch])
        return {
            **result,
            "killed": to_kill,
            "unknown": [task_id for task_id in ids if task_id not in before.alive],
            "deployment_ids": deployments,
            "requests": marathon.requests,
        }


class _Killing:
    """Kills batches of tasks of some apps, one after the other."""

    def __init__(self, marathon: Marathon, context: Context, before: Sight, params: Mapping[str, Any]) -> None:
        self._marathon = marathon
        self._context = context
        self._apps = sorted(before.counts)
        self._counts = before.counts
        self._params = params
        self._changed = False

    def kill(self, ids: Sequence[str], awaited: Sequence[str]) -> list[str]:
        """Kill ``ids`` in one request and wait until ``awaited`` are gone; returns the deployment's id, if any."""
        if not self._params["wait"]:
            return self._send(ids)
        with Events(self._marathon, _TYPES, _ended(awaited, self._apps)) as events:
            deployments = self._send(ids)
            with self._marathon.blamed(changed=self._changed):
                self._counts = wait_until(
                    self._context,
                    lambda: _look(self._marathon, self._apps),
                    lambda sight: remaining(sight, awaited, self._params["scale"]),
                    timeout=self._params["wait_timeout"],
                    pauses=events.pauses,
                    rest=events.rest,
                    look_at_once=not ids,
                ).counts
        return deployments

    def _send(self, ids: Sequence[str]) -> list[str]:
        if not ids:
            return []
        force = self._params["force"]
        with self._marathon.blamed(changed=self._changed):
            if self._params["scale"]:
                deployment = self._marathon.kill_and_scale(ids, self._counts, force=force)
            else:
                deployment = self._marathon.kill_tasks(ids, force=force, wipe=self._params["wipe"])
        self._changed = True
        return [deployment] if deployment else []


def owner_of(task_id: str) -> str | None:
    """The id of the app that a task belongs to, from its own id; ``None`` for what is no id of an app's task."""
    match = _TASK_ID.fullmatch(task_id)
    return "/" + match["app"].replace("_", "/") if match else None


def remaining(sight: Sight, ids: Iterable[str], scale: bool) -> str | None:
    """Which of the tasks live, and which deployment runs; ``None`` when neither is so.

    Without ``scale`` the kill makes no deployment, so one that runs is somebody else's and not awaited.
    """
    left = [task_id for task_id in ids if task_id in sight.alive]
    parts = []
    if left:
        parts.append(f"{len(left)} tasks are not gone yet: {', '.join(left[:3])}{', ...' if len(left) > 3 else ''}")
    if scale and sight.deployments:
        parts.append(f"deployment {sight.deployments[0]} runs")
    return "; ".join(parts) or None


def _look(marathon: Marathon, apps: Iterable[str]) -> Sight:
    counts: dict[str, int] = {}
    alive: dict[str, Json] = {}
    deployments: set[str] = set()
    for app_id in apps:
        try:
            app = marathon.app(app_id, embed=("app.tasks", "app.deployments"))
        except NotFound:
            continue
        counts[app_id] = app["instances"]
        alive.update({task["id"]: task for task in app["tasks"] if task.get("state") not in ENDED})
        deployments.update(deployment["id"] for deployment in app.get("deployments") or [])
    return Sight(counts, alive, tuple(sorted(deployments)))


def _ended(ids: Iterable[str], apps: Sequence[str]) -> Callable[[Json], bool]:
    """Whether an event makes a look worth it: the last of the tasks is gone, or a deployment of the apps has ended."""
    left = set(ids)

    def matters(event: Json) -> bool:
        if event["eventType"] != "status_update_event":
            return any(concerns(event, app_id) for app_id in apps)
        if event.get("taskId") not in left or event.get("taskStatus") not in ENDED:
            return False
        left.discard(event["taskId"])
        return not left

    return matters
