# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook ``rolling``, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.chaos.controller import kill_all
from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import Service, wait_for
from tests.rehearsal.playbook import Run, environment

HALF = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}


@pytest.fixture(name="app")
def _app(service: MakeService) -> Service:
    """An app without a colour that runs version 1."""
    made = service(instances=2, upgradeStrategy=HALF)
    made.marathon("POST", "/v2/apps", made.definition("1"))
    wait_for(lambda: [one["tasksHealthy"] for one in made.apps()] == [2] and not busy(made), "version 1 is healthy")
    return made


def roll(app: Service, version: str | dict[str, Any], *options: str, **variables: Any) -> Run:
    definition = version if isinstance(version, dict) else app.definition(version)
    app.sandbox.forget_requests()
    files = [str(app.cluster.folder / name) for name in ("report.json", "report.html")]
    given = {"rolling_app": definition, "rolling_report_file": files, **variables}
    return app.cluster.play("rolling", given, *options, timeout=240)


def busy(app: Service) -> bool:
    return any(one["deployments"] for one in app.apps())


def writes(app: Service) -> list[str]:
    """Requests that changed something, without those of the lock."""
    return [
        f"{entry['method']} {entry['path'].partition('?')[0]}"
        for entry in app.asked()
        if entry["method"] != "GET" and "zdd-rollout-locks" not in entry["path"] and entry["path"] != "/v2/apps"
    ]


def locks(app: Service) -> list[str]:
    """Those of this app: tests of faults in the same sandbox leave theirs to end by themselves."""
    apps = app.marathon("GET", "/v2/apps")["apps"]
    return [one["id"] for one in apps if one["labels"].get("ZDD_LOCK_GROUP") == app.group]


def test_it_shows_the_picture_upgrades_and_then_changes_nothing(app: Service) -> None:
    """Also with answers of a survey: texts, and empty ones."""
    empty = dict.fromkeys(["rolling_agents", "rolling_rollback", "rolling_watch_seconds", "rolling_offer_timeout"], "")
    before = app.state()

    shown = roll(app, "2", "--check", **empty)
    assert shown.code == 0 and shown.changed == 1, shown.output
    assert app.state() == before and writes(app) == []
    assert "[1] (2)  1 old killed, 1 new started" in shown.output
    assert "with rolling_drain=true each task is drained" in shown.output

    done = roll(app, "2", **empty, rolling_wait_timeout="120")
    assert done.code == 0 and done.changed == 1, done.output
    assert app.counts() == {"2": 2}
    assert writes(app) == [f"PUT /v2/apps{app.app_id}"]
    assert f"{app.app_id}: 1 -> 2: upgraded, 2 instances" in done.output
    assert "2 tasks that served were killed without draining (2 of 1)" in done.output
    assert locks(app) == []
    versions = done.report["series"]["versions"]
    assert {name: (points[0][1], points[-1][1]) for name, points in versions.items()} == {"1": (2, 0), "2": (0, 2)}
    assert done.result == "upgraded"
    assert "Instances" in (app.cluster.folder / "report.html").read_text()

    again = roll(app, "2")
    assert again.code == 0 and again.changed == 0, again.output
    assert "nothing to do, 2 runs with 2 instances" in again.output


def test_a_version_that_crashes_is_undone_and_the_play_fails_with_the_reason(app: Service) -> None:
    run = roll(app, app.definition("2", environment={"CRASH_AFTER": "0.2"}))

    assert run.code != 0
    assert app.counts() == {"1": 2}
    assert f"{app.app_id}: 1 -> 2: rolled back" in run.output
    assert "Rolled back to 1:" in run.output and "crash-loops: TASK_FAILED" in run.output
    assert "killed without draining" in run.output
    assert locks(app) == []
    assert run.result == "rolled back"
    assert "crash-loops" in run.report["steps"][0]["failure"]
    texts = [decision["text"] for decision in run.report["decisions"]]
    assert f"{app.app_id} goes back to 1" in texts
    assert any("killed without draining" in text for text in texts)


def test_a_run_that_is_killed_is_gone_on_with_and_no_second_upgrade_is_begun(app: Service) -> None:
    slow = app.definition("2", environment={"HEALTHY_AFTER": "3"})
    given = app.folder / "killed.json"
    given.write_text(json.dumps({"rolling_app": slow}))
    app.sandbox.forget_requests()
    process = subprocess.Popen(
        app.cluster.command("rolling", given),
        cwd=app.folder,
        env=environment(app.cluster.settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: bool(writes(app)), "the upgrade has begun")
        time.sleep(0.2)
    finally:
        kill_all(process.pid)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert locks(app), "it died with its lock"

    run = roll(app, slow)

    assert run.code == 0, run.output
    assert "follow the rolling upgrade that runs" in run.output
    assert [request for request in writes(app) if request.startswith(("PUT", "POST"))] == []
    assert app.counts() == {"2": 2}
    assert locks(app) == []


def test_what_can_never_end_is_refused_with_the_picture(app: Service) -> None:
    tight = app.definition(
        "2",
        constraints=[["hostname", "CLUSTER", "nowhere"], ["hostname", "UNIQUE"]],
        upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 0},
    )

    run = roll(app, tight)

    assert run.code != 0
    assert "can never end, so it is not begun; nothing was changed" in run.output
    assert writes(app) == [] and locks(app) == []


def test_drained_by_the_load_balancers_it_loses_no_request(service: MakeService) -> None:
    app = service(instances=2)
    first = roll(app, "1", rolling_drain=True)
    assert first.code == 0, first.output
    with app.traffic() as traffic:
        run = roll(app, "2", rolling_drain="true")
        assert run.code == 0, run.output
        assert app.counts() == {"2": 2}
        assert traffic.versions() == {"1", "2"}


def test_to_drain_without_load_balancers_is_refused(service: MakeService) -> None:
    app = service(instances=1)
    run = roll(app, "2", rolling_drain=True, rolling_marathon_lb_url=[])

    assert run.code != 0
    assert "rolling_marathon_lb_url is empty" in run.output
    assert writes(app) == []
