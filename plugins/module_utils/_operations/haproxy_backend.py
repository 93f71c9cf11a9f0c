# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring several servers of a HAProxy backend into a described state at every given balancer at once.

What to do is decided in ``backend_servers``, anew at each look, so that what a reload undoes is seen and done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from dataclasses import replace
from typing import Any

from .._errors import DeadlinePassed, Hopeless, InvalidInput, NotFound, OperationError, Rejected, Unreachable
from .._haproxy import stats
from .._haproxy.addresses import resolved
from .._haproxy.backend_servers import (
    AUTO,
    DRAIN,
    DYNAMIC,
    FIRST_STABLE_VERSION,
    MAINT,
    READY,
    TEMPLATE,
    Checks,
    Decision,
    Goal,
    Server,
    View,
    Wanted,
    decide,
    shares,
    unexpected,
    view_of,
)
from .._haproxy.runtime import HAPROXY_SPEC, Runtime, Sight, checked_name
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._parallel import each
from .._wait import WAIT_SPEC, Pauses, wait_until

# Which HAProxy, and how a server is added that is not there yet.
BALANCERS_SPEC: dict[str, Any] = {
    **HAPROXY_SPEC,
    "socket": {"type": "list", "elements": "str", "required": True},
    "master_socket": {"type": "list", "elements": "str"},
    "backend": {"type": "str", "required": True},
    "placement": {"type": "str", "choices": [AUTO, DYNAMIC, TEMPLATE], "default": AUTO},
    "slot_prefix": {"type": "str", "default": "slot"},
    "check": {"type": "bool", "default": True},
    "check_interval": {"type": "float"},
    "check_rise": {"type": "int"},
    "check_fall": {"type": "int"},
    "max_connections": {"type": "int"},
    **WAIT_SPEC,
}

ARGUMENT_SPEC: dict[str, Any] = {
    **BALANCERS_SPEC,
    "servers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "weight": {"type": "int", "default": 100},
            "state": {"type": "str", "choices": [READY, DRAIN, MAINT], "default": READY},
        },
    },
    "absent": {"type": "list", "elements": "str", "default": []},
    "strict": {"type": "bool", "default": False},
    "wait_for_away": {"type": "bool", "default": False},
    "watched": {"type": "list", "elements": "str"},
    "hold_seconds": {"type": "float", "default": 0},
}

HEAVIEST = 256
_LONGEST_PAUSE = 0.25
_LONGEST_FIRST_LOOK = 2.0
_FIRST_LOOK_PAUSE = 0.1
# How long (s) the others wait, going back, for the answer of one before they go on without it.
_LONGEST_ROUND = 0.5
# While it is watched (s): after a reload that forgets all servers each request fails until the next look.
_HOLD_PAUSE = 0.1
# How long (s) a server may be DOWN while it is watched: after a reload HAProxy may show it so until its next check.
_MOMENT = 2.0


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Bring the backend into the described state; see the module's documentation."""
    return bring(goal_of(params), params, context)


def keeper(params: Mapping[str, Any], context: Context) -> Callable[[], None]:
    """A function that takes one step towards what ``params`` describe at each call, and so undoes what a reload does.

    For an operation that watches something else meanwhile; options of ``ARGUMENT_SPEC`` that it does not have are as by
    default. A balancer that does not answer is asked at the next call.
    """
    params = {**{name: option.get("default") for name, option in ARGUMENT_SPEC.items()}, **params}
    balancers = _balancers(goal_of(params), params, context)

    def step() -> None:
        _stepped(balancers, context)

    return step


def goal_of(params: Mapping[str, Any]) -> Goal:
    """The goal that the options describe.

    :raises InvalidInput: it contradicts itself.
    """
    servers = tuple(
        Wanted(
            checked_name(server["name"]), resolved(server["address"]), checked_weight(server["weight"]), server["state"]
        )
        for server in params["servers"]
    )
    absent = tuple(dict.fromkeys(resolved(address) for address in params["absent"]))
    addresses = [server.address for server in servers]
    twice = sorted({str(address) for address in addresses if addresses.count(address) > 1})
    if twice:
        raise InvalidInput("invalid_option", f"Option servers names {', '.join(twice)} twice.")
    both = sorted(set(absent) & set(addresses))
    if both:
        raise InvalidInput("invalid_option", f"Options servers and absent both name {', '.join(both)}.")
    watched = params["watched"]
    return base_goal(
        params,
        servers=servers,
        absent=absent,
        watched=None if watched is None else frozenset(resolved(address) for address in watched),
        going_back=params["wait_for_away"],
    )


def base_goal(params: Mapping[str, Any], **goal: Any) -> Goal:
    """A goal with what ``BALANCERS_SPEC`` says.

    :raises InvalidInput: an option is out of its range.
    """
    checks = Checks(
        params["check"],
        _positive(params, "check_interval"),
        _positive(params, "check_rise"),
        _positive(params, "check_fall"),
        _positive(params, "max_connections"),
    )
    return Goal(
        checked_name(params["backend"]),
        placement=params["placement"],
        slot_prefix=params["slot_prefix"],
        checks=checks,
        **goal,
    )


def bring(goal: Goal, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Bring the balancers of ``params`` to ``goal``.

    ``strict`` and ``hold_seconds`` may be missing there.
    """
    balancers = _balancers(goal, params, context)
    if goal.going_back:
        _look_at_some(balancers, min(params["timeout"], _LONGEST_FIRST_LOOK))
    else:
        _first_look(balancers, context, min(params["timeout"], _LONGEST_FIRST_LOOK))
    wants = bool(goal.servers or goal.absent or goal.absent_names)
    if wants:
        for balancer in balancers:
            balancer.check_level()
    if params.get("strict"):
        _check_strictly(balancers, goal)
    before = _resource(goal, balancers)
    decisions = {balancer.name: decision for balancer in balancers if (decision := balancer.predicted()) is not None}
    after = {
        "name": goal.backend,
        "lbs": {
            **before["lbs"],
            **{
                lb: {name: dict(server) for name, server in decision.servers.items()}
                for lb, decision in decisions.items()
            },
        },
    }
    result = outcome(context, "backend", before, after)
    if not context.check_mode and wants:
        _bring_about(balancers, params, context)
    refused = [balancer.refusal for balancer in balancers if balancer.refusal is not None]
    if refused:
        raise refused[0]
    if not context.check_mode and wants:
        result = {**outcome(context, "backend", before, _resource(goal, balancers)), "changed": bool(context.changes)}
    return {
        **result,
        "repaired": sum(balancer.repaired for balancer in balancers),
        "lbs": [balancer.report() for balancer in balancers],
    }


class Balancer:
    """One balancer under the hands of an operation; ``view`` is what was seen last.

    ``trusted``, shared by all, are the addresses that were seen to pass a check. ``refusal`` is set only where the goal
    is to go back: the others come first then, and it is raised when they are done. ``down`` tells of servers that
    should take traffic and are DOWN.
    """

    def __init__(
        self, runtime: Runtime, master: Runtime | None, goal: Goal, context: Context, trusted: set[str]
    ) -> None:
        self.name = runtime.name
        self.repaired = 0
        self.missing: str | None = None
        self.is_held = False
        self.error: str | None = None
        self.refusal: Rejected | None = None
        self.down: tuple[str, ...] = ()
        self.sight: Sight | None = None
        self.view = View(self.name, ())
        self._runtime = runtime
        self._master = master
        self.goal = goal
        self._context = context
        self._old: list[dict[str, int]] | None = None
        self._reached = False
        self._changed_pid: int | None = None
        self._down_since: dict[str, float] = {}
        self._trusted = trusted

    def look(self, timeout: float | None = None) -> Sight:
        """Read all, and return what it was read from; with ``timeout`` seconds for each answer if that is given.

        :raises NotFound: no such backend. :raises Unreachable: no answer, or the worker is just being replaced.
        """
        runtime = self._runtime if timeout is None else replace(self._runtime, timeout=timeout)
        sight = runtime.sight(self.goal.backend)
        rows = stats.server_rows(sight.table, f"lb {self.name}", "show stat")
        mine = {server: row for (backend, server), row in rows.items() if backend == self.goal.backend}
        self._old, sessions = (None, {}) if self._master is None else self._old_workers(self._master, sight.pid)
        self.sight, self.view, self.error = (
            sight,
            view_of(self.name, sight, self.goal.slot_prefix, mine, sessions),
            None,
        )
        self._trusted.update(
            server.known.address
            for server in self.view.servers.values()
            if server.takes_traffic and server.row and server.row.has_passed
        )
        return sight

    def look_if_there(self, timeout: float) -> OperationError | None:
        """As :meth:`look`; one that does not answer, or lacks the backend now, has its ``error``. Return that."""
        try:
            self.look(timeout)
        except (Unreachable, NotFound) as error:
            self.error = error.message
            return error
        return None

    def check_level(self) -> None:
        """Refuse before anything is changed where the socket would refuse.

        :raises Rejected: it would.
        """
        if self.sight is not None and self.sight.level != "admin":
            self._refuse(
                Rejected(
                    "permission_denied",
                    f"lb {self.name}: the socket has the level {self.sight.level}; it needs 'level admin' in HAProxy's "
                    "configuration.",
                    system=self.name,
                    request="show cli level",
                )
            )

    def predicted(self) -> Decision | None:
        """What to do, by the last look; ``None`` where nothing can be done.

        :raises Rejected: as :func:`decide` does.
        """
        if self.error is not None or self.refusal is not None:
            return None
        try:
            return self._decide()
        except Rejected as error:
            self._refuse(error)
            return None

    def step(self) -> str | None:
        """Look, do what can be done, and return what is missing then (``None``: nothing, or it is refused).

        :raises Rejected: it is refused, and the goal is not to go back.
        """
        if self.refusal is not None:
            return None
        try:
            self.missing, self.is_held = self._step()
        except (Unreachable, NotFound) as error:  # NotFound: it comes up with another configuration
            self.error, self.missing, self.is_held = error.message, error.message, False
        except Rejected as error:
            self._refuse(error)
        return self.missing

    def check_health(self) -> None:
        """See whether the wanted servers that are watched still serve.

        :raises Hopeless: with the code ``unhealthy``: for more than a moment one does not.
        """
        now = self._context.now()
        down = {} if self.error else self._down()  # a balancer that is away says nothing about the servers
        self._down_since = {address: self._down_since.get(address, now) for address in down}
        for address, since in self._down_since.items():
            if now - since > _MOMENT:
                server = down[address]
                row = server.row
                status = f"{row.status} ({row.check_status.removeprefix('* ')})" if row else "gone"
                raise Hopeless(
                    "unhealthy",
                    f"lb {self.name}: {self.goal.backend}/{server.known.name} ({address}) is {status} for "
                    f"{now - since:.1f} s.",
                    system=self.name,
                    detail=self.report(),
                )

    def shares(self) -> list[tuple[str, float]]:
        """The addresses that get new requests, by the last look, with their shares in percent."""
        percent = shares(self.view.servers.values())
        return [(server.known.address, percent[name]) for name, server in self.view.servers.items() if percent[name]]

    def report(self) -> dict[str, Any]:
        """What a result says about it."""
        percent = shares(self.view.servers.values())
        return {
            "lb": self.name,
            "pid": self.sight.pid if self.sight else None,
            "servers": {name: _reported(server, percent[name]) for name, server in sorted(self.view.servers.items())},
            "old_workers": self._old,
            "error": self.error,
        }

    def _refuse(self, error: Rejected) -> None:
        if not self.goal.going_back:
            raise error
        self.refusal, self.missing = error, None

    def _decide(self) -> Decision:
        decision = decide(self.view, self.goal, self._trusted)
        self.down = decision.down
        return decision

    def _step(self) -> tuple[str | None, bool]:
        sight = self.look()
        decision = self._decide()
        if not decision.commands:
            self._reached = self._reached or decision.missing is None
            return decision.missing, decision.is_held
        if self._reached or self._changed_pid not in (None, sight.pid):
            self.repaired += 1
            self._context.progress(f"lb {self.name}: set again what was undone ({decision.commands[0].text} ...)")
        self._changed_pid = sight.pid
        try:
            done = self._runtime.carry_out(decision.commands, experimental=sight.version < FIRST_STABLE_VERSION)
        except OperationError:  # some of them may have been carried out
            self._context.changes.append(f"{self.name}: {decision.commands[0].text} ...")
            raise
        self._context.changes.extend(
            f"{self.name}: {command.text}" for command, was in zip(decision.commands, done, strict=True) if was
        )
        for command, was in zip(decision.commands, done, strict=True):
            if not was:
                return f"lb {self.name}: {command.text}: connections are still attached to it", True
        self.look()
        decision = self._decide()
        self._reached = decision.missing is None
        return decision.missing, decision.is_held

    def _down(self) -> dict[str, Server]:
        found = {}
        for wanted in self.goal.servers:
            if wanted.state != READY or wanted.weight == 0 or wanted.address is None:
                continue
            if self.goal.watches(wanted.address):
                for server in self.view.at(wanted.address)[:1]:
                    if not (server.row and (server.row.is_up or server.row.is_unchecked)):
                        found[wanted.address] = server
        return found

    def _old_workers(self, master: Runtime, live: int) -> tuple[list[dict[str, int]], dict[str, int]]:
        workers = master.workers()
        if live not in [worker.pid for worker in workers if not worker.is_old]:
            raise Unreachable(
                "reloading", f"lb {self.name}: reloading (pid {live} is not the live worker)", system=self.name
            )
        reports, sessions = [], {}
        for worker in workers:
            if worker.is_old:
                try:
                    table = master.of_worker(worker.pid).table()
                except NotFound:  # it ended after the list was made
                    continue
                rows = stats.server_rows(table, f"lb {self.name} old worker pid {worker.pid}", "show stat")
                mine = [row for (backend, _name), row in rows.items() if backend == self.goal.backend]
                for row in mine:
                    sessions[row.address] = sessions.get(row.address, 0) + row.scur + row.qcur
                reports.append({"pid": worker.pid, "sessions": sum(row.scur + row.qcur for row in mine)})
        return reports, sessions


def _balancers(goal: Goal, params: Mapping[str, Any], context: Context) -> list[Balancer]:
    sockets, masters, timeout = params["socket"], params["master_socket"], params["timeout"]
    if not sockets:
        raise InvalidInput("invalid_option", "Option socket needs at least one entry.")
    if len(set(sockets)) != len(sockets):
        raise InvalidInput("invalid_option", "Option socket names a balancer twice.")
    if masters and len(masters) != len(sockets):
        raise InvalidInput(
            "invalid_option", "Option master_socket needs one entry for each entry of the option socket, in its order."
        )
    trusted: set[str] = set()
    runtimes = [Runtime.at(address, timeout) for address in sockets]
    masters = [Runtime.at(address, timeout) for address in masters or ()] or [None] * len(sockets)
    return [
        Balancer(runtime, master, goal, context, trusted) for runtime, master in zip(runtimes, masters, strict=True)
    ]


def _first_look(balancers: Sequence[Balancer], context: Context, timeout: float) -> None:
    """Read all; one that does not answer is asked again for a moment: it may just be reloading.

    :raises Unreachable: a balancer still does not answer. :raises NotFound: no such backend.
    """
    deadline = context.now() + timeout
    while True:
        try:
            each(Balancer.look, balancers)
            return
        except Unreachable:
            if context.now() >= deadline:
                raise
            context.sleep(_FIRST_LOOK_PAUSE)


def _look_at_some(balancers: Sequence[Balancer], timeout: float) -> None:
    """Read all that answer, within ``timeout`` seconds.

    :raises Unreachable: none does. :raises NotFound: none has such a backend.
    """
    errors = each(lambda balancer: balancer.look_if_there(timeout), balancers)
    if all(errors):
        raise errors[0]


def _check_strictly(balancers: Sequence[Balancer], goal: Goal) -> None:
    for balancer in balancers:
        others = unexpected(balancer.view, goal)
        if others:
            raise Rejected(
                "unexpected_servers",
                f"lb {balancer.name}: backend {goal.backend} has servers that take traffic and are not named: "
                f"{', '.join(others)} (strict).",
                system=balancer.name,
                detail=others,
            )


def _bring_about(balancers: Sequence[Balancer], params: Mapping[str, Any], context: Context) -> None:
    """Bring all balancers to the goal, wait for it, and hold it.

    :raises DeadlinePassed: with the code ``held`` when all that is missing is that servers to be taken away are idle.
    """
    pauses = Pauses(params["wait_sleep"], 1.3, max(_LONGEST_PAUSE, params["wait_sleep"]))
    if not params["wait"]:
        for balancer, missing in zip(balancers, each(Balancer.step, balancers), strict=True):
            if balancer.error is not None:
                raise Unreachable("unreachable", str(missing), system=balancer.name)
        return
    _wait(balancers, context, params["wait_timeout"], pauses)
    hold = params.get("hold_seconds") or 0
    if hold > 0:
        _hold(balancers, context, hold)
        _wait(balancers, context, params["wait_timeout"], pauses)
    for balancer in balancers:
        if balancer.down:
            context.warn(
                f"lb {balancer.name}: {'; '.join(balancer.down)}. It gets no requests before its check has passed."
            )
    context.sample("evidence", text=_evidence(balancers, hold))


def _wait(balancers: Sequence[Balancer], context: Context, timeout: float, pauses: Pauses) -> None:
    try:
        with futures.ThreadPoolExecutor(len(balancers)) as pool:
            rounds = _Rounds(balancers, context, pool)
            look = rounds.one if balancers[0].goal.going_back else lambda: _stepped(balancers, context)
            wait_until(context, look, _first, timeout=timeout, pauses=pauses)
    except DeadlinePassed as deadline:
        unfinished = [balancer for balancer in balancers if balancer.missing is not None]
        is_held = bool(unfinished) and all(balancer.is_held for balancer in unfinished)
        raise DeadlinePassed(
            "held" if is_held else deadline.code,
            f"{deadline.message}.",
            system=unfinished[0].name if unfinished else deadline.system,
            detail=[balancer.report() for balancer in balancers],
        ) from None


class _Rounds:
    """Steps of all, where each goes by itself: nobody waits for one that does not answer."""

    def __init__(self, balancers: Sequence[Balancer], context: Context, pool: futures.ThreadPoolExecutor) -> None:
        self._balancers = balancers
        self._context = context
        self._pool = pool
        self._running: dict[str, futures.Future[str | None]] = {}

    def one(self) -> list[str | None]:
        """Have those make a step that do not still make one; return what is missing at each."""
        for balancer in self._balancers:
            if balancer.name not in self._running:
                self._running[balancer.name] = self._pool.submit(balancer.step)
        futures.wait(self._running.values(), timeout=_LONGEST_ROUND)
        missing: list[str | None] = []
        answered = []
        for balancer in self._balancers:
            if self._running[balancer.name].done():
                missing.append(self._running.pop(balancer.name).result())
                answered.append(balancer)
            else:
                missing.append(f"lb {balancer.name}: no answer yet")
        _sample(answered, self._context)
        return missing


def _stepped(balancers: Sequence[Balancer], context: Context) -> list[str | None]:
    """A step of each."""
    missing = each(Balancer.step, balancers)
    _sample(balancers, context)
    return missing


def _sample(balancers: Sequence[Balancer], context: Context) -> None:
    """For the report: the mean of what they send to each address."""
    shown: dict[str, float] = {}
    heard = [balancer for balancer in balancers if balancer.error is None]
    for balancer in heard:
        for server, percent in balancer.shares():
            shown[server] = shown.get(server, 0.0) + percent / len(heard)
    if shown:
        context.sample("server_share", **{address: round(percent, 2) for address, percent in shown.items()})


def _evidence(balancers: Sequence[Balancer], hold: float) -> str:
    goal = balancers[0].goal
    taking = sum(server.state == READY and server.weight != 0 for server in goal.servers)
    down = max(len(balancer.down) for balancer in balancers)
    told = {
        "up and taking traffic": taking - down,
        "DOWN": down,
        "without new requests": len(goal.servers) - taking,
        "not there any more": len(goal.absent) + len(goal.absent_names),
    }
    counts = ", ".join(f"{count} {what}" for what, count in told.items() if count)
    return f"servers at each of {len(balancers)} LBs: {counts}" + (f", seen for {hold:g} s" if hold > 0 else "")


def _hold(balancers: Sequence[Balancer], context: Context, seconds: float) -> None:
    ends = context.now() + seconds
    while (left := ends - context.now()) > 0:
        _stepped(balancers, context)
        each(Balancer.check_health, balancers)
        context.sleep(min(_HOLD_PAUSE, left))


def _first(missing: Sequence[str | None]) -> str | None:
    return next((text for text in missing if text is not None), None)


def _resource(goal: Goal, balancers: Sequence[Balancer]) -> dict[str, Any]:
    return {
        "name": goal.backend,
        "lbs": {
            balancer.name: {
                name: {"address": server.known.address, "weight": server.known.weight, "state": server.known.state}
                for name, server in balancer.view.servers.items()
            }
            for balancer in balancers
        },
    }


def _reported(server: Server, percent: float) -> dict[str, Any]:
    row, known = server.row, server.known
    return {
        "address": known.address,
        "weight": known.weight,
        "effective_share_percent": percent,
        "state": known.state,
        "status": row.status if row else "",
        "check_status": row.check_status if row else "",
        "sessions": row.scur if row else 0,
        "queued": row.qcur if row else 0,
        "requests": row.req_tot if row else 0,
        "errors_5xx": row.errors_5xx if row else 0,
        "kind": server.kind,
    }


def checked_weight(weight: int) -> int:
    """Return ``weight`` if HAProxy takes it.

    :raises InvalidInput: it does not.
    """
    if not 0 <= weight <= HEAVIEST:
        raise InvalidInput("invalid_option", f"A weight of {weight} is not from 0 to {HEAVIEST}.")
    return weight


def _positive(params: Mapping[str, Any], option: str) -> Any:
    value = params[option]
    if value is not None and value <= 0:
        raise InvalidInput("invalid_option", f"Option {option}: {value:g} is not above 0.")
    return value
