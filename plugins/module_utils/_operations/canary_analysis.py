# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch a canary beside the old version until it is shown to be good enough, or bad, or the time is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NoReturn

from .._analysis.evidence import Counts, Evidence
from .._analysis.verdict import (
    ABORT,
    INCONCLUSIVE,
    PROMOTE,
    Limits,
    Verdict,
    first_evaluation,
    judge,
    numbers,
    summary,
)
from .._canary_sources import (
    NEEDED_COUNTS,
    SLOW_COUNTS,
    HaproxySource,
    Reading,
    Source,
    command_source,
    prometheus_source,
)
from .._errors import DeadlinePassed, Hopeless, InvalidInput, Unreachable
from .._haproxy.endpoints import MARATHON_LB_SPEC, MarathonLb, instances
from .._haproxy.runtime import HAPROXY_SPEC, Runtime
from .._http import Http, Tls
from .._invocation.context import Context
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import app_path
from .._marathon.events import Events
from .._marathon.progress import present_failure
from . import haproxy_backend

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "marathon_url": {**MARATHON_SPEC["marathon_url"], "required": False},
    **{name: option for name, option in MARATHON_LB_SPEC.items() if name != "marathon_lb_url"},
    **HAPROXY_SPEC,
    "source": {"type": "str", "choices": ["haproxy", "prometheus", "command"], "default": "haproxy"},
    "stats_url": {"type": "list", "elements": "str"},
    "backend": {"type": "str"},
    "servers": haproxy_backend.ARGUMENT_SPEC["servers"],
    "master_socket": haproxy_backend.ARGUMENT_SPEC["master_socket"],
    "placement": haproxy_backend.ARGUMENT_SPEC["placement"],
    "canary_addresses": {"type": "list", "elements": "str"},
    "baseline_addresses": {"type": "list", "elements": "str"},
    "prometheus_url": {"type": "list", "elements": "str"},
    "prometheus_username": {"type": "str"},
    "prometheus_password": {"type": "str", "no_log": True},
    "prometheus_token": {"type": "str", "no_log": True},
    "queries": {
        "type": "dict",
        "options": {
            **{name: {"type": "str", "required": True} for name in NEEDED_COUNTS},
            **{name: {"type": "str"} for name in SLOW_COUNTS},
        },
        "required_together": [SLOW_COUNTS],
    },
    "command": {"type": "list", "elements": "str"},
    "app_id": {"type": "str"},
    "canary_name": {"type": "str", "default": "canary"},
    "baseline_name": {"type": "str", "default": "baseline"},
    "alpha": {"type": "float", "default": 0.01},
    "confidence": {"type": "float", "default": 0.95},
    "max_error_rate": {"type": "float"},
    "margin": {"type": "float"},
    "max_slow_share": {"type": "float"},
    "hard_error_rate": {"type": "float", "default": 0.5},
    "hard_min_requests": {"type": "int", "default": 20},
    "seconds": {"type": "float", "default": 0},
    "wait_timeout": {"type": "float"},
    "interval": {"type": "float"},
    "stale_after": {"type": "float", "default": 60},
    "on_inconclusive": {"type": "str", "choices": ["hold", "promote", "abort"], "default": "hold"},
}

ARGUMENT_RULES: dict[str, Any] = {
    "required_if": [
        ("source", "haproxy", ("socket", "stats_url"), True),
        ("source", "haproxy", ("canary_addresses", "baseline_addresses")),
        ("source", "prometheus", ("prometheus_url", "queries")),
        ("source", "command", ("command",)),
    ],
    "required_by": {"app_id": ["marathon_url"], "prometheus_password": ["prometheus_username"]},
    "mutually_exclusive": [("prometheus_username", "prometheus_token")],
}

_DEFAULT_MAX_ERROR_RATE = 0.01
_DEFAULT_SECONDS_MORE = 600.0
_KEEP_PAUSE = 0.1
_INTERVALS = {"haproxy": 0.5, "prometheus": 1.0, "command": 1.0}
# What is asked every moment is not waited for: an answer that does not come would keep those of others from being seen.
_LONGEST_QUESTION = 3.0
_EVENTS = ("status_update_event",)
_PROGRESS_EVERY = 10.0
_PROGRESS_GAP = 1.0
_SAMPLE_EVERY = 1.0


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation. Nothing is changed.

    :raises Hopeless: with the code ``canary_aborted``. :raises DeadlinePassed: with the code ``held``. Both have the
        numbers in ``detail``, as the result has them in ``analysis``.
    """
    bounds = limits(params)
    with ExitStack() as open_sessions:
        source = _source(params, context, open_sessions, bounds)
        analysis = _Analysis(source, bounds, params, context)
        if context.check_mode:
            return {"changed": False, "analysis": analysis.result(_unwatched())}
        verdict = analysis.watch(_tasks_watch(params, context, open_sessions))
    result = analysis.result(verdict)
    if verdict.kind == ABORT:
        raise Hopeless("canary_aborted", f"The canary is aborted: {verdict.reason}", detail=result)
    if verdict.kind == INCONCLUSIVE:
        raise DeadlinePassed(
            "held",
            f"After {result['seconds']:.0f} s it is not shown that the canary is good enough, nor that it is bad: "
            f"{verdict.reason}. Both versions keep their shares; run this again to go on watching.",
            detail=result,
        )
    return {"changed": bool(context.changes), "analysis": result}


class _Analysis:
    """The looks at one canary."""

    def __init__(self, source: Source, limits: Limits, params: Mapping[str, Any], context: Context) -> None:
        self._source = source
        self._limits = limits
        self._params = params
        self._context = context
        self._keep = _keeper(params, context)
        self._interval = params["interval"] or _INTERVALS[params["source"]]
        self._evidence = Evidence()
        self._evaluations = first_evaluation(limits)
        self._looks = 0
        self._started = context.now()
        self._canary_seen_at: float | None = None
        self._incomplete_since: float | None = None
        self._shown: str | None = None
        self._shown_at = -_PROGRESS_EVERY
        self._sampled_at = -_SAMPLE_EVERY

    def watch(self, tasks: _Tasks) -> Verdict:
        """Look until there is a verdict or the deadline has passed, then by what the user has chosen for that."""
        bake = self._started + self._params["seconds"]
        timeout = self._params["wait_timeout"]
        deadline = bake + _DEFAULT_SECONDS_MORE if timeout is None else max(bake, self._started + timeout)
        while True:
            verdict = self._look(tasks)
            now = self._context.now()
            if verdict.kind != INCONCLUSIVE or now >= deadline:
                break
            self._show(verdict, deadline - now)
            self._rest(tasks, min(self._interval, *(until - now for until in (bake, deadline) if until > now)))
        if verdict.kind == INCONCLUSIVE:
            verdict = self._at_deadline(verdict)
        self._sample(at_once=True)
        if verdict.kind == PROMOTE:
            self._context.sample("evidence", text=verdict.reason)
        self._context.sample("decision", text=verdict.kind, reason=verdict.reason)
        self._context.progress(f"{verdict.kind}: {verdict.reason}")
        return verdict

    def _rest(self, tasks: _Tasks, seconds: float) -> None:
        """Until the next look, which comes at once when a task is told of. Servers to be kept are looked at always."""
        ends = self._context.now() + seconds
        if self._keep is None:
            tasks.rest(seconds)
            return
        while (left := ends - self._context.now()) > 0:
            self._keep()
            if tasks.rest(min(_KEEP_PAUSE, left)):
                return

    def result(self, verdict: Verdict) -> dict[str, Any]:
        """The verdict with the numbers behind it, as plain data."""
        return {
            "verdict": verdict.kind,
            "cause": verdict.cause,
            "reason": verdict.reason,
            "looks": self._looks,
            "seconds": round(self._context.now() - self._started, 3),
            "alpha": self._limits.alpha,
            "confidence": self._limits.confidence,
            "max_error_rate": self._limits.max_error_rate,
            "margin": self._limits.margin,
            **numbers(self._evidence, self._limits),
        }

    def _look(self, tasks: _Tasks) -> Verdict:
        self._looks += 1
        crashed = tasks.crashed_since()
        if crashed:
            return Verdict(ABORT, crashed, "crashed")
        reading = self._source.read()
        now = self._context.now()
        self._evidence = self._evidence.after(reading.stretches)
        if any(stretch.canary.requests for stretch in reading.stretches.values()):
            self._canary_seen_at = now
        if reading.incomplete is None:
            self._incomplete_since = None
        elif self._incomplete_since is None:
            self._incomplete_since = now
        self._sample()
        if reading.down:
            return Verdict(ABORT, reading.down, "lb_down")
        verdict, evaluations = judge(
            self._evidence, self._limits, self._evaluations, self._forbids_promotion(reading, now)
        )
        if verdict.kind == PROMOTE:
            try:
                crashed = tasks.crashed()
            except Unreachable as error:  # the same evaluation comes again, when it is known that no task has crashed
                return Verdict(INCONCLUSIVE, error.message)
            if crashed:
                return Verdict(ABORT, crashed, "crashed")
        self._evaluations = evaluations
        return verdict

    def _forbids_promotion(self, reading: Reading, now: float) -> str | None:
        """Why the numbers, whatever they say, are no ground to promote now."""
        if reading.incomplete is not None:
            since = now - (self._incomplete_since or now)
            return reading.incomplete if since < 1 else f"{reading.incomplete} (for {since:.0f} s)"
        if self._canary_seen_at is None:
            return "the canary has got no request yet"
        silent = now - self._canary_seen_at
        if silent > self._params["stale_after"]:
            return f"the numbers are stale: no new request to the canary for {silent:.0f} s"
        left = self._started + self._params["seconds"] - now
        return f"{left:.0f} s of the bake are left" if left > 0 else None

    def _at_deadline(self, verdict: Verdict) -> Verdict:
        choice = self._params["on_inconclusive"]
        if choice == "abort":
            return Verdict(ABORT, f"nothing was shown in time ({verdict.reason})", "inconclusive")
        if choice == "hold":
            return verdict
        # Nobody has chosen to promote what was not even seen.
        alive = self._incomplete_since is None and self._canary_seen_at is not None
        if not alive or self._context.now() - (self._canary_seen_at or 0.0) > self._params["stale_after"]:
            return verdict
        return Verdict(PROMOTE, f"nothing was shown in time ({verdict.reason}), promoted as chosen", "inconclusive")

    def _show(self, verdict: Verdict, left: float) -> None:
        since = self._context.now() - self._shown_at
        if (verdict.reason != self._shown and since >= _PROGRESS_GAP) or since >= _PROGRESS_EVERY:
            self._context.progress(f"{summary(self._evidence, self._limits)}; {verdict.reason} ({left:.0f} s left)")
            self._shown, self._shown_at = verdict.reason, self._context.now()

    def _sample(self, *, at_once: bool = False) -> None:
        now = self._context.now()
        if now - self._sampled_at < _SAMPLE_EVERY and not at_once:
            return
        self._sampled_at = now
        names = {"canary_name": self._evidence.canary, "baseline_name": self._evidence.baseline}
        self._context.sample("errors", **{self._params[name]: _sampled(counts) for name, counts in names.items()})


def _keeper(params: Mapping[str, Any], context: Context) -> Callable[[], None] | None:
    """What undoes a reload while the canary is watched: dynamic servers are gone after one, the old version's too."""
    if not params["servers"] or context.check_mode:
        return None
    if not params["socket"] or not params["backend"]:
        _refuse("servers needs socket and backend: where they are kept.")
    return haproxy_backend.keeper(params, context)


def _sampled(counts: Counts) -> dict[str, int]:
    return {"requests": counts.requests, "errors": counts.errors}


def _unwatched() -> Verdict:
    return Verdict(INCONCLUSIVE, "not watched in check mode")


def limits(params: Mapping[str, Any]) -> Limits:
    """The limits that the options set.

    :raises InvalidInput: one of them cannot be used.
    """
    for name in ("alpha", "confidence", "max_error_rate", "margin", "max_slow_share"):
        if params[name] is not None and not 0 < params[name] < 1:
            _refuse(f"{name} is {params[name]:g}; it has to be between 0 and 1.")
    if not 0 <= params["hard_error_rate"] <= 1:
        _refuse(f"hard_error_rate is {params['hard_error_rate']:g}; it has to be between 0 and 1.")
    if params["hard_min_requests"] < 1:
        _refuse(f"hard_min_requests is {params['hard_min_requests']}; it has to be 1 at least.")
    for name in ("seconds", "wait_timeout"):
        if params[name] is not None and params[name] < 0:
            _refuse(f"{name} is {params[name]:g}; it cannot be below 0.")
    for name in ("interval", "stale_after"):
        if params[name] is not None and params[name] <= 0:
            _refuse(f"{name} is {params[name]:g}; it has to be above 0.")
    rate = params["max_error_rate"]
    if rate is None and params["margin"] is None:
        rate = _DEFAULT_MAX_ERROR_RATE
    if params["source"] == "haproxy" and params["max_slow_share"] is not None:
        _refuse(
            "max_slow_share needs the source prometheus or command: HAProxy knows the average time of the last 1024 "
            "requests only, not how many were slow."
        )
    queries = params["queries"] or {}
    if params["source"] == "prometheus" and params["max_slow_share"] is not None and not queries.get("canary_slow"):
        _refuse("max_slow_share needs the queries canary_slow and baseline_slow.")
    slow_is_counted = {
        "haproxy": False,
        "prometheus": bool(queries.get("canary_slow")),
        "command": params["max_slow_share"] is not None,
    }
    return Limits(
        alpha=params["alpha"],
        confidence=params["confidence"],
        max_error_rate=rate,
        margin=params["margin"],
        max_slow_share=params["max_slow_share"],
        with_slow=slow_is_counted[params["source"]],
        hard_error_rate=params["hard_error_rate"] or None,
        hard_min_requests=params["hard_min_requests"],
    )


def _refuse(text: str) -> NoReturn:
    raise InvalidInput("invalid_option", f"Option {text}")


def _source(params: Mapping[str, Any], context: Context, open_sessions: ExitStack, limits: Limits) -> Source:
    timeout = min(params["timeout"], _LONGEST_QUESTION)
    if params["source"] == "command":
        if not params["command"]:
            _refuse("command is empty.")
        return command_source(context, params["command"], params["timeout"], with_slow=limits.with_slow)
    if params["source"] == "prometheus":
        token, user = params["prometheus_token"] or None, params["prometheus_username"] or None
        if not params["prometheus_url"]:
            _refuse("prometheus_url is empty.")
        http = Http(
            "Prometheus",
            params["prometheus_url"],
            context,
            timeout=params["timeout"],
            retry_timeout=0,
            tls=Tls.from_params(params),
            auth=None if user is None else (user, params["prometheus_password"] or ""),
            headers={"Authorization": f"Bearer {token}"} if token is not None else None,
        )
        return prometheus_source(open_sessions.enter_context(http), context, params["queries"])
    if not params["canary_addresses"]:
        _refuse("canary_addresses is empty: there is nothing to watch.")
    lbs: list[Runtime | MarathonLb] = [
        Runtime.at(address, timeout) for address in dict.fromkeys(params["socket"] or [])
    ]
    if params["stats_url"]:
        lbs.extend(instances({**params, "marathon_lb_url": params["stats_url"], "timeout": timeout}))
    if not lbs:
        _refuse("socket and stats_url are both empty.")
    return HaproxySource(
        lbs,
        context,
        backend=params["backend"] or None,
        canary=params["canary_addresses"],
        baseline=params["baseline_addresses"],
    )


def _tasks_watch(params: Mapping[str, Any], context: Context, open_sessions: ExitStack) -> _Tasks:
    if not params["app_id"]:
        return _Tasks(context)
    app_id = app_path(params["app_id"])
    with Marathon.from_params(params, context) as patient:
        before = present_failure(patient.app(app_id))
    # A Marathon that is away tells nothing of the canary, and keeps nobody from looking at it.
    marathon = open_sessions.enter_context(Marathon.from_params({**params, "retry_timeout": 0}, context))
    events = open_sessions.enter_context(Events(marathon, _EVENTS, lambda event: event.get("appId") == app_id))
    return _MarathonTasks(context, marathon, events, app_id, before)


class _Tasks:
    """The canary's tasks, when nobody can be asked about them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def rest(self, seconds: float) -> bool:
        """Rest for ``seconds``; ``True`` when there is a reason to look before these are over."""
        self._context.sleep(seconds)
        return False

    def crashed_since(self) -> str | None:
        """How a task has ended, if there is a reason to ask; ``None``: nothing is known."""
        return None

    def crashed(self) -> str | None:
        """How a task has ended, if one has."""
        return None


class _MarathonTasks(_Tasks):
    """Asks Marathon whether a task of the app has ended since ``before``: when an event tells so, else seldom."""

    def __init__(
        self, context: Context, marathon: Marathon, events: Events, app_id: str, before: Mapping[str, Any] | None
    ) -> None:
        super().__init__(context)
        self._marathon = marathon
        self._events = events
        self._app_id = app_id
        self._before = before
        self._pause = events.pauses.after(None)
        self._due = context.now() + self._pause
        self._woken = False

    def rest(self, seconds: float) -> bool:
        """Rest until something happened to a task of the app (then ``True``), ``seconds`` at most."""
        self._woken = self._events.rest(seconds) or self._woken
        return self._woken

    def crashed_since(self) -> str | None:
        """As :meth:`crashed`, when it is time to ask; no answer is no news."""
        if not self._woken and self._context.now() < self._due:
            return None
        self._woken = False
        self._pause = self._events.pauses.after(self._pause)
        self._due = self._context.now() + self._pause
        try:
            return self.crashed()
        except Unreachable as error:
            self._context.progress(error.message)
            return None

    def crashed(self) -> str | None:
        """How a task of the app has ended, if one has.

        :raises Unreachable: Marathon did not answer.
        """
        failure = present_failure(self._marathon.app(self._app_id))
        if not failure or failure == self._before:
            return None
        return (
            f"a task of {self._app_id} ended: {failure.get('state')} on {failure.get('host')}, "
            f"{failure.get('message') or 'no message'}"
        )
