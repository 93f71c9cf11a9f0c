# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands bring the servers of a backend into a wanted state, without losing a request. Pure.

What HAProxy 2.6 does, and what follows:

* A server that leaves maintenance counts as UP before it was checked (``UP 1/3``), and keeps the result of its last
  check from before. So one that is checked goes to ``drain`` first, where checks run but load balancing sends nothing,
  and gets traffic when its health has risen above where it began.
* ``add server`` gives a server in maintenance whose checks are off until ``enable health``. Enabled before ``drain``,
  the first check that passes is enough; enabled after it, ``rise`` of them are needed.
* A server that came with the configuration can be deleted too, slots included. So those that are added here get an id
  of a range of their own, and only these are deleted.
* A slot that is given back gets the address 0.0.0.0; free is what has that one, or none, and is in maintenance.
* Less traffic for one server is more for the others, and more for one is less for the others. So while a wanted server
  still waits for its check, those that take traffic keep their states and weights. They keep them, too, while more than
  half of those that should take traffic are DOWN; a few of these must not keep a bad version from being drained.
* Going back, neither must one whose check has failed already, whatever state it has. It may be set to ``ready``: its
  check keeps it DOWN, without traffic, until ``rise`` of them have passed.
* A reload can leave a backend without any server. Then those that a check has passed at another balancer, or in the
  worker before, get traffic at once: every request meanwhile would fail.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from .._errors import Rejected
from .runtime import Command, ServerState, Sight, checked_name
from .stats import ServerRow

READY, DRAIN, MAINT = "ready", "drain", "maint"
AUTO, DYNAMIC, TEMPLATE = "auto", "dynamic", "template"
CONFIGURED = "configured"

# Servers that are added here have an id from here on, so that they are known again.
FIRST_DYNAMIC_ID = 1_000_000
FREE_ADDRESS = "0.0.0.0"
WEIGHT_OF_NEW = 100

FIRST_VERSION, FIRST_VERSION_WITH_CHECKS, FIRST_STABLE_VERSION = (2, 4), (2, 5), (2, 6)
_ADDRESS_SET = re.compile(r"(IP changed|no need to change|nothing changed|port changed).*")
_ADDED = re.compile(r"New server registered\.")
_DELETED = re.compile(r"Server deleted\.")
_ATTACHED = re.compile(r"still has connections")


@dataclass(frozen=True)
class Checks:
    """How a server that is added is checked and limited. ``interval`` is in seconds; ``None``: HAProxy's own value."""

    enabled: bool = True
    interval: float | None = None
    rise: int | None = None
    fall: int | None = None
    max_connections: int | None = None


@dataclass(frozen=True)
class Wanted:
    """A server as it should be. ``address`` (``ip:port``) says which one it is, without it ``name`` does.

    Beside an address, ``name`` is that of a server that has to be added; without one it cannot be.
    ``weight`` ``None`` leaves the weight of a known server alone, and is 100 for a new one.
    """

    name: str | None
    address: str | None
    weight: int | None = 100
    state: str = READY


@dataclass(frozen=True)
class Goal:
    """The wanted servers of a backend, and the addresses and names that should be gone.

    ``watched`` are the addresses whose health decides whether the goal is reached; ``None``: that of all. Who is
    ``going_back`` leaves a bad version: the goal is reached when most of those serve that should.
    """

    backend: str
    servers: tuple[Wanted, ...] = ()
    absent: tuple[str, ...] = ()
    absent_names: tuple[str, ...] = ()
    placement: str = AUTO
    slot_prefix: str = "slot"
    checks: Checks = Checks()
    watched: frozenset[str] | None = None
    going_back: bool = False

    def watches(self, address: str) -> bool:
        """Whether the goal is not reached while the server with this address is DOWN."""
        return self.watched is None or address in self.watched


@dataclass(frozen=True)
class Server:
    """A server as one balancer shows it; ``old_sessions`` are open in workers from before a reload."""

    known: ServerState
    kind: str
    row: ServerRow | None = None
    old_sessions: int = 0

    @property
    def takes_traffic(self) -> bool:
        """Whether load balancing sends new requests there."""
        row = self.row
        return self.known.state == READY and self.known.weight > 0 and bool(row and (row.is_up or row.is_unchecked))

    @property
    def is_free(self) -> bool:
        """Whether it is a slot that nobody uses. One that lost its address at a reload serves nobody either."""
        return self.kind == TEMPLATE and (not self.known.address or _unspecified(self.known.address))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is open or queued, in any worker that was asked."""
        return (self.row is None or self.row.is_idle) and not self.old_sessions


@dataclass(frozen=True)
class View:
    """One backend at one balancer, as its name ``lb`` says."""

    lb: str
    version: tuple[int, ...]
    servers: Mapping[str, Server] = field(default_factory=dict)

    def at(self, address: str) -> list[Server]:
        """The servers with an address, the one that takes traffic first."""
        found = [server for server in self.servers.values() if server.known.address == address]
        return sorted(found, key=lambda server: (server.known.state != READY, server.known.state != DRAIN))

    def free_slots(self) -> list[Server]:
        """The free slots, in the order of their numbers."""
        free = [server for server in self.servers.values() if server.is_free]
        return sorted(free, key=lambda server: (len(server.known.name), server.known.name))


@dataclass(frozen=True)
class Decision:
    """What to do now, what is missing after that (``None``: nothing), and the servers as they will be in the end.

    ``is_held``: all that is missing is that a server to be taken away is idle. ``servers`` has the address, weight and
    state by name. ``down`` tells of those that should take traffic and are DOWN, missing or not.
    """

    commands: tuple[Command, ...]
    missing: str | None
    is_held: bool
    servers: Mapping[str, Mapping[str, object]]
    down: tuple[str, ...]


def view_of(lb: str, sight: Sight, slot_prefix: str, rows: Mapping[str, ServerRow], old: Mapping[str, int]) -> View:
    """Put together what a balancer shows: ``rows`` by server, ``old`` sessions by address in old workers."""
    servers = {
        name: Server(known, kind_of(known, slot_prefix), rows.get(name), old.get(known.address, 0))
        for name, known in sight.states.items()
    }
    return View(lb, sight.version, servers)


def kind_of(server: ServerState, slot_prefix: str) -> str:
    """``template``, ``dynamic`` (added by this collection) or ``configured`` (anything else)."""
    if re.fullmatch(re.escape(slot_prefix) + r"\d+", server.name):
        return TEMPLATE
    return DYNAMIC if server.id >= FIRST_DYNAMIC_ID else CONFIGURED


def decide(view: View, goal: Goal, trusted: Collection[str] = ()) -> Decision:
    """Return what brings the backend nearer to the goal. To be asked again until nothing is missing.

    ``trusted`` are the addresses at which a check has passed a moment ago, at whatever balancer.

    :raises Rejected: it can never be reached: no free slot, a name that is taken, a version that cannot add servers
        (``unsupported``), or a server to be taken away is not in maintenance (``held``).
    """
    work = _Work(view, goal, trusted)
    for wanted in goal.servers:
        work.bring(wanted)
    if not work.waiting and work.most_serve:
        work.turn()
    work.take_away()
    return Decision(tuple(work.commands), work.missing(), work.is_held, work.end, tuple(work.down))


class _Work:
    """The commands for one balancer, as they come together."""

    def __init__(self, view: View, goal: Goal, trusted: Collection[str]) -> None:
        self.commands: list[Command] = []
        self.waiting: list[str] = []
        self.down: list[str] = []
        self.busy: list[str] = []
        self._lacking: list[str] = []
        self._unsure: list[str] = []
        self._view = view
        self._goal = goal
        self._later: list[Command] = []
        self._free = view.free_slots()
        self._next_id = max([FIRST_DYNAMIC_ID - 1, *(server.known.id for server in view.servers.values())]) + 1
        self.end = {name: _shown(server) for name, server in view.servers.items()}
        self._taken: set[str] = set()
        self._should_serve = self._serving = 0
        nobody_serves = not any(server.takes_traffic for server in view.servers.values())
        self._trusted = trusted if nobody_serves else ()

    @property
    def most_serve(self) -> bool:
        """Whether at least half of the servers that should take traffic do."""
        return 2 * self._serving >= self._should_serve

    @property
    def is_held(self) -> bool:
        """Whether all that is missing is that a server to be taken away is idle."""
        return bool(self.busy) and not self._unserved()

    def bring(self, wanted: Wanted) -> None:
        """Bring one server into its state, as far as that can be done now."""
        found = self._known(wanted)
        if not found:
            wanted = replace(wanted, weight=WEIGHT_OF_NEW if wanted.weight is None else wanted.weight)
            found = [self._placed(wanted, wanted.address or "")]
        first, *others = found
        for server in [first, *(others if wanted.state != READY else [])]:
            self.end[server.known.name] = _shown(server, wanted)
            self._weigh(server, wanted)
            checked = self._checked(server)
            if wanted.state == READY:
                self._admit(checked, wanted)
            elif server.known.state != wanted.state:
                urgent = server.known.state != READY
                (self.commands if urgent else self._later).append(self._set(server, f"state {wanted.state}"))

    def turn(self) -> None:
        """Change what each server gets of the traffic, as none is waited for."""
        self.commands += self._later

    def take_away(self) -> None:
        """Take away what should be absent.

        :raises Rejected: with the code ``held`` when it is not in maintenance.
        """
        gone = [server for address in self._goal.absent for server in self._view.at(address)]
        gone += [self._view.servers[name] for name in self._goal.absent_names if name in self._view.servers]
        for server in gone:
            name, state = server.known.name, server.known.state
            if server.is_free:
                continue
            if state != MAINT:
                raise Rejected(
                    "held",
                    f"lb {self._view.lb}: {self._goal.backend}/{name} ({server.known.address}) is {state}, so it may "
                    "still get requests. Drain it first (haproxy_drain).",
                    system=self._view.lb,
                    detail={"server": name, "state": state},
                )
            self._forget(server)
            if server.kind == CONFIGURED:
                continue
            if not server.is_idle:
                row = server.row
                self.busy.append(
                    f"{self._goal.backend}/{name}: {row.scur if row else 0} open, {row.qcur if row else 0} queued, "
                    f"{server.old_sessions} in old workers"
                )
                continue
            self._remove(server)

    def missing(self) -> str | None:
        """What is missing when the commands have been carried out."""
        texts = [*self._unserved(), *self.busy]
        if not texts and not self.commands:
            return None
        if not texts:
            texts = [f"{self._goal.backend}: {self.commands[0].text}"]
        more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
        return f"lb {self._view.lb}: {texts[0]}{more}"

    def _unserved(self) -> list[str]:
        """Why servers that should take traffic do not, as far as the goal needs them."""
        enough = self._goal.going_back and self.most_serve
        return [*self.waiting, *self._unsure, *([] if enough else self._lacking)]

    def _known(self, wanted: Wanted) -> list[Server]:
        if wanted.address is not None:
            return self._view.at(wanted.address)
        if wanted.name is None or wanted.name not in self._view.servers:
            raise Rejected(
                "not_found",
                f"lb {self._view.lb}: backend {self._goal.backend} has no server {wanted.name}, and without an address "
                "it cannot be added.",
                system=self._view.lb,
            )
        return [self._view.servers[wanted.name]]

    def _placed(self, wanted: Wanted, address: str) -> Server:
        if self._free and self._goal.placement in (AUTO, TEMPLATE):
            return self._slot(self._free.pop(0), wanted, address)
        if self._goal.placement == TEMPLATE:
            raise Rejected(
                "no_free_slot",
                f"lb {self._view.lb}: backend {self._goal.backend} has no free slot for {wanted.address}: no server "
                f"named {self._goal.slot_prefix}N is in maintenance with the address {FREE_ADDRESS}.",
                system=self._view.lb,
            )
        return self._added(wanted, address)

    def _slot(self, slot: Server, wanted: Wanted, address: str) -> Server:
        host, port = split(address)
        if slot.known.state != MAINT:  # a reload has lost its address, not its state: nothing may get there
            self.commands.append(self._set(slot, "state maint"))
        self.commands.append(self._set(slot, f"addr {host} port {port}", _ADDRESS_SET))
        row = replace(slot.row, status="MAINT", check_health=0) if slot.row else None
        return replace(slot, known=replace(slot.known, address=address, state=MAINT), row=row)

    def _added(self, wanted: Wanted, address: str) -> Server:
        if wanted.name is None:
            raise Rejected(
                "not_found",
                f"lb {self._view.lb}: backend {self._goal.backend} has no server with {address}, and without a name it "
                "cannot be added.",
                system=self._view.lb,
            )
        name, checks = checked_name(wanted.name), self._goal.checks
        self._refuse_what_cannot_be_added(name, address)
        options = [f"weight {wanted.weight}", f"id {self._next_id}"]
        if checks.max_connections is not None:
            options.append(f"maxconn {checks.max_connections}")
        if checks.enabled:
            options.append("check")
            options += [] if checks.interval is None else [f"inter {max(1, round(checks.interval * 1000))}ms"]
            options += [] if checks.rise is None else [f"rise {checks.rise}"]
            options += [] if checks.fall is None else [f"fall {checks.fall}"]
        text = f"add server {self._goal.backend}/{name} {address} {' '.join(options)}"
        self.commands.append(Command(text, done=_ADDED))
        known = ServerState(name, self._next_id, address, MAINT, wanted.weight, None, checks.enabled, False)
        self._next_id += 1
        self._taken.add(name)
        return Server(known, DYNAMIC)

    def _refuse_what_cannot_be_added(self, name: str, address: str) -> None:
        version, lb = self._view.version, self._view.lb
        shown = ".".join(map(str, version))
        if version < FIRST_VERSION:
            raise Rejected(
                "unsupported",
                f"lb {lb}: HAProxy {shown} cannot add servers at run time (2.4 and newer can): {address} needs a slot "
                f"(server-template {self._goal.slot_prefix}).",
                system=lb,
            )
        if version < FIRST_VERSION_WITH_CHECKS and self._goal.checks.enabled:
            raise Rejected(
                "unsupported",
                f"lb {lb}: HAProxy {shown} adds servers without checks only (2.5 and newer can check them): {address} "
                f"needs a slot (server-template {self._goal.slot_prefix}), or check: false.",
                system=lb,
            )
        taken = self._view.servers.get(name)
        if taken is not None or name in self._taken:
            other = taken.known.address if taken else "another wanted address"
            raise Rejected(
                "name_taken",
                f"lb {lb}: backend {self._goal.backend} has a server {name} already, with {other} and not {address}.",
                system=lb,
            )

    def _checked(self, server: Server) -> Server:
        """Have the server checked, if it can be."""
        known = server.known
        if not known.check_configured or known.check_enabled or not self._goal.checks.enabled:
            return server
        self.commands.append(Command(f"enable health {self._goal.backend}/{known.name}"))
        return replace(server, known=replace(known, check_enabled=True))

    def _weigh(self, server: Server, wanted: Wanted) -> None:
        weight = wanted.weight
        if weight is None or weight == server.known.weight:
            return
        shares = server.known.state == READY and server.known.weight > 0
        (self._later if shares else self.commands).append(self._set(server, f"weight {weight}"))

    def _admit(self, server: Server, wanted: Wanted) -> None:
        """Let a server take traffic once a check has passed, where it is checked."""
        known, row = server.known, server.row
        shown = f"{self._goal.backend}/{known.name} ({known.address})"
        if known.state == READY:
            if wanted.weight != 0:
                self._should_serve += 1
                # One without weight is shown as DRAIN, whatever its checks find.
                self._serving += row is None or not known.check_enabled or row.is_up or row.has_passed
                if known.check_enabled and row and not (row.is_up and row.has_passed):
                    self._miss(server, f"{shown} is {row.status} {row.check_status}".rstrip())
            return
        if not known.check_enabled or known.address in self._trusted:
            self.commands.append(self._set(server, "state ready"))
        elif known.state == MAINT:
            self.commands.append(self._set(server, "state drain"))
            self.waiting.append(f"{shown} is not checked yet")
        elif row and row.has_passed:
            self.commands.append(self._set(server, "state ready"))
        elif row and row.is_down and (self._goal.going_back or not self._goal.watches(known.address)):
            self.commands.append(self._set(server, "state ready"))
            if wanted.weight != 0:
                self._should_serve += 1
                self._miss(server, f"{shown} is {row.status} {row.check_status}".rstrip())
        else:
            status = f"{row.status} {row.check_status}".rstrip() if row else "unknown"
            self.waiting.append(f"{shown} waits for its check ({status})")

    def _miss(self, server: Server, text: str) -> None:
        is_down = bool(server.row and server.row.is_down)
        if is_down:
            self.down.append(text)
        if self._goal.watches(server.known.address):
            (self._lacking if is_down else self._unsure).append(text)

    def _remove(self, server: Server) -> None:
        name = server.known.name
        if server.kind == DYNAMIC:
            self.commands.append(Command(f"del server {self._goal.backend}/{name}", done=_DELETED, busy=_ATTACHED))
        elif server.kind == TEMPLATE:
            self.commands.append(self._set(server, f"addr {FREE_ADDRESS}", _ADDRESS_SET))

    def _forget(self, server: Server) -> None:
        name = server.known.name
        if server.kind == DYNAMIC:
            del self.end[name]
        elif server.kind == TEMPLATE:
            port = split(server.known.address)[1]
            self.end[name] = {**_shown(server), "address": f"{FREE_ADDRESS}:{port}"}

    def _set(self, server: Server, what: str, done: re.Pattern[str] | None = None) -> Command:
        text = f"set server {self._goal.backend}/{server.known.name} {what}"
        return Command(text) if done is None else Command(text, done)


def shares(servers: Iterable[Server]) -> dict[str, float]:
    """The share of new requests that each server gets by weight, in percent, by name."""
    servers = list(servers)
    total = sum(server.known.weight for server in servers if server.takes_traffic)
    return {
        server.known.name: round(100 * server.known.weight / total, 2) if server.takes_traffic and total else 0.0
        for server in servers
    }


def split(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; the host of an IPv6 address without brackets.

    :raises ValueError: it has not that form.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError(f"{address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def unexpected(view: View, goal: Goal) -> list[str]:
    """The servers that take traffic and that the goal does not name."""
    named = {wanted.address for wanted in goal.servers} | set(goal.absent)
    names = {wanted.name for wanted in goal.servers if wanted.address is None} | set(goal.absent_names)
    return sorted(
        name
        for name, server in view.servers.items()
        if server.known.state == READY and server.known.address not in named and name not in names
    )


def _unspecified(address: str) -> bool:
    return ipaddress.ip_address(split(address)[0]).is_unspecified


def _shown(server: Server, wanted: Wanted | None = None) -> dict[str, object]:
    known = server.known
    weight = known.weight if wanted is None or wanted.weight is None else wanted.weight
    return {"address": known.address, "weight": weight, "state": known.state if wanted is None else wanted.state}
