# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks of an app while its versions change: shown as they change, and counted when they are killed.

Events keep the picture live without a request; each look at the app puts right what they left out. Nothing is decided
by it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .progress import ENDED, is_healthy
from .rolling import boxes

Json = Mapping[str, Any]

_ENDING = ENDED | {"TASK_KILLING"}
_KILLED = ("TASK_KILLED", "TASK_KILLING")


@dataclass(frozen=True)
class Era:
    """Tasks whose version is newer than ``after`` are called ``name``. ``checked``: by health checks."""

    name: str
    after: str
    checked: bool


@dataclass
class _Task:
    version: str
    state: str
    alive: bool
    served: bool = False


class Tally:
    """Begin an :class:`Era` for each definition, oldest first; then give it the looks and the events.

    Events come in another thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._eras: list[Era] = []
        self._tasks: dict[str, _Task] = {}
        self._gone: set[str] = set()
        self._killed: dict[str, int] = {}

    def begin(self, name: str, definition: Json, after: str = "") -> None:
        """From now on tasks of a version that is newer than ``after`` are of this definition."""
        with self._lock:
            self._eras.append(Era(name, after, bool(definition.get("healthChecks"))))

    def look(self, app: Json) -> None:
        """Take over what Marathon shows; tasks that it shows no more were killed, unless an event told otherwise."""
        with self._lock:
            present = set()
            for task in app.get("tasks") or []:
                state = task.get("state", "TASK_RUNNING")
                if state in _ENDING or task["id"] in self._gone:
                    continue
                present.add(task["id"])
                alive = is_healthy(app, task) is True
                self._seen(task["id"], task.get("version") or "", state, alive)
            for task_id in self._tasks.keys() - present:
                self._end(task_id, killed=True)

    def event(self, event: Json) -> None:
        """Take over what an event about this app tells."""
        kind = event["eventType"]
        with self._lock:
            if kind == "status_update_event":
                task_id, state = event["taskId"], event.get("taskStatus", "")
                if state in _ENDING:
                    self._end(task_id, killed=state in _KILLED)
                elif task_id not in self._gone:
                    known = self._tasks.get(task_id)
                    self._seen(task_id, event.get("version") or "", state, known.alive if known else False)
            elif kind == "health_status_changed_event":
                self._checked(event)
            elif kind == "unhealthy_instance_kill_event":
                self._end(event["taskId"], killed=False)  # by its check, not for another version

    def killed(self) -> dict[str, int]:
        """By name of the version, how many tasks were killed that had served."""
        with self._lock:
            return dict(self._killed)

    def serving(self) -> dict[str, int]:
        """By name of the version, how many tasks serve."""
        with self._lock:
            counts = {era.name: 0 for era in self._eras}
            for task in self._tasks.values():
                counts[self._era(task).name] += self._serves(task)
            return counts

    def picture(self) -> str:
        """All tasks as text, oldest version first."""
        with self._lock:
            counts: list[tuple[str, int]] = []
            for era in self._eras:
                tasks = [task for task in self._tasks.values() if self._era(task) is era]
                serving = sum(self._serves(task) for task in tasks)
                newest = era is self._eras[-1]
                waiting = (f"({era.name})" if newest else f"[{era.name}!]", len(tasks) - serving)
                counts += [waiting, (f"[{era.name}]", serving)] if newest else [(f"[{era.name}]", serving), waiting]
            return boxes(counts)

    def idle(self) -> bool:
        """Whether a task of an earlier definition is there that serves nobody."""
        with self._lock:
            return any(
                self._era(task) is not self._eras[-1] and not self._serves(task) for task in self._tasks.values()
            )

    def starting(self) -> bool:
        """Whether a task of the newest definition is on its way."""
        with self._lock:
            return any(self._era(task) is self._eras[-1] and not self._serves(task) for task in self._tasks.values())

    def _seen(self, task_id: str, version: str, state: str, alive: bool) -> None:
        task = self._tasks.setdefault(task_id, _Task(version, state, alive))
        task.version, task.state, task.alive = version or task.version, state, alive
        task.served = task.served or self._serves(task)

    def _checked(self, event: Json) -> None:
        """Marathon names the instance, up to 1.3 the task; a task's id begins with its instance's."""
        wanted = event.get("instanceId") or event.get("taskId") or "?"
        for task_id, task in self._tasks.items():
            if task_id == wanted or task_id.startswith(f"{wanted}."):
                self._seen(task_id, task.version, task.state, bool(event.get("alive")))

    def _end(self, task_id: str, *, killed: bool) -> None:
        task = self._tasks.pop(task_id, None)
        self._gone.add(task_id)
        if task is not None and killed and task.served:
            name = self._era(task).name
            self._killed[name] = self._killed.get(name, 0) + 1

    def _era(self, task: _Task) -> Era:
        """The newest one that the task is young enough for; Marathon's times compare as text."""
        return next((era for era in reversed(self._eras) if task.version > era.after), self._eras[0])

    def _serves(self, task: _Task) -> bool:
        return task.state == "TASK_RUNNING" and (task.alive or not self._era(task).checked)
