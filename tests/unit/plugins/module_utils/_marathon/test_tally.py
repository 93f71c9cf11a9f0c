# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rolling upgrade looks like while it goes on, and which tasks it killed while they served."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._marathon.tally import Tally

OLD, NEW, BACK = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z", "2026-01-03T00:00:00.000Z"
CHECKED = {"healthChecks": [{"path": "/health"}]}


def task(name: str, version: str = OLD, *, alive: bool = True, state: str = "TASK_RUNNING") -> dict[str, Any]:
    return {"id": f"{name}._app.1", "version": version, "state": state, "healthCheckResults": [{"alive": alive}]}


def status(name: str, state: str, version: str = NEW) -> dict[str, Any]:
    return {
        "eventType": "status_update_event",
        "taskId": f"{name}._app.1",
        "taskStatus": f"TASK_{state}",
        "version": version,
    }


def health(name: str, alive: bool, key: str = "instanceId") -> dict[str, Any]:
    return {"eventType": "health_status_changed_event", key: name if key == "instanceId" else f"{name}._app.1",
            "alive": alive}  # fmt: skip


@pytest.fixture
def tally() -> Tally:
    """Two tasks of 0.9 that serve, and 1.0 has begun."""
    made = Tally()
    made.begin("0.9", CHECKED)
    made.look({**CHECKED, "tasks": [task("a"), task("b")]})
    made.begin("1.0", CHECKED, after=OLD)
    return made


def test_events_alone_keep_the_picture(tally: Tally) -> None:
    seen = [tally.picture()]
    for event in (
        status("c", "STAGING"),
        status("c", "RUNNING"),
        health("c", True),
        status("a", "KILLED", OLD),
        status("b", "KILLING", OLD),
    ):
        tally.event(event)
        seen.append(tally.picture())

    assert seen == [
        "[0.9] [0.9]",
        "[0.9] [0.9] (1.0)",
        "[0.9] [0.9] (1.0)",
        "[0.9] [0.9] [1.0]",
        "[0.9] [1.0]",
        "[1.0]",
    ]
    assert tally.killed() == {"0.9": 2}


def test_health_events_of_old_marathons_name_the_task(tally: Tally) -> None:
    tally.event(status("c", "RUNNING"))
    tally.event(health("c", True, key="taskId"))

    assert tally.picture() == "[0.9] [0.9] [1.0]"


def test_without_a_health_check_a_running_task_serves() -> None:
    tally = Tally()
    tally.begin("0.9", {})
    tally.event(status("a", "RUNNING", OLD))

    assert tally.picture() == "[0.9]"


def test_a_look_puts_right_what_events_left_out(tally: Tally) -> None:
    tally.look({**CHECKED, "tasks": [task("b", alive=False), task("c", NEW), task("d", NEW, state="TASK_STAGING")]})

    assert tally.picture() == "[0.9!] (1.0) [1.0]"
    assert tally.killed() == {"0.9": 1}, "a is there no more"


def test_a_task_that_is_gone_does_not_come_back_by_an_answer_from_before(tally: Tally) -> None:
    tally.event(status("a", "KILLED", OLD))
    tally.look({**CHECKED, "tasks": [task("a"), task("b")]})

    assert tally.picture() == "[0.9]"
    assert tally.killed() == {"0.9": 1}


def test_what_fails_by_itself_or_never_served_is_not_killed_by_the_upgrade(tally: Tally) -> None:
    tally.event(status("a", "FAILED", OLD))
    tally.event({"eventType": "unhealthy_instance_kill_event", "taskId": "b._app.1"})
    tally.event(status("b", "KILLED", OLD))
    tally.event(status("c", "RUNNING"))
    tally.event(status("c", "KILLED"))

    assert tally.killed() == {}


def test_what_is_killed_on_the_way_back_counts_too(tally: Tally) -> None:
    """Marathon's rollback replaces the old tasks that are left as well."""
    tally.look({**CHECKED, "tasks": [task("b"), task("c", NEW)]})
    tally.begin("0.9", CHECKED, after=NEW)
    tally.look({**CHECKED, "tasks": [task("d", BACK), task("e", BACK)]})

    assert tally.picture() == "[0.9] [0.9]"
    assert tally.killed() == {"0.9": 2, "1.0": 1}
