# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch an app that has just got the traffic, for a given time: the bake of a rollout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._errors import Hopeless, NotFound
from .._haproxy.endpoints import MARATHON_LB_SPEC, MarathonLb, instances
from .._haproxy.marathon_lb import LbView, seen, servers_of
from .._invocation.context import Context
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import app_path
from .._marathon.deployment_group import admits, alive_tasks, by_age, is_alive, launched_tasks, receiver
from .._marathon.events import Events
from .._marathon.observation import group_apps
from .._marathon.progress import present_failure
from .._marathon.sampling import Errors
from .._parallel import each

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    **MARATHON_LB_SPEC,
    "group": {"type": "str", "required": True},
    "app_id": {"type": "str", "required": True},
    "seconds": {"type": "float", "required": True},
    "instances": {"type": "int"},
    "shared": {"type": "bool", "default": False},
}

_EVENTS = ("status_update_event", "health_status_changed_event", "unhealthy_instance_kill_event", "api_post_event")
_LB_PAUSE = 1.0
_PROGRESS_EVERY = 10.0
# A server that is DOWN in one look only may be one whose check has just been repeated.
_LOOKS_DOWN = 2
# A check that failed once may pass again; one that goes on failing for so long (s) is a reason to go back.
_SICK_SECONDS = 1.0

Json = Mapping[str, Any]


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    app_id, seconds = app_path(params["app_id"]), params["seconds"]
    lbs = instances(params)
    if context.check_mode:
        return {"changed": False, "watched": {"app_id": app_id, "seconds": 0.0, "looks": 0}}
    started = context.now()
    with Marathon.from_params(params, context) as marathon, Events(marathon, _EVENTS, _concerns(app_id)) as events:
        watch = _Watch(marathon, lbs, params, context.now)
        next_look = pause = events.pauses.after(None)
        shown = started
        while (left := started + seconds - context.now()) > 0:
            watch.look_at_lbs()
            woken = events.rest(min(_LB_PAUSE, left))
            if woken or watch.suspicious or context.now() - started >= next_look:
                watch.look_at_marathon()
                pause = events.pauses.after(pause)
                next_look = context.now() - started + pause
            if context.now() - shown >= _PROGRESS_EVERY:
                shown = context.now()
                context.progress(f"{app_id} bakes: {watch.said()} ({max(0.0, left):.0f} s left)")
        watch.look_at_marathon()
        while watch.suspicious:
            context.sleep(_SICK_SECONDS)
            watch.look_at_marathon()
        watch.look_at_lbs()
    spent = round(context.now() - started, 3)
    context.sample("evidence", text=f"for {spent:.0f} s, in {watch.looks} looks: {watch.said()}")
    return {"changed": False, "watched": {"app_id": app_id, "seconds": spent, "looks": watch.looks}}


class _Watch:
    """Raises :class:`Hopeless` with the reason as soon as the app is not what it was at the first look."""

    def __init__(
        self,
        marathon: Marathon,
        lbs: Sequence[MarathonLb],
        params: Mapping[str, Any],
        now: Callable[[], float],
    ) -> None:
        self.looks = 0
        self._instances = params["instances"]
        self._shared = params["shared"]
        self._now = now
        self._sick_since: float | None = None
        self._errors = Errors(marathon.context)
        self._marathon = marathon
        self._lbs = lbs
        self._group = params["group"]
        self._app_id = app_path(params["app_id"])
        self._down: dict[tuple[str, str], int] = {}
        self._views: list[LbView] = []
        self._app = self._read()
        self._failure_before = present_failure(self._app)
        self.look_at_marathon(self._app)

    def look_at_marathon(self, app: Json | None = None) -> None:
        self.looks += 1
        self._app = app = app or self._read()
        failure = present_failure(app)
        if failure and failure != self._failure_before:
            raise Hopeless(
                "crashed",
                f"A task of {self._app_id} ended during the bake: {failure.get('state')} on {failure.get('host')}, "
                f"{failure.get('message') or 'no message'}",
                detail=dict(failure),
            )
        sick = self._sick()
        if sick is None:
            self._sick_since = None
        elif self._sick_since is None:
            self._sick_since = self._now()
        elif self._now() - self._sick_since >= _SICK_SECONDS:
            raise Hopeless("unhealthy", f"{sick} during the bake.")

    @property
    def suspicious(self) -> bool:
        """Whether the last look has shown something that a second one has to confirm."""
        return self._sick_since is not None

    def _sick(self) -> str | None:
        """What is wrong with the app. A task without a health result is not: a new leader has to check it first."""
        tasks = launched_tasks(self._app)
        wanted = self._app["instances"] if self._instances is None else min(self._instances, self._app["instances"])
        ill = [task for task in tasks if task.get("healthCheckResults") and not is_alive(task)]
        well = len(tasks) - len(ill)
        return f"{well} of {wanted} tasks of {self._app_id} are healthy" if well < wanted else None

    def look_at_lbs(self) -> None:
        """An LB that does not answer says nothing about the app; it is asked again a moment later."""
        self._views = [view for view in each(lambda lb: seen(lb, lambda _view: False), self._lbs) if not view.error]
        servers = [server for task in alive_tasks(self._app) for server in servers_of(self._app, task)]
        self._errors.look(self._views, {self._app_id: servers})
        for view in self._views:
            for server in servers:
                key = (view.name, str(server))
                self._down[key] = 0 if admits(view, server) else self._down.get(key, 0) + 1
                if self._down[key] >= _LOOKS_DOWN:
                    raise Hopeless("not_served", f"lb {view.name} does not send requests to {server} during the bake.")

    def said(self) -> str:
        """The state in one line."""
        alive = len(alive_tasks(self._app))
        return (
            f"{alive} of {self._app['instances']} tasks healthy, served by {len(self._views)} of {len(self._lbs)} LBs"
        )

    def _read(self) -> dict[str, Any]:
        apps = by_age(group_apps(self._marathon, self._group))
        app = next((one for one in apps if one["id"] == self._app_id), None)
        if app is None:
            raise NotFound("not_found", f"There is no app {self._app_id} in the deployment group {self._group}.")
        receiving = None if self._shared else receiver(apps)
        if receiving is not None and receiving["id"] != self._app_id:
            raise Hopeless(
                "turned_by_others",
                f"Somebody scaled {receiving['id']} during the bake: it receives the traffic now, not {self._app_id}.",
            )
        return app


def _concerns(app_id: str) -> Any:
    def concerns(event: Json) -> bool:
        return event.get("appId") == app_id or event.get("eventType") == "api_post_event"

    return concerns
