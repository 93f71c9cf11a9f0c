# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report does not make less of a cut than it was."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._operations import rollout_report


def reported(**counts: int | None) -> tuple[dict[str, Any], str]:
    """The report of a switch with 5 sessions in flight and of a drain that ended with ``counts``."""
    journal = [
        {"name": "switched", "title": "a", "ended": 101.0, "sessions": 5},
        {"name": "drained", "title": "b", "ended": 102.0, **counts},
    ]
    params = {"plan": {"group": "web"}, "journal": journal, "started": 100.0, "ended": 103.0, "result": "promoted"}
    result = rollout_report.run({**params, "failure": None, "failed_at": None, "path": None}, Context())
    return result["report"], "\n".join(result["lines"])


@pytest.mark.parametrize("what", ["sessions", "operations"])
def test_an_unknown_number_of_cuts_is_called_that_and_not_none(what: str) -> None:
    report, lines = reported(**{f"{what}_cut": None})

    assert report[f"{what}_cut"] is None
    assert report["sessions_drained"] is None
    assert f"An unknown number of {what} was cut." in lines
    assert "by themselves" not in lines


def test_what_was_cut_has_not_ended_by_itself() -> None:
    report, lines = reported(operations_cut=2)

    assert (report["sessions_drained"], report["operations_cut"]) == (3, 2)
    assert "Cut operations: 2." in lines


def test_without_a_cut_all_have_ended_by_themselves() -> None:
    report, lines = reported(sessions_cut=0)

    assert report["sessions_drained"] == 5
    assert "cut" not in lines


def test_a_rollout_that_holds_does_not_say_that_its_sessions_have_ended() -> None:
    journal = [{"name": "switched", "title": "a", "ended": 101.0, "sessions": 5}]
    params = {"plan": {"group": "web"}, "journal": journal, "started": 100.0, "ended": 103.0, "result": "held"}

    lines = rollout_report.run({**params, "failure": "open", "failed_at": None, "path": None}, Context())["lines"]

    assert "by themselves" not in "\n".join(lines)
