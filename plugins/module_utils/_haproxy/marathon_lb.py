# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What marathon-lb instances show of the tasks that are admitted or drained, and what is still missing.

Two pure decisions, :func:`unadmitted` and :func:`undrained`, judge what :class:`Watch` has seen. The facts behind them:

* marathon-lb drains a server by the word ``disabled`` in a new configuration, with which HAProxy is reloaded. The new
  worker counts from 0: its ``scur`` says nothing about the requests that the old worker still serves. So drained means:
  the new configuration is live, *and* the workers from before are gone.
* Counting workers (``/_haproxy_getpids``) forks inside HAProxy and can break client connections. So it is asked last,
  seldom, and only of instances where all the rest is seen.
* marathon-lb leaves a task without an alive health check out of the configuration: absent and drained are the same.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .._errors import InvalidInput, Unreachable
from .._invocation.context import Context
from .._parallel import each
from .._wait import Pauses, wait_until
from .configuration import Configuration, keep_alive_seconds, parse
from .endpoints import MARATHON_LB_SPEC, MarathonLb, instances, resolve
from .marathon_lb_decision import Undecidable, decide
from .stats import ServerRow

__all__ = [
    "IDLE_PROCESSES",
    "LB_PAUSES",
    "MARATHON_LB_SPEC",
    "LbView",
    "MarathonLb",
    "Processes",
    "Server",
    "Watch",
    "instances",
    "keep_alive_seconds",
    "reach",
    "resolve",
    "servers_of",
    "still_reached",
    "unadmitted",
    "undrained",
]

LB_PAUSES = Pauses(0.02, 1.3, 0.25)
_REACH_PAUSES = Pauses(0.1, 2, 2)
IDLE_PROCESSES = 2  # the master and one worker

_FIND_EVERY = 5.0
_FIRST_PIDS_PAUSE = 0.15
_PIDS_PAUSE_SHARE = 0.15
_LONGEST_PIDS_PAUSE = 5.0


class Server(NamedTuple):
    """A server by the names of marathon-lb, with the address (``ip:port``) that identifies the task."""

    backend: str
    server: str
    address: str

    def __str__(self) -> str:
        return f"{self.backend}/{self.server}"


@dataclass(frozen=True)
class Processes:
    """All HAProxy process ids, and the one that takes new connections.

    ``alone``: the live one was seen to be the only one, so this instance has no master, whatever is said of it.
    """

    pids: tuple[int, ...]
    live: int
    alone: bool = False


@dataclass(frozen=True)
class LbView:
    """What one instance has shown; ``None`` is what was not asked, ``error`` why it could not be asked."""

    name: str
    rows: Mapping[tuple[str, str], ServerRow] | None = None
    configuration: Configuration | None = None
    processes: Processes | None = None
    error: str | None = None

    @property
    def disabled(self) -> frozenset[tuple[str, str]]:
        """Backend and name of the servers that the live configuration takes out."""
        return self.configuration.disabled if self.configuration else frozenset()

    def named(self, server: Server) -> set[tuple[str, str]]:
        """The keys under which ``server`` is known here: by name, or by address in the same backend."""
        keys = {(server.backend, server.server)}
        if self.configuration:
            keys.update(
                key
                for key, line in self.configuration.servers.items()
                if line.backend == server.backend and line.address == server.address
            )
        return keys

    def old_workers(self, idle_processes: int) -> int | None:
        """How many workers from before a reload are left; ``None`` when nobody can tell."""
        if self.processes is None:
            return None
        if self.processes.pids == (self.processes.live,):
            return 0
        count = len(self.processes.pids) - (1 if self.processes.alone else idle_processes)
        return count if count >= 0 else None


def servers_of(
    app: Mapping[str, Any], task: Mapping[str, Any], ipv4: Callable[[str], str] | None = None
) -> list[Server]:
    """The servers that marathon-lb makes of ``task`` of ``app``: one for each service port that it exposes.

    ``app`` is a definition as Marathon returns it; its list of tasks does not matter. ``ipv4`` gives the address of
    an agent's host name (default: :func:`ipv4_of`). A task has its servers also while it dies or fails its checks. The
    list is empty when marathon-lb leaves the app out, and for a task in a container network without an address yet.

    :raises InvalidInput: marathon-lb cannot read the definition. :raises Unreachable: a host name without address.
    """
    labels = app.get("labels") or {}
    groups = {
        group
        for name, value in labels.items()
        if re.fullmatch(r"HAPROXY_(\d+_)?GROUP", name)
        for group in value.split(",")
    }
    alone = {**app, "tasks": [{**task, "state": "TASK_RUNNING"}]}
    try:
        decision = decide([alone], groups=groups, health_check=False, resolve=ipv4 or ipv4_of)
    except Undecidable as error:
        raise InvalidInput("unusable_definition", f"marathon-lb cannot use {app.get('id')}: {error}") from None
    return [Server(row["backend"], row["server"], row["address"]) for row in decision["servers"]]


def ipv4_of(host: str) -> str:
    """The IPv4 address of an agent, which is a part of the names of its servers.

    :raises Unreachable: it has none here, so the names cannot be told.
    """
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise Unreachable(
            "unresolvable", f"Agent {host}: the host name has no address ({error.strerror or error})", system=host
        ) from None


def unadmitted(views: Iterable[LbView], expected: Sequence[Server]) -> str | None:
    """What forbids to say that every instance sends new requests to every server; ``None`` when nothing does.

    Each has to be UP in the statistics ("no check" where the configuration checks nothing) and enabled in the live
    configuration.
    """
    return _first(_unadmitted_at(view, expected) for view in views)


def undrained(views: Iterable[LbView], expected: Sequence[Server], idle_processes: int = IDLE_PROCESSES) -> str | None:
    """What forbids to kill the tasks behind ``expected``; ``None`` when nothing does.

    At every instance: each server is in MAINT without sessions, or absent; the live configuration says the same; and
    there are no more HAProxy processes than ``idle_processes``, the live worker among them.
    """
    views = list(views)
    return (
        _first(_not_taken_out_at(view, expected) for view in views)
        or _first(_not_configured_out_at(view, expected) for view in views)
        or _first(_busy_workers_at(view, idle_processes) for view in views)
    )


def untaken_out(views: Iterable[LbView], expected: Sequence[Server]) -> str | None:
    """What of :func:`undrained` can be told without counting workers: whether new requests still come."""
    views = list(views)
    return _first(_not_taken_out_at(view, expected) for view in views) or _first(
        _not_configured_out_at(view, expected) for view in views
    )


def still_reached(views: Iterable[LbView], expected: Sequence[Server]) -> str | None:
    """What forbids to cut what is in flight: new requests still come, or nobody can tell. ``None`` when none come."""
    views = list(views)
    return _first(_reached_at(view, expected) for view in views) or _first(
        _not_configured_out_at(view, expected) for view in views
    )


def _first(found: Iterable[str | None]) -> str | None:
    return next((text for text in found if text is not None), None)


def _unadmitted_at(view: LbView, expected: Sequence[Server]) -> str | None:
    if view.error:
        return view.error
    rows = view.rows
    if rows is None:
        return f"lb {view.name}: not asked yet"
    missing = [(server, _status(view, server)) for server in expected if not _takes_traffic(view, server)]
    if missing:
        server, status = missing[0]
        admitted = len(expected) - len(missing)
        return f"lb {view.name}: {admitted} of {len(expected)} servers admitted; {server} is {status}"
    if view.configuration is None:
        return f"lb {view.name}: live configuration not read yet"
    for server in expected:
        lines = [view.configuration.servers[key] for key in view.named(server) if key in view.configuration.servers]
        if not lines:
            return f"lb {view.name}: {server} is not in the live configuration"
        if any(line.disabled for line in lines):
            return f"lb {view.name}: {server} is disabled in the live configuration"
        unchecked = all(row.is_unchecked for row in _rows(view, server))
        if unchecked and any(line.checked for line in lines):
            return f"lb {view.name}: {server} has no check yet, the live configuration has one"
    return None


def _takes_traffic(view: LbView, server: Server) -> bool:
    rows = _rows(view, server)
    return bool(rows) and all(row.is_up or row.is_unchecked for row in rows)


def _may_be_admitted_at(view: LbView, expected: Sequence[Server]) -> bool:
    """Whether the configuration is worth reading: it also tells of absent servers that have another name there."""
    return all(row.is_up or row.is_unchecked for server in expected for row in _rows(view, server))


def _rows(view: LbView, server: Server) -> list[ServerRow]:
    rows = view.rows or {}
    return [rows[key] for key in sorted(view.named(server)) if key in rows]


def _status(view: LbView, server: Server) -> str:
    rows = _rows(view, server)
    return rows[0].status if rows else "absent"


def _reached_at(view: LbView, expected: Sequence[Server]) -> str | None:
    if view.error:
        return view.error
    if view.rows is None:
        return f"lb {view.name}: not asked yet"
    left = [(server, row) for server in expected for row in _rows(view, server) if not row.in_maintenance]
    if left:
        server, row = left[0]
        count = len({server for server, _row in left})
        return f"lb {view.name}: {count} of {len(expected)} servers still take traffic; {server} is {row.status}"
    return None


def _not_taken_out_at(view: LbView, expected: Sequence[Server]) -> str | None:
    reached = _reached_at(view, expected)
    if reached:
        return reached
    for server in expected:
        for row in _rows(view, server):
            if not row.is_idle:
                return f"lb {view.name}: {server}: {row.scur} open, {row.qcur} queued"
    return None


def _not_configured_out_at(view: LbView, expected: Sequence[Server]) -> str | None:
    if view.configuration is None:
        return f"lb {view.name}: live configuration not read yet"
    for server in expected:
        for key in view.named(server):
            line = view.configuration.servers.get(key)
            if line and not line.disabled:
                return f"lb {view.name}: {server} is not disabled in the live configuration"
    return None


def _busy_workers_at(view: LbView, idle_processes: int) -> str | None:
    if view.processes is None:
        return f"lb {view.name}: worker processes not counted yet"
    if view.processes.live not in view.processes.pids:
        return f"lb {view.name}: reloading (pid {view.processes.live} is gone)"
    count = view.old_workers(idle_processes)
    if count is None:
        return (
            f"lb {view.name}: {len(view.processes.pids)} HAProxy processes; an idle one has {idle_processes}, as it is "
            "said (idle_processes)"
        )
    if count:
        workers = "worker serves" if count == 1 else "workers serve"
        return f"lb {view.name}: {count} old {workers} connections from before the reload"
    return None


class Watch:
    """Looks at all instances for one set of servers. ``views`` is what was seen last.

    ``lbs`` are the instances, or a function that finds them: it is called every few seconds, and before a wait is
    over, so that an instance that has joined since is asked too. One that is found no more is asked as long as it
    answers: what it still serves must not be cut. ``idle_processes`` is how many HAProxy processes an idle instance
    has; where one is seen to have the live one only, it has no master, and that counts.
    """

    def __init__(
        self,
        context: Context,
        lbs: Sequence[MarathonLb] | Callable[[], Sequence[MarathonLb]],
        expected: Sequence[Server],
        *,
        idle_processes: int = IDLE_PROCESSES,
    ) -> None:
        self.expected = list(expected)
        self.idle_processes = idle_processes
        self._context = context
        self._find = lbs if callable(lbs) else None
        self._found: list[MarathonLb] = list(lbs() if callable(lbs) else lbs)
        self._found_at = context.now()
        self._not_found: str | None = None
        self._lbs = list(self._found)
        self._alone: set[str] = set()
        self.views: list[LbView] = [LbView(lb.name) for lb in self._lbs]
        self._started: float | None = None
        self._pids_due: float | None = None
        self._deadline: float | None = None

    def wait_admitted(self, timeout: float, pauses: Pauses = LB_PAUSES) -> list[LbView]:
        """Wait until every instance admits every server.

        :raises DeadlinePassed: ``timeout`` seconds are over. :raises Rejected: an instance refuses to answer.
        """
        return self._wait(self.look_admitted, lambda views: unadmitted(views, self.expected), timeout, pauses)

    def wait_drained(self, timeout: float, pauses: Pauses = LB_PAUSES) -> list[LbView]:
        """Wait until the tasks behind the servers can be killed; errors as in :meth:`wait_admitted`."""
        self._deadline = self._context.now() + timeout
        return self._wait(self.look_drained, self.undrained, timeout, pauses, self._rest)

    def wait_taken_out(self, timeout: float, pauses: Pauses = LB_PAUSES) -> list[LbView]:
        """Wait until no instance sends new requests to the servers; old workers are not counted.

        For callers whose evidence of what is in flight comes from the tasks themselves.
        """
        return self._wait(self.look_taken_out, self.untaken_out, timeout, pauses)

    def still_reached(self) -> str | None:
        """Look, and say by :func:`still_reached` what forbids to cut what is in flight; ``views`` stay."""
        before = self.views
        views = self._ask(lambda view: _reached_at(view, self.expected) is None)
        self.views = before
        return self._not_found or still_reached(views, self.expected)

    def undrained(self, views: Iterable[LbView]) -> str | None:
        """:func:`undrained` for these servers."""
        return undrained(views, self.expected, self.idle_processes)

    def untaken_out(self, views: Iterable[LbView]) -> str | None:
        """:func:`untaken_out` for these servers."""
        return untaken_out(views, self.expected)

    def look_admitted(self) -> list[LbView]:
        """Ask all instances what tells of admission."""
        return self._ask(lambda view: _may_be_admitted_at(view, self.expected))

    def look_taken_out(self) -> list[LbView]:
        """Ask all instances for what :meth:`untaken_out` judges."""
        views = self._ask(lambda view: _not_taken_out_at(view, self.expected) is None)
        if open_at := {view.name: self._open_at(view) for view in views if view.rows is not None}:
            self._context.sample("sessions", **open_at)
        return views

    def look_drained(self) -> list[LbView]:
        """Ask all instances for what :meth:`undrained` judges: workers only when they are due and all else is seen.

        What was counted before stays valid while the live configuration keeps the servers out: a worker that a later
        reload left behind has them disabled too.
        """
        if self._started is None:
            self._started = self._context.now()
        before = {view.name: view.processes for view in self.views}
        if self.untaken_out(self.look_taken_out()) is not None:
            return self.views
        self.views = [
            LbView(view.name, view.rows, view.configuration, before.get(view.name), view.error) for view in self.views
        ]
        now = self._context.now()
        if self._pids_due is None or now >= self._pids_due or (self._deadline is not None and now >= self._deadline):
            self.views = each(self._with_processes, list(zip(self._lbs, self.views, strict=True)))
            waited = self._context.now() - self._started
            pause = min(max(_FIRST_PIDS_PAUSE, waited * _PIDS_PAUSE_SHARE), _LONGEST_PIDS_PAUSE)
            self._pids_due = self._context.now() + pause
            workers = {view.name: view.old_workers(self.idle_processes) for view in self.views}
            if known := {name: count for name, count in workers.items() if count is not None}:
                self._context.sample("old_workers", **known)
        return self.views

    def left(self) -> list[dict[str, Any]]:
        """What is still in flight, by instance, as seen last: ``{"lb", "sessions", "old_workers", "error"}``.

        ``sessions`` counts open and queued ones of the servers in the live worker (``None``: not known); how many an
        old worker has cannot be asked over HTTP.
        """
        found = []
        for view in self.views:
            rows = None if view.rows is None else [row for server in self.expected for row in _rows(view, server)]
            found.append(
                {
                    "lb": view.name,
                    "sessions": None if rows is None else sum(row.scur + row.qcur for row in rows),
                    "old_workers": view.old_workers(self.idle_processes),
                    "error": view.error,
                }
            )
        return found

    def _open_at(self, view: LbView) -> int:
        """As :meth:`left` counts them, by the servers' names alone: it is done at each look."""
        rows = view.rows or {}
        found = [rows.get((server.backend, server.server)) for server in self.expected]
        return sum(row.scur + row.qcur for row in found if row)

    def _with_processes(self, pair: tuple[MarathonLb, LbView]) -> LbView:
        lb, view = pair
        if view.processes and _busy_workers_at(view, self.idle_processes) is None:
            return view
        try:
            pids = lb.pids()
            live = lb.process_id()
        except Unreachable as error:
            return LbView(view.name, view.rows, view.configuration, None, str(error))
        if pids == (live,) and self.idle_processes > 1:
            self._alone.add(view.name)
            self._context.warn(
                f"lb {view.name} has no HAProxy process but the live one: it runs without a master. Say so with "
                "idle_processes=1 (bluegreen_idle_processes), or an old worker of it may be taken for one."
            )
        return LbView(view.name, view.rows, view.configuration, Processes(pids, live, view.name in self._alone))

    def _wait(
        self,
        look: Callable[[], list[LbView]],
        pending: Callable[[list[LbView]], str | None],
        timeout: float,
        pauses: Pauses,
        rest: Callable[[float], object] | None = None,
    ) -> list[LbView]:
        def look_at_all() -> list[LbView]:
            views = look()
            if pending(views) is None and self._find_again(at_once=True):
                views = look()
            return views

        return wait_until(
            self._context,
            look_at_all,
            lambda views: pending(views) or self._not_found,
            timeout=timeout,
            pauses=pauses,
            rest=rest,
        )

    def _ask(self, wants_configuration: Callable[[LbView], bool]) -> list[LbView]:
        self._find_again()
        views = each(lambda lb: seen(lb, wants_configuration), self._lbs)
        kept = [(lb, view) for lb, view in zip(self._lbs, views, strict=True) if lb in self._found or not view.error]
        self._lbs = [lb for lb, _view in kept]
        self.views = [view for _lb, view in kept]
        return self.views

    def _find_again(self, at_once: bool = False) -> bool:
        """Find the instances again when it is time; whether there are others to ask now."""
        now = self._context.now()
        if self._find is None or (now < self._found_at + _FIND_EVERY and not at_once):
            return False
        self._found_at = now
        try:
            self._found = list(self._find())
        except Unreachable as error:  # says nothing: those that are known are asked, and the wait is not over
            self._not_found = str(error)
            return False
        self._not_found = None
        joined = [lb for lb in self._found if lb not in self._lbs]
        self._lbs += joined
        return bool(joined)

    def _rest(self, seconds: float) -> None:
        if self._pids_due is not None:
            seconds = min(seconds, max(0.01, self._pids_due - self._context.now()))
        self._context.sleep(seconds)


def reach(context: Context, lbs: Sequence[MarathonLb], timeout: float) -> None:
    """See that every instance answers, before anything is waited for; one that reloads is given ``timeout`` seconds.

    :raises Unreachable: an instance does not answer. :raises Rejected: an instance refuses.
    """
    deadline = context.now() + timeout
    pause: float | None = None
    while True:
        try:
            each(lambda lb: lb.stats(), lbs)
            return
        except Unreachable as error:
            left = deadline - context.now()
            if left <= 0:
                raise
            context.progress(f"{error.message} (asked again for {left:.0f} s)")
            pause = _REACH_PAUSES.after(pause)
            context.sleep(min(pause, left))


def seen(lb: MarathonLb, wants_configuration: Callable[[LbView], bool]) -> LbView:
    """Ask for the statistics, and for the configuration when these are as wanted."""
    try:
        view = LbView(lb.name, lb.stats())
        if wants_configuration(view):
            view = LbView(lb.name, view.rows, parse(lb.config()))
    except Unreachable as error:
        return LbView(lb.name, error=str(error))
    return view
