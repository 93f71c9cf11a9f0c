# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scaling, killing, deleting: what the switch and the way back rest on (reference A13, B4, B7)."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.marathon.client import Client, definition
from tests.sandbox.marathon.threaded import Threaded, running

STUBBORN = 'trap "" TERM; echo ready >&2; while :; do sleep 0.05; done'


@pytest.fixture
def marathon(tmp_path: Path) -> Iterator[Threaded]:
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def client(marathon: Threaded) -> Client:
    return Client(marathon.urls[0])


def new_tasks(client: Client, app_id: str, before: Container[str]) -> list[dict[str, Any]]:
    return [one for one in client.app(app_id)["tasks"] if one["id"] not in before]


def test_scaling_back_while_the_extra_instance_waits_kills_a_running_task(marathon: Threaded, client: Client) -> None:
    """The trap of A13: Marathon keeps the scheduled instance and decommissions a running one."""
    client.create(definition("/trap", instances=3))
    before = set(client.running("/trap"))
    marathon.call(marathon.standin.no_offers)

    client.json("PUT", "/v2/apps/trap", {"instances": 4})
    client.json("PUT", "/v2/apps/trap", {"instances": 3}, force="true")

    client.until(lambda: set(client.running("/trap")), lambda live: len(live) == 2)
    assert set(client.running("/trap")) < before
    assert client.app("/trap")["instances"] == 3
    marathon.call(marathon.standin.clear_faults)
    client.until(lambda: set(client.running("/trap")), lambda live: len(live) == 3)
    assert len(set(client.running("/trap")) & before) == 2


def test_a_touch_by_id_restarts_nothing_and_moves_last_scaling_at(client: Client) -> None:
    """N+1, then kill-and-scale of the one that was not there before: the same tasks, a later lastScalingAt."""
    first = client.create(definition("/touched", instances=3))
    before = client.running("/touched")

    client.json("PUT", "/v2/apps/touched", {"instances": 4})
    extra = client.until(lambda: [one["id"] for one in client.app("/touched")["tasks"] if one["id"] not in before], len)
    client.json("POST", "/v2/tasks/delete", {"ids": extra}, scale="true", force="true")
    after = client.deployed("/touched")

    assert {one["id"] for one in after["tasks"]} == set(before)
    assert after["instances"] == 3
    assert after["versionInfo"]["lastScalingAt"] > first["versionInfo"]["lastScalingAt"]
    assert after["versionInfo"]["lastConfigChangeAt"] == first["versionInfo"]["lastConfigChangeAt"]


def test_a_touch_without_offers_moves_last_scaling_at_too(marathon: Threaded, client: Client) -> None:
    """The PUT alone moves it; the extra instance waits in the queue and locks the app."""
    first = client.create(definition("/waiting"))
    marathon.call(marathon.standin.no_offers)

    client.json("PUT", "/v2/apps/waiting", {"instances": 2})

    app = client.app("/waiting")
    assert app["versionInfo"]["lastScalingAt"] > first["versionInfo"]["lastScalingAt"]
    assert len(app["tasks"]) == 1
    assert [one["app"]["id"] for one in client.json("GET", "/v2/queue")["queue"]] == ["/waiting"]
    assert client.ask("PUT", "/v2/apps/waiting", {"instances": 1}).status_code == 409


def test_killing_and_scaling_a_dying_task_again_lowers_the_count_again(client: Client) -> None:
    """Its condition is Running until it is dead, so a repeated request takes another task with it."""
    client.create(definition("/twice", cmd=STUBBORN, healthChecks=[], instances=3, taskKillGracePeriodSeconds=2))
    victim = sorted(client.running("/twice"))[:1]

    client.json("POST", "/v2/tasks/delete", {"ids": victim}, scale="true")
    client.json("POST", "/v2/tasks/delete", {"ids": victim}, scale="true", force="true")

    assert client.app("/twice")["instances"] == 1


def test_a_deleted_app_is_gone_at_once_while_its_tasks_die(marathon: Threaded, client: Client) -> None:
    """It vanishes from every list, and its processes live on."""
    client.create(definition("/dying", cmd=STUBBORN, healthChecks=[], taskKillGracePeriodSeconds=2))

    client.json("DELETE", "/v2/apps/dying")

    assert client.json("GET", "/v2/apps")["apps"] == []
    assert client.json("GET", "/v2/tasks")["tasks"] == []
    assert client.ask("GET", "/v2/apps/dying").status_code == 404
    assert len(marathon.call(marathon.standin.task_kill, app="/dying")) == 1  # there was one to kill


def test_the_id_of_a_deleted_app_is_locked_until_its_tasks_are_dead(client: Client) -> None:
    """A stubborn task lives for the whole grace period and is killed then."""
    fields = definition("/locked", cmd=STUBBORN, healthChecks=[], taskKillGracePeriodSeconds=1)
    client.create(fields)
    client.json("DELETE", "/v2/apps/locked")

    refused = client.ask("POST", "/v2/apps", fields)

    assert refused.status_code == 409
    assert [list(one) for one in refused.json()["deployments"]] == [["id"]]
    client.until(lambda: client.json("GET", "/v2/deployments"), lambda found: found == [])
    assert client.ask("POST", "/v2/apps", fields).status_code == 201


def test_the_grace_period_of_the_app_counts(client: Client) -> None:
    """SIGTERM first, SIGKILL when the period is over: a longer one takes longer."""
    took = {}
    for seconds in (0, 3):
        app_id = f"/grace-{seconds}"
        client.create(definition(app_id, cmd=STUBBORN, healthChecks=[], taskKillGracePeriodSeconds=seconds))
        begun = time.monotonic()
        client.json("DELETE", f"/v2/apps{app_id}")
        client.until(lambda: client.json("GET", "/v2/deployments"), lambda found: found == [])
        took[seconds] = time.monotonic() - begun

    assert took[3] > took[0] + 1.5


def test_a_task_killed_without_scaling_comes_back_as_the_next_incarnation(client: Client) -> None:
    """The instance id stays, the counter of the task id grows, the count stays."""
    client.create(definition("/again"))
    (task_id,) = client.running("/again")
    instance_id, number = task_id.rsplit(".", 1)

    client.json("POST", "/v2/tasks/delete", {"ids": [task_id]})

    live = client.until(lambda: list(client.running("/again")), lambda ids: ids and ids != [task_id])
    assert live == [f"{instance_id}.{int(number) + 1}"]


def test_version_info_tells_scaling_restart_and_change_apart(client: Client) -> None:
    """Scaling moves version and lastScalingAt, a restart version and lastConfigChangeAt, a new config all three."""
    created = client.create(definition("/told"))
    stamps = [(created["version"], *created["versionInfo"].values())]
    for method, path, body in (
        ("PUT", "/v2/apps/told", {"instances": 2}),
        ("POST", "/v2/apps/told/restart", None),
        ("PUT", "/v2/apps/told", {"labels": {"a": "b"}}),
    ):
        client.json(method, path, body)
        app = client.deployed("/told")
        stamps.append((app["version"], *app["versionInfo"].values()))

    moved = [tuple(a < b for a, b in zip(*pair, strict=True)) for pair in pairwise(stamps)]

    assert moved == [(True, True, False), (True, False, True), (True, True, True)]


def test_youngest_or_oldest_goes_first(client: Client) -> None:
    """killSelection decides among running tasks."""
    for selection, place in (("YOUNGEST_FIRST", -1), ("OLDEST_FIRST", 0)):
        app_id = f"/{selection.partition('_')[0].lower()}"
        client.create(definition(app_id, killSelection=selection))
        client.json("PUT", f"/v2/apps{app_id}", {"instances": 2})
        client.deployed(app_id)
        by_age = sorted(client.running(app_id).values(), key=lambda task: task["startedAt"])

        client.json("PUT", f"/v2/apps{app_id}", {"instances": 1})
        client.deployed(app_id)

        assert by_age[place]["id"] not in client.running(app_id)


def test_a_kill_of_tasks_of_two_apps_is_one_deployment(client: Client) -> None:
    """One request, one deployment, both counts lowered."""
    for app_id in ("/one", "/two"):
        client.create(definition(app_id, instances=2))
    ids = [sorted(client.running(app_id))[0] for app_id in ("/one", "/two")]

    deployment = client.json("POST", "/v2/tasks/delete", {"ids": ids}, scale="true")["deploymentId"]

    listed = {one["id"]: one["affectedApps"] for one in client.json("GET", "/v2/deployments")}
    assert listed.get(deployment, ["/one", "/two"]) == ["/one", "/two"]
    assert [client.deployed(app_id)["instances"] for app_id in ("/one", "/two")] == [1, 1]


def test_no_more_than_a_hundred_deployments_at_once(marathon: Threaded, client: Client) -> None:
    """The next change is refused with 403, cancelling by force is not."""
    marathon.call(marathon.standin.no_offers)
    client.json("PUT", "/v2/apps", [definition("/many/first")])
    for number in range(99):
        client.json("POST", "/v2/apps", definition(f"/many/{number}"))

    refused = client.ask("POST", "/v2/apps", definition("/many/last"))

    assert refused.status_code == 403
    assert "Max number (100) of running deployments is achieved" in refused.json()["message"]
    deployment = client.json("GET", "/v2/deployments")[0]["id"]
    assert client.ask("DELETE", f"/v2/deployments/{deployment}").status_code == 403
    assert client.ask("DELETE", f"/v2/deployments/{deployment}", force="true").status_code == 202
    assert client.ask("POST", "/v2/apps", definition("/many/last")).status_code == 201


def test_groups_are_scaled_and_deleted_as_a_whole(client: Client) -> None:
    """PUT with scaleBy multiplies the counts; DELETE takes all apps."""
    client.json("PUT", "/v2/groups/shop", {"apps": [definition("web"), definition("db")]})
    client.deployed("/shop/web")
    assert [one["id"] for one in client.json("GET", "/v2/groups/shop")["apps"]] == ["/shop/db", "/shop/web"]

    client.until(lambda: client.json("GET", "/v2/deployments"), lambda found: found == [])
    client.json("PUT", "/v2/groups/shop", {"scaleBy": 2})
    assert [client.app(f"/shop/{name}")["instances"] for name in ("web", "db")] == [2, 2]

    client.json("DELETE", "/v2/groups/shop", force="true")
    assert client.json("GET", "/v2/apps")["apps"] == []
    assert client.ask("GET", "/v2/groups/shop").status_code == 404


def test_wiped_tasks_are_replaced_by_new_instances(client: Client) -> None:
    """Wiping ends the instance for good; Marathon's scale check wants another one at once."""
    client.create(definition("/wiped", instances=2))
    before = set(client.running("/wiped"))
    victim = sorted(before)[0]

    client.json("POST", "/v2/tasks/delete", {"ids": [victim]}, wipe="true")

    live = client.until(lambda: set(client.running("/wiped")), lambda ids: len(ids) == 2 and victim not in ids)
    assert not any(one.startswith(victim.split("._app")[0]) for one in live)


def test_what_a_forced_cancel_left_too_much_goes_when_a_task_ends(marathon: Threaded, client: Client) -> None:
    """A cancelled rolling upgrade leaves old and new tasks; the next end of a task makes Marathon count again."""
    client.create(definition("/mixed", instances=2))
    deployment = client.json("PUT", "/v2/apps/mixed", {"cmd": "sleep 1000"})["deploymentId"]
    client.until(lambda: len(client.running("/mixed")), lambda count: count == 4)
    assert client.ask("DELETE", f"/v2/deployments/{deployment}", force="true").status_code == 202
    assert len(client.running("/mixed")) == 4

    marathon.call(marathon.standin.task_kill, task=sorted(client.running("/mixed"))[0])

    client.until(lambda: len(client.running("/mixed")), lambda count: count == 2)


def test_a_provisioned_extra_instance_outlives_a_running_one_too(client: Client) -> None:
    """Its id shows already, and still it is the last to go; by id it would have been the one."""
    for attempt in range(20):
        app_id = f"/shown-{attempt}"
        client.create(definition(app_id, instances=2, healthChecks=[]))
        before = set(client.running(app_id))
        client.json("PUT", f"/v2/apps{app_id}", {"instances": 3})
        extra = client.until(partial(new_tasks, client, app_id, before), len)

        client.json("PUT", f"/v2/apps{app_id}", {"instances": 2}, force="true")

        client.deployed(app_id)
        if extra[0]["state"] == "TASK_STAGING" and not before <= set(client.running(app_id)):
            return
        client.json("DELETE", f"/v2/apps{app_id}")
    pytest.fail("No running task was ever taken in place of the extra one.")
