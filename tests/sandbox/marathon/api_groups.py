# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``/v2/groups`` (reference B11): apps by folder, put, scaled and deleted together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tests.sandbox.marathon import render, schema, validation
from tests.sandbox.marathon.core import Draft, Marathon
from tests.sandbox.marathon.definitions import absolute, canonical
from tests.sandbox.marathon.errors import invalid_json, invalid_object, refused
from tests.sandbox.marathon.exchange import Ask, Reply, deployment_reply
from tests.sandbox.marathon.plans import plan


def _apps(raw: Any, group_id: str) -> Iterator[dict[str, Any]]:
    """The definitions of all apps in a group and below it, with absolute ids."""
    for one in raw.get("apps", ()):
        if not isinstance(one, dict) or not isinstance(one.get("id"), str):
            raise invalid_json(schema.violations(one))
        app = {**one, "id": absolute(one["id"], group_id)}
        wrong = schema.violations(app)
        if wrong:
            raise invalid_json(wrong)
        definition = canonical(app)
        wrong = validation.violations(definition)
        if wrong:
            raise invalid_object(wrong)
        yield definition
    for below in raw.get("groups", ()):
        yield from _apps(below, absolute(below["id"], group_id))


class GroupsApi:
    def __init__(self, marathon: Marathon) -> None:
        self._marathon = marathon

    def _known(self, group_id: str) -> str:
        group_id = absolute(group_id)
        if not self._marathon.group_known(group_id):
            raise refused(404, f"Group '{group_id}' does not exist")
        return group_id

    def one(self, ask: Ask, group_id: str) -> Reply:
        if group_id.endswith("/versions"):
            self._known(group_id[: -len("versions")])
            return Reply(body=[self._marathon.version])
        if group_id.endswith("/apps"):
            known = self._known(group_id[: -len("apps")])
            wanted = render.embeds(ask.query.get("embed", ()))
            return Reply(body=[render.app_shown(self._marathon, one, wanted) for one in self._marathon.in_group(known)])
        return Reply(body=render.group_shown(self._marathon, self._known(group_id), ask.query.get("embed", ())))

    def _edit(self, raw: dict[str, Any], group_id: str, draft: Draft) -> None:
        if "scaleBy" in raw:
            for app in self._marathon.in_group(group_id):
                draft.scale(app.id, math.ceil(app.instances * raw["scaleBy"]))
            return
        wanted = list(_apps(raw, group_id))
        if "apps" in raw or "groups" in raw:
            kept = {one["id"] for one in wanted}
            for app in self._marathon.in_group(group_id):
                if app.id not in kept:
                    draft.remove(app.id)
        for definition in wanted:
            draft.put(definition)

    def put(self, ask: Ask, group_id: str) -> Reply:
        raw = ask.json()
        if not isinstance(raw, dict):
            raise invalid_json([("/", "error.expected.jsobject")])
        group_id = absolute(raw["id"] if not group_id.strip("/") and "id" in raw else group_id)
        created = not self._marathon.group_known(group_id)
        if ask.method == "POST" and not created:
            raise refused(409, f"Group {group_id} is already existing. Use PUT to change this group.")
        if ask.flag("dryRun"):
            draft = Draft(self._marathon.apps, self._marathon.versions.next())
            self._edit(raw, group_id, draft)
            return Reply(body={"steps": plan(self._marathon.apps, draft.apps, draft.version, {}).shown()["steps"]})
        done = self._marathon.change(group_id, lambda draft: self._edit(raw, group_id, draft), force=ask.flag("force"))
        self._marathon.groups.add(group_id)
        if created:
            return deployment_reply(done, 201, Location=f"{ask.base}{group_id}")
        return deployment_reply(done)

    def delete(self, ask: Ask, group_id: str) -> Reply:
        known = self._known(group_id)

        def edit(draft: Draft) -> None:
            for app in self._marathon.in_group(known):
                draft.remove(app.id)

        done = self._marathon.change(known, edit, force=ask.flag("force"))
        prefix = known.rstrip("/") + "/"
        self._marathon.groups = {one for one in self._marathon.groups if one != known and not one.startswith(prefix)}
        return deployment_reply(done)
