# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and errors of servers from HAProxy's own counters, across reloads and servers that come and go.

What HAProxy 2.6 was seen to count for a server, and what is made of it:

=====================================================  ================================  ======  =====
what happened                                          columns                           request error
=====================================================  ================================  ======  =====
an answer                                              ``hrsp_2xx`` to ``hrsp_4xx``      1       0
an answer of 5xx                                       ``hrsp_5xx``                      1       1
connection refused, retries included                   ``econ`` (``wretr`` per retry)    1       1
connection refused, another server took it             ``wredis``                        1       1
closed or silent (timeout) before the answer           ``eresp``                         1       1
broken off within the answer                           ``hrsp_2xx eresp srv_abrt``       1       1
a client that goes away                                ``cli_abrt``                      \\-      0
=====================================================  ================================  ======  =====

A request that another server has taken over counts as an error of the server that could not take it, although its
client saw none: the next one may find no other server. A retry that worked at the same server is none. Interim answers
(``hrsp_1xx``) are followed by the one that counts; an upgrade to a websocket is not told from them, so it counts as
none. In mode tcp there are sessions instead of answers, and errors of connections only.

All counters start at 0 in a new worker. A new one is known by the counters of frontends and backends, which never
shrink within one and never come or go: the statistics over HTTP do not tell the process. While a reload is under way
either worker may answer, so the last look at the one before is kept for some seconds. What an old worker answers after
the last look at it is never seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .._analysis.evidence import Counts, Stretch
from .stats import BACKEND, FRONTEND, is_listener

_GROWING = ("stot", "bin", "bout", "hrsp_2xx", "hrsp_4xx", "hrsp_5xx", "econ", "eresp")
_OVERLAP = 5.0
_DOWN_LOOKS = 2
_DOWN_SECONDS = 1.0

Row = Mapping[str, str]
Key = tuple[str, str]


@dataclass(frozen=True)
class Worker:
    """What one worker counted at one look: the ``proxies``' counters, and requests and errors by server."""

    seen_at: float
    proxies: Mapping[Key, tuple[int, ...]]
    servers: Mapping[Key, Counts]

    @classmethod
    def of(cls, rows: Sequence[Row], now: float) -> Worker:
        """Read the statistics.

        :raises ValueError: a count is no number, or is below zero.
        """
        proxies, servers = {}, {}
        for row in rows:
            key = (row["pxname"], row["svname"])
            if key[1] in (FRONTEND, BACKEND):
                proxies[key] = tuple(_count(row, column) for column in _GROWING)
            elif not is_listener(row):
                servers[key] = counted(row)
        return cls(now, proxies, servers)

    def continues(self, other: Worker) -> bool:
        """Whether this may be a later look at the worker of ``other``."""
        return self.proxies.keys() == other.proxies.keys() and all(
            count >= before
            for key, counts in self.proxies.items()
            for count, before in zip(counts, other.proxies[key], strict=True)
        )

    @property
    def size(self) -> int:
        """The sum of all counters: the larger, the longer it ran."""
        return sum(map(sum, self.proxies.values()))


def counted(row: Row) -> Counts:
    """Requests and errors of a server since its worker began, by the table above.

    :raises ValueError: a count is no number, or is below zero.
    """
    errors = sum(_count(row, column) for column in ("hrsp_5xx", "econ", "eresp", "wredis"))
    if is_tcp(row):
        return Counts(max(0, _count(row, "stot") - _count(row, "wretr")), errors - _count(row, "hrsp_5xx"))
    answers = sum(_count(row, f"hrsp_{kind}") for kind in ("2xx", "3xx", "4xx", "5xx", "other"))
    unanswered = max(0, _count(row, "eresp") - _count(row, "srv_abrt"))
    return Counts(answers + _count(row, "econ") + _count(row, "wredis") + unanswered, errors)


def is_tcp(row: Row) -> bool:
    """Whether sessions are counted, not answers."""
    return row.get("mode") == "tcp"


class Counter:
    """Counts at one load balancer, from look to look, what its servers with given addresses did."""

    def __init__(self, canary: Collection[str], baseline: Collection[str]) -> None:
        self.reloads = 0
        self._canary = frozenset(canary)
        self._baseline = frozenset(baseline)
        self._last: Worker | None = None
        self._workers: list[Worker] = []
        self._down: dict[Key, tuple[int, float]] = {}

    def look(self, rows: Sequence[Row], addresses: Mapping[Key, str], now: float) -> Stretch:
        """What came since the last look. ``addresses``: of the servers by backend and name.

        The first look only says from where to count.

        :raises ValueError: the statistics cannot be read.
        """
        worker = Worker.of(rows, now)
        first = self._last is None
        self._workers = [one for one in self._workers if one is self._last or now - one.seen_at <= _OVERLAP]
        before = self._before(worker)
        if not first and before is None:
            self.reloads += 1
        stretch = Stretch()
        if not first:
            for key, counts in worker.servers.items():
                new = _since(counts, before.servers.get(key) if before else None)
                if addresses.get(key) in self._canary:
                    stretch += Stretch(canary=new)
                elif addresses.get(key) in self._baseline:
                    stretch += Stretch(baseline=new)
        self._workers = [*(one for one in self._workers if one is not before), worker]
        self._last = worker
        return stretch

    def down(self, rows: Sequence[Row], addresses: Mapping[Key, str], now: float) -> str | None:
        """A server of the canary that is DOWN, and not for a moment only; ``None`` when none is."""
        found = {
            (row["pxname"], row["svname"]): row
            for row in rows
            if row.get("status", "").startswith("DOWN")
            and addresses.get((row["pxname"], row["svname"])) in self._canary
        }
        self._down = {key: self._down.get(key, (0, now)) for key in found}
        for key, (looks, since) in self._down.items():
            self._down[key] = looks + 1, since
            if looks + 1 >= _DOWN_LOOKS and now - since >= _DOWN_SECONDS:
                check = found[key].get("check_status", "")
                return f"{'/'.join(key)} is DOWN{f' ({check})' if check else ''}"
        return None

    def absent(self, addresses: Mapping[Key, str]) -> list[str]:
        """The addresses of the canary that no server has."""
        return sorted(self._canary - set(addresses.values()))

    def _before(self, worker: Worker) -> Worker | None:
        """The last look at the same worker; of several that it may be, the one that ran longest: it counts least."""
        known = [one for one in self._workers if worker.continues(one)]
        return max(known, key=lambda one: one.size, default=None)


def _since(counts: Counts, before: Counts | None) -> Counts:
    """What came in between; all of it when the server was taken away and added again, which begins at 0."""
    if before is None or counts.requests < before.requests or counts.errors < before.errors:
        return counts
    return Counts(counts.requests - before.requests, counts.errors - before.errors)


def _count(row: Row, column: str) -> int:
    text = row.get(column) or "0"
    if not text.isdecimal():
        raise ValueError(f"{column} of {row['pxname']}/{row['svname']} is {text!r}, no count")
    return int(text)
