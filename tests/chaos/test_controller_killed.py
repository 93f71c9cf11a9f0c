# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller dies by SIGKILL: all traffic is served on, and the next run of the same playbook finishes the job."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.chaos.controller import RATE, SHORT_KINDS, Death, Scene, assert_nothing_failed, wait_until
from tests.rehearsal.playbook import Run
from tests.sandbox import launch
from tests.sandbox.clients import Clients, clients

pytestmark = pytest.mark.serial

# CHAOS_ALL=1: every task boundary. Without it some, others in each run; CHAOS_SEED repeats a run.
ALL = bool(os.environ.get("CHAOS_ALL"))
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
SOME = 6

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
