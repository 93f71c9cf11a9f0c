# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the instances of one app version are: running, healthy, ready (Marathon's ReadinessBehavior)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.sandbox.marathon.model import TERMINAL, App, Instance, Task
from tests.sandbox.marathon.readiness import ReadinessResult, until_ready
from tests.sandbox.marathon.tracker import Change, Tracker

Report = Callable[[ReadinessResult], None]


async def until_gone(tracker: Tracker, instances: list[Instance]) -> None:
    """Until none of the instances is tracked any more."""
    changed = asyncio.Event()
    ignore = tracker.listen(lambda _change: changed.set())
    try:
        while any(one in tracker.of(one.app.id) for one in instances):
            changed.clear()
            await changed.wait()
    finally:
        ignore()


class Progress:
    """Healthy and ready instances of ``app``'s version.

    Once healthy counts as healthy until the task ends: without health checks an instance that ran for a moment was
    healthy, so an app that dies at once is deployed with success (as recorded).
    """

    def __init__(self, app: App, tracker: Tracker, report: Report) -> None:
        self.app = app
        self.tracker = tracker
        self.healthy: set[str] = set()
        self.ready: set[str] = set()
        self._report = report
        self._asked: dict[Task, asyncio.Task[None]] = {}
        self._has_checks = bool(app.definition.get("healthChecks"))
        self._has_readiness = bool(app.definition.get("readinessChecks"))
        self._changes: asyncio.Queue[Change] = asyncio.Queue()
        self._ignore = tracker.listen(self._changes.put_nowait)

    def close(self) -> None:
        self._ignore()
        for task in self._asked.values():
            task.cancel()

    async def next(self, timeout: float | None = None) -> Change | None:
        """The next change of the app's instances, taken into account already; ``None`` after ``timeout`` seconds."""
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
            try:
                # Not wait_for: in Python 3.11 it can swallow a cancellation, and the deployment would go on.
                async with asyncio.timeout(left):
                    change = await self._changes.get()
            except TimeoutError:
                return None
            if change.instance.app.id == self.app.id:
                if change.instance.app.version == self.app.version:
                    self._note(change)
                return change

    def known(self, instance: Instance) -> None:
        """An instance of this version that was there before."""
        if instance.condition != "Running":
            return
        if not self._has_checks or instance.healthy:
            self.healthy.add(instance.id)
        if self._has_readiness:
            self._ask(instance)
        else:
            self.ready.add(instance.id)

    def fit(self, instance_id: str) -> bool:
        return instance_id in self.healthy and instance_id in self.ready

    def reached(self, count: int) -> bool:
        return len(self.healthy) >= count and len(self.ready) >= count

    def _note(self, change: Change) -> None:
        instance = change.instance
        if change.condition in TERMINAL:
            self.healthy.discard(instance.id)
            self.ready.discard(instance.id)
        elif change.healthy and self._has_checks:
            self.healthy.add(instance.id)
            if not self._has_readiness:
                self.ready.add(instance.id)
        elif change.condition == "Running" and change.healthy is None and instance.wanted:
            if not self._has_checks:
                self.healthy.add(instance.id)
            if self._has_readiness:
                self._ask(instance)
            elif not self._has_checks:
                self.ready.add(instance.id)

    def _ask(self, instance: Instance) -> None:
        task = instance.task
        if task is not None and task not in self._asked:
            self._asked[task] = asyncio.create_task(
                until_ready(instance, task, lambda result: self._result(instance, result))
            )

    def _result(self, instance: Instance, result: ReadinessResult) -> None:
        self._report(result)
        if result.ready:
            self.ready.add(instance.id)
            self._changes.put_nowait(Change(instance, instance.condition, instance.goal, instance.healthy or None))
