# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller dies by SIGKILL: all traffic is served on, and the next run of the same playbook finishes the job."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.chaos.controller import (
    ALL,
    INSTANCES,
    RATE,
    SEED,
    SHORT_KINDS,
    Death,
    Scene,
    assert_nothing_failed,
    wait_until,
)
from tests.rehearsal.playbook import Run
from tests.sandbox import launch
from tests.sandbox.clients import Clients, clients

pytestmark = pytest.mark.serial

SOME = 4

# A version that never passes its checks: the role goes back by itself.
FAILING = {"bluegreen_checks": [{"path": "/fail?status=500"}], "bluegreen_check_timeout": 0.2}


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with launch.start() as sandbox:
        yield Scene(sandbox, tmp_path_factory.mktemp("chaos"))


@pytest.fixture(name="traffic")
def _traffic(scene: Scene) -> Iterator[Clients]:
    """Clients that are there from before the death until after the job is finished."""
    scene.begin_with("1")
    with clients(scene.urls, SHORT_KINDS, RATE) as traffic:
        traffic.wait_until_flowing()
        yield traffic


def chosen(count: int) -> list[Death]:
    """All boundaries, or some of them and as many instants inside of tasks."""
    if ALL:
        return [Death(task) for task in range(count)]
    source = random.Random(SEED)
    at = sorted(source.sample(range(count), min(SOME, count)))
    inside = [Death(source.randrange(4, count), source.uniform(0.02, 0.6)) for _number in range(SOME // 2)]
    return [*(Death(task) for task in at), *inside]


def assert_finished(scene: Scene, run: Run, version: str, about: str) -> None:
    assert run.code == 0, f"{about}: {run.output}"
    assert scene.versions() == [version], about
    wait_until(lambda: not scene.leftovers(), f"{about}: {scene.leftovers()}", 10)


def count_tasks(scene: Scene, playbook: str, variables: Mapping[str, Any]) -> Sequence[str]:
    return scene.killed(playbook, variables)


def test_a_rollout_that_is_killed_at_a_task_boundary_is_finished_by_the_next_run(
    scene: Scene, traffic: Clients
) -> None:
    """Only the new version, its count, no lock and no lost request, wherever the first run was killed."""
    tasks = count_tasks(scene, "bluegreen", scene.variables("2"))
    assert len(tasks) > 15, tasks
    for number, death in enumerate(chosen(len(tasks)), 3):
        version, about = str(number), f"seed {SEED}, killed at task {death}"
        variables = scene.variables(version)
        begun = scene.killed("bluegreen", variables, death)
        about += f" ({begun[-1]})"
        assert_nothing_failed(traffic, f"{about}, before the next run")
        assert_finished(scene, scene.play("bluegreen", variables), version, about)
        assert_nothing_failed(traffic, about)


def posted_app(entry: Mapping[str, Any]) -> bool:
    """The new version has been created; the lock is an app too, and comes first."""
    return entry["method"] == "POST" and entry["path"] == "/v2/apps"


@pytest.mark.parametrize("pause", [0.0, 3.0], ids=["at once", "when the extra task serves"])
@pytest.mark.parametrize("which", [1, 2], ids=["old app", "new app"])
def test_a_touch_that_is_killed_leaves_one_task_too_many_which_the_next_run_removes(
    scene: Scene, traffic: Clients, which: int, pause: float
) -> None:
    """Killed between the request that scales and the one that takes the extra task away."""
    sandbox, variables = scene.sandbox, scene.variables("2")
    sandbox.forget_requests()
    # The extra task is looked for in vain until the run is dead.
    touched = "/v2/apps/web-blue" if which == 1 else "/v2/apps/web-green"
    sandbox.fault("marathon_slow", delay=8, path=f"{touched}/tasks", agent="zdd.rollout")
    scene.killed(
        "bluegreen", variables, when=lambda entry: entry["method"] == "PUT" and entry["path"].startswith(touched)
    )
    sandbox.clear_faults()
    time.sleep(pause)
    extra = [app for app in scene.group() if app["instances"] == INSTANCES + 1]
    about = f"touch of {touched}, next run after {pause:g} s"
    assert [app["id"] for app in extra] == [touched.removeprefix("/v2/apps")], about
    assert_nothing_failed(traffic, f"{about}, before the next run")

    run = scene.play("bluegreen", variables)

    assert_finished(scene, run, "2", about)
    assert_nothing_failed(traffic, about)


def test_a_controller_killed_before_the_old_app_is_touched_loses_nothing(scene: Scene, traffic: Clients) -> None:
    """The new version is there, but nothing keeps it from taking its share of the traffic when it is healthy."""
    variables = scene.variables("2")
    scene.sandbox.forget_requests()
    scene.sandbox.fault("marathon_slow", delay=5, path="/v2/apps/web-blue", agent="zdd.rollout")
    created = [False]

    def second_app(entry: Mapping[str, Any]) -> bool:
        return len([one for one in scene.sandbox.requests()["log"] if posted_app(one)]) == 2

    scene.killed("bluegreen", variables, when=second_app)
    scene.sandbox.clear_faults()
    wait_until(lambda: traffic.first_met("2") or created[0], "the new version takes traffic")
    run = scene.play("bluegreen", variables)

    assert_finished(scene, run, "2", "killed between creation and touch")
    assert_nothing_failed(traffic, "killed between creation and touch")


def test_a_rollback_by_itself_that_is_killed_is_finished_by_the_next_run(scene: Scene, traffic: Clients) -> None:
    """The same playbook run again fails again, as its version is bad, and the old one is alone and whole."""
    variables = scene.variables("2", **FAILING)
    tasks = count_tasks(scene, "bluegreen", variables)
    back = next(number for number, name in enumerate(tasks) if name.endswith("The first failure is kept"))
    ends = [death for death in chosen(len(tasks)) if death.task >= back] or [Death(back + 2)]
    source = random.Random(SEED)
    while not ALL and len(ends) < SOME // 2:
        ends.append(Death(source.randrange(back, len(tasks))))
    for death in ends:
        about = f"seed {SEED}, killed at task {death}"
        begun = scene.killed("bluegreen", variables, death)
        about += f" ({begun[-1]})"
        assert_nothing_failed(traffic, f"{about}, before the next run")

        run = scene.play("bluegreen", variables)

        assert run.code == 2 and "Rolled back" in run.output, f"{about}: {run.output}"
        assert scene.versions() == ["1"], about
        wait_until(lambda: not scene.leftovers(), f"{about}: {scene.leftovers()}", 10)
        assert_nothing_failed(traffic, about)
        assert "2" not in traffic.versions(), about


def test_rollback_yml_that_is_killed_is_finished_by_the_next_run(scene: Scene, traffic: Clients) -> None:
    """Only the old version is left, with all traffic, wherever the first run was killed."""
    group = {"bluegreen_group": "web"}
    keep = {"bluegreen_keep_old": True}
    run = scene.play("bluegreen", scene.variables("2", **keep))
    assert run.result == "kept", run.output
    tasks = count_tasks(scene, "rollback", group)
    deaths = chosen(len(tasks))
    for number, death in enumerate(deaths if ALL else deaths[:: SOME // 2], 3):
        run = scene.play("bluegreen", scene.variables(str(number), **keep))
        assert run.result == "kept", run.output
        about = f"seed {SEED}, killed at task {death}"
        begun = scene.killed("rollback", group, death)
        about += f" ({begun[-1]})"
        assert_nothing_failed(traffic, f"{about}, before the next run")

        assert_finished(scene, scene.play("rollback", group), "1", about)
        assert_nothing_failed(traffic, about)


def test_batches_that_are_killed_are_finished_by_the_next_run(scene: Scene, traffic: Clients) -> None:
    """In batches the old app is smaller when the run dies; the next run goes on from there."""
    variables = scene.variables("2", bluegreen_batch_size="1")
    tasks = count_tasks(scene, "bluegreen", variables)
    source = random.Random(SEED)
    wanted = range(8, len(tasks)) if ALL else source.sample(range(8, len(tasks)), SOME // 2)
    for number, task in enumerate(wanted, 3):
        variables = scene.variables(str(number), bluegreen_batch_size="1")
        begun = scene.killed("bluegreen", variables, Death(task))
        about = f"seed {SEED}, killed at task {task} ({begun[-1]})"
        assert_nothing_failed(traffic, f"{about}, before the next run")

        assert_finished(scene, scene.play("bluegreen", variables), str(number), about)
        assert_nothing_failed(traffic, about)
