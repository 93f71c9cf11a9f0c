# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad versions under load: the rollout goes back by itself, and no client has a failed request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import all_from, names
from tests.sandbox.clients import clients

LONG = 60  # seconds of bake; each of these ends it early


@pytest.mark.parametrize(
    ("environment", "variables", "reason"),
    [
        pytest.param({"ERROR_RATE": "1"}, {"bluegreen_checks": [{"path": "/"}]}, "500", id="check-fails"),
        pytest.param({"HEALTHY_AFTER": "600"}, {"bluegreen_healthy_timeout": 4}, "healthy", id="never-healthy"),
        pytest.param({"CRASH_AFTER": "0.2"}, {}, "TASK_FAILED", id="crash-loop"),
    ],
)
def test_a_version_that_is_bad_from_the_start_is_never_met(
    service: MakeService, environment: dict[str, str], variables: dict[str, Any], reason: str
) -> None:
    """It is removed before any client sees it; the reason is told."""
    app = service()
    app.deploy("1")
    with app.traffic() as traffic:
        run = app.play(
            "bluegreen", app.definition("2", environment=environment), bluegreen_check_timeout=1, **variables
        )
        assert run.code != 0
        assert run.result == "rolled back", run.output
        assert reason in run.report["failure"]
        assert "switched" not in names(run)[: names(run).index("retire")] or traffic.first_met("2") is None
        assert app.counts() == {"1": 4}
        assert all_from(traffic, "1")
        assert traffic.versions() == {"1"}


def test_failing_check_files_keep_a_version_from_the_clients(service: MakeService, tmp_path: Path) -> None:
    """The user's own tasks decide as well; with 10 instances."""
    checks = tmp_path / "checks.yml"
    checks.write_text("- name: The support is asked\n  ansible.builtin.fail:\n    msg: the support says no\n")
    app = service(instances=10)
    app.deploy("1")
    with app.traffic() as traffic:
        run = app.play("bluegreen", "2", bluegreen_check_files=[str(checks)])
        assert run.code != 0
        assert run.result == "rolled back", run.output
        assert "the support says no" in run.report["failure"]
        assert app.counts() == {"1": 10}
        assert all_from(traffic, "1")
        assert traffic.versions() == {"1"}


@pytest.mark.parametrize("instances", [4, 10])
def test_a_version_that_gets_unhealthy_while_it_bakes_is_rolled_back(service: MakeService, instances: int) -> None:
    """It has all the traffic when it falls ill; the old version is warm, and takes it back without a lost request."""
    app = service(instances=instances)
    app.deploy("1")
    with app.traffic() as traffic:
        ill = app.definition("2", environment={"UNHEALTHY_AFTER": "14"})
        run = app.play("bluegreen", ill, bluegreen_bake_seconds=LONG)
        assert run.code != 0
        assert run.result == "rolled back", run.output
        assert "healthy during the bake" in run.report["failure"] or "does not send" in run.report["failure"]
        assert traffic.first_met("2") is not None
        assert app.counts() == {"1": instances}
        assert all_from(traffic, "1")


def test_a_version_that_crashes_while_it_bakes_is_rolled_back(service: MakeService, tmp_path: Path) -> None:
    """What a crashed task was doing is lost, as always; nothing that was sent after the traffic had turned back is."""
    crash = tmp_path / "crash.yml"
    app = service()
    app.deploy("1")
    crash.write_text(
        "- name: A task of the new version will crash\n"
        "  ansible.builtin.uri:\n"
        f"    url: {app.sandbox.control}/faults\n"
        "    method: POST\n"
        "    body_format: json\n"
        f"    body: {{kind: task_kill, app: {app.app_id}-green}}\n"
        "  async: 30\n"
        "  poll: 0\n"
    )
    with clients(app.urls()) as traffic:
        traffic.wait_until_flowing()
        run = app.play("bluegreen", "2", bluegreen_bake_seconds=LONG, bluegreen_hooks={"bake": [str(crash)]})
        assert run.code != 0
        assert run.result == "rolled back", run.output
        assert "during the bake" in run.report["failure"]
        assert app.counts() == {"1": 4}
        assert all_from(traffic, "1")
        report = traffic.stop()
    turned_back = app.turned_to(f"{app.app_id}-blue")
    late = [failure for failure in report["failures"] if failure["t"] > turned_back]
    assert not late, late
    assert {failure["cause"] for failure in report["failures"]} <= {"eof", "truncated", "reset", "status_502"}


def test_a_broken_version_stays_where_a_rollback_is_not_wanted(service: MakeService) -> None:
    """With ``bluegreen_rollback: false`` the traffic stays on the old version, and a rollback.yml cleans up."""
    app = service()
    app.deploy("1")
    with app.traffic() as traffic:
        broken = app.definition("2", environment={"ERROR_RATE": "1"})
        run = app.play(
            "bluegreen", broken, bluegreen_checks=[{"path": "/"}], bluegreen_check_timeout=1, bluegreen_rollback=False
        )
        assert run.code != 0
        assert run.result == "failed"
        assert app.counts() == {"1": 4, "2": 4}
        assert all_from(traffic, "1")
        back = app.play("rollback", broken)
        assert back.code == 0 and back.result == "rolled back", back.output
        assert app.counts() == {"1": 4}
        assert traffic.versions() == {"1"}
