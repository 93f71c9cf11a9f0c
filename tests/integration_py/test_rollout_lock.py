# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a deployment group: one run at a time, told who holds it, taken over from the dead."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._operations import rollout_lock
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.lock import process_name
from tests.integration_py.operating import operate
from tests.sandbox import launch


@pytest.fixture(name="sandbox", scope="module")
def _sandbox() -> Iterator[launch.Running]:
    with launch.start() as running:
        yield running


@pytest.fixture(name="group")
def _group(request: pytest.FixtureRequest) -> str:
    return "".join(char for char in request.node.name if char.isalnum()).lower()


def lock(sandbox: launch.Running, group: str, **options: Any) -> dict[str, Any]:
    given = {"process": process_name(os.getpid()), **options}
    return operate(rollout_lock, marathon_url=sandbox.marathon, group=group, **given)


def locks(sandbox: launch.Running) -> list[str]:
    with urllib.request.urlopen(f"{sandbox.marathon[0]}/v2/apps", timeout=10) as answer:
        return [app["id"] for app in json.load(answer)["apps"]]


def changes(sandbox: launch.Running) -> list[str]:
    return [entry["method"] for entry in sandbox.requests()["log"] if entry["method"] != "GET"]


def dead_process() -> str:
    """The name of a process that has ended."""
    child = subprocess.Popen(["sleep", "60"])
    name = process_name(child.pid)
    child.kill()
    child.wait()
    return name


def test_a_lock_is_taken_kept_and_given_back(sandbox: launch.Running, group: str) -> None:
    """Each state is reached once, and is no change the second time."""
    sandbox.forget_requests()

    assert lock(sandbox, group)["changed"]
    again = lock(sandbox, group)
    assert not again["changed"] and again["lock"]["group"] == group
    assert lock(sandbox, group, state="absent")["changed"]
    assert not lock(sandbox, group, state="absent")["changed"]
    assert changes(sandbox) == ["POST", "DELETE"]


def test_check_mode_changes_nothing(sandbox: launch.Running, group: str) -> None:
    sandbox.forget_requests()

    result = lock(sandbox, group, check_mode=True)

    assert result["changed"] and result["lock"]["process"] == process_name(os.getpid())
    assert changes(sandbox) == []


def test_a_second_run_is_refused_and_told_what_to_do(sandbox: launch.Running, group: str) -> None:
    """Who holds it, since when, when it ends, and how to take it over; the holder keeps it."""
    held = lock(sandbox, group, owner="ann@there", process="4711/1")["lock"]

    refused = lock(sandbox, group, owner="bob@here")

    assert refused["failed"] and refused["failure"]["code"] == "group_locked"
    for text in (group, "ann@there", "process 4711", held["since"], "bluegreen_lock_takeover=true"):
        assert text in refused["msg"]
    assert refused["failure"]["detail"] == held
    assert lock(sandbox, group, owner="bob@here", state="absent")["lock"] == held


def test_a_lock_is_taken_over_when_asked_for_and_its_old_holder_is_refused(sandbox: launch.Running, group: str) -> None:
    lock(sandbox, group, owner="ann@there", process="4711/1")

    taken = lock(sandbox, group, owner="bob@here", takeover=True)

    assert taken["changed"] and taken["taken_from"]["owner"] == "ann@there"
    old = lock(sandbox, group, owner="ann@there", process="4711/1")
    assert old["failed"] and "bob@here" in old["msg"]


def test_a_lock_that_was_taken_away_is_not_held_any_more(sandbox: launch.Running, group: str) -> None:
    """Not even when the other run has ended: it may have changed everything."""
    lock(sandbox, group, owner="ann@there", process="4711/1")
    assert not lock(sandbox, group, owner="ann@there", process="4711/1", state="held").get("failed")
    lock(sandbox, group, owner="bob@here", takeover=True)
    taken = lock(sandbox, group, owner="ann@there", process="4711/1", state="held")
    lock(sandbox, group, owner="bob@here", state="absent")
    free = lock(sandbox, group, owner="ann@there", process="4711/1", state="held")

    assert taken["failure"]["code"] == free["failure"]["code"] == "group_locked"
    assert "bob@here" in taken["msg"] and "given back" in free["msg"]


@pytest.mark.parametrize("state", ["present", "absent"])
def test_the_lock_of_a_process_that_is_gone_from_this_host_is_no_hindrance(
    sandbox: launch.Running, group: str, state: str
) -> None:
    """The next run takes it at once, or clears it away where it has nothing to do."""
    lock(sandbox, group, process=dead_process())

    result = lock(sandbox, group, state=state)

    assert result["changed"] and not result.get("failed")
    assert (result["lock"] is None) == (state == "absent")


def test_a_process_that_is_gone_says_nothing_about_another_host(sandbox: launch.Running, group: str) -> None:
    lock(sandbox, group, owner="ann@there", process=dead_process())

    assert lock(sandbox, group)["failure"]["code"] == "group_locked"


def test_a_lease_that_is_over_holds_nobody_up(sandbox: launch.Running, group: str) -> None:
    lock(sandbox, group, owner="ann@there", process="4711/1", lease=0)

    assert lock(sandbox, group)["taken_from"]["owner"] == "ann@there"


def test_a_lease_is_made_longer_when_half_of_it_is_over(sandbox: launch.Running, group: str) -> None:
    first = lock(sandbox, group, lease=10)["lock"]

    longer = lock(sandbox, group, lease=1000)

    assert longer["changed"] and longer["lock"]["until"] > first["until"]
    assert longer["lock"]["since"] == first["since"]
    assert lock(sandbox, group, lease=1000)["lock"] == longer["lock"]


def test_groups_whose_names_differ_in_case_or_signs_have_locks_of_their_own(sandbox: launch.Running) -> None:
    """An app id takes fewer characters than a group."""
    for name in ("Shop_Web", "shop_web", "shop-web", "shop.web"):
        assert lock(sandbox, name, owner=name, process="p")["changed"]


@pytest.mark.parametrize("after", [False, True], ids=["lost", "applied and lost"])
def test_a_lost_answer_leaves_one_lock_that_is_ours(sandbox: launch.Running, after: bool) -> None:
    group = f"answer{after}".lower()
    sandbox.fault("marathon_drop", count=2, after=after, path="/v2/apps")

    result = lock(sandbox, group)

    sandbox.clear_faults()
    assert result["lock"]["group"] == group and not result.get("failed")
    assert len([app for app in locks(sandbox) if app.endswith(group)]) == 1
    assert not lock(sandbox, group, state="absent").get("failed")


def test_an_app_that_is_no_lock_is_left_alone(sandbox: launch.Running, group: str) -> None:
    """The message names it, and what to do."""
    body = json.dumps({"id": f"/mine/{group}", "cmd": "sleep 1", "instances": 0}).encode()
    url = f"{sandbox.marathon[0]}/v2/apps"
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=10):
        pass

    result = lock(sandbox, group, folder="/mine", takeover=True)

    assert result["failed"] and f"/mine/{group}" in result["msg"] and "folder" in result["msg"]
