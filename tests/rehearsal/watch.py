# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch what the load balancers show while something else changes it, and say when the traffic turned."""

from __future__ import annotations

import csv
import http.client
import io
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

POLL = 0.02  # seconds
COUNTED_KINDS = ("get", "post", "sticky")  # their requests are short: when one was sent says which version was live


@dataclass(frozen=True)
class Change:
    """From ``t`` (epoch seconds) on this LB sent to these servers."""

    t: float
    lb: str
    up: frozenset[str]


class Watch:
    """Reads the statistics of every LB all the time, in threads, and keeps each change of who is UP."""

    def __init__(self, lbs: Sequence[str]) -> None:
        self.lbs = list(lbs)
        self.changes: list[Change] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.look, args=(url,), daemon=True) for url in lbs]

    def look(self, url: str) -> None:
        last: frozenset[str] | None = None
        while not self.ended.wait(POLL):
            try:
                up = servers_up(url)
            except (OSError, http.client.HTTPException):
                continue  # an LB that is down shows nothing; the clients count what that costs
            if up != last:
                self.changes.append(Change(time.time(), url, up))
                last = up

    def turned(self) -> float | None:
        """When the last LB had turned to the servers that all have now; ``None`` when nothing turned."""
        turns = []
        for url in self.lbs:
            own = [change for change in self.changes if change.lb == url]
            if len(own) < 2:
                return None
            turns.append(own[-1].t)
        return max(turns)

    def fewest(self) -> int:
        """The fewest servers that were UP at any LB at any time."""
        return min((len(change.up) for change in self.changes), default=0)


def servers_up(url: str) -> frozenset[str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("GET", "/haproxy?stats;csv")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    rows = csv.DictReader(io.StringIO(text.removeprefix("# ")))
    return frozenset(
        row["svname"]
        for row in rows
        if row["svname"] not in ("FRONTEND", "BACKEND") and (row["status"] or "").startswith("UP")
    )


@contextmanager
def watched(lbs: Sequence[str]) -> Iterator[Watch]:
    """Watch these LBs (URLs of their statistics) for the time of the ``with``."""
    watch = Watch(lbs)
    for thread in watch.threads:
        thread.start()
    try:
        yield watch
    finally:
        watch.ended.set()
        for thread in watch.threads:
            thread.join()


def decided(log: Iterable[Mapping[str, Any]], turned: float) -> float | None:
    """When the request was made that turned the traffic: the last scaling PUT of an app before it had turned."""
    puts = [
        entry["t"]
        for entry in log
        if entry["method"] == "PUT" and entry["path"].startswith("/v2/apps/") and entry["t"] <= turned
    ]
    return max(puts, default=None)


def clients_turned(report: Mapping[str, Any], put: float, old: str, new: str) -> dict[str, float | bool | None]:
    """The switch as the clients saw it, in seconds after the PUT.

    ``first_new_s``: the first answer of the new version; ``last_old_s``: the last request that still went to the old
    one; ``new_before``: whether any client of any kind met the new version before the PUT.
    """
    seen = report["versions"]
    short = [row for row in seen if row["kind"] in COUNTED_KINDS]
    first = min((row["first"] for row in short if row["version"] == new), default=None)
    last = max((row["last_sent"] for row in short if row["version"] == old), default=None)
    return {
        "first_new_s": None if first is None else first - put,
        "last_old_s": None if last is None else last - put,
        "new_before": any(row["first"] < put for row in seen if row["version"] == new),
    }
