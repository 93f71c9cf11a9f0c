# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instances there are and in what condition; whoever has to know is told of each change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from tests.sandbox.marathon.events import Events
from tests.sandbox.marathon.model import DECOMMISSIONED, TASK_STATES, TERMINAL, App, Instance, Task, TaskFailure
from tests.sandbox.marathon.stamps import stamp


class Change(NamedTuple):
    """A change as it was when it happened; ``healthy`` is set when it is one of health."""

    instance: Instance
    condition: str
    goal: str
    healthy: bool | None = None


Listener = Callable[[Change], None]


class Tracker:
    """The instances of all apps."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._instances: dict[str, dict[str, Instance]] = {}
        self._listeners: list[Listener] = []
        self.failures: dict[str, TaskFailure] = {}
        self.kill: Callable[[Instance], None] = lambda instance: None
        self.forget: Callable[[Instance], None] = lambda instance: None
        self.failed: Callable[[App], None] = lambda app: None

    def of(self, app_id: str) -> list[Instance]:
        return list(self._instances.get(app_id, {}).values())

    def all(self) -> list[Instance]:
        return [one for instances in self._instances.values() for one in instances.values()]

    def knows(self, app_id: str) -> bool:
        return bool(self._instances.get(app_id))

    def find(self, instance_id: str) -> Instance | None:
        """By instance id, or by the id of any of its tasks, earlier ones too, as Marathon does."""
        app_id = "/" + instance_id.split(".instance-")[0].replace("_", "/")
        return self._instances.get(app_id, {}).get(instance_id.split("._app")[0])

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell ``listener`` of each change, after it has happened; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, change: Change) -> None:
        # Not at once: a listener may change instances itself, and must not do so within another change.
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.call_soon(self._tell_one, listener, change)

    def _tell_one(self, listener: Listener, change: Change) -> None:
        if listener in self._listeners:
            listener(change)

    def _changed(self, instance: Instance) -> None:
        agent = instance.task.agent if instance.task else None
        self._events.publish(
            "instance_changed_event",
            instanceId=instance.id,
            condition=instance.condition,
            runSpecId=instance.app.id,
            agentId=agent.id if agent else None,
            host=agent.host if agent else None,
            runSpecVersion=instance.app.version,
        )
        self._tell(Change(instance, instance.condition, instance.goal))

    def schedule(self, app: App, count: int) -> list[Instance]:
        """Want ``count`` more instances of this version."""
        added = [Instance.new(app) for _index in range(count)]
        for instance in added:
            self._instances.setdefault(app.id, {})[instance.id] = instance
            self._changed(instance)
        return added

    def _expunge(self, instance: Instance) -> None:
        remaining = self._instances.get(instance.app.id, {})
        remaining.pop(instance.id, None)
        if not remaining:
            self._instances.pop(instance.app.id, None)
        self.forget(instance)

    def provision(self, instance: Instance, task: Task) -> None:
        """An offer was taken for it; the task is about to start."""
        instance.task = task
        self._enter(instance, "Provisioned")
        self._changed(instance)

    def _enter(self, instance: Instance, condition: str) -> None:
        instance.condition = condition
        instance.since = time.time()
        if instance.task is not None and condition != "Scheduled":
            instance.task.condition = condition
        if condition == "Running":
            instance.active_since = instance.since

    def update(self, instance: Instance, task: Task, condition: str, message: str = "") -> None:
        """A task's status came in from its agent."""
        if instance.task is not task or task.condition in TERMINAL:
            return
        if condition == "Starting":
            task.started_at = time.time()
        self._enter(instance, condition)
        self._events.publish(
            "status_update_event",
            slaveId=task.agent.id,
            taskId=task.id,
            taskStatus=TASK_STATES[condition],
            message=message,
            appId=instance.app.id,
            host=task.agent.host,
            ipAddresses=[{"ipAddress": one, "protocol": "IPv4"} for one in task.addresses],
            ports=task.ports,
            version=instance.app.version,
        )
        self._changed(instance)
        if condition not in TERMINAL:
            return
        instance.active_since = None
        if condition == "Failed":
            self._remember_failure(instance, task, message)
        if condition in ("Failed", "Finished"):
            self.failed(instance.app)
        if instance.goal == DECOMMISSIONED:
            self._expunge(instance)
        else:
            self.forget(instance)
            instance.healthy = None
            self._enter(instance, "Scheduled")
            self._changed(instance)

    def _remember_failure(self, instance: Instance, task: Task, message: str) -> None:
        self.failures[instance.app.id] = TaskFailure(
            app_id=instance.app.id,
            host=task.agent.host,
            message=message,
            agent_id=task.agent.id,
            state=TASK_STATES[instance.condition],
            task_id=task.id,
            timestamp=stamp(),
            version=instance.app.version,
        )

    def decommission(self, instance: Instance) -> None:
        """Have it gone for good: its task is killed; one that has none is gone at once."""
        if instance.goal == DECOMMISSIONED:
            return
        instance.goal = DECOMMISSIONED
        self._changed(instance)
        if instance.scheduled or instance.condition in TERMINAL:
            self._expunge(instance)
        else:
            self.kill(instance)

    def health_changed(self, instance: Instance, healthy: bool) -> None:
        """All checks of an instance together say something else than before."""
        instance.healthy = healthy
        self._events.publish(
            "instance_health_changed_event",
            instanceId=instance.id,
            runSpecId=instance.app.id,
            healthy=healthy,
            runSpecVersion=instance.app.version,
        )
        self._tell(Change(instance, instance.condition, instance.goal, healthy))
