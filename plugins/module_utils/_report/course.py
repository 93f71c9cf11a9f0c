# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout did, from its plan and its journal: plain data, from which text and page are made.

All times in a report are seconds since its start, but ``started`` and ``ended``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .._errors import InvalidInput

Json = Mapping[str, Any]

_TOLD = ("evidence", "decision")
_WENT_BACK = ("rolled back", "withdrawn")
_COUNTS = ("sessions", "operations")


def course(params: Json) -> dict[str, Any]:
    """Return the report of one rollout; ``params`` are the options of the operation ``rollout_report``."""
    plan, started = params["plan"], params["started"]
    journal = _journal(params)
    steps = _steps(journal, started)
    return {
        "group": plan.get("group"),
        "goal": plan.get("goal"),
        "from": plan.get("from"),
        "to": plan.get("to"),
        "result": params["result"],
        "failure": params["failure"] or None,
        "cluster": params["cluster"],
        "marathon": _without_passwords(params["marathon"]),
        "load_balancers": _without_passwords(params["load_balancers"]),
        "owner": params["owner"],
        "started": _moment(started),
        "ended": _moment(params["ended"]),
        "instances": plan.get("target"),
        "apps": _apps(plan),
        "duration_s": round(params["ended"] - started, 3),
        "steps": steps,
        "sessions_drained": _drained(journal),
        "sessions_cut": _total(journal, "sessions_cut"),
        "operations_cut": _total(journal, "operations_cut"),
        "decisions": _decisions(params, journal),
        "series": _series(journal, started, plan) if steps else {},
    }


def _journal(params: Json) -> list[dict[str, Any]]:
    """The entries of this run in the order of time, each with its samples as a list."""
    started = params["started"]
    journal = [
        {**entry, "samples": _samples(entry)} for entry in params["journal"] if float(entry["ended"]) >= started > 0
    ]
    if params["failed_at"] and not any(entry.get("failed") for entry in journal):
        # What failed was no operation of this collection, a user's own task, say.
        failed = {"failed": True, "msg": params["failure"], "samples": []}
        journal.append({"name": "failure", "title": "a step that failed", "ended": params["failed_at"], **failed})
    return sorted(journal, key=lambda entry: float(entry["ended"]))


def _samples(entry: Json) -> list[tuple[float, str, dict[str, Any]]]:
    """``(epoch seconds, kind, values)`` of what was seen during the operation of an entry."""
    given = entry.get("samples") or []
    try:
        found = json.loads(given) if isinstance(given, str) else given
        return [(float(entry["ended"]) - float(ago), str(kind), dict(values)) for ago, kind, values in found]
    except (TypeError, ValueError) as error:
        raise InvalidInput("invalid_option", f"Option journal: samples that cannot be read ({error}).") from None


def _apps(plan: Json) -> dict[str, dict[str, Any]]:
    """What is known of the two apps by their ids."""
    old, new_id = plan.get("old") or {}, plan.get("new_id")
    apps = {}
    if old.get("app_id"):
        apps[old["app_id"]] = {"colour": old.get("colour"), "version": old.get("version"), "role": "old"}
    if new_id and new_id not in apps:
        version = plan.get("from" if plan.get("goal") == "rollback" else "to")
        apps[new_id] = {"colour": plan.get("new_colour"), "version": version, "role": "new"}
    return apps


def _drained(journal: Sequence[Json]) -> int | None:
    """Those in flight at the switch less those that were cut; an operation that was cut is a session's."""
    flying, cuts = _total(journal, "sessions"), [_total(journal, "sessions_cut"), _total(journal, "operations_cut")]
    return None if flying is None or None in cuts else max(0, flying - sum(cuts))


def _total(journal: Sequence[Json], key: str) -> int | None:
    """The sum; ``None`` where one of the numbers is not known."""
    counts = [entry.get(key, 0) for entry in journal]
    return None if None in counts else sum(int(count) for count in counts)


def _steps(journal: Sequence[Json], started: float) -> list[dict[str, Any]]:
    """Each step lasts from the end of the one before it to the end of its own last operation."""
    steps: list[dict[str, Any]] = []
    before = started
    for entry in journal:
        begun, before = before - started, float(entry["ended"])
        if not steps or steps[-1]["title"] != entry.get("title"):
            title = entry.get("title")
            steps.append({"name": entry["name"], "title": title, "started_s": round(begun, 3), "evidence": []})
        step = steps[-1]
        step["duration_s"] = round(before - started - step["started_s"], 3)
        step["evidence"] += [text for text in _texts(entry, "evidence") if text not in step["evidence"]]
        step["failure"] = entry.get("msg") if entry.get("failed") else step.get("failure")
    return steps


def _texts(entry: Json, kind: str) -> list[str]:
    return [str(values.get("text")) for _at, found, values in entry["samples"] if found == kind]


def _decisions(params: Json, journal: Sequence[Json]) -> list[dict[str, Any]]:
    """What was decided, when (``at_s``) and for what ``reason``: by the plan, by operations, and after a failure."""
    started, result, failure = params["started"], params["result"], params["failure"] or None
    decided = [{"at_s": 0.0, "text": note, "reason": None} for note in params["plan"].get("notes") or ()]
    failed_at = None
    for entry in journal:
        for at, kind, values in entry["samples"]:
            if kind == "decision":
                decision = {"text": str(values.get("text")), "reason": values.get("reason")}
                decided.append({"at_s": round(at - started, 3), **decision})
        if entry.get("failed"):
            failed_at = failed_at or float(entry["ended"]) - started
        for what in _COUNTS:
            if entry.get(f"{what}_cut", 0) != 0:
                count = entry[f"{what}_cut"]
                text = f"cut {'an unknown number of' if count is None else count} {what}"
                at_s = round(float(entry["ended"]) - started, 3)
                decided.append({"at_s": at_s, "text": text, "reason": "the deadline of the drain, and on_timeout=cut"})
    if failure:
        went_back = result in _WENT_BACK
        text = "go back to the old version" if went_back else "hold" if result == "held" else "stop, and go nowhere"
        at_s = round(params["ended"] - started if failed_at is None else failed_at, 3)
        decided.append({"at_s": at_s, "text": text, "reason": failure})
    return sorted(decided, key=lambda one: one["at_s"])


def _series(journal: Sequence[Json], started: float, plan: Json) -> dict[str, dict[str, list[list[float]]]]:
    """``{kind: {name: [[seconds, value], ...]}}``; for ``errors`` each is ``[seconds, requests, errors]``.

    A value holds until the next one. Errors are counted on from operation to operation, each of which begins with 0.
    """
    series: dict[str, dict[str, list[list[float]]]] = {}
    app_at: dict[str, str] = {}
    for kind, name, value in _at_the_start(plan):
        series.setdefault(kind, {})[name] = [[0.0, value]]
    for entry in journal:
        before = {name: points[-1][1:] for name, points in series.get("errors", {}).items()}
        for at, found, seen in entry["samples"]:
            seconds = round(max(0.0, at - started), 3)
            kind, values = found, seen
            if kind == "servers":
                app_at.update(seen)
                continue
            if kind == "server_share":
                kind, values = "share", _by_app(seen, app_at)
            for name, numbers in _numbers(kind, values):
                base = before.get(name, [0, 0]) if kind == "errors" else [0]
                counted = [since + number for since, number in zip(base, numbers, strict=True)]
                _add(series.setdefault(kind, {}).setdefault(name, []), [seconds, *counted])
    return series


def _by_app(shares: Json, app_at: Mapping[str, str]) -> dict[str, float]:
    """Shares by app from those by address; nothing where an address that gets traffic is not known to be of an app."""
    if any(address not in app_at for address, share in shares.items() if share):
        return {}
    sums = dict.fromkeys(app_at.values(), 0.0)
    for address, share in shares.items():
        if share:
            sums[app_at[address]] += share
    return {app: round(share, 1) for app, share in sums.items()}


def _at_the_start(plan: Json) -> Iterator[tuple[str, str, float]]:
    """What the plan was made from."""
    old, new_id = plan.get("old") or {}, plan.get("new_id")
    if not old.get("app_id"):
        return
    yield "instances", old["app_id"], old.get("healthy") or 0
    if plan.get("goal") == "deploy" and new_id and any(step.get("name") == "create" for step in plan.get("steps", ())):
        yield "instances", new_id, 0
    if old.get("traffic") == "all":
        yield "share", old["app_id"], 100
        if new_id:
            yield "share", new_id, 0


def _numbers(kind: str, values: Json) -> Iterator[tuple[str, list[float]]]:
    """The finite numbers of a sample by name: one each, of ``errors`` the requests and the errors."""
    if kind in _TOLD:
        return
    for name, value in values.items():
        given = [value.get("requests"), value.get("errors")] if isinstance(value, Mapping) else [value]
        wanted = 2 if kind == "errors" else 1
        if len(given) == wanted and all(_is_number(number) for number in given):
            yield name, given


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _add(points: list[list[float]], point: list[float]) -> None:
    """Of equal values the first is enough."""
    if not points or points[-1][1:] != point[1:]:
        points.append(point)


def _moment(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds > 0 else None


def _without_passwords(urls: Sequence[str]) -> list[str]:
    return [re.sub(r"//[^/]*@", "//", url) for url in urls]
