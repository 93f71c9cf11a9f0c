# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the numbers of a canary come from: HAProxy's counters, Prometheus, or any command that prints JSON.

A source is asked again and again, and tells what came since the last time. It says of itself what is wrong with it: an
answer that did not come or cannot be right is never taken for "no errors".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ._analysis.evidence import Counts, Stretch
from ._command import output
from ._errors import InvalidInput, Rejected, Unreachable
from ._haproxy.addresses import resolved
from ._haproxy.configuration import parse
from ._haproxy.counters import Counter, is_tcp
from ._haproxy.endpoints import MarathonLb
from ._haproxy.runtime import Runtime
from ._http import Http
from ._invocation.context import Context
from ._parallel import each
from ._prometheus import instant

NEEDED_COUNTS = ("canary_requests", "canary_errors", "baseline_requests", "baseline_errors")
SLOW_COUNTS = ("canary_slow", "baseline_slow")

_MOST_RESETS = 2


@dataclass(frozen=True)
class Reading:
    """``stretches`` by place: what came since the last reading. ``incomplete``: why that is not all; ``None``: it is.

    ``down``: a server of the canary that a load balancer has found to be DOWN.
    """

    stretches: Mapping[str, Stretch] = field(default_factory=dict)
    incomplete: str | None = None
    down: str | None = None


class Source(Protocol):
    """Something that counts."""

    def read(self) -> Reading:
        """Ask it. It raises what a question raises that will not be answered better the next time."""


class HaproxySource:
    """The servers with the given addresses (``host:port``) at all ``lbs``, in one ``backend`` or in any."""

    def __init__(
        self,
        lbs: Sequence[Runtime | MarathonLb],
        context: Context,
        *,
        backend: str | None,
        canary: Sequence[str],
        baseline: Sequence[str],
    ) -> None:
        canary, baseline = ([resolved(address) for address in addresses] for addresses in (canary, baseline))
        both = set(canary) & set(baseline)
        if both:
            raise InvalidInput("invalid_option", f"{min(both)} is of the canary and of the old version at once.")
        self._lbs = [_Lb(lb, context, backend, canary, baseline) for lb in lbs]

    def read(self) -> Reading:
        """Ask all load balancers at the same time. One that does not answer makes the reading incomplete."""
        readings = each(_Lb.read, self._lbs)
        stretches = {place: stretch for reading in readings for place, stretch in reading.stretches.items()}
        incomplete = next((reading.incomplete for reading in readings if reading.incomplete), None)
        return Reading(stretches, incomplete, next((reading.down for reading in readings if reading.down), None))


class _Lb:
    """One load balancer."""

    def __init__(
        self,
        lb: Runtime | MarathonLb,
        context: Context,
        backend: str | None,
        canary: Sequence[str],
        baseline: Sequence[str],
    ) -> None:
        self._lb = lb
        self._context = context
        self._backend = backend
        self._counter = Counter(canary, baseline)
        self._wanted = {*canary, *baseline}
        self._configured: dict[tuple[str, str], str] = {}
        self._names: set[tuple[str, str]] = set()

    def read(self) -> Reading:
        name = f"lb {self._lb.name}"
        try:
            rows = [row for row in self._lb.table() if "pxname" in row and "svname" in row]
            addresses = self._addresses(rows)
            now = self._context.now()
            stretch = self._counter.look(rows, addresses, now)
        except Unreachable as error:
            return Reading(incomplete=error.message)
        except ValueError as error:
            return Reading(incomplete=f"{name}: {error}")
        if self._counter.reloads:
            self._context.warn(
                f"{name} was reloaded during the analysis: its new worker is counted from 0. What the old worker "
                "answered after the last look at it is not seen."
            )
        if any(is_tcp(row) for row in rows if addresses.get((row["pxname"], row["svname"])) in self._wanted):
            self._context.warn(f"{name}: a server is in mode tcp, so only connections that fail are seen as errors.")
        down = self._counter.down(rows, addresses, now)
        absent = self._counter.absent(addresses)
        return Reading(
            {name: stretch},
            f"{name} has no server with the canary's address {absent[0]}" if absent else None,
            f"{name}: {down}" if down else None,
        )

    def _addresses(self, rows: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], str]:
        """The addresses of the servers, by the statistics; by the live configuration where these do not tell them."""
        wanted = [row for row in rows if self._backend is None or row["pxname"] == self._backend]
        found = {(row["pxname"], row["svname"]): row["addr"] for row in wanted if "addr" in row}
        if found or not isinstance(self._lb, MarathonLb):
            return found
        names = {(row["pxname"], row["svname"]) for row in wanted}
        if names != self._names:  # an address is a part of marathon-lb's names, so the names tell when to read again
            try:
                servers = parse(self._lb.config()).servers
            except (Rejected, Unreachable) as error:
                raise type(error)(
                    "no_addresses",
                    f"{error.message} Its statistics do not show the addresses of servers: if it is no marathon-lb, "
                    "set 'stats show-legends' in its configuration, or ask its runtime socket.",
                    system=error.system,
                    request=error.request,
                    status=error.status,
                ) from None
            self._configured = {key: server.address for key, server in servers.items()}
            self._names = names
        return {key: address for key, address in self._configured.items() if key in names}


class CountsSource:
    """A source that tells sums since whenever: ``ask()`` gives them by the names ``NEEDED_COUNTS``, ``SLOW_COUNTS``.

    The first reading says from where to count. A sum that gets smaller was reset by somebody: nobody knows what came in
    between, so it is counted from there on. One that gets as large as before again may come from another one who counts
    (two Prometheus behind one name, say): that is no increase either. Who tells smaller sums again and again is not
    believed any more. ``with_slow`` is whether slow requests are told.
    """

    def __init__(self, name: str, context: Context, ask: Callable[[], Mapping[str, Any]], *, with_slow: bool) -> None:
        self._name = name
        self._context = context
        self._ask = ask
        self._keys = (*NEEDED_COUNTS, *(SLOW_COUNTS if with_slow else ()))
        self._last: dict[str, int] | None = None
        self._before_reset: dict[str, int] = {}
        self._resets = 0

    def read(self) -> Reading:
        """Ask, and compare with the last time."""
        try:
            answer = self._ask()
            sums = {key: whole(answer, key) for key in self._keys}
        except Unreachable as error:
            return Reading(incomplete=error.message)
        except ValueError as error:
            return Reading(incomplete=f"{self._name}: {error}")
        for arm in ("canary", "baseline"):
            for kind in ("errors", "slow"):
                if sums.get(f"{arm}_{kind}", 0) > sums[f"{arm}_requests"]:
                    return Reading(
                        incomplete=f"{self._name}: {arm}_{kind} is {sums[f'{arm}_{kind}']}, more than {arm}_requests, "
                        f"{sums[f'{arm}_requests']}"
                    )
        before, self._last = self._last, sums
        if before is None:
            return Reading({self._name: Stretch()})
        shrunk = [key for key in self._keys if sums[key] < before[key]]
        returned = [key for key, sum_before in self._before_reset.items() if sums[key] >= sum_before]
        if returned:
            self._before_reset = {}
        if shrunk:
            key = shrunk[0]
            self._resets += 1
            self._before_reset = {key: before[key] for key in shrunk}
            self._context.warn(
                f"{self._name}: a count got smaller during the analysis ({key}). What came between two such looks is "
                "not counted."
            )
            return Reading(incomplete=f"{self._name}: {key} went from {before[key]} down to {sums[key]}")
        if returned:
            key = returned[0]
            return Reading(incomplete=f"{self._name}: {key} went back from {before[key]} up to {sums[key]}")
        if self._resets > _MOST_RESETS:
            return Reading(incomplete=f"{self._name}: counts got smaller {self._resets} times; these are no counters")
        new = {key: sums[key] - before[key] for key in self._keys}
        return Reading({self._name: Stretch(*(_counts(new, arm) for arm in ("canary", "baseline")))})


def prometheus_source(http: Http, context: Context, queries: Mapping[str, str | None]) -> CountsSource:
    """Asks Prometheus; ``queries`` by the names of the counts. All are evaluated for the same time."""
    given = {name: query for name, query in queries.items() if query is not None}

    def ask() -> dict[str, float]:
        found: dict[str, float] = {}
        at: float | None = None
        for name, query in given.items():
            found[name], evaluated = instant(http, name, query, at)
            at = evaluated if at is None else at
        return found

    return CountsSource("prometheus", context, ask, with_slow=all(name in given for name in SLOW_COUNTS))


def command_source(context: Context, command: Sequence[str], timeout: float, *, with_slow: bool) -> CountsSource:
    """Runs a command; ``timeout``: s that it may take."""

    def ask() -> Mapping[str, Any]:
        text = output(command, timeout)
        try:
            found = json.loads(text)
        except ValueError:
            raise ValueError(f"it printed no JSON: {' '.join(text.split())[:120]!r}") from None
        if not isinstance(found, dict):
            raise ValueError(f"it printed a JSON {type(found).__name__}, not an object")
        return found

    return CountsSource(f"command {command[0]}", context, ask, with_slow=with_slow)


def whole(counts: Mapping[str, Any], key: str) -> int:
    """One of the counts.

    :raises ValueError: it is missing, no number, no whole one, or below zero.
    """
    if key not in counts:
        raise ValueError(f"{key} is missing")
    value = counts[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} is {value!r}, no number")
    if value < 0:
        raise ValueError(f"{key} is {value:g}, below zero")
    if value != int(value):
        raise ValueError(f"{key} is {value:g}, no whole number: give a sum of counters, without rate() or increase()")
    return int(value)


def _counts(new: Mapping[str, int], arm: str) -> Counts:
    return Counts(new[f"{arm}_requests"], new[f"{arm}_errors"], new.get(f"{arm}_slow", 0))
