# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report does not make less of a cut than it was, and its files say what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._operations import rollout_report

RUN = {"started": 100.0, "ended": 103.0, "result": "promoted"}


def report(context: Context | None = None, **options: Any) -> dict[str, Any]:
    """The result of the operation, its options validated as Ansible does it."""
    given = {"plan": {"group": "web"}, **RUN, **options} if "reports" not in options else options
    validation = ArgumentSpecValidator(rollout_report.ARGUMENT_SPEC, **rollout_report.ARGUMENT_RULES).validate(given)
    assert not validation.error_messages, validation.error_messages
    return rollout_report.run(validation.validated_parameters, context or Context())


def reported(**counts: int | None) -> tuple[dict[str, Any], str]:
    """The report of a switch with 5 sessions in flight and of a drain that ended with ``counts``."""
    journal = [
        {"name": "switched", "title": "a", "ended": 101.0, "sessions": 5},
        {"name": "drained", "title": "b", "ended": 102.0, **counts},
    ]
    result = report(journal=journal)
    return result["report"], "\n".join(result["lines"])


@pytest.mark.parametrize("what", ["sessions", "operations"])
def test_an_unknown_number_of_cuts_is_called_that_and_not_none(what: str) -> None:
    found, lines = reported(**{f"{what}_cut": None})

    assert found[f"{what}_cut"] is None
    assert found["sessions_drained"] is None
    assert f"An unknown number of {what} was cut." in lines
    assert "by themselves" not in lines
    assert found["decisions"][0]["text"] == f"cut an unknown number of {what}"


def test_what_was_cut_has_not_ended_by_itself() -> None:
    found, lines = reported(operations_cut=2)

    assert (found["sessions_drained"], found["operations_cut"]) == (3, 2)
    assert "Cut operations: 2." in lines


def test_without_a_cut_all_have_ended_by_themselves() -> None:
    found, lines = reported(sessions_cut=0)

    assert found["sessions_drained"] == 5
    assert "cut" not in lines


def test_a_rollout_that_holds_does_not_say_that_its_sessions_have_ended() -> None:
    journal = [{"name": "switched", "title": "a", "ended": 101.0, "sessions": 5}]

    lines = report(journal=journal, result="held", failure="open")["lines"]

    assert "by themselves" not in "\n".join(lines)


def test_the_suffix_of_a_file_tells_its_form(tmp_path: Path) -> None:
    paths = [tmp_path / "deep" / name for name in ("a.json", "a.HTML", "a.txt", "a")]

    result = report(path=[str(path) for path in paths])

    assert result["changed"]
    assert json.loads(paths[0].read_text()) == json.loads(paths[3].read_text()) == result["report"]
    assert paths[1].read_text().startswith("<!DOCTYPE html>")
    assert paths[2].read_text().startswith(result["lines"][0])
    assert not report(path=[str(path) for path in paths])["changed"], "it is there already"
    assert len(list(paths[0].parent.iterdir())) == 4, "nothing but the files is left"


def test_a_file_that_cannot_be_written_is_a_warning_and_the_others_are_written(tmp_path: Path) -> None:
    context = Context()

    result = report(context, path=["/proc/none/report.json", str(tmp_path / "report.json")])

    assert result["changed"]
    assert (tmp_path / "report.json").exists()
    assert len(context.warnings) == 1 and "/proc/none/report.json could not be written" in context.warnings[0]


def test_nothing_is_written_in_check_mode(tmp_path: Path) -> None:
    assert report(Context(check_mode=True), path=[str(tmp_path / "report.json")])["changed"]

    assert not list(tmp_path.iterdir())


def test_several_reports_become_one() -> None:
    one = report(cluster="east", journal=[{"name": "a", "title": "b", "ended": 101.0, "sessions": 2}])["report"]
    other = report(started=101.0, ended=110.0, result="rolled back", failure="bad", cluster="west")["report"]
    lost = {"cluster": "north", "result": "failed", "failure": "unreachable"}

    pair = report(reports=[one, other])["report"]
    found = report(reports=[pair, lost], title="Release 2")

    assert found["report"]["result"] == "mixed"
    assert found["report"]["results"] == {"promoted": 1, "rolled back": 1, "failed": 1}
    assert found["report"]["duration_s"] == 10.0
    assert found["report"]["sessions_drained"] == 2
    assert [part["cluster"] for part in found["report"]["reports"]] == ["east", "west", "north"]
    assert [line for line in found["lines"] if "north" in line or "unreachable" in line] == [
        "north: failed",
        "  because: unreachable",
    ]


def test_the_stages_of_one_group_in_one_cluster_become_one() -> None:
    """Kept first, promoted a minute later: one rollout, with the steps of both and the result of the last."""
    journal = [{"name": "switched", "title": "a", "ended": 101.0, "sessions": 2}]
    kept = report(cluster="east", result="kept", journal=journal)["report"]
    other = report(cluster="west", result="kept")["report"]
    later = [{"name": "retire", "title": "b", "ended": 161.0, "sessions_cut": 1}]
    done = report(cluster="east", started=160.0, ended=162.0, journal=later)["report"]

    found = report(reports=[kept, other, done])["report"]

    assert [(part["cluster"], part["result"]) for part in found["reports"]] == [("east", "promoted"), ("west", "kept")]
    east = found["reports"][0]
    assert [(step["name"], step["started_s"]) for step in east["steps"]] == [("switched", 0.0), ("retire", 60.0)]
    assert (east["duration_s"], east["sessions_cut"]) == (62.0, 1)


@pytest.mark.parametrize("reports", [[], [{"cluster": "east"}]])
def test_what_is_no_report_is_refused(reports: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidInput, match="Option reports"):
        report(reports=reports)
