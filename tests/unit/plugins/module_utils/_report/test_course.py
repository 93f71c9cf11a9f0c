# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says of a journal."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._report.course import course

PLAN = {
    "group": "web",
    "goal": "deploy",
    "from": "1",
    "to": "2",
    "target": 4,
    "old": {"app_id": "/web-blue", "colour": "blue", "version": "1", "healthy": 4, "traffic": "all"},
    "new_id": "/web-green",
    "new_colour": "green",
    "steps": [{"name": "create"}],
    "notes": ["it goes in shares"],
}


def told(*journal: dict[str, Any], **options: Any) -> dict[str, Any]:
    given = {"started": 100.0, "ended": 110.0, "result": "promoted", "failure": None, "failed_at": None}
    places = {"cluster": "east", "marathon": [], "load_balancers": [], "owner": "me"}
    return course({"plan": PLAN, "journal": list(journal), **given, **places, **options})


def entry(ended: float, *samples: list[Any], name: str = "healthy", **more: Any) -> dict[str, Any]:
    return {"name": name, "title": f"the {name} step", "ended": ended, "samples": list(samples), **more}


def test_times_are_seconds_since_the_start() -> None:
    """A sample is so many seconds older than the end of its operation, whatever clock its host has."""
    found = told(entry(104.0, [1.5, "instances", {"/web-green": 2}], [0.0, "instances", {"/web-green": 4}]))

    assert found["series"]["instances"] == {
        "/web-blue": [[0.0, 4]],
        "/web-green": [[0.0, 0], [2.5, 2], [4.0, 4]],
    }
    assert found["series"]["share"] == {"/web-blue": [[0.0, 100]], "/web-green": [[0.0, 0]]}
    assert (found["steps"][0]["started_s"], found["steps"][0]["duration_s"]) == (0.0, 4.0)
    assert found["started"] == "1970-01-01T00:01:40+00:00"


def test_shares_of_servers_become_shares_of_their_apps() -> None:
    """A load balancer knows addresses, the operation before it whose they are."""
    known = entry(101.0, [0.0, "servers", {"a:1": "/web-blue", "b:1": "/web-blue", "c:1": "/web-green"}])
    shares = entry(
        102.0, [0.5, "server_share", {"a:1": 50, "b:1": 45.02, "c:1": 4.98}], [0.0, "server_share", {"c:1": 100}]
    )
    foreign = entry(103.0, [0.0, "server_share", {"c:1": 50, "z:1": 50}])

    assert told(known, shares, foreign)["series"]["share"] == {
        "/web-blue": [[0.0, 100], [1.5, 95.0], [2.0, 0.0]],
        "/web-green": [[0.0, 0], [1.5, 5.0], [2.0, 100.0]],
    }


def test_errors_count_on_from_operation_to_operation() -> None:
    first = entry(102.0, [0.0, "errors", {"2": {"requests": 100, "errors": 1}}])
    second = entry(104.0, [1.0, "errors", {"2": {"requests": 5, "errors": 0}}],
                   [0.0, "errors", {"2": {"requests": 50, "errors": 2}}])  # fmt: skip

    assert told(first, second)["series"]["errors"] == {"2": [[2.0, 100, 1], [3.0, 105, 1], [4.0, 150, 3]]}


@pytest.mark.parametrize("value", [None, "many", True, float("nan"), [1], {"requests": 1}])
def test_what_is_no_number_is_no_point(value: Any) -> None:
    found = told(entry(102.0, [0.0, "sessions", {"lb": value}], [0.0, "errors", {"2": value}]))

    assert "lb" not in found["series"].get("sessions", {})
    assert "errors" not in found["series"]


def test_a_failed_step_is_there_with_its_cause_and_what_was_decided() -> None:
    failed = entry(103.0, [0.5, "evidence", {"text": "so far so good"}], name="bake", failed=True, msg="it crashed")
    back = entry(105.0, name="switched")

    found = told(entry(101.0), back, failed, result="rolled back", failure="it crashed", failed_at=103.1)

    assert [step["name"] for step in found["steps"]] == ["healthy", "bake", "switched"]
    assert found["steps"][1]["failure"] == "it crashed"
    assert found["steps"][1]["evidence"] == ["so far so good"]
    assert found["decisions"] == [
        {"at_s": 0.0, "text": "it goes in shares", "reason": None},
        {"at_s": 3.0, "text": "go back to the old version", "reason": "it crashed"},
    ]


def test_a_failure_of_a_users_task_is_a_step_too() -> None:
    found = told(entry(101.0), failed_at=102.5, failure="the support says no", result="held")

    assert found["steps"][-1]["failure"] == "the support says no"
    assert found["decisions"][-1] == {"at_s": 2.5, "text": "hold", "reason": "the support says no"}


def test_entries_of_another_run_are_left_out() -> None:
    assert [step["duration_s"] for step in told(entry(99.0), entry(101.0))["steps"]] == [1.0]


def test_operations_of_one_step_are_one_line_and_say_the_same_once() -> None:
    """They follow each other under the same title."""
    seen = [0.0, "evidence", {"text": "all idle"}]

    found = told(entry(101.0, seen), entry(102.0, seen, [0.0, "evidence", {"text": "and gone"}]))

    assert [(step["duration_s"], step["evidence"]) for step in found["steps"]] == [(2.0, ["all idle", "and gone"])]


def test_passwords_in_addresses_are_left_out() -> None:
    found = told(marathon=["http://me:se@cret@one:8080/x@y"], load_balancers=["http://lb:9090"])

    assert found["marathon"] == ["http://one:8080/x@y"]
    assert found["load_balancers"] == ["http://lb:9090"]


@pytest.mark.parametrize("samples", ["{", "[[1]]", [["soon", "a", {}]], 5, [[1, "a", 5]]])
def test_samples_that_cannot_be_read_are_refused(samples: Any) -> None:
    with pytest.raises(InvalidInput, match="samples that cannot be read"):
        told({"name": "a", "title": "b", "ended": 101.0, "samples": samples})
