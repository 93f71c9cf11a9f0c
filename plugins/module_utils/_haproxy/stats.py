# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's statistics, read by column name.

The text is CSV: a header ``# pxname,svname,…``, each line with a trailing comma, check messages in double quotes. The
columns differ between versions, and since 2.6 one of them is named ``-`` (it divides the generic columns from those of
single protocols), so nothing is read by position.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from .._errors import Unreachable

FRONTEND = "FRONTEND"
BACKEND = "BACKEND"

_NEEDED = ("pxname", "svname", "status", "scur")
_DIVIDER = "-"
# Check results of layers 4, 6 and 7 and of external checks that count as passed (HAProxy's management guide, 9.1).
_PASSED = frozenset({"L4OK", "L6OK", "L7OK", "L7OKC", "PROCOK"})


@dataclass(frozen=True)
class ServerRow:
    """One server of one backend, in one worker of one HAProxy.

    ``scur`` counts requests and sessions in flight, ``qcur`` those that wait for this server; ``weight`` is the
    effective one. ``check_status`` is empty for a server without checks. Counters start at 0 in each new worker.
    ``check_health`` rises with each check that passes, up to ``check_rise + check_fall - 1``, and is ``check_rise`` for
    a server that is taken for UP before it was checked.
    """

    backend: str
    server: str
    status: str
    scur: int
    qcur: int
    weight: int
    check_status: str
    check_text: str
    req_tot: int
    address: str
    errors_5xx: int = 0
    check_health: int = 0
    check_rise: int = 0
    check_fall: int = 0
    cookie: str = ""

    @property
    def has_passed(self) -> bool:
        """Whether a check has passed since it left maintenance: the status alone may be one from before."""
        result = self.check_status.removeprefix("* ")  # a check is in progress, this is the result of the one before
        return result in _PASSED and (self.check_fall < 2 or self.check_health > self.check_rise)

    @property
    def is_up(self) -> bool:
        """Whether it gets requests and its checks pass (``UP 1/3``: passes or starts, not yet sure)."""
        return self.status == "UP" or self.status.startswith("UP ")

    @property
    def is_down(self) -> bool:
        """Whether its checks have failed, so that it gets no requests (``DOWN 1/2``: one has passed again)."""
        return self.status == "DOWN" or self.status.startswith("DOWN ")

    @property
    def is_unchecked(self) -> bool:
        """Whether it gets requests and nobody checks it."""
        return self.status == "no check"

    @property
    def in_maintenance(self) -> bool:
        """Whether nobody gets to it: neither new clients nor persistent ones."""
        return self.status == "MAINT" or self.status.startswith("MAINT ")

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight or queued."""
        return self.scur == 0 and self.qcur == 0


def parse(text: str, source: str, request: str) -> list[dict[str, str]]:
    """Return the rows of a statistics text by column name, without empty columns and without the divider.

    ``source`` and ``request`` say in errors whom and what was asked.

    :raises Unreachable: with the code ``unreadable_answer`` when the text is no statistics table.
    """
    if not text.startswith("# pxname,"):
        raise _unreadable(text, source, request, "no statistics table")
    try:
        lines = list(csv.reader(io.StringIO(text[2:]), strict=True))
    except csv.Error as error:
        raise _unreadable(text, source, request, f"a broken statistics table ({error})") from None
    header = lines[0]
    if any(column not in header for column in _NEEDED):
        raise _unreadable(text, source, request, f"a statistics table without the columns {', '.join(_NEEDED)}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        if len(line) != len(header):
            raise _unreadable(text, source, request, f"a statistics table that breaks off in line {number}")
        named = zip(header, line, strict=True)
        rows.append({column: value for column, value in named if column and column != _DIVIDER and value != ""})
    return rows


def server_rows(rows: list[dict[str, str]], source: str, request: str) -> dict[tuple[str, str], ServerRow]:
    """Return the servers among ``rows`` by backend and name.

    :raises Unreachable: with the code ``unreadable_answer`` when a count is no number.
    """
    servers = {}
    for row in rows:
        if row.get("svname") in (FRONTEND, BACKEND) or "pxname" not in row or "svname" not in row:
            continue
        if is_listener(row):
            continue
        try:
            server = ServerRow(
                backend=row["pxname"],
                server=row["svname"],
                status=row.get("status", ""),
                scur=int(row.get("scur", 0)),
                qcur=int(row.get("qcur", 0)),
                weight=int(row.get("weight", 0)),
                check_status=row.get("check_status", ""),
                check_text=row.get("last_chk", ""),
                req_tot=int(row.get("req_tot") or row.get("stot", 0)),
                address=row.get("addr", ""),
                errors_5xx=int(row.get("hrsp_5xx", 0)),
                check_health=int(row.get("check_health", 0)),
                check_rise=int(row.get("check_rise", 0)),
                check_fall=int(row.get("check_fall", 0)),
                cookie=row.get("cookie", ""),
            )
        except ValueError as error:
            raise _unreadable(",".join(row.values()), source, request, f"a number that is none ({error})") from None
        servers[server.backend, server.server] = server
    return servers


def is_listener(row: dict[str, str]) -> bool:
    """Whether a row is a listening socket (``option socket-stats``), which has a server's form: type 3."""
    return row.get("type") == "3"


def _unreadable(text: str, source: str, request: str, what: str) -> Unreachable:
    shown = " ".join(text.split())[:120]
    return Unreachable(
        "unreadable_answer",
        f"{source} answered {request} with {what}: {shown!r}",
        system=source,
        request=request,
    )
