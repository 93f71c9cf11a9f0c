# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad versions under load: the rollout goes back by itself, and no client has a failed request."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import Service, all_from, names, wait_for
from tests.sandbox.clients import clients

CUT_BY_A_CRASH = {"eof", "eof_on_kept_connection", "reset", "truncated", "status_502"}
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
    live: Service, environment: dict[str, str], variables: dict[str, Any], reason: str
) -> None:
    """It is removed before any client sees it; the reason is told."""
    app = live
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


def test_failing_check_files_keep_a_version_from_the_clients(live: Service, tmp_path: Path) -> None:
    """The user's own tasks decide as well."""
    checks = tmp_path / "checks.yml"
    checks.write_text("- name: The support is asked\n  ansible.builtin.fail:\n    msg: the support says no\n")
    app = live
    with app.traffic() as traffic:
        run = app.play("bluegreen", "2", bluegreen_check_files=[str(checks)])
        assert run.code != 0
        assert run.result == "rolled back", run.output
        assert "the support says no" in run.report["failure"]
        assert app.counts() == {"1": 4}
        assert all_from(traffic, "1")
        assert traffic.versions() == {"1"}


def test_a_version_that_gets_unhealthy_while_it_bakes_is_rolled_back(service: MakeService) -> None:
    """It has all the traffic when it falls ill; the old version is warm, and takes it back without a lost request."""
    app = service(instances=10)
    app.deploy("1")
    with app.traffic() as traffic:
        ill = app.definition("2", environment={"UNHEALTHY_AFTER": "12"})
        run = app.play("bluegreen", ill, bluegreen_bake_seconds=LONG)
        assert run.code != 0
        assert run.result == "rolled back", run.output
        assert "healthy during the bake" in run.report["failure"] or "does not send" in run.report["failure"]
        assert traffic.first_met("2") is not None
        assert app.counts() == {"1": 10}
        assert all_from(traffic, "1")


def test_a_version_that_crashes_while_it_bakes_is_rolled_back(live: Service, tmp_path: Path) -> None:
    """What a crashed task was doing is lost, as always; nothing that was sent after the traffic had turned back is."""
    app = live
    baking = tmp_path / "baking"
    hook = tmp_path / "hook.yml"
    hook.write_text(f"- name: The bake begins\n  ansible.builtin.file:\n    path: {baking}\n    state: touch\n")

    def crash() -> None:
        wait_for(baking.exists, "the bake", timeout=120)
        time.sleep(1)
        green = next(one for one in app.apps() if one["id"].endswith("-green"))
        app.sandbox.fault("task_kill", task=green["tasks"][0]["id"])

    with clients(app.urls()) as traffic:
        traffic.wait_until_flowing()
        crashing = threading.Thread(target=crash, daemon=True)
        crashing.start()
        run = app.play("bluegreen", "2", bluegreen_bake_seconds=LONG, bluegreen_hooks={"bake": [str(hook)]})
        crashing.join()
        assert run.code != 0
        assert run.result == "rolled back", run.output
        assert "during the bake" in run.report["failure"]
        assert app.counts() == {"1": 4}
        assert all_from(traffic, "1")
        report = traffic.stop()
    turned_back = app.turned_to(f"{app.app_id}-blue", again=True)
    # What went on at a task when it crashed may have been sent before, or be a message of such a websocket.
    late = [failure for failure in report["failures"] if failure["t"] > turned_back]
    assert not late, late
    assert {failure["cause"] for failure in report["failures"]} <= CUT_BY_A_CRASH


def test_a_broken_version_stays_where_a_rollback_is_not_wanted(live: Service) -> None:
    """With ``bluegreen_rollback: false`` the traffic stays on the old version, and a rollback.yml cleans up."""
    app = live
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
