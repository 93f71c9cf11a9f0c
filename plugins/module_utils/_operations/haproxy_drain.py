# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take servers of a HAProxy backend out at every given balancer and wait until they are idle, or put them back.

The order matters: ``drain`` stops load balancing to a server but lets persistent and cookie-bound clients stay, so it
comes first, for a bounded time; ``maint`` moves these too; then what is in flight has to end, in the live worker and in
those that a reload left behind. An old worker cannot be told to take a server out ("Proxy is disabled.").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, NotFound, Unreachable
from .._haproxy import stats
from .._haproxy.addresses import resolved
from .._haproxy.runtime import HAPROXY_SPEC, Runtime, checked_name
from .._haproxy.stats import ServerRow
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._on_timeout import ON_TIMEOUT_SPEC, settle, settled
from .._parallel import each
from .._wait import WAIT_SPEC, Pauses, wait_until
from . import haproxy_backend

ARGUMENT_SPEC: dict[str, Any] = {
    **HAPROXY_SPEC,
    "socket": {"type": "list", "elements": "str", "required": True},
    "master_socket": {"type": "list", "elements": "str"},
    "backend": {"type": "str", "required": True},
    "server": {"type": "list", "elements": "str"},
    "address": {"type": "list", "elements": "str"},
    "servers": haproxy_backend.ARGUMENT_SPEC["servers"],
    "placement": haproxy_backend.ARGUMENT_SPEC["placement"],
    "state": {"type": "str", "choices": ["drained", "ready"], "default": "drained"},
    "drain_timeout": {"type": "float", "default": 30},
    "keep_alive_timeout": {"type": "float", "default": 10},
    **ON_TIMEOUT_SPEC,
    **WAIT_SPEC,
}

ARGUMENT_RULES: dict[str, Any] = {"required_one_of": [("server", "address")]}

_LONGEST_PAUSE = 0.5
# Where servers are kept (s): after a reload that forgets all of them each request fails until the next look.
_LONGEST_PAUSE_OF_KEEPER = 0.1
_LONGEST_FIRST_LOOK = 2.0
_FIRST_LOOK_PAUSE = 0.1


@dataclass(frozen=True)
class OldWorker:
    """A worker from before a reload: ``sessions`` at the servers, ``connections`` of clients, which may still ask.

    ``quiet_since`` is since when (``Context.now``) no session was seen at the servers; ``None`` while there are any.
    """

    pid: int
    sessions: int
    connections: int
    quiet_since: float | None


@dataclass(frozen=True)
class BalancerState:
    """One balancer: ``states`` (ready, drain, maint) and ``rows`` by server in the live worker, and old workers.

    ``old_workers`` is ``None`` where no master socket was given. ``error`` says why it could not be asked.
    """

    name: str
    pid: int = 0
    states: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, ServerRow] = field(default_factory=dict)
    old_workers: tuple[OldWorker, ...] | None = None
    error: str | None = None

    @property
    def sessions(self) -> int:
        """Open and queued ones in the live worker."""
        return sum(row.scur + row.qcur for row in self.rows.values())


def busy(state: BalancerState) -> str | None:
    """What is in flight in the live worker; ``None`` when nothing is."""
    if state.error:
        return state.error
    for name, row in sorted(state.rows.items()):
        if not row.is_idle:
            return f"lb {state.name}: {row.backend}/{name}: {row.scur} open, {row.qcur} queued"
    return None


def still_reached(state: BalancerState) -> str | None:
    """What forbids to say that one balancer sends no new requests to the servers; ``None`` when nothing does."""
    if state.error:
        return state.error
    for name, admin in sorted(state.states.items()):
        if admin != "maint":
            return f"lb {state.name}: {name} is {admin} (again)"
    for name, row in sorted(state.rows.items()):
        if not row.in_maintenance:
            return f"lb {state.name}: {row.backend}/{name} is {row.status}"
    return None


def undrained(state: BalancerState, first_pid: int, now: float, keep_alive_timeout: float) -> str | None:
    """What forbids to kill the servers of one balancer; ``None`` when nothing does.

    ``first_pid`` is the worker that was live when the drain began. An old worker is done with a server when it has no
    client connection any more, or when the server was idle there for ``keep_alive_timeout`` seconds: with ``option
    idle-close-on-response`` it takes one more request on each connection that was idle at the reload.

    :raises DeadlinePassed: with the code ``reloaded`` when nothing else is missing but old workers cannot be seen, for
        want of the master socket, and there was a reload since the drain began: waiting would not help.
    """
    missing = still_reached(state) or busy(state)
    if missing:
        return missing
    if state.old_workers is None:
        if state.pid != first_pid:
            raise DeadlinePassed(
                "reloaded",
                f"lb {state.name}: reloaded during the drain (pid {first_pid} to {state.pid}); without master_socket "
                "nobody can see what the old worker still serves",
                system=state.name,
            )
        return None
    for worker in state.old_workers:
        if worker.sessions:
            return f"lb {state.name} old worker pid {worker.pid}: {worker.sessions} open"
        quiet = 0.0 if worker.quiet_since is None else now - worker.quiet_since
        if worker.connections and quiet < keep_alive_timeout:
            return (
                f"lb {state.name} old worker pid {worker.pid}: {worker.connections} client connections may still ask "
                f"(quiet for {quiet:.0f} of {keep_alive_timeout:g} s)"
            )
    return None


def unready(state: BalancerState) -> str | None:
    """What is missing until all servers of one balancer take traffic. One without weight is shown as DRAIN."""
    if state.error:
        return state.error
    for name, row in sorted(state.rows.items()):
        if not (row.is_up or row.is_unchecked or row.weight == 0):
            return f"lb {state.name}: {row.backend}/{name} is {row.status}"
    return None


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Bring the servers into ``state`` at every balancer; see the module's documentation."""
    balancers = _balancers(params, context)
    states = _first_look(balancers, context, min(params["timeout"], _LONGEST_FIRST_LOOK))
    for balancer, state in zip(balancers, states, strict=True):
        balancer.first_pid = state.pid
    target = "maint" if params["state"] == "drained" else "ready"
    _check_kept(balancers, params)
    if params["state"] == "ready":
        _check_presence(balancers)
    before = _resource(params, states)
    sessions = sum(state.sessions + sum(worker.sessions for worker in state.old_workers or ()) for state in states)
    wanted = {
        **before,
        "servers": {lb: dict.fromkeys(servers, target) for lb, servers in before["servers"].items()},
    }
    result = outcome(context, "backend", before, wanted)
    left = settled()
    if target == "maint" and params["master_socket"] is None:
        context.warn(
            "Without master_socket nobody sees the workers from a reload before this task: what they still serve is "
            "not waited for. After a reload during it the drain fails."
        )
    if not context.check_mode:
        if result["changed"]:
            _rehearse(balancers)
        keep = haproxy_backend.keeper(params, context) if params["servers"] else None
        work = _Work(balancers, params, context, keep)
        left = _drain(work) if target == "maint" else _restore(work)
        result["changed"] = result["changed"] or bool(context.changes)
        result["backend"] = _resource(params, [balancer.state for balancer in balancers])
        if target == "maint" and params["wait"] and not left["deadline_passed"]:
            context.sample("evidence", text=_evidence(balancers))
    result["lbs"] = [_report(balancer) for balancer in balancers]
    result["sessions"] = sessions
    return {**result, **left}


@dataclass(frozen=True)
class Chosen:
    """Which servers an operation is about: those with these names, and those with these addresses."""

    names: tuple[str, ...]
    addresses: frozenset[str]


class _Balancer:
    """One balancer under the hands of this operation; ``state`` is what was seen last."""

    def __init__(
        self, runtime: Runtime, master: Runtime | None, backend: str, chosen: Chosen, context: Context
    ) -> None:
        self.runtime = runtime
        self.master = master
        self.first_pid = 0
        self.addresses: set[str] = set()
        self.state = BalancerState(runtime.name)
        self._backend = backend
        self._chosen = chosen
        self._context = context

    def look_strictly(self) -> BalancerState:
        """Read all; an error is raised.

        :raises NotFound: no such backend or server.
        """
        sight = self.runtime.sight(self._backend)
        missing = [name for name in self._chosen.names if name not in sight.states]
        if missing:
            raise NotFound(
                "not_found",
                f"lb {self.runtime.name}: backend {self._backend} has no server {', '.join(missing)}.",
                system=self.runtime.address,
                request=f"show servers state {self._backend}",
                detail=missing,
            )
        rows = stats.server_rows(sight.table, f"lb {self.runtime.name}", "show stat")
        old = self._old_workers(sight.pid) if self.master else None
        names = [
            name
            for name, server in sight.states.items()
            if name in self._chosen.names or server.address in self._chosen.addresses
        ]
        self.addresses = {sight.states[name].address for name in names}
        self.state = BalancerState(
            self.runtime.name,
            sight.pid,
            {name: sight.states[name].state for name in names},
            {name: rows[self._backend, name] for name in names if (self._backend, name) in rows},
            old,
        )
        return self.state

    def absent_addresses(self) -> list[str]:
        """The addresses that it had no server for when it was last seen."""
        return sorted(self._chosen.addresses - self.addresses)

    def all_addresses(self) -> set[str]:
        """The addresses of the servers that the operation is about, whether it has them or not."""
        return self._chosen.addresses | self.addresses

    def look(self) -> BalancerState:
        """Read all; a balancer that does not answer for a while is one that says nothing."""
        try:
            return self.look_strictly()
        except (Unreachable, NotFound) as error:  # NotFound: it comes up with another configuration
            self.state = BalancerState(self.runtime.name, error=str(error))
            return self.state

    def set(self, wanted: str, only_from: Sequence[str]) -> None:
        """Set the servers that are in one of ``only_from`` to ``wanted``."""
        changes = {name: wanted for name, state in self.state.states.items() if state in only_from}
        self.runtime.set_states(self._backend, changes)
        if changes:
            self._context.changes.append(f"{self.runtime.name}: {wanted} {', '.join(changes)}")

    def set_again(self, wanted: str, only_from: Sequence[str]) -> None:
        """As :meth:`set`, for a balancer whose reload has undone it; one that is away is set when it is back."""
        try:
            self.set(wanted, only_from)
        except (Unreachable, NotFound) as error:
            self.state = BalancerState(self.runtime.name, error=str(error))

    def rehearse(self) -> None:
        """Set each server to the state that it has: it changes nothing, and tells whether the socket allows it."""
        ready = {name: state for name, state in self.state.states.items() if state == "ready"}
        self.runtime.set_states(self._backend, ready)

    def _old_workers(self, live: int) -> tuple[OldWorker, ...]:
        workers = self.master.workers()
        if live not in [worker.pid for worker in workers if not worker.is_old]:
            raise Unreachable(
                "reloading",
                f"lb {self.runtime.name}: reloading (pid {live} is not the live worker)",
                system=self.runtime.address,
            )
        before = {worker.pid: worker for worker in self.state.old_workers or ()}
        found = []
        for worker in workers:
            if worker.is_old:
                try:
                    table = self.master.of_worker(worker.pid).table()
                except NotFound:  # it ended after the list was made
                    continue
                found.append(self._old_worker(worker.pid, table, before.get(worker.pid)))
        return tuple(found)

    def _old_worker(self, pid: int, table: list[dict[str, str]], before: OldWorker | None) -> OldWorker:
        rows = stats.server_rows(table, f"lb {self.runtime.name} old worker pid {pid}", "show stat")
        sessions = sum(
            row.scur + row.qcur
            for (backend, name), row in rows.items()
            if backend == self._backend and (name in self._chosen.names or row.address in self._chosen.addresses)
        )
        connections = sum(int(row.get("scur", 0)) for row in table if row.get("svname") == stats.FRONTEND)
        quiet_since = None
        if not sessions:
            quiet_since = before.quiet_since if before and before.quiet_since is not None else self._context.now()
        return OldWorker(pid, sessions, connections, quiet_since)


def _balancers(params: Mapping[str, Any], context: Context) -> list[_Balancer]:
    sockets = list(dict.fromkeys(params["socket"]))
    masters = params["master_socket"]
    if not sockets or not (params["server"] or params["address"]):
        raise InvalidInput("invalid_option", "Options socket and server (or address) need at least one entry each.")
    if masters is not None and len(masters) != len(params["socket"]):
        raise InvalidInput(
            "invalid_option", "Option master_socket needs one entry for each entry of the option socket, in its order."
        )
    if masters is not None and len(sockets) != len(params["socket"]):
        raise InvalidInput("invalid_option", "Option socket names a balancer twice.")
    backend = checked_name(params["backend"])
    chosen = Chosen(
        tuple(checked_name(name) for name in dict.fromkeys(params["server"] or ())),
        frozenset(resolved(address) for address in params["address"] or ()),
    )
    timeout = params["timeout"]
    return [
        _Balancer(
            Runtime.at(address, timeout),
            Runtime.at(masters[index], timeout) if masters else None,
            backend,
            chosen,
            context,
        )
        for index, address in enumerate(sockets)
    ]


def _check_presence(balancers: Sequence[_Balancer]) -> None:
    """Refuse to put back what is not there.

    :raises NotFound: a balancer has no server with one of the addresses.
    """
    for balancer in balancers:
        if absent := balancer.absent_addresses():
            raise NotFound(
                "not_found",
                f"lb {balancer.runtime.name}: no server has the address {', '.join(absent)}.",
                system=balancer.runtime.address,
                detail=absent,
            )


def _first_look(balancers: Sequence[_Balancer], context: Context, timeout: float) -> list[BalancerState]:
    """Read all; one that does not answer is asked again for a moment: it may just be reloading.

    :raises Unreachable: a balancer still does not answer.
    """
    deadline = context.now() + timeout
    while True:
        try:
            return each(_Balancer.look_strictly, balancers)
        except Unreachable:
            if context.now() >= deadline:
                raise
            context.sleep(_FIRST_LOOK_PAUSE)


def _check_kept(balancers: Sequence[_Balancer], params: Mapping[str, Any]) -> None:
    """Refuse to keep a server that is drained.

    :raises InvalidInput: both are asked for.
    """
    kept = {resolved(server["address"]) for server in params["servers"]}
    both = sorted(kept & {address for balancer in balancers for address in balancer.all_addresses()})
    if both:
        raise InvalidInput("invalid_option", f"Option servers names {', '.join(both)}, which the drain is about.")


def _rehearse(balancers: Sequence[_Balancer]) -> None:
    """Find out before anything is changed whether every balancer allows it."""
    each(_Balancer.rehearse, balancers)


@dataclass(frozen=True)
class _Work:
    """What the waits need. ``keep`` is called at each look; it takes a step to keep other servers as they should be."""

    balancers: Sequence[_Balancer]
    params: Mapping[str, Any]
    context: Context
    keep: Callable[[], None] | None

    @property
    def pauses(self) -> Pauses:
        """Between two looks."""
        first = self.params["wait_sleep"]
        return Pauses(first, 1.3, max(_LONGEST_PAUSE if self.keep is None else _LONGEST_PAUSE_OF_KEEPER, first))


def _drain(work: _Work) -> dict[str, Any]:
    balancers, params, context = work.balancers, work.params, work.context
    if params["wait"]:
        for balancer in balancers:
            balancer.set("drain", ["ready"])
        try:
            wait_until(
                context,
                lambda: _look(work, "drain", ["ready"]),
                lambda states: _first(
                    busy(state) for state in states if "drain" in state.states.values() or state.error
                ),
                timeout=min(params["drain_timeout"], params["wait_timeout"]),
                pauses=work.pauses,
            )
        except DeadlinePassed as deadline:
            context.progress(f"{deadline.message}; persistent clients are sent elsewhere now")
    else:
        _look(work, "maint", [])
    for balancer in balancers:
        balancer.set_again("maint", ["ready", "drain"])
    if not params["wait"]:
        _look(work, "maint", [])
        return settled()
    try:
        wait_until(
            context,
            lambda: _look(work, "maint", ["ready", "drain"]),
            lambda _states: _first(
                undrained(balancer.state, balancer.first_pid, context.now(), params["keep_alive_timeout"])
                for balancer in balancers
            ),
            timeout=params["wait_timeout"],
            pauses=work.pauses,
        )
    except DeadlinePassed as deadline:
        reports = [_report(balancer) for balancer in balancers]
        unknown = any(report["sessions"] is None for report in reports)
        count = None if unknown else sum(report["sessions"] + report["old_sessions"] for report in reports)
        reached = _first(still_reached(balancer.state) for balancer in balancers)
        return settle(context, params["on_timeout"], deadline, reports, count, reached=reached)
    return settled()


def _restore(work: _Work) -> dict[str, Any]:
    for balancer in work.balancers:
        balancer.set("ready", ["drain", "maint"])
    if work.params["wait"]:
        wait_until(
            work.context,
            lambda: _look(work, "ready", ["drain", "maint"]),
            lambda states: _first(unready(state) for state in states),
            timeout=work.params["wait_timeout"],
            pauses=work.pauses,
        )
    else:
        _look(work, "ready", [])
    return settled()


def _look(work: _Work, wanted: str, only_from: Sequence[str]) -> list[BalancerState]:
    """Look at all, and set again what a reload has undone; the state that is returned is the one before that."""
    balancers, context = work.balancers, work.context
    if work.keep is not None:
        work.keep()
    states = each(_Balancer.look, balancers)
    known = [state for state in states if state.error is None]
    if wanted != "ready" and known:
        old = {state.name: state.old_workers for state in known if state.old_workers is not None}
        context.sample(
            "old_workers", **{name: sum(worker.sessions > 0 for worker in of_lb) for name, of_lb in old.items()}
        )
        in_old = {name: sum(worker.sessions for worker in of_lb) for name, of_lb in old.items()}
        context.sample("sessions", **{state.name: state.sessions + in_old.get(state.name, 0) for state in known})
    for balancer in balancers:
        balancer.set_again(wanted, only_from)
    return states


def _first(found: Any) -> str | None:
    return next((text for text in found if text is not None), None)


def _resource(params: Mapping[str, Any], states: Sequence[BalancerState]) -> dict[str, Any]:
    return {"name": params["backend"], "servers": {state.name: dict(state.states) for state in states}}


def _evidence(balancers: Sequence[_Balancer]) -> str:
    count = max(len(balancer.state.states) for balancer in balancers)
    workers = "worker" if all(balancer.state.old_workers is not None for balancer in balancers) else "live worker"
    return f"none of {len(balancers)} LBs sends requests to these {count} servers, no {workers} has a session with them"


def _report(balancer: _Balancer) -> dict[str, Any]:
    state = balancer.state
    old = state.old_workers
    return {
        "lb": state.name,
        "servers": {
            name: {"status": row.status, "sessions": row.scur, "queued": row.qcur} for name, row in state.rows.items()
        },
        "sessions": None if state.error else state.sessions,
        "old_workers": None
        if old is None
        else [{"pid": worker.pid, "sessions": worker.sessions, "connections": worker.connections} for worker in old],
        "old_sessions": sum(worker.sessions for worker in old or ()),
        "evidence": "live_worker" if old is None else "all_workers",
        "error": state.error,
    }
