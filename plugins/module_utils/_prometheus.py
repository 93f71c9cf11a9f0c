# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus' HTTP API: instant queries that give one number (``GET /api/v1/query``)."""

from __future__ import annotations

import math
from typing import Any

from ._errors import InvalidInput, Rejected, Unreachable
from ._http import Answer, Http

_PATH = "/api/v1/query"


def instant(http: Http, name: str, query: str, time: float | None = None) -> tuple[float, float]:
    """The value of ``query`` and the time (s since 1970, by Prometheus' clock) for which it holds.

    ``name`` is what messages call the query; ``time``: for which time it is evaluated, now by default.

    :raises InvalidInput: Prometheus does not understand the query, or it gives several numbers.
    :raises Rejected: Prometheus refuses to answer.
    :raises Unreachable: no answer, or none with a number in it: that is not 0.
    """
    answer = http.send("GET", _PATH, query={"query": query} if time is None else {"query": query, "time": f"{time!r}"})
    if answer.status in (400, 422):
        why = _error(answer)
        raise InvalidInput(
            "invalid_query", f"Prometheus does not understand {name}, {query!r}: {why}", **_asked(answer), detail=why
        )
    if answer.status != 200:
        advice = " Check the prometheus_ options." if answer.status in (401, 403, 404) else ""
        raise Rejected(
            "refused", f"Prometheus at {answer.system} answered {name} with {answer.status}.{advice}", **_asked(answer)
        )
    data = answer.json()
    try:
        kind, result = data["data"]["resultType"], data["data"]["result"]
        if data["status"] != "success":
            raise KeyError("status")
        if kind == "scalar":
            samples = [result]
        elif kind == "vector":
            samples = [sample["value"] for sample in result]
        else:
            raise InvalidInput(
                "invalid_query", f"{name}, {query!r}, gives a {kind}; it has to give one number.", **_asked(answer)
            )
        pairs = [(float(value), float(at)) for at, value in samples]
    except (KeyError, TypeError, ValueError):
        raise _unreadable(answer, f"{name} with something unreadable: {answer.text[:120]!r}") from None
    if len(pairs) > 1:
        raise InvalidInput(
            "invalid_query",
            f"{name}, {query!r}, gives {len(pairs)} numbers; it has to give one: put sum() around it.",
            **_asked(answer),
        )
    if not pairs:
        raise _unreadable(
            answer, f"{name} with no number. If there may be none yet, say so in the query: ... or vector(0)"
        )
    value, at = pairs[0]
    if not math.isfinite(at):
        raise _unreadable(answer, f"{name} with the time {at!r}")
    return value, at


def _asked(answer: Answer) -> dict[str, Any]:
    return {"system": answer.system, "request": answer.request, "status": answer.status}


def _unreadable(answer: Answer, what: str) -> Unreachable:
    return Unreachable("unreadable_answer", f"Prometheus at {answer.system} answered {what}", **_asked(answer))


def _error(answer: Answer) -> str:
    try:
        return str(answer.json()["error"])
    except (Unreachable, KeyError, TypeError):
        return " ".join(answer.text.split())[:200]
