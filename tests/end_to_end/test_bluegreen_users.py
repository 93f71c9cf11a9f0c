# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users add: hooks, checks, handlers, reports, several clusters in one play."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import Service, all_from, inventory, names, recap
from tests.sandbox import launch


def test_hooks_run_before_their_steps_and_the_report_has_all_steps(live: Service, tmp_path: Path) -> None:
    """Each step may have a list of task files; the report says what was done, by step, with times."""
    log = tmp_path / "log"
    hooks: dict[str, list[str]] = {}
    for step in ("create", "checked", "switched", "retire"):
        for number in (1, 2):
            file = tmp_path / f"{step}-{number}.yml"
            file.write_text(
                f"- name: It is noted\n  ansible.builtin.shell: echo {step}-{number}"
                f' "{{{{ __bluegreen_step.app_id }}}}" >> {log}\n'
            )
            hooks.setdefault(step, []).append(str(file))
    check = tmp_path / "check.yml"
    check.write_text(f"- name: The user's own check\n  ansible.builtin.shell: echo check file >> {log}\n")
    with live.traffic():
        run = live.deploy(
            "2", bluegreen_hooks=hooks, bluegreen_check_files=[str(check)], bluegreen_checks=[{"path": "/"}]
        )
    green, blue = "/shop/live-green", "/shop/live-blue"
    old, new = (green, blue) if live.ids() == [blue] else (blue, green)
    assert log.read_text().splitlines() == [
        f"create-1 {new}",
        f"create-2 {new}",
        f"checked-1 {new}",
        f"checked-2 {new}",
        "check file",
        f"switched-1 {new}",
        f"switched-2 {new}",
        f"retire-1 {old}",
        f"retire-2 {old}",
    ]
    assert [name for name in names(run) if name != "hook"] == [
        "create",
        "healthy",
        "checked",
        "switched",
        "drained",
        "retire",
    ]
    report = run.report
    assert (report["from"], report["to"], report["result"]) == ("1", "2", "promoted")
    assert (report["group"], report["instances"], report["failure"]) == ("shop_live", 4, None)
    assert (report["sessions_cut"], report["operations_cut"]) == (0, 0)
    assert all(step["duration_s"] >= 0 and step["title"] for step in report["steps"])
    assert sum(step["duration_s"] for step in report["steps"]) <= report["duration_s"]
    assert "1 -> 2: promoted, 4 instances" in run.output


def test_any_task_may_notify_the_rollback(live: Service, tmp_path: Path) -> None:
    """A user's own task after the role, with the old version kept, notifies the handler: the old version is live."""
    play = tmp_path / "play.yml"
    play.write_text(
        "- name: Ours\n"
        "  hosts: all\n"
        "  connection: local\n"
        "  gather_facts: false\n"
        "  roles:\n"
        "    - role: zdd.rollout.bluegreen\n"
        "  tasks:\n"
        "    - name: Our own check finds it bad\n"
        "      ansible.builtin.command: /bin/true\n"
        "      changed_when: true\n"
        "      notify: Roll back bluegreen\n"
    )
    with live.traffic() as traffic:
        run = live.play(str(play), "2", bluegreen_keep_old=True)
        assert run.code == 0, run.output
        assert run.result == "rolled back"
        assert live.counts() == {"1": 4}
        assert traffic.first_met("2") is not None
        assert all_from(traffic, "1")


@pytest.fixture
def clusters(sandboxes: Callable[..., launch.Running]) -> dict[str, launch.Running]:
    return {"east": sandboxes(lbs=2, agents=4), "west": sandboxes(lbs=1, agents=4)}


def test_waves_go_through_the_clusters_and_stop_at_the_first_failure(
    service: MakeService, clusters: dict[str, launch.Running]
) -> None:
    """Each host is a cluster. All at once, then in waves of one: a bad version in the first one spares the second."""
    east = service(app_id="/fleet", on=clusters["east"], instances=2)
    west = service(app_id="/fleet", on=clusters["west"], instances=2)
    west.port = east.port
    east.cluster.use(inventory(clusters))
    assert east.deploy("1").code == 0
    assert east.counts() == west.counts() == {"1": 2}

    with east.traffic() as in_the_east, west.traffic() as in_the_west:
        run = east.deploy("2", bluegreen_serial=1)
        assert all(recap(run, host)["failed"] == 0 for host in clusters)
        assert east.counts() == west.counts() == {"2": 2}
        met = [traffic.first_met("2") for traffic in (in_the_east, in_the_west)]
        assert met[0] is not None and met[1] is not None and east.removed("/fleet-blue") < met[1]

        checks: dict[str, Any] = {"bluegreen_checks": [{"path": "/"}], "bluegreen_check_timeout": 1}
        bad = east.definition("3", environment={"ERROR_RATE": "1"})
        before = json.dumps(west.state())
        run = east.play("bluegreen", bad, bluegreen_serial=1, bluegreen_any_errors_fatal=True, **checks)
        assert run.code != 0
        assert recap(run, "east")["failed"] == 1
        assert "west" not in run.output.rpartition("PLAY RECAP")[2]
        assert json.dumps(west.state()) == before
        assert east.counts() == {"2": 2}
        assert "3" not in in_the_east.versions() | in_the_west.versions()
