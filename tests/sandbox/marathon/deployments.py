# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments: plans on their way. One locks the apps that it affects until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tests.sandbox.marathon.errors import LOCKED, locked
from tests.sandbox.marathon.events import Events
from tests.sandbox.marathon.health import HealthChecks
from tests.sandbox.marathon.model import DECOMMISSIONED, TERMINAL, App, Instance
from tests.sandbox.marathon.offers import Queue
from tests.sandbox.marathon.plans import Action, Plan, ignition, scaling, step_shown
from tests.sandbox.marathon.progress import Progress, until_gone
from tests.sandbox.marathon.readiness import ReadinessResult
from tests.sandbox.marathon.tracker import Change, Tracker

CANCELLED = "The upgrade has been cancelled"
FIRST_SYNC, NEXT_SYNC = 1.0, 5.0  # s, how soon a scaling counts its instances again


class Deployment:
    """One plan on its way; ``current_step`` counts from 1, 0 is not begun."""

    def __init__(self, plan: Plan, tracker: Tracker, health: HealthChecks, queue: Queue, events: Events) -> None:
        self.plan = plan
        self.current_step = 0
        self._tracker = tracker
        self._health = health
        self._queue = queue
        self._events = events
        self._readiness: dict[str, ReadinessResult] = {}

    def readiness_of(self, app_id: str) -> list[dict[str, Any]]:
        prefix = f"{app_id[1:].replace('/', '_')}.instance-"
        return [one.shown() for one in self._readiness.values() if one.task_id.startswith(prefix)]

    def shown(self) -> dict[str, Any]:
        current = self.plan.steps[self.current_step - 1] if self.current_step else ()
        return {
            "id": self.plan.id,
            "version": self.plan.version,
            "affectedApps": self.plan.affected,
            "affectedPods": [],
            "steps": [step_shown(step) for step in self.plan.steps],
            "currentActions": [
                {**action.shown(), "readinessCheckResults": self.readiness_of(action.app.id)} for action in current
            ],
            "currentStep": self.current_step,
            "totalSteps": len(self.plan.steps),
        }

    async def run(self) -> None:
        for number, step in enumerate(self.plan.steps, 1):
            self.current_step = number
            where = {"plan": self.plan.shown(), "currentStep": step_shown(step)}
            self._events.publish("deployment_info", **where)
            async with asyncio.TaskGroup() as actions:
                for action in step:
                    self._health.add(action.app)
                    actions.create_task(self._perform(action))
            self._events.publish("deployment_step_success", **where)

    async def _perform(self, action: Action) -> None:
        match action.kind:
            case "Scale":
                await self._scale(action.app, action.kill)
            case "Restart":
                await self._restart(action.app)
            case "Stop":
                await self._stop(action.app)

    def _progress(self, app: App) -> Progress:
        return Progress(app, self._tracker, lambda result: self._readiness.__setitem__(result.task_id, result))

    async def _scale(self, app: App, sentenced: Sequence[Instance]) -> None:
        kill = scaling(app, self._tracker.of(app.id), sentenced).kill
        for instance in kill:
            self._tracker.decommission(instance)
        await until_gone(self._tracker, kill)
        progress = self._progress(app)
        try:
            await self._start_missing(app, progress)
        finally:
            progress.close()

    def _missing(self, app: App) -> int:
        """As Marathon counts: what is being killed is still there."""
        return max(0, app.instances - sum(one.active or one.scheduled for one in self._tracker.of(app.id)))

    async def _start_missing(self, app: App, progress: Progress) -> None:
        """Ends when the added instances, not all, are healthy and ready."""
        added = self._missing(app)
        self._tracker.schedule(app, added)
        loop = asyncio.get_running_loop()
        sync = loop.time() + FIRST_SYNC
        while not progress.reached(added):
            change = await progress.next(max(0.0, sync - loop.time()))
            if change is None:
                self._tracker.schedule(app, self._missing(app))
                sync = loop.time() + NEXT_SYNC
            elif self._lost(change, app):
                self._tracker.schedule(app, 1)

    @staticmethod
    def _lost(change: Change, app: App) -> bool:
        """A new instance was taken away by someone else."""
        ended = change.condition in TERMINAL and change.goal == DECOMMISSIONED
        return ended and change.instance.app.version == app.version

    async def _restart(self, app: App) -> None:
        if app.instances == 0:
            return
        progress = self._progress(app)
        try:
            await _Replacement(app, self._tracker, progress).run(lambda: self._queue.reset_delay(app))
        finally:
            progress.close()

    async def _stop(self, app: App) -> None:
        self._health.remove(app.id)
        instances = self._tracker.of(app.id)
        for instance in instances:
            self._tracker.decommission(instance)
        await until_gone(self._tracker, instances)
        self._queue.reset_delay(app)
        self._events.publish("app_terminated_event", appId=app.id)


class _Replacement:
    """A rolling restart (Marathon 1.8's TaskReplaceActor)."""

    def __init__(self, app: App, tracker: Tracker, progress: Progress) -> None:
        self._app = app
        self._tracker = tracker
        self._progress = progress
        present = tracker.of(app.id)
        new = [one for one in present if one.app.version == app.version]
        old = [one for one in present if one.app.version != app.version and one.wanted]
        wanted = [one for one in present if one.wanted]
        has_checks = bool(app.definition.get("healthChecks"))
        healthy = sum(self._healthy(one, has_checks) for one in wanted)
        self._ignition = ignition(app, len(wanted), healthy)
        self._started = len(new)
        self._old = {one.id for one in old}
        self._to_kill = sorted(old, key=lambda one: self._healthy(one, has_checks))
        for instance in new:
            progress.known(instance)

    @staticmethod
    def _healthy(instance: Instance, has_checks: bool) -> bool:
        """Old instances are judged by their own version's checks; without any all count as healthy."""
        if instance.app.definition.get("healthChecks") or (has_checks and instance.healthy is False):
            return bool(instance.healthy)
        return True

    async def run(self, reset_delay: Callable[[], None]) -> None:
        for _index in range(self._ignition.kill):
            self._kill_next()
        self._launch()
        reset_delay()
        while self._old or not self._progress.reached(self._app.instances):
            counted = {one for one in self._progress.healthy if self._progress.fit(one)}
            change = await self._progress.next()
            if change is None:
                continue
            for _one in {one for one in self._progress.healthy if self._progress.fit(one)} - counted:
                self._kill_next()
            if change.instance.app.version == self._app.version:
                if change.condition in TERMINAL and change.goal == DECOMMISSIONED:
                    self._started -= 1
            elif change.healthy is None:
                self._old_changed(change)

    def _old_changed(self, change: Change) -> None:
        instance = change.instance
        if change.condition in TERMINAL and change.goal != DECOMMISSIONED:
            # It ended by itself: its place goes to a new one.
            self._old.discard(instance.id)
            self._tracker.decommission(instance)
            self._launch()
        elif change.condition in TERMINAL or (change.condition == "Scheduled" and change.goal == DECOMMISSIONED):
            self._old.discard(instance.id)
            self._launch()

    def _launch(self) -> None:
        room = max(0, self._ignition.most - len(self._old) - self._started)
        count = min(max(0, self._app.instances - self._started), room)
        self._started += count
        self._tracker.schedule(self._app, count)

    def _kill_next(self) -> None:
        if self._to_kill:
            self._tracker.decommission(self._to_kill.pop(0))


class Deployments:
    """All that are on their way."""

    def __init__(self, tracker: Tracker, health: HealthChecks, queue: Queue, events: Events) -> None:
        self._parts = (tracker, health, queue, events)
        self._events = events
        self.running: dict[str, Deployment] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.ended: Callable[[], None] = lambda: None

    def of(self, app_id: str) -> list[Deployment]:
        return [one for one in self.running.values() if app_id in one.plan.affected]

    def start(self, plan: Plan, force: bool) -> None:
        """Begin a plan. Raises 409 when another one affects the same apps, or cancels that with ``force``."""
        affected = set(plan.affected)
        conflicts = [one.plan for one in self.running.values() if affected & set(one.plan.affected)]
        if conflicts and not force:
            self._events.publish("deployment_failed", id=plan.id, plan=plan.shown(), reason=LOCKED)
            raise locked([one.id for one in conflicts])
        for one in conflicts:
            self.cancel(one.id)
        self._launch(plan)

    def _launch(self, plan: Plan) -> None:
        deployment = Deployment(plan, *self._parts)
        self.running[plan.id] = deployment
        self._tasks[plan.id] = asyncio.create_task(self._run(deployment))

    async def _run(self, deployment: Deployment) -> None:
        await deployment.run()
        plan = deployment.plan
        del self.running[plan.id], self._tasks[plan.id]
        self._events.publish("deployment_success", id=plan.id, plan=plan.shown())
        self.ended()

    def cancel(self, deployment_id: str) -> None:
        """Stop where it is; what it has done stays done."""
        plan = self.running.pop(deployment_id).plan
        self._tasks.pop(deployment_id).cancel()
        self._events.publish("deployment_failed", id=plan.id, plan=plan.shown(), reason=CANCELLED)

    def suspend(self) -> list[asyncio.Task[None]]:
        """The leader is gone; the plans are kept. Returns what is being cancelled."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        self._tasks.clear()
        return tasks

    def resume(self) -> None:
        """A new leader begins each plan anew."""
        for deployment in list(self.running.values()):
            self._launch(deployment.plan)
