# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until deployments have ended, and tell how they did.

Marathon forgets a deployment when it ends. Whether it was a success is told by an event only (reference B5), and
where that was missed, by what it has left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._invocation.context import Context
from .._wait import wait_until
from .client import Marathon
from .definitions import app_path
from .events import Events
from .settling import concerns

ENDING_TYPES = ("deployment_success", "deployment_failed")

Deployment = Mapping[str, Any]


class Ending:
    """Watches deployments, given by ``ids``, or all that affect one of ``apps``."""

    def __init__(
        self,
        marathon: Marathon,
        context: Context,
        *,
        ids: Iterable[str] = (),
        apps: Iterable[str] = (),
    ) -> None:
        self._marathon = marathon
        self._context = context
        self._ids = set(ids)
        self._apps = {app_path(app_id) for app_id in apps}
        self._ends: dict[str, Mapping[str, Any]] = {}

    def watch(self, deployment_id: str) -> None:
        """Watch one more deployment."""
        self._ids.add(deployment_id)

    def matters(self, event: Mapping[str, Any]) -> bool:
        """Note how deployments end; runs in the thread of the event stream."""
        self._ends[event["id"]] = event
        return event["id"] in self._ids or any(concerns(event, app_id) for app_id in self._apps)

    def running(self) -> list[Deployment]:
        """The deployments of interest that Marathon lists."""
        return [
            deployment
            for deployment in self._marathon.deployments()
            if deployment["id"] in self._ids or self._apps.intersection(deployment.get("affectedApps", []))
        ]

    def wait(self, events: Events, *, timeout: float, just_begun: bool = False) -> None:
        """Return when none is listed any more; ``timeout`` in seconds.

        ``just_begun``: the first look is not worth a request yet.

        :raises DeadlinePassed: after ``timeout``.
        """
        wait_until(
            self._context,
            self.running,
            unended,
            timeout=timeout,
            pauses=events.pauses,
            rest=events.rest,
            look_at_once=not just_begun,
        )

    def end_of(self, deployment_id: str) -> Mapping[str, Any] | None:
        """The event of its end, if it was seen."""
        return self._ends.get(deployment_id)


def unended(running: Sequence[Deployment]) -> str | None:
    """What still runs, with its step; ``None`` when nothing does."""
    if not running:
        return None
    first = running[0]
    actions = ", ".join(f"{action['action']} {action.get('app') or action.get('pod')}" for action in _current(first))
    step = f"step {first.get('currentStep')} of {first.get('totalSteps')}"
    more = f", and {len(running) - 1} more" if len(running) > 1 else ""
    return f"deployment {first['id']} is at {step}{': ' if actions else ''}{actions}{more}"


def _current(deployment: Deployment) -> Sequence[Mapping[str, Any]]:
    return deployment.get("currentActions") or []


def judge(deployment: Deployment, apps: Mapping[str, Mapping[str, Any] | None], settled: Mapping[str, bool]) -> bool:
    """Tell from what it left behind whether a deployment that has ended was a success.

    ``deployment``: as it was listed while it ran. ``apps``: what each affected app is now (``None``: gone), and
    whether it is ``settled``. An app's version is the deployment's own when the deployment wrote it; a rollback writes
    a newer one, and a cancellation leaves the app unsettled. Where the app was changed again since, the configuration
    that the deployment brought may still be there: then only the count is newer.
    """
    stopped = {
        action.get("app")
        for step in deployment.get("steps", [])
        for action in step.get("actions", [])
        if action.get("action") == "StopApplication"
    }
    for app_id, app in apps.items():
        if app is None or app_id in stopped:
            if app is not None or app_id not in stopped:
                return False
            continue
        configured = (app.get("versionInfo") or {}).get("lastConfigChangeAt") or app["version"]
        if configured > deployment["version"] or not settled[app_id]:
            return False
    return True
