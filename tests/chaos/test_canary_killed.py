# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller dies by SIGKILL in a canary, its promotion or its rollback: the next run goes on from there."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chaos.controller import (
    ALL,
    INSTANCES,
    RATE,
    SEED,
    SHORT_KINDS,
    Death,
    PlainScene,
    Scene,
    Shares,
    assert_nothing_failed,
    wait_until,
)
from tests.rehearsal.playbook import Run
from tests.sandbox import launch
from tests.sandbox.clients import Clients, clients

pytestmark = [pytest.mark.serial, pytest.mark.timeout(5400 if ALL else 900)]

SOME = 1


@dataclass(frozen=True)
class Mode:
    """A kind of load balancer: how to start it, and the steps of a canary there. The middle one ends at a pause."""

    sandbox: Mapping[str, Any]
    scene: type[Scene]
    steps: tuple[Mapping[str, Any], ...]


MODES = {
    "marathon-lb": Mode({}, Scene, ({"instances": 1, "bake": 0.3, "pause": True},)),
    "plain HAProxy": Mode(
        {"lbs": 0, "plain_lbs": 2},
        PlainScene,
        ({"weight": 5}, {"weight": 25, "bake": 0.3, "pause": True}, {"instances": 2, "weight": 60}),
    ),
}


@dataclass
class Act:
    """One app in one mode, under load all the time. ``version`` is the one that was deployed last."""

    scene: Scene
    traffic: Clients
    steps: tuple[Mapping[str, Any], ...]
    version: int = 1

    def variables(self) -> dict[str, Any]:
        return self.scene.variables(str(self.version), canary_steps=self.steps)

    def live(self) -> int:
        (version,) = self.scene.versions()
        return int(version)

    def next(self) -> dict[str, Any]:
        self.version += 1
        return self.variables()

    def play(self, playbook: str, about: str, *results: str) -> Run:
        run = self.scene.play(playbook, self.variables())
        assert run.code == 0 and run.result in results, f"{about}: {run.output}"
        return run

    @contextmanager
    def shares(self) -> Iterator[Shares | None]:
        """Where weights decide, the share of the version that was deployed last."""
        if isinstance(self.scene, PlainScene):
            with Shares(self.scene, str(self.version)) as shares:
                yield shares
        else:
            yield None

    def counts(self) -> dict[str, int]:
        return {app["env"]["VERSION"]: app["instances"] for app in self.scene.group()}

    def assert_finished(self, version: int, about: str) -> None:
        assert self.scene.versions() == [str(version)], about
        wait_until(lambda: not self.scene.leftovers(), f"{about}: {self.scene.leftovers()}", 10)
        assert_nothing_failed(self.traffic, about)


@pytest.fixture(name="act", scope="module", params=MODES)
def _act(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Act]:
    mode = MODES[request.param]
    with ExitStack() as stack:
        sandbox = stack.enter_context(launch.start(**mode.sandbox))
        scene = mode.scene(sandbox, tmp_path_factory.mktemp("canary"))
        scene.begin_with("1")
        traffic = stack.enter_context(clients(scene.urls, SHORT_KINDS, RATE))
        traffic.wait_until_flowing()
        yield Act(scene, traffic, mode.steps)


def deaths() -> Iterator[Death]:
    """All boundaries, for as long as there are any; or some of them, or instants inside of tasks."""
    source = random.Random(SEED)
    if ALL:
        yield from map(Death, itertools.count())
    for _number in range(SOME):  # the tasks before the 8th plan only; a run has some more than 30
        yield Death(source.randrange(8, 30), source.choice((0.0, source.uniform(0.02, 0.6))))


def killed(act: Act, playbook: str, death: Death) -> tuple[str, bool]:
    """Run it until it dies; what to say about it, and whether it did."""
    begun = act.scene.killed(playbook, act.variables(), death)
    about = f"seed {SEED}, {playbook} of {act.version} killed at task {death} ({begun[-1]})"
    assert_nothing_failed(act.traffic, f"{about}, before the next run")
    return about, len(begun) > death.task


def tasks(scene: Scene, version: int) -> set[str]:
    return {task["id"] for app in scene.group() if app["env"]["VERSION"] == str(version) for task in app["tasks"]}


def test_a_canary_and_its_promotion_are_finished_by_the_next_run(act: Act) -> None:
    """Each is killed and run again: its canary stays the same, its share never gets smaller, all of it is there."""
    for death in deaths():
        old = act.live()
        act.next()
        with act.shares() as shares:
            about, first_died = killed(act, "canary", death)
            there = tasks(act.scene, act.version)
            act.play("canary", about, "paused")
            assert act.counts() == {str(old): INSTANCES - (shares is None), str(act.version): 1}, about
            canary = tasks(act.scene, act.version)
            # marathon-lb's traffic is turned by an instance more for a moment.
            assert canary <= there or not there, f"{about}: {there}, then {canary}"
            more, second_died = killed(act, "promote", death)
            about += f", {more}"
            act.play("promote", about, "promoted", "unchanged")
        act.assert_finished(act.version, about)
        assert canary <= tasks(act.scene, act.version), about
        if shares is not None:
            shares.assert_rising(about)
        if not first_died and not second_died:
            break


def test_a_rollback_of_a_canary_is_finished_by_the_next_run(act: Act) -> None:
    """Everyone is back on the whole old version, and nothing is left of the new one at the load balancers."""
    old = act.live()
    for death in deaths():
        act.next()
        act.play("canary", "before a rollback", "paused")
        with act.shares() as shares:
            about, died = killed(act, "rollback", death)
            act.play("rollback", about, "rolled back", "unchanged")
        act.assert_finished(old, about)
        if shares is not None:
            shares.assert_falling(about)
        if not died:
            break


@pytest.mark.parametrize("act", ["plain HAProxy"], indirect=True)
def test_a_canary_that_marathon_takes_for_sick_is_rolled_back_all_the_same(act: Act) -> None:
    """Its task runs and has a server, so it is drained like any other before it is removed."""
    old = act.live()
    act.next()
    for check in act.scene.definition["healthChecks"]:
        check["maxConsecutiveFailures"] = 0  # Marathon lets it run
    act.play("canary", "before it is sick", "paused")
    act.scene.sandbox.fault("task_unhealthy", app=newest(act.scene)["id"])
    wait_until(lambda: not newest(act.scene)["tasksHealthy"], "it is sick")

    act.play("rollback", "it is sick", "rolled back")

    act.scene.sandbox.clear_faults()
    act.assert_finished(old, "after the rollback")


@pytest.mark.parametrize("act", ["plain HAProxy"], indirect=True)
def test_a_server_whose_task_has_ended_is_forgotten(act: Act) -> None:
    """Its port may be given to another app's task, which then would get this app's requests."""
    act.next()
    act.play("canary", "before its task ends", "paused")
    (ended,) = tasks(act.scene, act.version)
    act.scene.sandbox.fault("task_kill", task=ended)
    wait_until(lambda: ended not in tasks(act.scene, act.version), "its task has ended")
    wait_until(lambda: newest(act.scene)["tasksHealthy"] == 1, "there is another one")

    # The other one has no share yet, so with the steps of the canary it would be let in anew.
    run = act.scene.play("promote", act.scene.variables(str(act.version)))

    assert run.result == "promoted", run.output
    # What it was answering is lost, so the clients are not asked here.
    assert act.scene.versions() == [str(act.version)]
    wait_until(lambda: not act.scene.leftovers(), f"{act.scene.leftovers()}", 10)


def newest(scene: Scene) -> dict[str, Any]:
    return max(scene.group(), key=lambda app: int(app["env"]["VERSION"]))
