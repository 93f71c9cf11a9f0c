# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks (reference B8): one ticker per app version and check asks all tasks of that version at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sandbox.marathon import checks
from tests.sandbox.marathon.events import Events
from tests.sandbox.marathon.model import App, Health, Instance, Task
from tests.sandbox.marathon.stamps import stamp
from tests.sandbox.marathon.tracker import Tracker

FIRST_AFTER = 5.0  # s, at the latest
BY_MARATHON = ("HTTP", "HTTPS", "TCP")


@dataclass(eq=False)
class _Checker:
    """One check of one app version, and what it found."""

    app: App
    check: Mapping[str, Any]
    found: dict[str, Health] = field(default_factory=dict)
    ticker: asyncio.Task[None] | None = None

    @property
    def by_marathon(self) -> bool:
        return self.check["protocol"] in BY_MARATHON

    def target(self, task: Task) -> tuple[str, int] | None:
        if self.check.get("port"):
            return (task.addresses[0], self.check["port"])
        index = self.check.get("portIndex", 0)
        return task.targets[index] if index < len(task.targets) else None


class HealthChecks:
    """All checks of all apps, in the leader's memory only."""

    def __init__(self, tracker: Tracker, events: Events, workdir: Path, kill: Callable[[Instance], None]) -> None:
        self._tracker = tracker
        self._events = events
        self._folder = workdir / "tasks"
        self._kill = kill
        self._checkers: dict[str, dict[str, list[_Checker]]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._watched: set[Task] = set()
        self.forced_down: Callable[[str], bool] = lambda app_id: False
        tracker.listen(lambda change: self._watch(change.instance))

    def add(self, app: App) -> None:
        """Begin the checks of this version, where they have not begun."""
        versions = self._checkers.setdefault(app.id, {})
        if app.version in versions:
            return
        versions[app.version] = []
        for check in app.definition.get("healthChecks", ()):
            checker = _Checker(app, check)
            versions[app.version].append(checker)
            if checker.by_marathon:
                checker.ticker = asyncio.create_task(self._tick(checker))
            self._events.publish("add_health_check_event", appId=app.id, version=app.version, healthCheck=check)
        for instance in self._tracker.of(app.id):
            self._watch(instance)

    def remove(self, app_id: str) -> None:
        """End all checks of an app."""
        for checkers in self._checkers.pop(app_id, {}).values():
            self._stop(checkers)

    def _stop(self, checkers: list[_Checker]) -> None:
        for checker in checkers:
            if checker.ticker is not None:
                checker.ticker.cancel()
            self._events.publish("remove_health_check_event", appId=checker.app.id)

    def purge(self, current: Mapping[str, App]) -> None:
        """End the checks of versions that are not current and have no task left."""
        for app_id, versions in self._checkers.items():
            live = {one.app.version for one in self._tracker.of(app_id)}
            if app_id in current:
                live.add(current[app_id].version)
            for version in [one for one in versions if one not in live]:
                self._stop(versions.pop(version))

    def stop(self) -> list[asyncio.Task[None]]:
        """End everything, with no event; returns what is being cancelled."""
        checkers = [one for versions in self._checkers.values() for found in versions.values() for one in found]
        tasks = [*self._background, *(one.ticker for one in checkers if one.ticker is not None)]
        for task in tasks:
            task.cancel()
        self._checkers.clear()
        self._watched.clear()
        return tasks

    def leader_changed(self, apps: Mapping[str, App]) -> None:
        """A new leader knows no results and begins all checks anew."""
        self.stop()
        for instance in self._tracker.all():
            instance.healthy = None
        for app in apps.values():
            self.add(app)
        for instance in self._tracker.all():
            if instance.app.id in apps:
                self.add(instance.app)

    def of(self, instance: Instance) -> list[Health]:
        """The results for an instance, one for each check that has any."""
        checkers = self._checkers.get(instance.app.id, {}).get(instance.app.version, ())
        return [one.found[instance.id] for one in checkers if instance.id in one.found]

    def forget(self, instance: Instance) -> None:
        for checker in self._checkers.get(instance.app.id, {}).get(instance.app.version, ()):
            checker.found.pop(instance.id, None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _tick(self, checker: _Checker) -> None:
        loop = asyncio.get_running_loop()
        interval = max(checker.check["intervalSeconds"], 0.1)
        due = loop.time() + min(interval, FIRST_AFTER)
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += interval
            for instance in self._tracker.of(checker.app.id):
                if instance.app.version == checker.app.version and instance.condition == "Running":
                    self._spawn(self._ask(checker, instance))

    def _watch(self, instance: Instance) -> None:
        """Checks that Mesos makes run beside each task, from ``delaySeconds`` after its start."""
        task = instance.task
        if instance.condition != "Running" or task is None or task in self._watched:
            return
        for checker in self._checkers.get(instance.app.id, {}).get(instance.app.version, ()):
            if not checker.by_marathon:
                self._watched.add(task)
                self._spawn(self._beside(checker, instance, task))

    async def _beside(self, checker: _Checker, instance: Instance, task: Task) -> None:
        await asyncio.sleep(checker.check["delaySeconds"])
        while instance.task is task and task.condition == "Running":
            await self._ask(checker, instance)
            await asyncio.sleep(max(checker.check["intervalSeconds"], 0.1))
        self._watched.discard(task)

    async def _result(self, checker: _Checker, task: Task) -> str | None:
        check = checker.check
        if self.forced_down(checker.app.id):
            return "503 Service Unavailable"
        timeout = max(check["timeoutSeconds"], 0.1)
        if check["protocol"] == "COMMAND":
            line = check["command"]["value"]
            return await checks.command(line, task.environment, timeout, self._folder / task.id)
        target = checker.target(task)
        if target is None:
            return "No port to check"
        if check["protocol"].endswith("TCP"):
            return await checks.tcp(*target, timeout)
        tls = check["protocol"].endswith("HTTPS")
        return await checks.http(*target, check.get("path", "/"), timeout, tls=tls)

    async def _ask(self, checker: _Checker, instance: Instance) -> None:
        task = instance.task
        if task is None:
            return
        wrong = await self._result(checker, task)
        if instance.task is not task or instance.condition != "Running":
            return
        health = checker.found.setdefault(instance.id, Health())
        before = health.alive
        if wrong is None:
            health.succeeded()
        elif health.first_success is not None or not self._in_grace(checker, instance):
            self._failed(checker, instance, task, health, wrong)
        if health.alive != before:
            self._events.publish(
                "health_status_changed_event",
                appId=instance.app.id,
                instanceId=instance.id,
                version=instance.app.version,
                alive=health.alive,
            )
        self._aggregate(instance)

    @staticmethod
    def _in_grace(checker: _Checker, instance: Instance) -> bool:
        return instance.since + checker.check["gracePeriodSeconds"] > time.time()

    def _failed(self, checker: _Checker, instance: Instance, task: Task, health: Health, wrong: str) -> None:
        self._events.publish(
            "failed_health_check_event", appId=instance.app.id, taskId=instance.id, healthCheck=checker.check
        )
        most = checker.check["maxConsecutiveFailures"]
        # Marathon looks at the failures before this one; Mesos at this one too, and takes 0 at its word.
        before = health.consecutive_failures
        if 0 < most <= before if checker.by_marathon else most <= before + 1:
            self._events.publish(
                "unhealthy_instance_kill_event",
                appId=instance.app.id,
                taskId=task.id,
                instanceId=instance.id,
                version=instance.app.version,
                reason=health.last_failure_cause or "unknown",
                host=task.agent.host,
                slaveId=task.agent.id,
                timestamp=stamp(health.last_failure),
            )
            self._kill(instance)
        health.failed(wrong)

    def _aggregate(self, instance: Instance) -> None:
        checkers = self._checkers.get(instance.app.id, {}).get(instance.app.version, ())
        results = [one.found.get(instance.id) for one in checkers]
        healthy = all(one is not None and one.alive for one in results)
        if not healthy and all(one is None or one.alive for one in results):
            return  # nothing bad known, and not all asked yet
        if healthy != instance.healthy:
            self._tracker.health_changed(instance, healthy)
