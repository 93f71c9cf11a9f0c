# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``/v2/tasks`` and the tasks below an app (reference B4)."""

from __future__ import annotations

from tests.sandbox.marathon import render
from tests.sandbox.marathon.core import Marathon
from tests.sandbox.marathon.definitions import absolute
from tests.sandbox.marathon.errors import invalid_json, refused
from tests.sandbox.marathon.exchange import Ask, Reply, check_task_id, deployment_reply
from tests.sandbox.marathon.model import Instance

STATES = {"running": "Running", "staging": "Staging"}


def _flags(ask: Ask) -> tuple[bool, bool, bool]:
    """scale, wipe, force"""
    scale, wipe = ask.flag("scale"), ask.flag("wipe")
    if scale and wipe:
        raise refused(400, "You cannot use scale and wipe at the same time.")
    return scale, wipe, ask.flag("force")


class TasksApi:
    def __init__(self, marathon: Marathon) -> None:
        self._marathon = marathon

    def listed(self, ask: Ask) -> Reply:
        names = [*ask.query.get("status", ()), *ask.query.get("status[]", ())]
        states = {STATES[name.lower()] for name in names if name.lower() in STATES}
        tasks = []
        for app_id, app in sorted(self._marathon.apps.items()):
            for instance in self._marathon.tracker.of(app_id):
                if not states or instance.condition in states:
                    tasks.append(render.task_shown(self._marathon, instance, ports_of=app))
        return Reply(body={"tasks": [one for one in tasks if one is not None]})

    def of_app(self, _ask: Ask, app_id: str) -> Reply:
        if app_id.endswith("/*"):
            group_id = absolute(app_id[:-2])
            if not self._marathon.group_known(group_id):
                raise refused(404, f"Group '{group_id}' does not exist")
            apps = self._marathon.in_group(group_id)
        else:
            apps = [self._marathon.app(absolute(app_id))]
        instances = [one for app in apps for one in self._marathon.tracker.of(app.id)]
        return Reply(body={"tasks": render.tasks_shown(self._marathon, instances)})

    def delete_of_app(self, ask: Ask, app_id: str) -> Reply:
        scale, wipe, force = _flags(ask)
        app_id = absolute(app_id)
        host = ask.value("host")
        found = [
            one
            for one in self._marathon.tracker.of(app_id)
            if host in (None, "*") or (one.task is not None and one.task.agent.host == host)
        ]
        if scale:
            return self._kill_and_scale_of(app_id, found, force)
        self._marathon.app(app_id)
        tasks = render.tasks_shown(self._marathon, found)
        self._marathon.kill(found, wipe)
        return Reply(body={"tasks": tasks})

    def _kill_and_scale_of(self, app_id: str, found: list[Instance], force: bool) -> Reply:
        if not self._marathon.tracker.knows(app_id):
            raise refused(404, f"Path '{app_id}' does not exist")
        return deployment_reply(self._marathon.kill_and_scale([one for one in found if one.active], force))

    def delete_one_of_app(self, ask: Ask, app_id: str, task_id: str) -> Reply:
        scale, wipe, force = _flags(ask)
        app_id = absolute(app_id)
        instance = self._marathon.tracker.find(task_id)
        found = [instance] if instance is not None and instance.app.id == app_id else []
        if scale:
            return self._kill_and_scale_of(app_id, found, force)
        self._marathon.app(app_id)
        shown = render.task_shown(self._marathon, found[0]) if found else None
        if shown is None:
            raise refused(404, f"Task '{task_id}' does not exist")
        self._marathon.kill(found, wipe)
        return Reply(body={"task": shown})

    def delete(self, ask: Ask) -> Reply:
        scale, wipe, force = _flags(ask)
        raw = ask.json()
        ids = raw.get("ids") if isinstance(raw, dict) else None
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise invalid_json([("/ids", "error.expected.jsarray")])
        for task_id in ids:
            check_task_id(task_id)
        instances = {one.id: one for one in map(self._marathon.tracker.find, ids) if one is not None}
        if scale:
            return deployment_reply(self._marathon.kill_and_scale(instances.values(), force))
        killed = [one for one in instances.values() if one.app.id in self._marathon.apps]
        tasks = [{**task, "healthCheckResults": []} for task in render.tasks_shown(self._marathon, killed)]
        self._marathon.kill(killed, wipe)
        return Reply(body={"tasks": tasks})
