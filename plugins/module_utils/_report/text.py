# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lines_of(report: Mapping[str, Any]) -> list[str]:
    """Return the lines of one rollout's report, or of many that were merged."""
    if "reports" in report:
        lines = [_summary(report)]
        for one in report["reports"]:
            head, *rest = _of_one(one)
            lines += [_where(one) + head, *(f"  {line}" for line in rest)]
        return lines
    return _of_one(report)


def _of_one(report: Mapping[str, Any]) -> list[str]:
    lines = [f"{heading(report)}: {report['result']}" if report["group"] else str(report["result"])]
    if report["instances"] and report["steps"]:
        lines[0] += f", {report['instances']} instances, {report['duration_s']:.1f} s"
    for step in report["steps"]:
        lines.append(f"{step['duration_s']:7.2f} s  {step['name']}: {step['title']}")
    count = report["sessions_drained"]
    if count and report["result"] not in ("held", "failed"):  # what is open still has not ended
        lines.append(f"Sessions that were in flight at the switch and have ended by themselves: {count}.")
    for what in ("sessions", "operations"):
        cut = report[f"{what}_cut"]
        if cut is None:
            lines.append(f"An unknown number of {what} was cut.")
        elif cut:
            lines.append(f"Cut {what}: {cut}.")
    if report["result"] in ("kept", "paused"):
        playbooks = "zdd.rollout.swarm_" if _is_of_swarm(report) else "zdd.rollout."
        lines.append(f"Both versions run. Next: ansible-playbook {playbooks}promote, or {playbooks}rollback.")
    if report["failure"]:
        lines.append(f"because: {report['failure']}")
    return lines


def _is_of_swarm(report: Mapping[str, Any]) -> bool:
    """Whether no Marathon had a part in it."""
    return not report["marathon"]


def full_text(report: Mapping[str, Any]) -> str:
    """Return the report as a text file has it: also when, by whom, on which evidence, and what was decided."""
    reports = report.get("reports", [report])
    parts = [_full(one) for one in reports]
    if "reports" in report:
        parts.insert(0, _summary(report))
    return "\n\n".join(parts) + "\n"


def heading(report: Mapping[str, Any]) -> str:
    """``shop_web: 1 -> 2``."""
    return f"{report['group']}: {versions(report)}" if report["group"] else str(report["cluster"] or "A rollout")


def versions(report: Mapping[str, Any]) -> str:
    """``1 -> 2``."""
    return f"{report['from'] or 'nothing'} -> {report['to'] or 'nothing'}"


def _where(report: Mapping[str, Any]) -> str:
    return f"{report['cluster']}: " if report["cluster"] else ""


def _summary(report: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count} {result}" for result, count in report["results"].items())
    return f"{len(report['reports'])} rollouts in {report['duration_s']:.1f} s: {counts}"


def _full(report: Mapping[str, Any]) -> str:
    head, *_steps = lines = _of_one(report)
    told: list[tuple[tuple[float, int], str]] = []  # a decision comes before the step that it leads to
    for step in report["steps"]:
        at = step["started_s"], 1
        told.append((at, f"{at[0]:7.2f} s  {step['name']}: {step['title']} ({step['duration_s']:.2f} s)"))
        told += [(at, f"           seen: {text}") for text in step["evidence"]]
        if step["failure"]:
            told.append((at, f"           failed: {step['failure']}"))
    for decision in report["decisions"]:
        reason = f", because: {decision['reason']}" if decision["reason"] else ""
        told.append(((decision["at_s"], 0), f"{decision['at_s']:7.2f} s  decided: {decision['text']}{reason}"))
    by_time = [line for _at, line in sorted(told, key=lambda one: one[0])]
    times = f"From {report['started']} to {report['ended']}, by {report['owner']}."
    return "\n".join([_where(report) + head, times, *by_time, *lines[1 + len(report["steps"]) :]])
