# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marathon itself, without its API: the root group, its changes, and everything that moves behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tests.sandbox.marathon import definitions
from tests.sandbox.marathon.agents import Agents
from tests.sandbox.marathon.definitions import Definition
from tests.sandbox.marathon.deployments import Deployments
from tests.sandbox.marathon.errors import ApiError, no_app, refused
from tests.sandbox.marathon.events import Events
from tests.sandbox.marathon.health import HealthChecks
from tests.sandbox.marathon.model import TERMINAL, Agent, App, Instance
from tests.sandbox.marathon.offers import Queue
from tests.sandbox.marathon.plans import Plan, plan, scaling
from tests.sandbox.marathon.stamps import Versions
from tests.sandbox.marathon.tracker import Change, Tracker

MOST_DEPLOYMENTS = 100
KEPT_VERSIONS = 50  # of each app, --zk_max_versions
FIRST_COUNT, NEXT_COUNT = 15.0, 300.0  # s, how soon Marathon counts the instances of all apps again
TOO_MANY = (
    f"Max number ({MOST_DEPLOYMENTS}) of running deployments is achieved. Wait for existing deployments to complete or "
    "cancel one using force=true parameter. You can increase max deployment number by using --max_running_deployments "
    "parameter but be advised that this can have negative effects on the performance."
)


class Draft:
    """The root group while a change is made to it: apps by id, all changes under one version."""

    def __init__(self, apps: Mapping[str, App], version: str) -> None:
        self.apps = dict(apps)
        self.version = version
        self._used = {port for app in apps.values() for port in definitions.service_ports(app.definition)}

    def put(self, definition: Definition) -> None:
        """Create the app, or give it this definition."""
        old = self.apps.get(str(definition["id"]))
        self._used.update(definitions.service_ports(definition))
        assigned = definitions.with_service_ports(definition, old.definition if old else None, self._used)
        new = old.changed(assigned, self.version) if old else App.new(assigned, self.version)
        self.apps[new.id] = new

    def scale(self, app_id: str, instances: int) -> None:
        self.put({**self.apps[app_id].definition, "instances": max(0, instances)})

    def restart(self, app_id: str) -> None:
        self.apps[app_id] = self.apps[app_id].restarted(self.version)

    def remove(self, app_id: str) -> None:
        if app_id not in self.apps:
            raise no_app(app_id)
        del self.apps[app_id]

    def revert(self, done: Plan) -> None:
        """Undo what a plan changed; an app that it made goes."""
        for app_id in sorted({*done.original, *done.target}):
            before, after = done.original.get(app_id), done.target.get(app_id)
            if before == after:
                continue
            if before is not None:
                self.put(before.definition)
            elif app_id in self.apps:
                self.remove(app_id)


class Marathon:
    """State and behaviour of the leader; state outlives a change of leader, what only a leader knows does not."""

    def __init__(self, agents: Sequence[Agent], workdir: Path, service_command: str, offer_interval: float) -> None:
        self.versions = Versions()
        self.apps: dict[str, App] = {}
        self.history: dict[str, dict[str, App]] = {}
        self.groups: set[str] = set()
        self.version = self.versions.next()
        self.events = Events()
        self.tracker = Tracker(self.events)
        self.agents = Agents(workdir, service_command, self.tracker.update)
        self.queue = Queue(self.tracker, agents, self.agents.launch)
        self.health = HealthChecks(self.tracker, self.events, workdir, self.agents.kill)
        self.deployments = Deployments(self.tracker, self.health, self.queue, self.events)
        self.deployments.ended = lambda: self.health.purge(self.apps)
        self.tracker.kill = self.agents.kill
        self.tracker.forget = self.health.forget
        self.tracker.failed = self.queue.failed
        self.offering: Callable[[], bool] = lambda: True
        self._offer_interval = offer_interval
        self._loops: list[asyncio.Task[None]] = []
        self._leading = True
        self.tracker.listen(self._seen)

    def start(self) -> None:
        self.agents.start()
        self._loops = [asyncio.create_task(self._offer()), asyncio.create_task(self._count_all())]

    async def stop(self) -> None:
        ended = [*self.deployments.suspend(), *self.health.stop(), *self._loops]
        for loop in self._loops:
            loop.cancel()
        self.events.cut_all()
        await asyncio.gather(*ended, return_exceptions=True)
        await self.agents.stop()

    async def _offer(self) -> None:
        while True:
            await asyncio.sleep(self._offer_interval)
            if self._leading and self.offering():
                self.queue.match()

    async def _count_all(self) -> None:
        await asyncio.sleep(FIRST_COUNT)
        while True:
            for app_id in list(self.apps):
                self._count(app_id)
            await asyncio.sleep(NEXT_COUNT)

    def _seen(self, change: Change) -> None:
        if change.condition in TERMINAL:
            self._count(change.instance.app.id)

    def _count(self, app_id: str) -> None:
        """Marathon's scale check: as many instances as the definition says, unless a deployment holds the app."""
        if not self._leading or app_id not in self.apps or self.deployments.of(app_id):
            return
        app = self.apps[app_id]
        wanted = scaling(app, self.tracker.of(app_id), ())
        for instance in wanted.kill:
            self.tracker.decommission(instance)
        self.tracker.schedule(app, wanted.start)

    def lose_leader(self) -> None:
        """Nobody leads: deployments, health checks and offers rest; tasks run on."""
        self._leading = False
        self.deployments.suspend()
        self.health.stop()
        self.events.cut_all()

    def gain_leader(self) -> None:
        """A new leader takes up the state; back-off and health results are forgotten."""
        self._leading = True
        self.queue.leader_changed()
        self.health.leader_changed(self.apps)
        self.deployments.resume()

    def app(self, app_id: str) -> App:
        if app_id not in self.apps:
            raise no_app(app_id)
        return self.apps[app_id]

    def in_group(self, group_id: str) -> list[App]:
        prefix = group_id.rstrip("/") + "/"
        return [app for app_id, app in sorted(self.apps.items()) if app_id.startswith(prefix)]

    def group_known(self, group_id: str) -> bool:
        return group_id == "/" or group_id in self.groups or bool(self.in_group(group_id))

    def change(
        self,
        group_id: str,
        edit: Callable[[Draft], None],
        *,
        force: bool = False,
        kill: Mapping[str, Sequence[Instance]] | None = None,
    ) -> Plan:
        """Change the root group by ``edit`` and begin the deployment that this takes; ``group_id`` is for the event.

        Raises what ``edit`` raises, 403 with too many deployments, 409 when an affected app is locked.
        """
        version = self.versions.next()
        try:
            plan_ = self._planned(edit, version, kill or {})
            self.deployments.start(plan_, force)
        except ApiError as error:
            self.events.publish("group_change_failed", groupId=group_id, version=version, reason=str(error))
            raise
        self._store(plan_)
        self.events.publish("group_change_success", groupId=group_id, version=version)
        return plan_

    def _planned(self, edit: Callable[[Draft], None], version: str, kill: Mapping[str, Sequence[Instance]]) -> Plan:
        if len(self.deployments.running) >= MOST_DEPLOYMENTS:
            raise refused(403, TOO_MANY)
        draft = Draft(self.apps, version)
        edit(draft)
        return plan(self.apps, draft.apps, version, kill)

    def _store(self, done: Plan) -> None:
        self.version = done.version
        self.apps = dict(done.target)
        for app in self.apps.values():
            self.history.setdefault(app.id, {})[app.version] = app
            for version in sorted(self.history[app.id])[:-KEPT_VERSIONS]:
                del self.history[app.id][version]
            parts = app.id.split("/")[1:-1]
            self.groups.update("/" + "/".join(parts[: depth + 1]) for depth in range(len(parts)))
        for app_id in [one for one in self.history if one not in self.apps]:
            del self.history[app_id]
            self.tracker.failures.pop(app_id, None)

    def kill_and_scale(self, instances: Iterable[Instance], force: bool) -> Plan:
        """Kill these instances and want so many fewer of their apps, in one deployment.

        A scheduled instance is not active: it does not lower the count (reference A13). One that is dying still
        counts, as its condition is Running until it is dead.
        """
        by_app: dict[str, list[Instance]] = {}
        for instance in instances:
            by_app.setdefault(instance.app.id, []).append(instance)

        def edit(draft: Draft) -> None:
            for app_id, chosen in by_app.items():
                if app_id in draft.apps:
                    draft.scale(app_id, draft.apps[app_id].instances - sum(one.active for one in chosen))

        return self.change("/", edit, force=force, kill=by_app)

    def kill(self, instances: Iterable[Instance], wipe: bool) -> None:
        """Kill the tasks of these instances; the count stays, so each is launched again."""
        for instance in instances:
            if wipe:
                self.tracker.decommission(instance)
            elif instance.active:
                self.agents.kill(instance)
