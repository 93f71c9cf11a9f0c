# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sequences that were tried on the real marathon-lb under load: those that lost requests there lose them here too.

"Fresh state" is the label that makes HAProxy forget, at a reload, what the servers of the backend were like. Without
it a server that leaves maintenance is down until its checks have passed.
"""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.marathon_lb_decision import server_name
from tests.sandbox import launch
from tests.sandbox.clients import Clients, clients

pytestmark = pytest.mark.serial

FRESH_STATE = "\nbackend {backend}\n  balance {balance}\n  mode {mode}\n  load-server-state-from-file none\n"
KINDS = ("get", "post", "sticky", "stream")
N = 4


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return found


class Rollout:
    """Blue and green of the group ``web`` in a sandbox of its own."""

    def __init__(self, sandbox: launch.Running, *, fresh: bool) -> None:
        self.sandbox = sandbox
        self.apps = f"{sandbox.marathon[0]}/v2/apps"
        self.fresh = fresh

    def create(self, colour: str, hour: int) -> None:
        labels = {
            **self.sandbox.app()["labels"],
            "HAPROXY_0_STICKY": "true",
            "HAPROXY_0_PORT": "10000",
            "HAPROXY_DEPLOYMENT_GROUP": "web",
            "HAPROXY_DEPLOYMENT_COLOUR": colour,
            "HAPROXY_DEPLOYMENT_STARTED_AT": f"2026-01-01T{hour}:00:00.000000",
            "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": str(N),
            "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "0",
        }
        if self.fresh:
            labels["HAPROXY_0_BACKEND_HEAD"] = FRESH_STATE
        app = self.sandbox.app(id=f"/web-{colour}", instances=N, labels=labels, env={"VERSION": colour})
        assert requests.post(self.apps, json=app, timeout=30).status_code == 201

    def put_instances(self, colour: str, instances: int) -> None:
        answer = requests.put(f"{self.apps}/web-{colour}", json={"instances": instances}, timeout=30)
        assert answer.status_code == 200, answer.text

    def delete(self, colour: str) -> None:
        assert requests.delete(f"{self.apps}/web-{colour}", timeout=30).status_code == 200
        until(lambda: requests.get(f"{self.apps}/web-{colour}", timeout=30).status_code == 404)

    def touch(self, colour: str) -> None:
        """Scale by one and kill the extra task before it serves: the app was scaled last, and is as it was."""
        before = self.tasks(colour)
        self.put_instances(colour, N + 1)
        (extra,) = until(lambda: self.tasks(colour) - before)
        requests.post(
            f"{self.sandbox.marathon[0]}/v2/tasks/delete?scale=true&force=true", json={"ids": [extra]}, timeout=30
        ).raise_for_status()

    def tasks(self, colour: str) -> set[str]:
        answer = requests.get(f"{self.apps}/web-{colour}/tasks", timeout=30)
        return {task["id"] for task in answer.json()["tasks"]}

    def servers(self) -> Counter[tuple[str, str]]:
        """How many servers there are by colour and status, UP or MAINT or another one."""
        colours = {
            server_name(task["host"], task["host"], task["ports"][0]): app["id"].rpartition("-")[2]
            for app in requests.get(self.apps, params={"embed": "apps.tasks"}, timeout=30).json()["apps"]
            for task in app["tasks"]
            if task.get("ports")
        }
        stats = requests.get(f"{self.sandbox.lbs[0]['url']}/haproxy?stats;csv", timeout=30).text
        rows = csv.DictReader(io.StringIO(stats.removeprefix("# ")))
        return Counter(
            (colours.get(row["svname"], "gone"), row["status"].split()[0])
            for row in rows
            if row["pxname"] == "web_10000" and row["svname"] not in ("FRONTEND", "BACKEND")
        )

    def wait_for(self, **statuses: str) -> None:
        """Wait until all N servers of each colour have this status."""
        until(lambda: all(self.servers()[colour, status] == N for colour, status in statuses.items()))

    def wait_for_old_workers(self) -> None:
        until(lambda: len(self.sandbox.lb_state()[0]["pids"]) == 2)


@contextmanager
def blue_under_load(*, fresh: bool) -> Iterator[tuple[Rollout, Clients]]:
    with launch.start() as sandbox:
        rollout = Rollout(sandbox, fresh=fresh)
        rollout.create("blue", 10)
        rollout.wait_for(blue="UP")
        with clients([f"http://{sandbox.lbs[0]['host']}:10000"], KINDS) as traffic:
            traffic.wait_until_flowing()
            yield rollout, traffic
            time.sleep(1)  # what was lost at the end is counted too


def causes(traffic: Clients) -> Counter[str]:
    return sum((Counter(by_cause) for by_cause in traffic.causes().values()), Counter())


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh state", "stock label"])
def test_forward_loses_nothing(fresh: bool) -> None:
    with blue_under_load(fresh=fresh) as (rollout, traffic):
        rollout.create("green", 11)
        rollout.wait_for(green="UP", blue="MAINT")
        rollout.wait_for_old_workers()
        rollout.delete("blue")

    assert causes(traffic) == {}
    assert traffic.versions() == {"blue", "green"}


def test_back_by_one_more_loses_nothing_with_fresh_state() -> None:
    with blue_under_load(fresh=True) as (rollout, traffic):
        rollout.create("green", 11)
        rollout.wait_for(green="UP", blue="MAINT")
        rollout.touch("blue")
        rollout.wait_for(green="MAINT", blue="UP")
        rollout.wait_for_old_workers()
        rollout.delete("green")

    assert causes(traffic) == {}


def test_back_by_one_more_loses_requests_without_fresh_state() -> None:
    """All of green is drained at once, and no server of blue is up yet."""
    with blue_under_load(fresh=False) as (rollout, traffic):
        rollout.create("green", 11)
        rollout.wait_for(green="UP", blue="MAINT")
        assert causes(traffic) == {}
        rollout.put_instances("blue", N + 1)
        rollout.wait_for(green="MAINT")
        until(lambda: rollout.servers()["blue", "UP"] >= N)

    assert causes(traffic)["status_503"] > 0


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh state", "stock label"])
def test_retiring_by_scaling_to_nothing_loses_requests(fresh: bool) -> None:
    """The scaling makes the dying app the receiver."""
    with blue_under_load(fresh=fresh) as (rollout, traffic):
        rollout.create("green", 11)
        rollout.wait_for(green="UP", blue="MAINT")
        rollout.wait_for_old_workers()
        assert causes(traffic) == {}
        rollout.put_instances("blue", 0)
        until(lambda: not rollout.tasks("blue"))
        rollout.wait_for(green="UP")

    assert causes(traffic)["status_503"] > 0


def test_a_warm_app_gets_no_request_until_it_is_touched() -> None:
    """Touching blue right after green was created keeps the traffic; touching green turns all of it."""
    with blue_under_load(fresh=True) as (rollout, traffic):
        rollout.create("green", 11)
        rollout.touch("blue")
        rollout.wait_for(blue="UP", green="MAINT")
        time.sleep(1)
        assert traffic.versions() == {"blue"}

        rollout.touch("green")
        rollout.wait_for(blue="MAINT", green="UP")
        rollout.wait_for_old_workers()
        rollout.touch("blue")
        rollout.wait_for(blue="UP", green="MAINT")

    assert causes(traffic) == {}
    assert traffic.versions() == {"blue", "green"}
