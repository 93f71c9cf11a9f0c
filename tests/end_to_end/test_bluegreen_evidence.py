# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else's long request keeps an LB's process from before the switch alive: what then ends a drain."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import Connection, Service, all_from, long_connection, names, wait_for

JSON = {"path": "/pending", "jmespath": "pending"}
METRIC = {"path": "/metrics", "metric": "pending_operations"}


@pytest.fixture
def busy(service: MakeService) -> Iterator[Connection]:
    """Another app on the same LBs, in the middle of a request that takes a minute."""
    other = service(instances=1)
    other.marathon("POST", "/v2/apps", {**other.definition("other"), "id": other.app_id})
    wait_for(other.served, "every LB serves the other app")
    with long_connection(other.urls()[0]) as connection:
        yield connection


@contextmanager
def ended_when(marker: Path, connection: Connection) -> Iterator[None]:
    """End the connection as soon as the file is there, and remove it then."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            if marker.exists():
                connection.end()
                marker.unlink()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_tasks_own_word_frees_a_rollout_from_somebody_elses_request(live: Service, busy: Connection) -> None:
    """With ``bluegreen_pending_operations`` the rollout (JSON) and its rollback (a metric) end before the request."""
    with live.traffic() as traffic:
        run = live.deploy("2", bluegreen_keep_old=True, bluegreen_pending_operations=JSON)
        assert run.result == "kept"
        assert "quiet" in names(run)
        assert all_from(traffic, "2")
        back = live.play("rollback", "2", bluegreen_pending_operations=METRIC)
        assert back.result == "rolled back", back.output
        assert live.counts() == {"1": 4}
        assert all_from(traffic, "1")
        assert busy.whole, "the other request has ended first"


def test_a_drain_that_does_not_end_holds_and_a_later_run_finishes(live: Service, busy: Connection) -> None:
    """``hold``: stopped after the switch, everything served, nothing cut; the same playbook run again goes on."""
    with live.traffic() as traffic:
        run = live.play("bluegreen", "2", bluegreen_drain_timeout=2)
        assert run.code != 0
        assert run.result == "held", run.output
        assert live.counts() == {"1": 4, "2": 4}
        assert all_from(traffic, "2")
        assert busy.whole
        busy.end()
        assert live.deploy("2").result == "promoted"
        assert live.counts() == {"2": 4}


def test_a_drain_that_does_not_end_may_be_cut(live: Service, busy: Connection) -> None:
    """``cut``: the rollout goes on, and says that it could not know what is cut."""
    with live.traffic():
        run = live.deploy("3", bluegreen_drain_timeout=4, bluegreen_on_drain_timeout="cut")
        assert run.result == "promoted"
        assert live.counts() == {"3": 4}
        assert "sessions will be cut" in run.output
        assert run.report["sessions_cut"] is None
        assert busy.whole


def test_a_drain_that_does_not_end_may_be_a_failure(live: Service, busy: Connection, tmp_path: Path) -> None:
    """``fail``: the traffic goes back, and the new version is removed once it is idle."""
    hook, marker = tmp_path / "hook.yml", tmp_path / "going back"
    hook.write_text(
        f"- name: The way back begins\n  ansible.builtin.file:\n    path: {marker}\n    state: touch\n"
        "- name: The other request ends meanwhile\n"
        f"  ansible.builtin.wait_for:\n    path: {marker}\n    state: absent\n    timeout: 30\n"
    )
    with live.traffic() as traffic, ended_when(marker, busy):
        run = live.play(
            "bluegreen",
            "2",
            bluegreen_drain_timeout=4,
            bluegreen_on_drain_timeout="fail",
            bluegreen_hooks={"rollback": [str(hook)]},
        )
        assert run.code != 0
        assert run.result == "rolled back", run.output
        assert live.counts() == {"1": 4}
        assert all_from(traffic, "1")
