# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One report of the rollouts of many clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from .._errors import InvalidInput

# What a report that somebody else has made may lack: of a cluster that could not be reached, say.
_EMPTY: dict[str, Any] = {
    "group": None,
    "goal": None,
    "from": None,
    "to": None,
    "failure": None,
    "cluster": None,
    "marathon": [],
    "load_balancers": [],
    "owner": None,
    "started": None,
    "ended": None,
    "instances": None,
    "apps": {},
    "duration_s": 0.0,
    "steps": [],
    "sessions_drained": 0,
    "sessions_cut": 0,
    "operations_cut": 0,
    "decisions": [],
    "series": {},
}


def merged(reports: Sequence[Mapping[str, Any]], title: str | None) -> dict[str, Any]:
    """Return one report of ``reports``, each as ``rollout_report`` has made it; reports that are merged are unpacked.

    Reports of one group in one cluster are its stages (to keep the old version, then to promote): they become one.

    :raises InvalidInput: one of them is no report.
    """
    flat = [part for report in reports for part in report.get("reports", [report])]
    if any(not part.get("result") for part in flat):
        raise InvalidInput("invalid_option", "Option reports: each needs the key result.")
    parts = _continued([{**_EMPTY, **part} for part in flat])
    results = Counter(str(part["result"]) for part in parts)
    started = min((part["started"] for part in parts if part["started"]), default=None)
    ended = max((part["ended"] for part in parts if part["ended"]), default=None)
    return {
        "title": title,
        "result": next(iter(results)) if len(results) == 1 else "mixed",
        "results": dict(results),
        "started": started,
        "ended": ended,
        "duration_s": seconds_between(started, ended),
        "sessions_drained": _sum(parts, "sessions_drained"),
        "sessions_cut": _sum(parts, "sessions_cut"),
        "operations_cut": _sum(parts, "operations_cut"),
        "reports": parts,
    }


def _continued(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put what belongs to one group in one cluster together, in the order of the first of each."""
    stages: dict[tuple[Any, Any, int], dict[str, Any]] = {}
    for number, part in enumerate(parts):
        known = part["cluster"] and part["group"]
        key = (part["cluster"], part["group"], 0) if known else (None, None, number)
        stages[key] = _then(stages[key], part) if key in stages else part
    return list(stages.values())


def _then(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """``first`` and what came after it; where it went, why it failed and when it ended are told by the later one."""
    later = seconds_between(first["started"], then["started"])
    both = {**first, "apps": {**then["apps"], **first["apps"]}}
    both |= {key: then[key] for key in ("result", "failure")}
    both["started"] = first["started"] or then["started"]
    both["ended"] = then["ended"] or first["ended"]
    both["duration_s"] = round(seconds_between(both["started"], both["ended"]), 3)
    both["steps"] = [*first["steps"], *({**step, "started_s": step["started_s"] + later} for step in then["steps"])]
    both["decisions"] = [*first["decisions"], *({**one, "at_s": one["at_s"] + later} for one in then["decisions"])]
    for key in ("sessions_drained", "sessions_cut", "operations_cut"):
        both[key] = _sum([first, then], key)
    both["series"] = {kind: dict(lines) for kind, lines in first["series"].items()}
    for kind, lines in then["series"].items():
        of_kind = both["series"].setdefault(kind, {})
        for name, points in lines.items():
            before = of_kind.get(name, [])
            # Errors are counted on; all else is a value that holds until the next one.
            base = before[-1][1:] if kind == "errors" and before else [0.0] * len(points[0][1:] if points else ())
            of_kind[name] = [
                *before,
                *([at + later, *(v + b for v, b in zip(values, base, strict=True))] for at, *values in points),
            ]
    return both


def seconds_between(started: str | None, ended: str | None) -> float:
    """Seconds between two ISO times; 0 where one is not known."""
    if not started or not ended:
        return 0.0
    return max(0.0, (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds())


def _sum(parts: Sequence[Mapping[str, Any]], key: str) -> int | None:
    """``None`` where one of the numbers is not known."""
    counts = [part[key] for part in parts]
    return None if None in counts else sum(counts)
