# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs at once, and a definition that only Marathon can refuse: nothing is lost and nothing is left."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tests.chaos.controller import RATE, RUN_LIMIT, SHORT_KINDS, Scene, ask, assert_nothing_failed, changes, wait_until
from tests.rehearsal.playbook import environment
from tests.sandbox import launch
from tests.sandbox.clients import clients

pytestmark = pytest.mark.serial


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with launch.start() as sandbox:
        yield Scene(sandbox, tmp_path_factory.mktemp("two-runs"))


@contextmanager
def going(scene: Scene, variables: Mapping[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A run of bluegreen.yml that goes on beside the test."""
    given = scene.cluster.folder / "first.json"
    given.write_text(json.dumps(dict(variables)))
    process = subprocess.Popen(
        scene.cluster.command("bluegreen", given),
        cwd=scene.cluster.folder,
        env=environment(scene.cluster.settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_run_is_refused_until_it_takes_the_lock_over(scene: Scene) -> None:
    """It is told who holds the lock, and changes nothing; when it has taken it, the first run removes nothing more."""
    scene.begin_with("1")
    with clients(scene.urls, SHORT_KINDS, RATE) as traffic:
        traffic.wait_until_flowing()
        with going(scene, scene.variables("2", bluegreen_bake_seconds=25)) as first:
            wait_until(lambda: traffic.first_met("2"), "the first run bakes")
            scene.sandbox.forget_requests()

            second = scene.play("bluegreen", scene.variables("2"))

            assert second.code == 2
            for text in ("is being changed by", "@", f"process {first.pid}", "since", "bluegreen_lock_takeover=true"):
                assert text in second.output, second.output
            assert not [change for change in changes(scene.sandbox) if not change.startswith("PUT /v2/apps/zdd-")]

            third = scene.play("bluegreen", scene.variables("2", bluegreen_lock_takeover=True))

            assert third.code == 0 and third.result == "promoted", third.output
            said, _errors = first.communicate(timeout=RUN_LIMIT)
        assert first.returncode == 2, said
        assert scene.versions() == ["2"] and not scene.leftovers()
        assert_nothing_failed(traffic, said)


def test_a_first_run_whose_lock_was_taken_removes_nothing(scene: Scene) -> None:
    """The taker has only taken the lock; the first run ends as held, and says whose the group is now."""
    scene.begin_with("1")
    with going(scene, scene.variables("2", bluegreen_bake_seconds=6)) as first:
        wait_until(lambda: "2" in scene.versions(), "the first run has created the new version")
        wait_until(lambda: not scene.deployments(), "it is there")
        locks = [app for app in scene.apps() if "ZDD_LOCK_OWNER" in app["labels"]]
        labels = {**locks[0]["labels"], "ZDD_LOCK_OWNER": "ann@there", "ZDD_LOCK_PROCESS": "4711/1"}
        taken(scene, locks[0]["id"], labels)
        said, _errors = first.communicate(timeout=RUN_LIMIT)

    assert first.returncode == 2 and "ann@there" in said, said
    assert scene.versions() == ["1", "2"]
    assert [app["labels"]["ZDD_LOCK_OWNER"] for app in scene.apps() if "ZDD_LOCK_OWNER" in app["labels"]] == [
        "ann@there"
    ]
    run = scene.play("bluegreen", scene.variables("2", bluegreen_lock_takeover=True))
    assert run.code == 0 and scene.versions() == ["2"] and not scene.leftovers(), run.output


def taken(scene: Scene, lock: str, labels: Mapping[str, str]) -> None:
    ask(scene.sandbox, "PUT", f"/v2/apps{lock}?force=true", {"labels": dict(labels)})


def test_a_definition_that_marathon_rejects_is_told_by_path(scene: Scene) -> None:
    """The old version is as it was, and nothing of the new one is left."""
    scene.begin_with("1")
    variables = scene.variables("2")
    variables["bluegreen_app"]["cpus"] = -1
    scene.sandbox.forget_requests()

    run = scene.play("bluegreen", variables)

    assert run.code == 2 and "/cpus" in run.output, run.output
    assert scene.versions() == ["1"] and not scene.leftovers()
    assert not [change for change in changes(scene.sandbox) if change.startswith(("PUT", "POST /v2/tasks"))]
