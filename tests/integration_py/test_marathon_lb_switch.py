# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch: all traffic goes to one app of a group, nothing is restarted, what a dead run left is cleared away."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._marathon.deployment_group import colour_definition
from ansible_collections.zdd.rollout.plugins.module_utils._operations import marathon_lb_switch
from tests.integration_py.operating import operate
from tests.rehearsal.watch import servers_up
from tests.sandbox import launch
from tests.sandbox.clients import clients

COUNT = 2
NUMBERS = itertools.count(1)

Json = dict[str, Any]


@pytest.fixture(name="sandbox", scope="module")
def _sandbox() -> Iterator[launch.Running]:
    with launch.start(lbs=2, agents=4) as running:
        yield running


class Pair:
    """A group of two apps, both warm; blue has the traffic when they are ready."""

    def __init__(self, sandbox: launch.Running, **fields: Any) -> None:
        self.sandbox = sandbox
        self.number = next(NUMBERS)
        self.name = f"g{self.number}"
        self.port = 10000 + 10 * self.number
        self.fields = fields
        self.blue, self.green = f"/{self.name}-blue", f"/{self.name}-green"

    def definition(self, colour: str, started: str, **labels: str | None) -> Json:
        made = colour_definition(
            self.sandbox.app(id=f"/{self.name}", portDefinitions=[{"port": self.port}], **self.fields),
            colour=colour,
            group=self.name,
            version=colour,
            started_at=started,
            target=COUNT,
            instances=COUNT,
            turnable=True,
            fresh_state=True,
        )
        given = {**made["labels"], **labels}
        return {**made, "labels": {name: value for name, value in given.items() if value is not None}}

    def ready(self, **labels: str | None) -> Pair:
        """Green first, then blue: blue is the one that was scaled last."""
        self.ask("POST", "/v2/apps", self.definition("green", "2026-01-02T00:00:00", **labels))
        self.until(lambda: self.healthy(self.green) == COUNT)
        self.ask("POST", "/v2/apps", self.definition("blue", "2026-01-01T00:00:00", **labels))
        self.until(lambda: self.healthy(self.blue) == COUNT and self.serving() == {self.blue})
        self.sandbox.forget_requests()
        return self

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.sandbox.marathon[0] + path,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "User-Agent": "person"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def app(self, app_id: str) -> Json:
        return self.ask("GET", f"/v2/apps{app_id}?embed=app.tasks&embed=app.deployments")["app"]

    def healthy(self, app_id: str) -> int:
        tasks = self.app(app_id)["tasks"]
        return len([task for task in tasks if any(one["alive"] for one in task.get("healthCheckResults") or ())])

    def counts(self) -> tuple[int, int]:
        return self.app(self.blue)["instances"], self.app(self.green)["instances"]

    def ids(self) -> set[str]:
        return {task["id"] for app_id in (self.blue, self.green) for task in self.app(app_id)["tasks"]}

    def add_one(self, app_id: str) -> None:
        """What a run leaves that dies in the middle of a touch."""
        self.ask("PUT", f"/v2/apps{app_id}", {"instances": COUNT + 1})
        self.until(lambda: len(self.app(app_id)["tasks"]) == COUNT + 1)

    def until(self, condition: Callable[[], bool], limit: float = 30.0) -> None:
        deadline = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def switch(self, app_id: str, *, check_mode: bool = False, **options: Any) -> Json:
        given = {"instances": COUNT, "other_instances": COUNT, "wait_timeout": 30, **options}
        return operate(
            marathon_lb_switch,
            check_mode=check_mode,
            marathon_url=self.sandbox.marathon,
            marathon_lb_url=[lb["url"] for lb in self.sandbox.lbs],
            group=self.name,
            app_id=app_id,
            **given,
        )

    def serving(self) -> set[str]:
        """The apps whose servers are UP at any LB."""
        own = {}
        for app_id in (self.blue, self.green):
            for task in (one for one in self.app(app_id)["tasks"] if one.get("ports")):
                own[f"{task['host']}_{task['ports'][0]}".replace(".", "_")] = app_id
        up = {name for lb in self.sandbox.lbs for name in servers_up(lb["url"])}
        return {app_id for name, app_id in own.items() if name in up}

    def changes(self) -> list[str]:
        return [
            f"{entry['method']} {entry['path'].partition('?')[0]}"
            for entry in self.sandbox.requests()["log"]
            if entry["method"] != "GET" and entry["agent"] == "zdd.rollout"
        ]

    def urls(self) -> list[str]:
        return [f"http://{lb['host']}:{self.port}" for lb in self.sandbox.lbs]


@pytest.fixture(name="pair")
def _pair(sandbox: launch.Running) -> Iterator[Callable[..., Pair]]:
    made: list[Pair] = []

    def make(**fields: Any) -> Pair:
        made.append(Pair(sandbox, **fields))
        return made[-1]

    yield make
    sandbox.clear_faults()
    for one in made:
        for app_id in (one.blue, one.green):
            try:
                one.ask("DELETE", f"/v2/apps{app_id}?force=true")
            except urllib.error.HTTPError as error:
                assert error.code == 404
    if made:
        made[0].until(lambda: not made[0].ask("GET", "/v2/deployments"))


def test_a_touch_turns_all_traffic_and_restarts_nothing(pair: Callable[..., Pair]) -> None:
    """To and fro; not one request fails, and each way is two requests that change something."""
    group = pair().ready()
    tasks = group.ids()
    with clients(group.urls(), ["get", "post"], 40) as traffic:
        traffic.wait_until_flowing()
        for app_id in (group.green, group.blue):
            group.sandbox.forget_requests()

            result = group.switch(app_id)

            assert result["changed"] and result["method"] == "touch" and result["extra_task"] is None
            assert result["switch"]["receiver"] == app_id
            assert group.changes() == [f"PUT /v2/apps{app_id}", "POST /v2/tasks/delete"]
            assert group.serving() == {app_id}
        assert traffic.failed() == 0, traffic.causes()
    group.until(lambda: group.ids() == tasks)


def test_what_is_so_already_is_not_touched(pair: Callable[..., Pair]) -> None:
    """Not one request that changes anything, and the idle tasks are told all the same."""
    group = pair().ready()

    result = group.switch(group.blue)

    assert not result["changed"] and result["method"] == "none"
    assert group.changes() == []
    assert set(result["idle_tasks"]) == {task["id"] for task in group.app(group.green)["tasks"]}


def test_check_mode_tells_and_changes_nothing(pair: Callable[..., Pair]) -> None:
    group = pair().ready()

    result = group.switch(group.green, check_mode=True)

    assert result["changed"] and result["switch"]["receiver"] == group.green
    assert f'"receiver": "{group.blue}"' in result["diff"]["before"]
    assert f'"receiver": "{group.green}"' in result["diff"]["after"]
    assert group.changes() == [] and group.serving() == {group.blue}


@pytest.mark.parametrize("alive", [False, True], ids=["starting", "alive"])
@pytest.mark.parametrize("which", ["blue", "green"])
def test_a_task_too_many_is_removed_without_a_lost_request(pair: Callable[..., Pair], which: str, alive: bool) -> None:
    """A run died in the middle of a touch of the one app or the other; now green is to have the traffic."""
    group = pair().ready()
    fat = group.blue if which == "blue" else group.green
    with clients(group.urls(), ["get", "post"], 40) as traffic:
        traffic.wait_until_flowing()
        group.add_one(fat)
        if alive:
            group.until(lambda: group.healthy(fat) == COUNT + 1)

        result = group.switch(group.green, trim=True)

        assert not result.get("failed"), result["msg"]
        assert result["changed"] and result["extra_task"] is None
        assert group.counts() == (COUNT, COUNT)
        assert group.serving() == {group.green}
        assert traffic.failed() == 0, traffic.causes()
    again = group.switch(group.green, trim=True)
    assert not again["changed"]


def test_a_live_task_too_many_is_reported_where_it_may_not_be_trimmed(pair: Callable[..., Pair]) -> None:
    """The other app is not fit to serve, so the traffic cannot be turned for it."""
    group = pair().ready()
    group.add_one(group.green)
    group.until(lambda: group.healthy(group.green) == COUNT + 1)

    result = group.switch(group.green)

    assert result["extra_task"] == "live" and group.counts() == (COUNT, COUNT + 1)
    assert group.serving() == {group.green}


def test_an_extra_task_without_an_offer_is_left_and_removed_later(pair: Callable[..., Pair]) -> None:
    """The traffic has turned all the same; no running task is lost for it."""
    group = pair().ready()
    tasks = group.ids()
    group.sandbox.fault("no_offers")

    result = group.switch(group.green, offer_timeout=0.5)

    assert result["changed"] and result["extra_task"] == "pending"
    assert group.serving() == {group.green} and group.counts() == (COUNT, COUNT + 1)
    group.sandbox.clear_faults()
    group.until(lambda: len(group.app(group.green)["tasks"]) == COUNT + 1)
    group.switch(group.green, trim=True)
    assert group.counts() == (COUNT, COUNT)
    group.until(lambda: group.ids() == tasks)


def test_an_app_without_room_for_one_more_is_turned_by_reduction(pair: Callable[..., Pair]) -> None:
    """Its constraint leaves no agent for an extra task: one idle task is restarted instead."""
    group = pair(constraints=[["hostname", "CLUSTER"]]).ready()
    with clients(group.urls(), ["get", "post"], 40) as traffic:
        traffic.wait_until_flowing()

        result = group.switch(group.green)

        assert result["method"] == "reduction", result
        assert group.serving() == {group.green} and group.counts() == (COUNT, COUNT)
        assert traffic.failed() == 0, traffic.causes()


def test_servers_that_would_come_back_as_down_are_not_touched(pair: Callable[..., Pair]) -> None:
    """Without the label for a fresh state one idle task is restarted instead, and no request is lost."""
    group = pair().ready(HAPROXY_0_BACKEND_HEAD=None)
    with clients(group.urls(), ["get", "post"], 40) as traffic:
        traffic.wait_until_flowing()

        result = group.switch(group.green)

        assert result["method"] == "reduction", result
        assert group.serving() == {group.green} and group.counts() == (COUNT, COUNT)
        assert traffic.failed() == 0, traffic.causes()


@pytest.mark.parametrize("fault", ["lb_slow", "lb_down"])
def test_every_lb_is_waited_for(pair: Callable[..., Pair], fault: str) -> None:
    """One reacts late, or is away for some seconds: the switch is done when it shows it too."""
    group = pair().ready()
    group.sandbox.fault(fault, lb=1, **({"delay": 2} if fault == "lb_slow" else {"seconds": 2}))

    result = group.switch(group.green)

    assert not result.get("failed"), result["msg"]
    assert len(result["lbs"]) == 2 and group.serving() == {group.green}
    assert group.counts() == (COUNT, COUNT)


def test_a_dying_task_of_the_other_app_is_waited_for(pair: Callable[..., Pair]) -> None:
    """marathon-lb counts it: the traffic is turned when all live tasks lose it."""
    group = pair().ready()
    victim = group.app(group.blue)["tasks"][0]["id"]
    threading.Thread(target=group.ask, args=("POST", "/v2/tasks/delete", {"ids": [victim]})).start()

    result = group.switch(group.green)

    assert not result.get("failed"), result["msg"]
    assert group.serving() == {group.green}


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"HAPROXY_DEPLOYMENT_TARGET_INSTANCES": None}, "HAPROXY_DEPLOYMENT_TARGET_INSTANCES"),
        ({"HAPROXY_DEPLOYMENT_COLOUR": "red"}, "red"),
        ({"HAPROXY_DEPLOYMENT_STARTED_AT": "soon"}, "HAPROXY_DEPLOYMENT_STARTED_AT"),
    ],
)
def test_a_group_that_cannot_be_turned_is_left_alone(
    pair: Callable[..., Pair], labels: dict[str, str | None], text: str
) -> None:
    group = pair()
    for colour, started in (("blue", "2026-01-01"), ("green", "2026-01-02")):
        group.ask("POST", "/v2/apps", {**group.definition(colour, started, **labels), "instances": 0})
    group.sandbox.forget_requests()

    result = group.switch(group.blue, wait_timeout=1)

    assert result["failed"] and text in result["msg"], result
    assert group.changes() == []


def test_a_group_of_three_is_refused_and_named(pair: Callable[..., Pair]) -> None:
    group, odd = pair(), pair()
    for app_id in (group.blue, group.green, odd.blue):
        group.ask("POST", "/v2/apps", {**group.definition("blue", "2026-01-01"), "id": app_id, "instances": 0})
    group.sandbox.forget_requests()

    result = group.switch(group.blue)

    assert result["failed"] and odd.blue in result["msg"]
    assert group.changes() == []
