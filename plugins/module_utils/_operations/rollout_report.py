# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what a rollout did: a summary for people, a dictionary for machines, a file where one is wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._errors import InvalidInput
from .._invocation.context import Context

ARGUMENT_SPEC: dict[str, Any] = {
    "plan": {"type": "dict", "required": True},
    "journal": {"type": "list", "elements": "dict", "default": []},
    "started": {"type": "float", "required": True},
    "ended": {"type": "float", "required": True},
    "result": {"type": "str", "required": True},
    "failure": {"type": "str"},
    "failed_at": {"type": "float"},
    "path": {"type": "path"},
}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    report = _report(params)
    changed = False
    if params["path"] and not context.check_mode:
        changed = _write(Path(params["path"]), report)
    return {"changed": changed, "report": report, "lines": _lines(report)}


def _report(params: Mapping[str, Any]) -> dict[str, Any]:
    plan, started = params["plan"], params["started"]
    journal = [entry for entry in params["journal"] if float(entry["ended"]) >= started > 0]
    if params["failed_at"] and not any(entry.get("failed") for entry in journal):
        # What failed was no operation of this collection, a user's own task, say.
        journal.append({"name": "failure", "title": "a step that failed", "ended": params["failed_at"]})
    journal.sort(key=lambda entry: float(entry["ended"]))
    return {
        "group": plan.get("group"),
        "from": plan.get("from"),
        "to": plan.get("to"),
        "result": params["result"],
        "failure": params["failure"] or None,
        "instances": plan.get("target"),
        "duration_s": round(params["ended"] - started, 3),
        "steps": _steps(journal, started),
        "sessions_drained": _drained(journal),
        "sessions_cut": _total(journal, "sessions_cut"),
        "operations_cut": _total(journal, "operations_cut"),
    }


def _drained(journal: Sequence[Mapping[str, Any]]) -> int | None:
    """Those in flight at the switch less those that were cut; an operation that was cut is a session's."""
    flying, cuts = _total(journal, "sessions"), [_total(journal, "sessions_cut"), _total(journal, "operations_cut")]
    return None if flying is None or None in cuts else max(0, flying - sum(cuts))


def _total(journal: Sequence[Mapping[str, Any]], key: str) -> int | None:
    """The sum; ``None`` where one of the numbers is not known."""
    counts = [entry.get(key, 0) for entry in journal]
    return None if None in counts else sum(int(count) for count in counts)


def _steps(journal: Sequence[Mapping[str, Any]], started: float) -> list[dict[str, Any]]:
    """Each step lasts from the end of the one before it to the end of its own last operation."""
    steps: list[dict[str, Any]] = []
    before = started
    for entry in journal:
        duration, before = float(entry["ended"]) - before, float(entry["ended"])
        if steps and steps[-1]["title"] == entry.get("title"):
            steps[-1]["duration_s"] += duration
        else:
            steps.append({"name": entry["name"], "title": entry.get("title"), "duration_s": duration})
    return [{**step, "duration_s": round(step["duration_s"], 3)} for step in steps]


def _lines(report: Mapping[str, Any]) -> list[str]:
    lines = [f"{report['group']}: {report['from'] or 'nothing'} -> {report['to'] or 'nothing'}: {report['result']}"]
    if report["instances"] and report["steps"]:
        lines[0] += f", {report['instances']} instances, {report['duration_s']:.1f} s"
    lines += [f"{step['duration_s']:7.2f} s  {step['name']}: {step['title']}" for step in report["steps"]]
    count = report["sessions_drained"]
    if count and report["result"] not in ("held", "failed"):  # what is open still has not ended
        lines.append(f"Sessions that were in flight at the switch and have ended by themselves: {count}.")
    for what in ("sessions", "operations"):
        cut = report[f"{what}_cut"]
        if cut is None:
            lines.append(f"An unknown number of {what} was cut.")
        elif cut:
            lines.append(f"Cut {what}: {cut}.")
    if report["result"] == "kept":
        lines.append("Both versions run. Next: ansible-playbook zdd.rollout.promote, or zdd.rollout.rollback.")
    if report["failure"]:
        lines.append(f"because: {report['failure']}")
    return lines


def _write(path: Path, report: Mapping[str, Any]) -> bool:
    """Write the file whole or not at all; whether it changed."""
    text = json.dumps(report, indent=2) + "\n"
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.{os.getpid()}")
        staged.write_text(text, encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        raise InvalidInput("invalid_option", f"Option path: {path} cannot be written ({error.strerror}).") from None
    return True
