# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn all traffic of a deployment group to one of its apps, and wait until every marathon-lb serves it so.

The app that was scaled last receives (reference A9, A13). *Touching* an app scales it by one and takes the extra task
away again before it is healthy: the traffic turns, no task is restarted, nothing else changes. Never is the count put
back by a number: Marathon might kill a running task and keep the one that is not there yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, Locked, NotFound, OperationError, Rejected
from .._haproxy.endpoints import MARATHON_LB_SPEC, MarathonLb, instances
from .._haproxy.marathon_lb import (
    LB_PAUSES,
    LbView,
    Server,
    Watch,
    ipv4_of,
    seen,
    servers_of,
    unadmitted,
    untaken_out,
)
from .._haproxy.marathon_lb_decision import EXCLUDED_STATES, Undecidable
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import app_path
from .._marathon.deployment_group import (
    alive_tasks,
    by_age,
    disabled_by,
    group_name,
    has_fresh_state,
    is_alive,
    receiver,
    room_for_one_more,
    why_not_turnable,
)
from .._marathon.observation import Observation, group_apps, observe_group
from .._marathon.prediction import unwanted_outcome
from .._parallel import each
from .._wait import Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    **MARATHON_LB_SPEC,
    "group": {"type": "str", "required": True},
    "app_id": {"type": "str", "required": True},
    "instances": {"type": "int"},
    "other_instances": {"type": "int"},
    "all_traffic": {"type": "bool", "default": True},
    "trim": {"type": "bool", "default": False},
    "wait_timeout": {"type": "float", "default": 60},
    "offer_timeout": {"type": "float", "default": 10},
}

_LAUNCH_PAUSES = Pauses(0.03, 1.6, 2.0)
_LOCK_PAUSES = Pauses(0.1, 1.8, 5.0)

Json = Mapping[str, Any]


@dataclass
class Turn:
    """What was done: ``method`` is none, touch, removal (of a task too many) or reduction; ``extra`` what is left."""

    method: str = "none"
    extra_task: str | None = None


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    app_id = app_path(params["app_id"])
    name = group_name({"id": app_id}, params["group"])
    with Marathon.from_params(params, context) as marathon:
        return _Switch(marathon, instances(params), name, app_id, params, context).run()


class _Switch:
    """One run. ``deadline`` is for all of its waits together."""

    def __init__(
        self,
        marathon: Marathon,
        lbs: Sequence[MarathonLb],
        name: str,
        app_id: str,
        params: Mapping[str, Any],
        context: Context,
    ) -> None:
        self.marathon = marathon
        self.lbs = lbs
        self.name = name
        self.app_id = app_id
        self.params = params
        self.context = context
        self.started = context.now()
        self.deadline = self.started + params["wait_timeout"]
        self.turn = Turn()
        self.idle: list[str] = []

    def run(self) -> dict[str, Any]:
        observed = self._observe()
        app, other = self._apps(observed)
        before = self._described(observed)
        if other is None:
            return self._alone(app, before)
        surplus = self._surplus(app), self._surplus(other)
        receives = self._receives(observed, app)
        if receives and not any(surplus):
            views = [] if self.context.check_mode else self._wait_served(app, other)
            return self._result(before, before, views)
        if self.context.check_mode:
            self._refuse_unwanted(observed.apps, other)
            return self._result(before, {**before, "receiver": self.app_id}, [])
        if surplus[1] and self.params["trim"]:
            observed = self._trim(observed, app, other)
        elif surplus[0] and receives and self.params["trim"]:
            observed = self._trim(observed, other, app)
        app, other = self._apps(observed)
        if not self._receives(observed, app):
            self._turn_to(observed, app, other)
            observed = self._observe()
            app, other = self._apps(observed)
        views = self._wait_served(app, other)
        self._report_surplus(app)
        return self._result(before, self._described(observed), views)

    def _alone(self, app: Json, before: Json) -> dict[str, Any]:
        """The only app has the traffic; what is left of a touch is removed as long as it does not serve."""
        if self.context.check_mode:
            return self._result(before, before, [])
        if self._surplus(app):
            new = self._wait_starting(app["id"])
            if new is not None:
                self.marathon.kill_tasks([new["id"]], scale=True, force=True)
                self.turn = Turn("removal")
                app, _other = self._apps(self._observe())
        views = self._wait_served(app, None)
        self._report_surplus(app)
        return self._result(before, {**before, "instances": {app["id"]: app["instances"]}}, views)

    def _observe(self) -> Observation:
        return observe_group(self.marathon, self.lbs, self.name, self.context, self._left())

    def _left(self) -> float:
        return max(0.0, self.deadline - self.context.now())

    def _apps(self, observed: Observation) -> tuple[dict[str, Any], dict[str, Any] | None]:
        app = observed.app(self.app_id)
        if app is None:
            raise NotFound("not_found", f"There is no app {self.app_id} in the deployment group {self.name}.")
        return app, next((one for one in observed.apps if one["id"] != self.app_id), None)

    def _receives(self, observed: Observation, app: Json) -> bool:
        try:
            found = receiver(observed.apps)
        except Undecidable as error:
            raise InvalidInput("unreadable_group", f"marathon-lb cannot decide about the group {self.name}: {error}") from None
        return found is not None and found["id"] == app["id"]

    def _surplus(self, app: Json) -> int:
        """How many instances an interrupted touch has left; 0 where the count is not known."""
        count = self.params["instances" if app["id"] == self.app_id else "other_instances"]
        return max(0, app["instances"] - count) if count else 0

    def _turn_to(self, observed: Observation, app: Json, other: Json) -> None:
        self._refuse_unwanted(self._without_dying(app, other), other, turned_to=app)
        idle_extra = self._extra_without_traffic(observed, app)
        if idle_extra is not None:
            self.turn = Turn("removal")
            self.marathon.kill_tasks([idle_extra], scale=True, force=True)
        elif self._touchable(observed, app, other):
            self._touch(app)
        else:
            self._turn_by_reduction(observed, app, other)

    def _refuse_unwanted(self, apps: Sequence[Json], other: Json, turned_to: Json | None = None) -> None:
        receiver_id = turned_to["id"] if turned_to else self.app_id
        unwanted = unwanted_outcome(apps, receiver_id, other["id"], everything=self._everything(other))
        if unwanted is not None:
            raise Rejected("wrong_outcome", f"{unwanted}. Nothing was changed.", changed=self.turn.method != "none")

    def _everything(self, other: Json) -> bool:
        """Whether the other app has to lose all traffic; not while it has a task too many, which is trimmed then."""
        return self.params["all_traffic"] and not self._surplus(other)

    def _without_dying(self, app: Json, other: Json) -> list[dict[str, Any]]:
        """The two apps, read again until no task of the other one is dying: marathon-lb counts those."""

        def look() -> list[dict[str, Any]]:
            return by_age(group_apps(self.marathon, self.name))

        def dying(apps: Sequence[Json]) -> str | None:
            tasks = [task for one in apps if one["id"] == other["id"] for task in one["tasks"]]
            count = len([task for task in tasks if task["state"] in EXCLUDED_STATES])
            return f"{count} tasks of {other['id']} are on their way" if count else None

        if dying([app, other]) is None:
            return [app, other]
        return wait_until(self.context, look, dying, timeout=self._left(), pauses=_LOCK_PAUSES)

    def _extra_without_traffic(self, observed: Observation, app: Json) -> str | None:
        """A task of ``app`` beyond its count that serves nobody: taking it away is a touch."""
        if not self._surplus(app):
            return None
        starting = [task for task in app["tasks"] if task["state"] != "TASK_KILLING" and not is_alive(task)]
        if starting:
            return starting[-1]["id"]
        out = [task for task in alive_tasks(app) if self._taken_out(observed.views, app, task)]
        if not out:
            return None
        self._wait_drained(app, out[-1])
        return out[-1]["id"]

    def _touchable(self, observed: Observation, app: Json, other: Json) -> bool:
        if not room_for_one_more(app, observed.known_hosts):
            return False
        return all(has_fresh_state(one, observed.heads) for one in (app, other)) or not self._out_of_service(observed, app)

    def _out_of_service(self, observed: Observation, app: Json) -> bool:
        """Whether tasks of the app would have to come out of MAINT; those that were never out are UP already."""
        return any(self._taken_out(observed.views, app, task) for task in alive_tasks(app))

    def _touch(self, app: Json) -> None:
        """Scale by one, and take the new task away by its id as soon as it is launched."""
        self.turn = Turn("touch")
        known = {_instance(task) for task in app["tasks"]}
        self._scale(app, app["instances"] + 1)
        new = self._wait_launched(app["id"], known)
        if new is None:
            self.turn.extra_task = "pending"
            self.context.warn(
                f"No agent has taken the extra instance of {app['id']} within {self.params['offer_timeout']:g} s. The "
                "traffic has turned all the same. It does no harm; it is removed as soon as it is launched by the next "
                "step that turns traffic or by a run of the same playbook."
            )
        elif is_alive(new):
            self.turn.extra_task = new["id"]
        else:
            self.marathon.kill_tasks([new["id"]], scale=True, force=True)

    def _scale(self, app: Json, count: int) -> None:
        """Scale; an app that is still locked by the end of an earlier change is waited for."""
        pause: float | None = None
        while True:
            try:
                self.marathon.scale_app(app["id"], count, app=app)
                return
            except Locked as error:
                if _is_pending(app):
                    self.marathon.scale_app(app["id"], count, force=True, app=app)
                    return
                if self._left() <= 0:
                    raise
                self.context.progress(f"{error.message} ({self._left():.0f} s left)")
            pause = _LOCK_PAUSES.after(pause)
            self.context.sleep(min(pause, self._left()))

    def _wait_launched(self, app_id: str, known: set[str]) -> dict[str, Any] | None:
        """The task that was not there before, ``None`` when no agent takes it in time."""

        return self._wait_task(app_id, lambda task: _instance(task) not in known)

    def _wait_starting(self, app_id: str) -> dict[str, Any] | None:
        """A task that is launched and does not serve yet, ``None`` when there is none in time."""
        return self._wait_task(app_id, lambda task: not is_alive(task))

    def _wait_task(self, app_id: str, wanted: Callable[[Json], bool]) -> dict[str, Any] | None:
        def found() -> dict[str, Any] | None:
            tasks = self.marathon.tasks(app_id)
            return next((task for task in tasks if wanted(task) and task["state"] != "TASK_KILLING"), None)

        try:
            return wait_until(
                self.context,
                found,
                lambda task: None if task else f"the extra instance of {app_id} is launched",
                timeout=min(self.params["offer_timeout"], self._left()),
                pauses=_LAUNCH_PAUSES,
            )
        except DeadlinePassed:
            return None

    def _turn_by_reduction(self, observed: Observation, app: Json, other: Json) -> None:
        """Take one idle task away and put the count back (reference A12, "back by -1"): for apps without room for more.

        The other tasks of the app receive at once; the other app keeps one server until the missing task is back.
        """
        why = why_not_turnable(app, observed.heads, observed.known_hosts) or why_not_turnable(
            other, observed.heads, observed.known_hosts
        )
        idle = [task for task in alive_tasks(app) if self._taken_out(observed.views, app, task)]
        if len(idle) < 2:
            raise InvalidInput(
                "cannot_turn",
                f"The traffic cannot be turned to {app['id']} without losing requests: {why} A rollout of its definition "
                "as a new version does it.",
            )
        self.turn = Turn("reduction")
        self._wait_drained(app, idle[-1])
        self.marathon.kill_tasks([idle[-1]["id"]], scale=True)
        rest = {**app, "tasks": [task for task in app["tasks"] if task["id"] != idle[-1]["id"]]}
        Watch(self.context, self.lbs, _servers(rest, alive_tasks(rest))).wait_admitted(self._left())
        self._scale({**app, "tasks": rest["tasks"]}, app["instances"])
        self._wait_alive(app["instances"])

    def _wait_alive(self, count: int) -> None:
        wait_until(
            self.context,
            lambda: len([task for task in self.marathon.tasks(self.app_id) if is_alive(task)]),
            lambda alive: None if alive >= count else f"{alive} of {count} tasks of {self.app_id} are healthy",
            timeout=self._left(),
            pauses=Pauses(1, 1.5, 30),
        )

    def _trim(self, observed: Observation, helper: Json, fat: Json) -> Observation:
        """Remove the task that an interrupted touch has left in ``fat``, while ``helper`` takes the traffic for it.

        What has no traffic when ``helper`` receives is drained and taken away, which turns the traffic to ``fat``.
        """
        extra = self._extra_without_traffic(observed, fat)
        if extra is None:
            if self._receives(observed, fat):
                self._touch(helper)
                observed = self._wait_turned(helper["id"])
            fat = observed.app(fat["id"]) or fat
            extra = self._extra_without_traffic(observed, fat)
        if extra is None:
            return observed
        self.marathon.kill_tasks([extra], scale=True, force=True)
        self.turn = Turn("removal")
        return self._observe()

    def _wait_turned(self, app_id: str) -> Observation:
        """Until every LB shows what marathon-lb's model says about the apps as they are now."""
        observed = self._observe()
        app = observed.app(app_id) or {}
        other = next((one for one in observed.apps if one["id"] != app_id), None)
        self._wait_served(app, other)
        return self._observe()

    def _wait_drained(self, app: Json, task: Json) -> None:
        Watch(self.context, self.lbs, servers_of(app, task)).wait_drained(self._left())

    def _taken_out(self, views: Sequence[LbView], app: Json, task: Json) -> bool:
        return untaken_out(views, servers_of(app, task)) is None

    def _wait_served(self, app: Json, other: Json | None) -> list[LbView]:
        """Every LB admits the healthy tasks of ``app`` and has taken out of ``other`` what the model says."""
        admitted = _servers(app, [task for task in alive_tasks(app) if task["id"] != self.turn.extra_task])
        if not admitted:
            raise InvalidInput("nothing_healthy", f"{app['id']} has no healthy task; nothing can receive the traffic.")
        out: list[Server] = []
        if other is not None:
            disabled = disabled_by([app, other], ipv4_of)
            rows = _servers(other, alive_tasks(other))
            out = [row for row in rows if (row.backend, row.server) in disabled]
            self.idle = [task["id"] for task in alive_tasks(other) if set(servers_of(other, task)) <= set(out)]
            if self._everything(other) and len(out) < len(rows):
                raise OperationError(
                    "wrong_outcome",
                    f"marathon-lb leaves {len(rows) - len(out)} of {len(rows)} servers of {other['id']} with traffic.",
                    changed=self.turn.method != "none",
                )

        def pending(views: Sequence[LbView]) -> str | None:
            return unadmitted(views, admitted) or untaken_out(views, out)

        return wait_until(
            self.context,
            lambda: each(lambda lb: seen(lb, lambda view: True), self.lbs),
            pending,
            timeout=self._left(),
            pauses=LB_PAUSES,
        )

    def _report_surplus(self, app: Json) -> None:
        surplus = self._surplus(app)
        if surplus and self.turn.extra_task is None:
            self.turn.extra_task = "live"
        if self.turn.extra_task not in (None, "pending"):
            self.context.warn(
                f"{app['id']} has {app['instances']} instances, {surplus or 1} more than it should: an extra task serves "
                "already and cannot be taken away without losing requests now. The next rollout removes it."
            )

    def _described(self, observed: Observation) -> dict[str, Any]:
        found = receiver(observed.apps)
        return {
            "group": self.name,
            "receiver": found["id"] if found else None,
            "instances": {app["id"]: app["instances"] for app in observed.apps},
        }

    def _result(self, before: Json, after: Json, views: Sequence[LbView]) -> dict[str, Any]:
        result = outcome(self.context, "switch", dict(before), dict(after))
        result["changed"] = result["changed"] or self.turn.method != "none"
        result["method"] = self.turn.method
        result["extra_task"] = self.turn.extra_task
        result["count"] = self.params["instances"]
        result["idle_tasks"] = self.idle
        result["lbs"] = [view.name for view in views]
        result["seconds"] = round(self.context.now() - self.started, 3)
        return result


def _servers(app: Json, tasks: Sequence[Json]) -> list[Server]:
    return [server for task in tasks for server in servers_of(app, task)]


def _instance(task: Json) -> str:
    """The instance of a task id: a relaunched task has the same one, with another incarnation (Marathon 1.8 and newer)."""
    return re.sub(r"\._app\.\d+$", "", task["id"])


def _is_pending(app: Json) -> bool:
    """Whether the app is only locked because an instance of it finds no offer."""
    return app["instances"] > len([task for task in app["tasks"] if task["state"] != "TASK_KILLING"])
