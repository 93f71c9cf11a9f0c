# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn all traffic of a deployment group to one of its apps, and wait until every marathon-lb serves it so.

The app that was scaled last receives (reference A9, A13). *Touching* an app scales it by one and takes the extra task
away again before it is healthy: the traffic turns, no task is restarted, nothing else changes. Never is the count put
back by a number: Marathon might kill a running task and keep the one that is not there yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, NotFound, OperationError, Rejected
from .._haproxy.endpoints import MARATHON_LB_SPEC, MarathonLb, instances
from .._haproxy.marathon_lb import (
    IDLE_PROCESSES,
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
from .._haproxy.marathon_lb_decision import Undecidable
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import app_path
from .._marathon.deployment_group import (
    alive_tasks,
    by_age,
    enabled_by,
    group_name,
    has_fresh_state,
    is_alive,
    launched_tasks,
    listed_tasks,
    may_serve,
    receiver,
    room_for_one_more,
    sessions_of,
    why_not_turnable,
)
from .._marathon.observation import Observation, group_apps, observe_group
from .._marathon.prediction import kept_in_service, unwanted_outcome
from .._marathon.sampling import sample_share, servers_by_app
from .._marathon.touch import PENDING, Touch, scale, wait_for_task
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
    "idle_processes": {"type": "int", "default": IDLE_PROCESSES},
    "wait_timeout": {"type": "float", "default": 60},
    "offer_timeout": {"type": "float", "default": 10},
}

_MOST_TRIMMED = 5
_LEAST_TO_REDUCE = 2  # idle tasks: one is taken away, another one takes traffic
_OUTCOME_PAUSES = Pauses(0.15, 2.0, 10.0)

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
        self.sessions = 0
        self.scaled_at: dict[str, Any] = {}
        self.trimming = False
        self.removed: set[str] = set()  # Marathon shows a task as running until it is dead

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
        if self.params["trim"] and any(surplus):
            observed = self._trim_all(observed)
        observed, views = self._turned(observed)
        if self.turn.extra_task not in (None, PENDING) and self.params["trim"]:
            # Marathon was slow: the extra task serves already. Both apps are fit to serve, so it can go.
            self.turn.extra_task = None
            observed, views = self._turned(self._trim_all(observed))
        app, other = self._apps(observed)
        self._report_surplus(app)
        return self._result(before, self._described(observed), views)

    def _turned(self, observed: Observation) -> tuple[Observation, list[LbView]]:
        """Turn the traffic where it is not so already; what is there when every LB serves it so."""
        app, other = self._apps(observed)
        if not self._receives(observed, app):
            open_at = {view.name: sessions_of(view, other) for view in observed.views}
            self.sessions = sum(open_at.values())
            self.context.sample("sessions", **open_at)
            sample_share(self.context, observed.views, servers_by_app([app, other]))
            self._turn_to(observed, app, other)
            observed = self._observe()
        app, other = self._apps(observed)
        return observed, self._wait_served(app, other)

    def _alone(self, app: Json, before: Json) -> dict[str, Any]:
        """The only app has the traffic; what is left of a touch is removed as long as it does not serve."""
        if self.context.check_mode:
            return self._result(before, before, [])
        for _extra in range(self._surplus(app)):
            new = self._wait_extra(app)
            if new is None:
                break
            self._remove(app, new["id"])
            self.turn = Turn("removal")
            app, _other = self._apps(self._observe())
        views = self._wait_served(app, None)
        self._report_surplus(app)
        return self._result(before, {**before, "instances": {app["id"]: app["instances"]}}, views)

    def _wait_extra(self, app: Json) -> dict[str, Any] | None:
        """A task that is launched and that no LB sends requests to, ``None`` when there is none in time."""
        timeout = min(self.params["offer_timeout"], self._left())
        views = self._observe().views

        def idle(task: Json) -> bool:
            return not may_serve(task) and task["id"] not in self.removed and self._taken_out(views, app, task)

        return wait_for_task(self.marathon, app["id"], idle, self.context, timeout=timeout)

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
            raise InvalidInput(
                "unreadable_group", f"marathon-lb cannot decide about the group {self.name}: {error}"
            ) from None
        return found is not None and found["id"] == app["id"]

    def _surplus(self, app: Json) -> int:
        """How many instances an interrupted touch has left; 0 where the count is not known."""
        count = self.params["instances" if app["id"] == self.app_id else "other_instances"]
        return max(0, app["instances"] - count) if count else 0

    def _turn_to(self, observed: Observation, app: Json, other: Json) -> None:
        app, other = self._wait_turnable(app, other)
        idle_extra = self._extra_without_traffic(observed, app)
        if idle_extra is not None:
            self.turn = Turn("removal")
            self._remove(app, idle_extra)
        elif self._touchable(observed, app, other):
            self._touch(app)
        else:
            self._turn_by_reduction(observed, app, other)

    def _refuse_unwanted(self, apps: Sequence[Json], other: Json) -> None:
        unwanted = unwanted_outcome(apps, self.app_id, other["id"], everything=self._everything(other))
        if unwanted is not None:
            raise Rejected("wrong_outcome", f"{unwanted}. Nothing was changed.")

    def _wait_turnable(self, app: Json, other: Json) -> tuple[dict[str, Any], dict[str, Any]]:
        """The two apps as they are when marathon-lb would do what is wanted; a task may just be starting or dying.

        What the labels forbid does not change by waiting and is refused at once.
        """

        def unwanted(apps: Sequence[Json]) -> str | None:
            return unwanted_outcome(apps, app["id"], other["id"], everything=self._everything(other))

        def look() -> list[dict[str, Any]]:
            return by_age(group_apps(self.marathon, self.name))

        apps = [dict(app), dict(other)]
        if unwanted(apps) is not None:
            steady = [{**one, "tasks": [task for task in one["tasks"] if may_serve(task)]} for one in apps]
            dying = any(task["id"] in self.removed for one in apps for task in one["tasks"])
            patience = self._left() if unwanted(steady) is None or dying or _in_motion(apps) else 0.0
            try:
                apps = wait_until(self.context, look, unwanted, timeout=patience, pauses=_OUTCOME_PAUSES)
            except DeadlinePassed as error:
                raise Rejected(
                    "wrong_outcome", f"{error.message}. The traffic was not turned.", changed=self._changed()
                ) from None
        by_id = {one["id"]: one for one in apps}
        return by_id[app["id"]], by_id[other["id"]]

    def _changed(self) -> bool:
        return self.turn.method != "none"

    def _everything(self, other: Json) -> bool:
        """Whether the other app has to lose all traffic; not while a task too many is being trimmed."""
        return self.params["all_traffic"] and not (self.trimming and self._surplus(other))

    def _extra_without_traffic(self, observed: Observation, app: Json) -> str | None:
        """A task of ``app`` beyond its count that serves nobody: taking it away is a touch.

        Only where more tasks are launched than are meant to be: an instance that no agent has taken yet is no task, and
        a warm one must not go in its place. No LB may send requests to it, and it has to be idle at all of them.
        """
        launched = [task for task in launched_tasks(app) if task["id"] not in self.removed]
        if not self._surplus(app) or len(launched) <= app["instances"] - self._surplus(app):
            return None
        if self._receives(observed, app):  # an LB that still shows a healthy one in MAINT is about to admit it
            launched = [task for task in launched if not may_serve(task)]
        out = [task for task in launched if self._taken_out(observed.views, app, task)]
        if not out:
            return None
        starting = [task for task in out if not may_serve(task)]
        chosen = (starting or out)[-1]
        self._wait_drained(app, chosen)
        return chosen["id"]

    def _touchable(self, observed: Observation, app: Json, other: Json) -> bool:
        """Whether a touch leaves enough servers UP at once.

        Without fresh state a server that comes out of MAINT is DOWN until its checks have passed: meanwhile only those
        serve that were UP before and stay. One may be missing; more only where no task can be spared for a reduction,
        which goes more gently. The labels that count are those of the app that does not receive (reference A9-6).
        """
        if not room_for_one_more(app, observed.known_hosts):
            return False
        if has_fresh_state(other, observed.heads):
            return True
        out = self._out_of_service(observed, app)
        if not out:
            return True
        kept = kept_in_service(observed.apps, app["id"], other["id"])
        missing = self._in_service(observed, other) - kept
        return self._in_service(observed, app) + kept > 0 and (missing <= 1 or len(out) < _LEAST_TO_REDUCE)

    def _out_of_service(self, observed: Observation, app: Json) -> list[Json]:
        """The tasks of the app that would have to come out of MAINT; those that were never out are UP already."""
        return [task for task in alive_tasks(app) if self._taken_out(observed.views, app, task)]

    def _in_service(self, observed: Observation, app: Json) -> int:
        """How many tasks of the app every LB sends requests to."""
        return sum(unadmitted(observed.views, servers_of(app, task)) is None for task in alive_tasks(app))

    def _touch(self, app: Json) -> None:
        timeout = self.params["offer_timeout"]
        with Touch(self.marathon, app, self.context, offer_timeout=timeout, left=self._left) as touch:
            touch.scale()
            self.turn = Turn("touch")
            self.turn.extra_task = touch.take_away()

    def _turn_by_reduction(self, observed: Observation, app: Json, other: Json) -> None:
        """Take one idle task away and put the count back (reference A12, "back by -1"): for apps without room for more.

        The other tasks of the app receive at once; the other app keeps one server until the missing task is back.
        """
        why = why_not_turnable(app, observed.heads, observed.known_hosts) or why_not_turnable(
            other, observed.heads, observed.known_hosts
        )
        idle = self._out_of_service(observed, app)
        if len(idle) < _LEAST_TO_REDUCE:
            raise InvalidInput(
                "cannot_turn",
                f"The traffic cannot be turned to {app['id']} without losing requests: {why} Roll its "
                "definition out anew (zdd.rollout.bluegreen).",
            )
        self.turn = Turn("reduction")
        self._wait_drained(app, idle[-1])
        self._remove(app, idle[-1]["id"], force=False)
        rest = {**app, "tasks": [task for task in app["tasks"] if task["id"] != idle[-1]["id"]]}
        self._watch(_servers(rest, alive_tasks(rest))).wait_admitted(self._left())
        scale(self.marathon, rest, app["instances"], self.context, self._left)
        self._wait_alive(app["instances"])

    def _wait_alive(self, count: int) -> None:
        wait_until(
            self.context,
            lambda: len([task for task in self.marathon.tasks(self.app_id) if is_alive(task)]),
            lambda alive: None if alive >= count else f"{alive} of {count} tasks of {self.app_id} are healthy",
            timeout=self._left(),
            pauses=Pauses(1, 1.5, 30),
        )

    def _trim_all(self, observed: Observation) -> Observation:
        """Remove what interrupted touches have left, one by one, while the other app takes the traffic for it."""
        self.trimming = True
        for _extra in range(_MOST_TRIMMED):
            app, other = self._apps(observed)
            if other is not None and self._surplus(other):
                fat, helper = other, app
            elif other is not None and self._surplus(app) and self._receives(observed, app):
                fat, helper = app, other
            else:
                break
            before = observed
            observed = self._trim(observed, helper, fat)
            if observed is before:
                break
        self.trimming = False
        return observed

    def _trim(self, observed: Observation, helper: Json, fat: Json) -> Observation:
        """Remove one task too many of ``fat``; what was observed last, unchanged when there is none to remove.

        What has no traffic when ``helper`` receives is drained and taken away, which turns the traffic to ``fat``.
        """
        extra = self._extra_without_traffic(observed, fat)
        if extra is None and self._receives(observed, fat) and len(launched_tasks(fat)) > len(launched_tasks(helper)):
            self._touch(helper)
            observed = self._wait_turned(helper["id"])
            fat = observed.app(fat["id"]) or fat
            extra = self._extra_without_traffic(observed, fat)
        if extra is None:
            return observed
        self._remove(fat, extra)
        self.turn = Turn("removal")
        return self._observe()

    def _wait_turned(self, app_id: str) -> Observation:
        """Until every LB shows what marathon-lb's model says about the apps as they are now."""
        observed = self._observe()
        app = observed.app(app_id) or {}
        other = next((one for one in observed.apps if one["id"] != app_id), None)
        self._wait_served(app, other)
        return self._observe()

    def _remove(self, app: Json, task_id: str, *, force: bool = True) -> None:
        self.marathon.kill_and_scale([task_id], {app["id"]: app["instances"]}, force=force)
        self.removed.add(task_id)

    def _wait_drained(self, app: Json, task: Json) -> None:
        self._watch(servers_of(app, task)).wait_drained(self._left())

    def _watch(self, servers: Sequence[Server]) -> Watch:
        """The LBs are looked up again while it waits: one may join meanwhile."""
        idle_processes = self.params["idle_processes"]
        return Watch(self.context, lambda: instances(self.params), servers, idle_processes=idle_processes)

    def _taken_out(self, views: Sequence[LbView], app: Json, task: Json) -> bool:
        return untaken_out(views, servers_of(app, task)) is None

    def _wait_served(self, app: Json, other: Json | None) -> list[LbView]:
        """Every LB admits the healthy tasks of ``app`` and has taken out of ``other`` what the model says."""
        app, other = self._wait_decided(app, other)
        admitted = self._admitted(app)
        out: list[Server] = []
        shared = {app["id"]: admitted}
        if other is not None:
            enabled = enabled_by([app, other], ipv4_of)
            shared[other["id"]] = rows = _servers(other, listed_tasks(other))
            out = [row for row in rows if (row.backend, row.server) not in enabled]
            self.idle = self._idle(other, set(rows) - set(out), set(out))
            self.scaled_at = {one["id"]: (one.get("versionInfo") or {}).get("lastScalingAt") for one in (app, other)}

        def look() -> list[LbView]:
            views = each(lambda lb: seen(lb, lambda view: True), self.lbs)
            sample_share(self.context, views, shared)
            return views

        def pending(views: Sequence[LbView]) -> str | None:
            return unadmitted(views, admitted) or untaken_out(views, out)

        views = wait_until(self.context, look, pending, timeout=self._left(), pauses=LB_PAUSES)
        taken_out = f", and has taken out {len(out)} of {other['id']}" if other is not None else ""
        names = ", ".join(view.name for view in views)
        text = f"every LB ({names}) sends requests to {len(admitted)} servers of {app['id']}{taken_out}"
        self.context.sample("evidence", text=text)
        return views

    def _wait_decided(self, app: Json, other: Json | None) -> tuple[Json, Json | None]:
        """The apps when marathon-lb, by its model, serves ``app`` and as little of ``other`` as is wanted.

        It is so at once but where Marathon has forgotten the health of tasks, as a new leader does.
        """

        def look() -> tuple[Json, Json | None]:
            apps = {one["id"]: one for one in group_apps(self.marathon, self.name)}
            return apps.get(app["id"], app), apps.get(other["id"]) if other else None

        if self._undecided((app, other)) is None:
            return app, other
        try:
            return wait_until(self.context, look, self._undecided, timeout=self._left(), pauses=_OUTCOME_PAUSES)
        except DeadlinePassed as error:
            raise OperationError("wrong_outcome", error.message, changed=self._changed()) from None

    def _undecided(self, apps: tuple[Json, Json | None]) -> str | None:
        app, other = apps
        if not self._admitted(app):
            return f"{app['id']} has no healthy task; nothing can receive the traffic"
        if other is None or not self._everything(other):
            return None
        rows, enabled = _servers(other, listed_tasks(other)), enabled_by([app, other], ipv4_of)
        kept = [row for row in rows if (row.backend, row.server) in enabled]
        if kept:
            return f"marathon-lb leaves {len(kept)} of {len(rows)} servers of {other['id']} with traffic"
        return None

    def _admitted(self, app: Json) -> list[Server]:
        """The servers that every LB has to admit: of all healthy tasks but those that are removed in this run."""
        left_out = {self.turn.extra_task, *self.removed}
        return _servers(app, [task for task in alive_tasks(app) if task["id"] not in left_out])

    def _idle(self, other: Json, kept: set[Server], out: set[Server]) -> list[str]:
        """The tasks of the app that gives the traffic away which have none of it.

        With all traffic these are all that do not keep any, the sick ones too; in shares only those that marathon-lb
        has taken out, since exactly these are removed then.
        """
        tasks = [task for task in launched_tasks(other) if task["id"] not in self.removed]
        if self._everything(other):
            return [task["id"] for task in tasks if kept.isdisjoint(servers_of(other, task))]
        return [task["id"] for task in tasks if (rows := servers_of(other, task)) and out.issuperset(rows)]

    def _report_surplus(self, app: Json) -> None:
        surplus = self._surplus(app)
        if not surplus or self.turn.extra_task is not None:
            return
        if len(launched_tasks(app)) <= app["instances"] - surplus:
            self.turn.extra_task = PENDING
            return
        self.turn.extra_task = "live"
        self.context.warn(
            f"{app['id']} has {app['instances']} instances, {surplus} more than it should: an extra task serves "
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
        result["sessions"] = self.sessions
        result["scaled_at"] = self.scaled_at
        result["lbs"] = [view.name for view in views]
        result["seconds"] = round(self.context.now() - self.started, 3)
        return result


def _servers(app: Json, tasks: Sequence[Json]) -> list[Server]:
    return [server for task in tasks for server in servers_of(app, task)]


def _in_motion(apps: Sequence[Json]) -> bool:
    """Whether a task of the apps has just been launched, is dying, or has no health result yet."""
    return any(not may_serve(task) for app in apps for task in app["tasks"])
