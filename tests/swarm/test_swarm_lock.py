# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a deployment group in a swarm: the same rules as in Marathon, kept in a config."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._operations import rollout_lock
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.lock import process_name
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.lock_store import config_name
from tests.integration_py.operating import operate
from tests.sandbox.swarm import launch


@pytest.fixture(name="group")
def _group(request: pytest.FixtureRequest) -> str:
    """A name of its own for each test, too long for a config's name to have it written out."""
    return request.node.name


def lock(swarm: launch.Swarm, group: str, **options: Any) -> dict[str, Any]:
    given = {"process": process_name(os.getpid()), **options}
    return operate(rollout_lock, docker_host=[node["docker_host"] for node in swarm.nodes], group=group, **given)


def configs(swarm: launch.Swarm, group: str) -> list[dict[str, Any]]:
    with docker.APIClient(swarm.nodes[0]["docker_host"]) as api:
        return [config for config in api.configs() if config["Spec"]["Name"] == config_name(group)]


def dead_process() -> str:
    """The name of a process that has ended."""
    child = subprocess.Popen(["sleep", "60"])
    name = process_name(child.pid)
    child.kill()
    child.wait()
    return name


def test_a_lock_is_taken_kept_and_given_back(swarm: launch.Swarm, group: str) -> None:
    """Each state is reached once, and is no change the second time."""
    assert lock(swarm, group)["changed"]
    (config,) = configs(swarm, group)
    again = lock(swarm, group)
    assert not again["changed"] and again["lock"]["group"] == group
    assert [found["ID"] for found in configs(swarm, group)] == [config["ID"]]
    assert config["Spec"]["Labels"]["zdd.rollout.group"] == group
    assert lock(swarm, group, state="absent")["changed"]
    assert not lock(swarm, group, state="absent")["changed"]
    assert configs(swarm, group) == []


def test_check_mode_changes_nothing(swarm: launch.Swarm, group: str) -> None:
    result = lock(swarm, group, check_mode=True)

    assert result["changed"] and result["lock"]["process"] == process_name(os.getpid())
    assert configs(swarm, group) == []


def test_a_second_run_is_refused_and_told_what_to_do(swarm: launch.Swarm, group: str) -> None:
    """Who holds it, since when, when it ends, and how to take it over; the holder keeps it."""
    held = lock(swarm, group, owner="ann@there", process="4711/1")["lock"]

    refused = lock(swarm, group, owner="bob@here")

    assert refused["failed"] and refused["failure"]["code"] == "group_locked"
    for text in (group, "ann@there", "process 4711", held["since"], "swarm_bluegreen_lock_takeover=true"):
        assert text in refused["msg"]
    assert refused["failure"]["detail"] == held
    assert refused["failure"]["system"] in [node["docker_host"] for node in swarm.nodes]
    assert lock(swarm, group, owner="bob@here", state="absent")["lock"] == held


def test_of_runs_that_begin_at_the_same_time_one_gets_it(swarm: launch.Swarm, group: str) -> None:
    def take(number: int) -> dict[str, Any]:
        return lock(swarm, group, owner=f"run{number}@there", process=f"{number}/1")

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(take, range(6)))

    winners = [result["lock"]["owner"] for result in results if not result.get("failed")]
    assert len(winners) == 1
    assert {result["failure"]["code"] for result in results if result.get("failed")} == {"group_locked"}
    (config,) = configs(swarm, group)
    assert config["Spec"]["Labels"]["ZDD_LOCK_OWNER"] == winners[0]


def test_of_runs_that_find_the_same_lease_over_one_gets_it(swarm: launch.Swarm, group: str) -> None:
    """Whoever removes the old lock removes that one, and never the winner's."""
    for _attempt in range(3):
        lock(swarm, group, owner="dead@there", process="1/1", lease=0)

        def take(number: int) -> dict[str, Any]:
            return lock(swarm, group, owner=f"run{number}@there", process=f"{number}/1")

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(take, range(4)))

        (winner,) = [result["lock"] for result in results if not result.get("failed")]
        held = lock(swarm, group, owner=winner["owner"], process=winner["process"], state="held")
        assert held["lock"] == winner
        lock(swarm, group, owner=winner["owner"], process=winner["process"], state="absent")


def test_a_lock_is_taken_over_when_asked_for_and_its_old_holder_is_refused(swarm: launch.Swarm, group: str) -> None:
    lock(swarm, group, owner="ann@there", process="4711/1")

    taken = lock(swarm, group, owner="bob@here", takeover=True)

    assert taken["changed"] and taken["taken_from"]["owner"] == "ann@there"
    old = lock(swarm, group, owner="ann@there", process="4711/1")
    assert old["failed"] and "bob@here" in old["msg"]


def test_a_lock_that_was_taken_away_is_not_held_any_more(swarm: launch.Swarm, group: str) -> None:
    """Not even when the other run has ended: it may have changed everything."""
    lock(swarm, group, owner="ann@there", process="4711/1")
    assert not lock(swarm, group, owner="ann@there", process="4711/1", state="held").get("failed")
    lock(swarm, group, owner="bob@here", takeover=True)
    taken = lock(swarm, group, owner="ann@there", process="4711/1", state="held")
    lock(swarm, group, owner="bob@here", state="absent")
    free = lock(swarm, group, owner="ann@there", process="4711/1", state="held")

    assert taken["failure"]["code"] == free["failure"]["code"] == "group_locked"
    assert "bob@here" in taken["msg"] and "given back" in free["msg"]


@pytest.mark.parametrize("state", ["present", "absent"])
def test_the_lock_of_a_process_that_is_gone_from_this_host_is_no_hindrance(
    swarm: launch.Swarm, group: str, state: str
) -> None:
    """The next run takes it at once, or clears it away where it has nothing to do."""
    lock(swarm, group, process=dead_process())

    result = lock(swarm, group, state=state)

    assert result["changed"] and not result.get("failed")
    assert (result["lock"] is None) == (state == "absent") == (configs(swarm, group) == [])


def test_a_process_that_is_gone_says_nothing_about_another_host(swarm: launch.Swarm, group: str) -> None:
    lock(swarm, group, owner="ann@there", process=dead_process())

    assert lock(swarm, group)["failure"]["code"] == "group_locked"


def test_a_lease_that_is_over_holds_nobody_up(swarm: launch.Swarm, group: str) -> None:
    lock(swarm, group, owner="ann@there", process="4711/1", lease=0)

    assert lock(swarm, group)["taken_from"]["owner"] == "ann@there"


def test_a_lease_is_made_longer_when_half_of_it_is_over(swarm: launch.Swarm, group: str) -> None:
    """The same config goes on: for no moment is the group free."""
    first = lock(swarm, group, lease=10)["lock"]
    (before,) = configs(swarm, group)

    longer = lock(swarm, group, lease=1000)

    assert longer["changed"] and longer["lock"]["until"] > first["until"]
    assert longer["lock"]["since"] == first["since"]
    assert lock(swarm, group, lease=1000)["lock"] == longer["lock"]
    assert [config["ID"] for config in configs(swarm, group)] == [before["ID"]]


def test_groups_whose_names_differ_in_case_or_signs_have_locks_of_their_own(swarm: launch.Swarm) -> None:
    for name in ("Shop_Web", "shop_web", "shop-web", "shop.web", "shop web", "shop-"):
        assert lock(swarm, name, owner=name, process="p")["changed"]


def test_a_config_that_is_no_lock_is_left_alone(swarm: launch.Swarm, group: str) -> None:
    """The message names it, and what to do."""
    with docker.APIClient(swarm.nodes[0]["docker_host"]) as api:
        api.create_config(config_name(group), b"mine")

    result = lock(swarm, group, takeover=True)

    assert result["failed"] and config_name(group) in result["msg"] and "remove it" in result["msg"]
    assert len(configs(swarm, group)) == 1


def test_the_lock_is_reached_through_any_manager(swarm: launch.Swarm, group: str) -> None:
    """Also where the first address is nobody's."""
    host = ["unix:///no/such/socket", swarm.nodes[-1]["docker_host"], swarm.nodes[0]["docker_host"]]

    taken = operate(rollout_lock, docker_host=host, group=group, owner="ann@there", process="4711/1")

    assert taken["changed"]
    assert lock(swarm, group)["failure"]["code"] == "group_locked"


def test_a_swarm_that_is_away_is_named(engine: None) -> None:
    result = operate(rollout_lock, docker_host="unix:///no/such/socket", group="g", process="p", retry_timeout=0)

    assert result["failure"]["code"] == "unreachable"
    assert "/no/such/socket" in result["msg"] and "No such file" in result["msg"]
