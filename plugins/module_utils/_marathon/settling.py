# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until an app is as its definition says, or until it is clear that it will not get there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import Hopeless, NotFound
from .._invocation.context import Context
from .._wait import wait_until
from .client import Marathon
from .definitions import app_path, differences
from .events import Events
from .progress import ENDED, KILLED_BY_CHECK, is_current, launched, present_failure, unsettled
from .sampling import sample_instances, sample_settled

# Seconds: how long an app may look ill before it is taken for that, and how much longer that may make a watch.
_SICK_SECONDS = 2.0
_WATCH_SLACK = 60.0

_TYPES = (
    "deployment_success",
    "deployment_failed",
    "status_update_event",
    "health_status_changed_event",
    "unhealthy_instance_kill_event",
)


@dataclass(frozen=True)
class Sight:
    """One look: the app, its queue entry where it was worth a request, and what the looks before tell."""

    app: Mapping[str, Any]
    entry: Mapping[str, Any] | None
    waited: float
    failures: int


class Settling:
    """Watches one app. Open :meth:`events` before the change, then :meth:`wait`.

    ``offer_timeout``: how long (s) to wait for an agent that has what the app asks for.
    """

    def __init__(self, marathon: Marathon, app_id: str, context: Context, *, offer_timeout: float = 60.0) -> None:
        self._marathon = marathon
        self._app_id = app_path(app_id)
        self._context = context
        self._offer_timeout = offer_timeout
        self._launched = 0
        self._progress_at = context.now()
        self._failures: dict[str, Mapping[str, Any]] = {}
        self._deploying = True
        self._missing = True

    def events(self) -> Events:
        """The subscription that makes looks come when they are worth it."""
        return Events(self._marathon, _TYPES, self._matters)

    def wait(
        self,
        events: Events,
        *,
        timeout: float,
        definition: Mapping[str, Any] | None = None,
        changed: bool = False,
    ) -> dict[str, Any]:
        """Return the app when nothing is missing any more; ``timeout`` in seconds.

        ``definition``: what the app has to be. ``changed``: a deployment has just begun, so that the first look is not
        worth a request yet.

        :raises Hopeless: the app crash-loops, gets no offers, fails its checks, or was changed or removed by others.
        :raises DeadlinePassed: after ``timeout``.
        """

        def pending(sight: Sight) -> str | None:
            self._refuse_another(sight.app, definition)
            missing = self._unsettled(sight)
            return missing if missing is None else self._said(missing)

        def rest(seconds: float) -> None:
            self._rest(events, min(seconds, self._until_offers_count()))

        sight = wait_until(
            self._context,
            self._look,
            pending,
            timeout=timeout,
            pauses=events.pauses,
            rest=rest,
            look_at_once=not changed,
        )
        sample_settled(self._context, sight.app)
        return dict(sight.app)

    def stay(self, events: Events, *, seconds: float) -> dict[str, Any]:
        """Watch an app that has settled for so long, and return it.

        :raises Hopeless: a task ended by itself, or was unhealthy or missing for some seconds.
        """
        until = self._context.now() + seconds
        known = len(self._failures)
        sick_since: float | None = None

        def pending(sight: Sight) -> str | None:
            nonlocal sick_since
            now = self._context.now()
            missing = self._unsettled(sight)
            if len(self._failures) > known:
                last = list(self._failures.values())[-1]
                raise Hopeless(
                    "crashed",
                    f"A task of {self._app_id} ended while it was watched: {last.get('state')} on {last.get('host')}, "
                    f"{last.get('message') or 'no message'}",
                    detail=dict(last),
                )
            if missing is None:
                sick_since = None
                return None if now >= until else f"{self._app_id} is watched"
            sick_since = now if sick_since is None else sick_since
            if now - sick_since >= _SICK_SECONDS:
                raise Hopeless("unhealthy", f"{missing}, while it was watched.")
            return missing

        def rest(pause: float) -> None:
            left = until - self._context.now() if sick_since is None else _SICK_SECONDS
            self._rest(events, max(0.0, min(pause, left)))

        sight = wait_until(
            self._context, self._look, pending, timeout=seconds + _WATCH_SLACK, pauses=events.pauses, rest=rest
        )
        return dict(sight.app)

    def _rest(self, events: Events, seconds: float) -> None:
        """Rest until it is time for a look."""
        events.rest(seconds)

    def _said(self, missing: str) -> str:
        """The line for people that says what is missing."""
        return missing

    def _witness(self, event: Mapping[str, Any]) -> None:
        """Take note of an event about the app; runs in the thread of the event stream."""

    def _unsettled(self, sight: Sight) -> str | None:
        return unsettled(
            sight.app,
            sight.entry,
            waited=sight.waited,
            failures=sight.failures,
            offer_timeout=self._offer_timeout,
        )

    def _until_offers_count(self) -> float:
        """Seconds until it is worth asking why nothing is launched; infinite when it was asked, or is needless."""
        left = self._progress_at + self._offer_timeout - self._context.now()
        return left if self._missing and left > 0 else math.inf

    def _look(self) -> Sight:
        try:
            app = self._marathon.app(self._app_id)
        except NotFound:
            raise Hopeless(
                "app_removed",
                f"{self._app_id} is gone: its deployment was cancelled, or somebody removed it.",
                system=self._marathon.url,
            ) from None
        sample_instances(self._context, [app])
        now = self._context.now()
        if launched(app) > self._launched:
            self._launched, self._progress_at = launched(app), now
        self._deploying = bool(app.get("deployments"))
        failures = self._failures_of(app)
        if failures and not present_failure(app):
            # Marathon keeps no failure of a task that ended well, but should not have ended (TASK_FINISHED).
            app["lastTaskFailure"] = failures[-1]
        waited = now - self._progress_at
        self._missing = launched(app) < app["instances"]
        entry = None
        if self._missing and (failures or waited >= self._offer_timeout):
            entry = self._marathon.queue_of(self._app_id)
        return Sight(app, entry, waited, len(failures))

    def _failures_of(self, app: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The failures of the present definition that were seen so far, in the answers or among the events."""
        failure = present_failure(app)
        if failure:
            self._failures[failure["taskId"]] = failure
        return [seen for seen in list(self._failures.values()) if is_current(app, seen.get("version"))]

    def _refuse_another(self, app: Mapping[str, Any], definition: Mapping[str, Any] | None) -> None:
        changed = sorted(differences(definition, app).keys() - {"instances"}) if definition is not None else []
        if changed:
            raise Hopeless(
                "changed_meanwhile",
                f"{self._app_id} is not what was asked for any more ({', '.join(changed)}): its deployment was "
                "cancelled, or somebody changed it.",
                system=self._marathon.url,
                detail=changed,
            )

    def _matters(self, event: Mapping[str, Any]) -> bool:
        """Runs in the thread of the event stream: it only takes notes and reads a flag."""
        kind = event["eventType"]
        if kind in ("deployment_success", "deployment_failed"):
            return concerns(event, self._app_id)
        if event.get("appId") != self._app_id:
            return False
        self._witness(event)
        if kind == "status_update_event":
            if event.get("taskStatus") in ENDED and event.get("taskStatus") != "TASK_KILLED":
                self._failures[event["taskId"]] = {**event, "state": event["taskStatus"]}
                return True
            return not self._deploying
        if kind == "unhealthy_instance_kill_event":
            why = f"{KILLED_BY_CHECK}: {event.get('reason')}"
            self._failures[event["taskId"]] = {**event, "state": "TASK_KILLED", "message": why}
            return True
        return not self._deploying


def concerns(event: Mapping[str, Any], app_id: str) -> bool:
    """Whether an event of a deployment is about this app; one with an empty plan may be about any."""
    steps = (event.get("plan") or {}).get("steps") or []
    actions = [action for step in steps for action in step.get("actions", [])]
    return not actions or any(action.get("app") == app_id for action in actions)
