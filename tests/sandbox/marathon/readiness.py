# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readiness checks: asked during deployments only, until a task is ready once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sandbox.marathon import checks
from tests.sandbox.marathon.definitions import host_mode
from tests.sandbox.marathon.model import App, Instance, Task


@dataclass(frozen=True)
class ReadinessResult:
    """What a readiness check last found for a task."""

    name: str
    task_id: str
    ready: bool
    last_response: dict[str, Any] | None

    def shown(self) -> dict[str, Any]:
        result: dict[str, Any] = {"name": self.name, "taskId": self.task_id, "ready": self.ready}
        if self.last_response is not None:
            result["lastResponse"] = self.last_response
        return result


def _target(app: App, task: Task, port_name: str) -> tuple[str, int]:
    definition = app.definition
    declared = definition["portDefinitions"] if host_mode(definition) else definition["container"]["portMappings"]
    index = next(index for index, one in enumerate(declared) if one.get("name") == port_name)
    return task.targets[index]


async def until_ready(instance: Instance, task: Task, report: Callable[[ReadinessResult], None]) -> None:
    """Ask until the task is ready or gone; ``report`` gets each result."""
    check = instance.app.definition["readinessChecks"][0]
    host, port = _target(instance.app, task, check["portName"])
    tls = check["protocol"] == "HTTPS"
    while instance.task is task and instance.condition == "Running":
        try:
            answer = await checks.http_get(host, port, check["path"], check["timeoutSeconds"], tls=tls)
            ready = answer.status in check["httpStatusCodesForReady"]
            # Marathon looks for the type among the plain headers, where its HTTP client never puts it.
            response = {"status": answer.status, "contentType": "", "body": answer.body}
        except (OSError, ValueError) as error:
            ready = False
            url = f"{check['protocol'].lower()}://{host}:{port}{check['path']}"
            text = f"Marathon could not query {url}: {error}"
            response = {"status": 504, "contentType": "text/plain", "body": text}
        kept = response if check["preserveLastResponse"] else None
        report(ReadinessResult(check["name"], task.id, ready, kept))
        if ready:
            return
        await asyncio.sleep(max(check["intervalSeconds"], 0.1))
