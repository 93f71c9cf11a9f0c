# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller dies by SIGKILL: all traffic is served on, and the same command again ends where it should.

CHAOS_ALL=1 kills at all boundaries of tasks, CHAOS_SEED repeats a choice.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._swarm.group import VERSION_LABEL
from tests.chaos.controller import ALL, SEED, Death
from tests.sandbox.clients import Clients
from tests.sandbox.swarm import launch
from tests.swarm.scene import LOCK, Scene, all_of, assert_finished

pytestmark = pytest.mark.serial

DEPLOYS = 2  # how many deployments are killed; one of anything else
FIRST_CHANGE = 12  # what is before this task only looks
# So many tasks each of these has at least; all are counted where all are killed.
TOGGLE, ROLLBACK, CANARY = 30, 35, 60


@pytest.fixture(name="scene", scope="module")
def _scene(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with launch.start() as swarm:
        scene = Scene(swarm, tmp_path_factory.mktemp("killed"))
        scene.set_up()
        yield scene


@pytest.fixture(name="traffic")
def _traffic(scene: Scene) -> Iterator[Clients]:
    """Clients that are there from before the death until after the job is finished; none may have failed."""
    with all_of(scene) as traffic:
        yield traffic


def chosen(count: int, some: int) -> list[Death]:
    """All boundaries between so many tasks, or some of those after which something may be half done."""
    if ALL:
        return [Death(task) for task in range(count)]
    return [Death(task) for task in sorted(random.Random(SEED).sample(range(FIRST_CHANGE, count), some))]


def holds_the_lock(done: list[str]) -> bool:
    """Whether a run that has done these tasks has the lock."""
    names = [name.rpartition("| ")[2] for name in done]
    return "Nobody else changes the group" in names and "The group is free again" not in names


def die_and_run_again(
    scene: Scene, traffic: Clients, playbook: str, variables: Mapping[str, Any], death: Death, version: str
) -> None:
    """Kill it there, and run it once more."""
    begun = scene.killed(playbook, variables, death)
    about = f"{playbook}, seed {SEED}, killed at task {death} ({begun[-1]})"
    assert len(begun) == death.task + 1, f"{about}: it had ended by itself"
    assert traffic.failed() == 0, f"{about}, before the next run: {traffic.causes()}"
    if holds_the_lock(begun[:-1]):
        with scene.swarm.docker() as client:
            assert LOCK in [config["Spec"]["Name"] for config in client.configs()], about

    run = scene.play(playbook, variables)

    assert_finished(scene, run, version, about)
    assert traffic.failed() == 0, f"{about}: {traffic.causes()}"


def test_a_deployment_that_is_killed_is_finished_by_the_next_run(scene: Scene, traffic: Clients) -> None:
    """Only the new version serves, its colour is whole, and neither a lock nor a share file is left."""
    version = scene.fresh()
    tasks = scene.killed("swarm_bluegreen", scene.variables(version))
    assert scene.live() == [version] * 2, tasks
    assert len(tasks) > 2 * FIRST_CHANGE, tasks
    for death in chosen(len(tasks), DEPLOYS):
        version = scene.fresh()
        die_and_run_again(scene, traffic, "swarm_bluegreen", scene.variables(version), death, version)


def test_a_toggle_that_is_killed_is_finished_by_the_next_run(scene: Scene, traffic: Clients) -> None:
    """The colour is named, so that the second run cannot mean the other one."""
    if len(scene.services()) < 2:
        scene.deploy()
    given = {
        service["Spec"]["Labels"][VERSION_LABEL]: {"swarm_bluegreen_name": "web", "swarm_bluegreen_colour": colour}
        for colour, service in scene.services().items()
    }
    count = TOGGLE
    if ALL:
        count = len(scene.killed("swarm_toggle", given[idle(scene, given)]))
    for death in chosen(count, 1):
        version = idle(scene, given)
        die_and_run_again(scene, traffic, "swarm_toggle", given[version], death, version)


def idle(scene: Scene, versions: Iterable[str]) -> str:
    """The one of two versions that is not live."""
    return next(version for version in versions if version not in scene.live())


def test_a_rollback_that_is_killed_is_finished_by_the_next_run(scene: Scene, traffic: Clients) -> None:
    """What was live before is live again, and of the newer version nothing runs."""
    back, given, count = scene.live()[0], {"swarm_bluegreen_name": "web"}, ROLLBACK
    if ALL:
        scene.deploy()
        count = len(scene.killed("swarm_rollback", given))
    for death in chosen(count, 1):
        scene.deploy()
        die_and_run_again(scene, traffic, "swarm_rollback", given, death, back)


def test_a_canary_that_is_killed_is_finished_by_the_next_run(scene: Scene, traffic: Clients) -> None:
    """It goes on from the share that it had."""
    steps = {"canary_steps": [{"weight": 20}, {"weight": 60}]}
    count = CANARY
    if ALL:
        count = len(scene.killed("swarm_canary", scene.variables(scene.fresh(), **steps)))
    for death in chosen(count, 1):
        version = scene.fresh()
        die_and_run_again(scene, traffic, "swarm_canary", scene.variables(version, **steps), death, version)
