# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``/v2/apps`` (reference B3) and what hangs below an app, its tasks apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.sandbox.marathon import labels, render, schema, validation
from tests.sandbox.marathon.core import Draft, Marathon
from tests.sandbox.marathon.definitions import absolute, canonical, merged, without_nulls
from tests.sandbox.marathon.errors import invalid_json, invalid_object, no_app, refused
from tests.sandbox.marathon.exchange import Ask, Reply, deployment_reply
from tests.sandbox.marathon.model import App

ALWAYS = {"counts", "deployments"}
ALWAYS_ONE = {"counts", "tasks", "lastTaskFailure", "deployments"}
VERSION_ALONE = "The 'version' field may only be combined with the 'id' field."


def parent(app_id: str) -> str:
    return app_id.rpartition("/")[0] or "/"


def _typed(raw: Any, *, update: bool = False) -> Mapping[str, Any]:
    wrong = schema.violations(raw, update=update)
    if wrong:
        raise invalid_json(wrong)
    return dict(raw)


def _valid(definition: dict[str, Any]) -> dict[str, Any]:
    wrong = validation.violations(definition)
    if wrong:
        raise invalid_object(wrong)
    return definition


class AppsApi:
    def __init__(self, marathon: Marathon) -> None:
        self._marathon = marathon

    def listed(self, ask: Ask) -> Reply:
        wanted = render.embeds(ask.query.get("embed", ())) | ALWAYS
        apps = [app for _id, app in sorted(self._marathon.apps.items())]
        cmd, app_id, label = ask.value("cmd"), ask.value("id"), ask.value("label")
        if cmd is not None:
            apps = [app for app in apps if cmd.lower() in app.definition.get("cmd", "").lower()]
        if app_id is not None:
            apps = [app for app in apps if app_id.lower() in app.id]
        if label is not None:
            selected = labels.parsed(label)
            apps = [app for app in apps if selected(app.definition["labels"])]
        return Reply(body={"apps": [render.app_shown(self._marathon, app, wanted) for app in apps]})

    def one(self, ask: Ask, app_id: str) -> Reply:
        wanted = render.embeds(ask.query.get("embed", ())) | ALWAYS_ONE
        if app_id.endswith("/*"):
            group_id = absolute(app_id[:-2])
            if not self._marathon.group_known(group_id):
                raise refused(404, f"Group '{group_id}' does not exist")
            apps = self._marathon.in_group(group_id)
            return Reply(body={"*": [render.app_shown(self._marathon, app, wanted) for app in apps]})
        app = self._marathon.app(absolute(app_id))
        return Reply(body={"app": render.app_shown(self._marathon, app, wanted)})

    def create(self, ask: Ask) -> Reply:
        definition = _valid(canonical(_typed(ask.json())))
        app_id = definition["id"]

        def edit(draft: Draft) -> None:
            if app_id in draft.apps:
                raise refused(409, f"An app with id [{app_id}] already exists.")
            draft.put(definition)

        plan = self._marathon.change(parent(app_id), edit, force=ask.flag("force"))
        shown = {**definition, "version": plan.version}
        self._post_event(ask, shown)
        body = {
            **shown,
            "tasksStaged": 0,
            "tasksRunning": 0,
            "tasksHealthy": 0,
            "tasksUnhealthy": 0,
            "tasks": [],
            "deployments": [{"id": plan.id}],
        }
        headers = {"Location": f"{ask.base}{app_id}", "Marathon-Deployment-Id": plan.id}
        return Reply(201, body, headers)

    def _post_event(self, ask: Ask, shown: Mapping[str, Any]) -> None:
        self._marathon.events.publish("api_post_event", clientIp=ask.remote, uri=ask.path, appDefinition=shown)

    def _wanted(self, app_id: str, raw: Any, partial: bool) -> dict[str, Any] | str:
        """The definition that an update asks for, or the version to go back to."""
        existing = self._marathon.apps.get(app_id)
        if existing is None or not partial:
            given = raw
            if isinstance(raw, dict):
                given = {**raw, "id": app_id}
            return _valid(canonical(_typed(given)))
        update = without_nulls(_typed(raw, update=True))
        version = update.get("version")
        if version is not None:
            if any(key in schema.FIELDS for key in update if key not in ("id", "version")):
                raise invalid_object([("/", VERSION_ALONE)])
            return str(version)
        return _valid(merged(existing.definition, update))

    def _apply(self, draft: Draft, app_id: str, wanted: dict[str, Any] | str, create: bool) -> None:
        if app_id not in draft.apps and not create:
            raise no_app(app_id)
        if isinstance(wanted, str):
            stored = self._marathon.history[app_id].get(wanted)
            if stored is None:
                raise no_app(app_id)
            draft.put(stored.definition)
        else:
            draft.put(wanted)

    def update(self, ask: Ask, app_id: str) -> Reply:
        app_id = absolute(app_id)
        create = ask.method == "PUT"
        partial = ask.method == "PATCH" or ask.flag("partialUpdate", True)
        wanted = self._wanted(app_id, ask.json(), partial)
        existed = app_id in self._marathon.apps
        plan = self._marathon.change(
            parent(app_id), lambda draft: self._apply(draft, app_id, wanted, create), force=ask.flag("force")
        )
        self._post_event(ask, self._marathon.apps[app_id].shown())
        if existed:
            return deployment_reply(plan)
        return deployment_reply(plan, 201, Location=f"{ask.base}{app_id}")

    def update_many(self, ask: Ask) -> Reply:
        raw = ask.json()
        create = ask.method == "PUT"
        partial = ask.method == "PATCH" or ask.flag("partialUpdate", True)
        if not isinstance(raw, list):
            raise invalid_json([("/", "error.expected.jsarray")])
        wanted = []
        for one in raw:
            if not isinstance(one, dict) or not isinstance(one.get("id"), str):
                raise invalid_json(schema.violations(one))
            app_id = absolute(one["id"])
            if app_id not in self._marathon.apps and not create:
                raise no_app(app_id)
            wanted.append((app_id, self._wanted(app_id, one, partial)))

        def edit(draft: Draft) -> None:
            for app_id, definition in wanted:
                self._apply(draft, app_id, definition, create)

        return deployment_reply(self._marathon.change("/", edit, force=ask.flag("force")))

    def delete(self, ask: Ask, app_id: str) -> Reply:
        app_id = absolute(app_id)
        plan = self._marathon.change(parent(app_id), lambda draft: draft.remove(app_id), force=ask.flag("force", True))
        return deployment_reply(plan)

    def restart(self, ask: Ask, app_id: str) -> Reply:
        app = self._marathon.app(absolute(app_id))
        plan = self._marathon.change(parent(app.id), lambda draft: draft.restart(app.id), force=ask.flag("force"))
        return deployment_reply(plan)

    def versions(self, _ask: Ask, app_id: str) -> Reply:
        app = self._marathon.app(absolute(app_id))
        return Reply(body={"versions": sorted(self._marathon.history[app.id], reverse=True)})

    def version(self, _ask: Ask, app_id: str, version: str) -> Reply:
        app = self._marathon.app(absolute(app_id))
        stored: App | None = self._marathon.history[app.id].get(version)
        if stored is None:
            raise no_app(app.id, version)
        return Reply(body=stored.shown())
