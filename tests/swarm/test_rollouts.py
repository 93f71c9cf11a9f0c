# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a group of a real swarm, behind nginx and behind HAProxy, while clients of all kinds use it.

A proxy's group lives through all tests of that proxy, and its clients with it. Each test starts with whatever is live.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.playbook import Run
from tests.sandbox.swarm import launch
from tests.swarm.stage import MONITOR_SECONDS, Group, Turn, until_healthy, wait_for

FIRST, USUAL, MOST = 2, 4, 10  # replicas
LONGEST_REQUEST = 3.0  # seconds, that of a stream
# Seconds from the first to the last: 0.5 are promised, on a machine that has nothing else to do.
LONGEST_TURN = 2.0
# What a user's own program counts of a canary that fails in a third of its requests, 100 of them in each second.
NUMBERS = """
import json, time
requests = int(time.time() * 100)
print(json.dumps({
    "canary_requests": requests, "canary_errors": requests // 3,
    "baseline_requests": requests, "baseline_errors": 0,
}))
"""
PROXIES = {"nginx": "swarm", "haproxy": "swarm_haproxy"}  # the fixtures


@pytest.fixture(scope="module", params=PROXIES)
def group(engine: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    swarm: launch.Swarm = request.getfixturevalue(PROXIES[request.param])
    made = Group(swarm, "web", tmp_path_factory.mktemp(request.param))
    try:
        made.begin(FIRST)
        yield made
    finally:
        made.end()


@pytest.fixture(name="told")
def _told(request: pytest.FixtureRequest, group: Group, record_property: Callable[[str, Any], None]) -> Any:
    """What is measured is printed, and kept with the test's result."""

    def tell(what: str, figure: float) -> None:
        record_property(what, round(figure, 3))
        print(f"{request.node.name}: {what} {figure:.3f}")

    return tell


def names(run: Run) -> list[str]:
    return [step["name"] for step in run.steps]


def test_a_version_is_previewed_and_deployed_and_a_second_run_is_refused(
    group: Group, told: Callable[[str, float], None]
) -> None:
    old, new = group.live(), group.next_version()
    wanted = group.wanted(new, USUAL)
    checks = [{"path": "/", "status": 200, "jmespath": f"version == '{new}'"}, {"path": "/health"}]
    deploy = {**wanted, "swarm_bluegreen_preview_checks": checks}
    if group.swarm.proxies[0]["kind"] == "haproxy":  # these are no hosts of the inventory's cluster
        deploy["swarm_bluegreen_preview_urls"] = group.swarm.preview

    with group.unharmed() as traffic, ThreadPoolExecutor(1) as pool:
        first = pool.submit(group.done, "swarm_bluegreen", deploy)
        wait_for(lambda: group.locked() or first.done(), "the first run has the lock", launch.PLAY_LIMIT)
        second = group.play("swarm_bluegreen", group.wanted("other"), folder="second")
        assert second.code != 0 and "is being changed by" in second.output, second.output[-3000:]
        run = first.result()
    assert run.result == "promoted"
    assert names(run) == ["create", "healthy", "checked", "switched", "drained"]
    assert group.replicas() == {old: FIRST, new: USUAL}
    assert group.live() == new
    met = traffic.first_met(new)
    assert met is not None and met > run.step_ends()[3]
    needed = until_healthy(group.tasks(new)) + MONITOR_SECONDS + LONGEST_REQUEST
    told("wall time / (slowest task healthy + monitor time + longest request)", run.report["duration_s"] / needed)

    with group.unharmed():
        before = group.state()
        again = group.play("swarm_bluegreen", deploy)
        assert (again.code, again.changed) == (0, 0), again.output[-6000:]
        assert group.state() == before


def test_nothing_is_changed_by_a_rehearsal_nor_by_what_is_refused(group: Group) -> None:
    wanted = group.wanted(group.next_version())
    before = group.state()

    with group.unharmed():
        rehearsed = group.play("swarm_bluegreen", wanted, "--check")
        assert rehearsed.code == 0, rehearsed.output[-6000:]
        assert f"{group.live()} -> {wanted['swarm_bluegreen_version']} (deploy)" in rehearsed.output
        assert "3. switched: " in rehearsed.output
        assert rehearsed.changed

        colour = group.live_colour()
        refused = group.play("swarm_bluegreen", {**wanted, "swarm_bluegreen_colour": colour})
        assert refused.code != 0
        assert f"Option colour is {colour}, and {group.name}-{colour} has traffic" in refused.output

        assert group.state() == before


def test_a_toggle_and_its_way_back_reach_all_new_requests_at_once_and_start_nothing(
    group: Group, told: Callable[[str, float], None]
) -> None:
    live = group.live()
    (idle,) = group.services().keys() - {live}
    before = {task["ID"] for task in group.tasks()}

    with group.unharmed():
        for old, new in ((live, idle), (idle, live)):
            with Turn(group, old, new).watched() as turn:
                run = group.done("swarm_toggle")
            assert run.result == "toggled"
            assert group.met() == {new}
            told("seconds from the first new request at the new version to the last one at the old", turn.seconds)
            assert turn.seconds < LONGEST_TURN

    assert {task["ID"] for task in group.tasks()} == before


def test_an_old_version_that_was_scaled_down_comes_back_before_the_traffic_does(group: Group) -> None:
    old, new = group.live(), group.next_version()
    replicas = group.replicas()[old]

    with group.unharmed() as traffic:
        steps = [{"weight": 50, "bake": 1}]
        run = group.done(
            "swarm_canary", {**group.wanted(new), "swarm_bluegreen_keep_replicas": 0, "canary_steps": steps}
        )
        assert run.result == "promoted"
        assert names(run)[-3:] == ["switched", "drained", "retire"]
        assert group.replicas() == {old: 0, new: replicas}
        last = traffic.last_sent_to(old)
        assert last is not None and last < run.step_ends()[-2]

        back = group.done("swarm_rollback")
        assert back.result == "rolled back"
        assert names(back) == ["scale", "healthy", "switched", "drained", "retire"]
        assert group.replicas() == {old: replicas, new: 0}
        assert group.live() == old


def test_a_canary_has_its_share_pauses_and_is_promoted(group: Group) -> None:
    old, new = group.live(), group.next_version()
    steps = [{"weight": 20, "bake": 1, "pause": True}, {"weight": 60, "bake": 1}]

    with group.unharmed():
        paused = group.done("swarm_canary", {**group.wanted(new), "canary_steps": steps})
        assert paused.result == "paused"
        assert abs(group.share(new, 3000) - 20) <= 3
        assert group.met() <= {old, new}

        promoted = group.done("swarm_promote")
        assert promoted.result == "promoted"
        assert group.live() == new


def test_a_bad_canary_is_rolled_back_and_only_its_own_answers_failed(group: Group, tmp_path: Path) -> None:
    """HAProxy counts them itself; with nginx numbers of the user's own decide."""
    old, new = group.live(), group.next_version()
    judged: dict[str, Any] = {"wait_timeout": 60}
    if group.swarm.proxies[0]["kind"] == "nginx":
        program = tmp_path / "numbers.py"
        program.write_text(NUMBERS)
        judged |= {"source": "command", "command": [sys.executable, str(program)]}

    with group.unharmed("status_500") as traffic:
        run = group.play(
            "swarm_canary",
            {
                **group.wanted(new, ERROR_RATE="0.3"),
                "canary_steps": [{"weight": 20}],
                "canary_analysis": judged,
            },
        )
        assert run.code != 0
        assert run.result == "rolled back", run.output[-6000:]
        assert "The canary is aborted" in run.report["failure"]
        assert traffic.first_met(new) is not None
        assert group.replicas()[new] == 0
        assert group.live() == old


def test_what_is_live_gets_more_tasks_and_fewer(group: Group) -> None:
    live = group.live()
    few = group.replicas()[live]

    with group.unharmed():
        before = {task["ID"] for task in group.tasks(live)}
        up = group.done("swarm_scale", {"swarm_bluegreen_replicas": MOST})
        assert up.result == "scaled"
        there = {task["ID"] for task in group.tasks(live)}
        assert len(there) == MOST and before < there

        down = group.done("swarm_scale", {"swarm_bluegreen_replicas": FIRST, "swarm_bluegreen_keep_replicas": 0})
        assert down.code == 0
        assert group.live() == live
        assert few != FIRST
        assert len(group.tasks()) == FIRST


def test_a_node_is_emptied_and_taken_back(group: Group) -> None:
    node = group.swarm.nodes[1]["name"]
    live = group.live()
    replicas = len(group.tasks(live))

    with group.unharmed():
        group.done("swarm_drain_node", {"swarm_bluegreen_node": node})
        assert not group.on_node(node)
        assert group.live() == live
        assert len(group.tasks(live)) >= replicas

        back = {"swarm_bluegreen_node": node, "swarm_bluegreen_node_availability": "active"}
        group.done("swarm_drain_node", back)
        with group.swarm.docker() as engine:
            assert {each["Spec"]["Availability"] for each in engine.nodes()} == {"active"}
