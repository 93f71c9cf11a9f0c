# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of the role where something is missing: a limit of idle connections, an answer to the unlock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.stage import Service, long_connection, names, wait_for
from tests.sandbox import launch

SECRET = "hush-hush"


@pytest.fixture(name="sandbox", scope="module")
def _sandbox() -> Iterator[launch.Running]:
    with launch.start() as running:
        yield running


@pytest.fixture(name="web")
def _web(sandbox: launch.Running, tmp_path: Path) -> Iterator[Service]:
    service = Service(sandbox, tmp_path, "/web", 10000, instances=1)
    service.deploy("1")
    yield service
    sandbox.clear_faults()
    service.remove()


def test_the_tasks_word_and_the_workers_end_are_awaited_where_no_idle_limit_is_known(
    sandbox: launch.Running, web: Service, tmp_path: Path
) -> None:
    """The tasks are idle at once; somebody else's request keeps the old worker, which could still ask them."""
    other = Service(sandbox, tmp_path, "/other", 10010, instances=1)
    other.marathon("POST", "/v2/apps", {**other.definition("other"), "id": other.app_id})
    wait_for(other.served, "the LB serves the other app")
    hook = tmp_path / "hook.yml"
    # Stands in for an LB whose configuration has no limit.
    hook.write_text("- ansible.builtin.set_fact:\n    __bluegreen_drained: {keep_alive_seconds: null}\n")
    with long_connection(other.urls()[0], seconds=8) as connection:
        run = web.deploy(
            "2",
            bluegreen_pending_operations={"path": "/pending", "jmespath": "pending"},
            bluegreen_hooks={"quiet": [str(hook)]},
            bluegreen_drain_timeout=40,
        )
        assert not connection.whole, "the request, and with it the old worker, has ended before the rollout"
    assert "quiet" in names(run)
    assert web.counts() == {"2": 1}
    other.remove()


def test_an_unlock_without_an_answer_hides_neither_the_failure_nor_the_report(
    sandbox: launch.Running, web: Service, tmp_path: Path
) -> None:
    """Nor is a secret header of the checks shown on the way."""
    check = tmp_path / "check.yml"
    fault = {"kind": "marathon_status", "status": 503, "seconds": 120}
    check.write_text(
        "- ansible.builtin.uri:\n"
        f"    url: {sandbox.control}/faults\n    method: POST\n    body_format: json\n    body: {json.dumps(fault)}\n"
        "    status_code: [200, 201, 202, 204]\n"
        "- ansible.builtin.fail:\n    msg: It looks odd.\n"
    )
    run = web.play(
        "bluegreen",
        "2",
        "-vvv",
        bluegreen_checks=[{"path": "/"}],
        bluegreen_check_secret_headers={"X-Token": SECRET},
        bluegreen_check_files=[str(check)],
        bluegreen_rollback=False,
        bluegreen_retry_timeout=1,
    )
    assert run.code != 0
    assert "could not be given back" in run.output
    assert "Failed: It looks odd." in run.output
    assert run.report["failure"] == "It looks odd."
    assert "X-Token" in run.output
    secret = [line for line in run.output.splitlines() if SECRET in line]
    assert secret == []
