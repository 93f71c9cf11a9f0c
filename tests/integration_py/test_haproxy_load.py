# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Under load: what is done to the servers of ordinary HAProxy processes loses no request of any kind of client."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    haproxy_backend,
    haproxy_drain,
    marathon_app,
)
from tests.integration_py.operating import operate
from tests.sandbox import launch
from tests.sandbox.clients import Clients, clients

PATIENCE = 60.0
INSTANCES = 3


@dataclass
class Stage:
    """Two versions of an app, and HAProxy processes that know none of them."""

    sandbox: launch.Running
    addresses: dict[str, list[str]] = field(default_factory=dict)

    def deploy(self, version: str) -> None:
        """Start one more version of the app."""
        app = self.sandbox.app(id=f"/web{version}", instances=INSTANCES, env={"VERSION": version})
        app["portDefinitions"] = [{"port": 10000 + int(version), "name": "http"}]
        self.done(operate(marathon_app, marathon_url=self.sandbox.marathon, app=app))
        tasks = requests.get(f"{self.sandbox.marathon[0]}/v2/apps/web{version}/tasks", timeout=30).json()["tasks"]
        self.addresses[version] = [f"{task['host']}:{task['ports'][0]}" for task in tasks]

    def bring(self, weights: dict[str, int], state: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
        """Give each version a weight, in the state that is named for it."""
        servers = [
            {
                "name": f"v{version}-{number}",
                "address": address,
                "weight": weight,
                "state": (state or {}).get(version, "ready"),
            }
            for version, weight in weights.items()
            for number, address in enumerate(self.addresses[version])
        ]
        return self.done(operate(haproxy_backend, **self.at(), servers=servers, check_interval=0.2, **options))

    def drain(self, version: str) -> dict[str, Any]:
        return self.done(
            operate(haproxy_drain, **self.at(), address=self.addresses[version], drain_timeout=1, keep_alive_timeout=1)
        )

    def at(self) -> dict[str, Any]:
        lbs = self.sandbox.plain_lbs
        return {
            "socket": [lb["socket"] for lb in lbs],
            "master_socket": [lb["master_socket"] for lb in lbs],
            "backend": "web",
            "wait_timeout": PATIENCE,
        }

    def done(self, result: dict[str, Any]) -> dict[str, Any]:
        assert not result.get("failed"), result
        return result

    @property
    def urls(self) -> list[str]:
        return [lb["url"] for lb in self.sandbox.plain_lbs]


@contextmanager
def staged(**options: Any) -> Iterator[Stage]:
    with launch.start(lbs=0, **options) as sandbox:
        stage = Stage(sandbox)
        stage.deploy("1")
        stage.bring({"1": 100})
        stage.deploy("2")
        yield stage


def shares(url: str, count: int) -> Counter[str]:
    """How often each version answers ``count`` requests, each on a connection of its own."""
    parts = urlsplit(url)
    found: Counter[str] = Counter()

    async def ask(turns: Iterator[int]) -> None:
        for _turn in turns:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            head = (await reader.read()).partition(b"\r\n\r\n")[0].decode()
            writer.close()
            found[next(line.split()[1] for line in head.splitlines() if line.lower().startswith("x-version"))] += 1

    async def ask_all() -> None:
        turns = iter(range(count))
        await asyncio.gather(*(ask(turns) for _client in range(8)))

    asyncio.run(ask_all())
    return found


def failures(traffic: Clients) -> list[dict[str, Any]]:
    return traffic.report()["failures"]


def rollout(stage: Stage, between: Callable[[], None]) -> None:
    """Version 2 takes the place of version 1 by weight, as a canary does; ``between`` is called at each step."""
    stage.bring({"1": 100, "2": 0})
    for weight in (5, 50, 100):
        stage.bring({"1": 100 - weight, "2": weight})
        between()
    drained = stage.drain("1")
    assert (drained["sessions_cut"], drained["deadline_passed"]) == (0, False)
    gone = stage.bring({"2": 100}, absent=stage.addresses["1"])
    assert gone["changed"]
    stage.done(operate(marathon_app, marathon_url=stage.sandbox.marathon, app_id="/web1", state="absent"))


@pytest.mark.serial
@pytest.mark.parametrize("slots", [0, 2 * INSTANCES], ids=["added", "slots"])
def test_a_rollout_by_weight_loses_no_request_of_any_kind(slots: int) -> None:
    with staged(plain_lbs=2, **({"plain_slots": slots} if slots else {})) as stage, clients(stage.urls) as traffic:
        traffic.wait_until_flowing()
        rollout(stage, lambda: time.sleep(0.5))
        time.sleep(0.5)
    assert traffic.failed() == 0, failures(traffic)


@pytest.mark.serial
def test_slots_lose_no_request_when_the_balancers_reload_in_the_middle() -> None:
    with staged(plain_lbs=2, plain_slots=2 * INSTANCES) as stage, clients(stage.urls) as traffic:
        traffic.wait_until_flowing()
        turns = iter(range(10))
        rollout(stage, lambda: stage.sandbox.fault("plain_lb_reload", lb=next(turns) % 2, keep_state=True))
    assert traffic.failed() == 0, failures(traffic)


@pytest.mark.serial
def test_a_reload_that_forgets_all_servers_is_repaired_and_costs_only_the_moment() -> None:
    """Nobody can serve until it is noticed; not one request fails in another way, or after that."""
    with staged(plain_lbs=2) as stage, clients(stage.urls) as traffic:
        traffic.wait_until_flowing()
        stage.bring({"1": 50, "2": 50})
        before = time.time()
        reload = threading.Timer(0.5, lambda: stage.sandbox.fault("plain_lb_reload"))
        reload.start()
        watched = stage.bring({"1": 50, "2": 50}, hold_seconds=4)
        after = time.time()
        assert watched["repaired"] >= 1
        reload.join()
    lost = failures(traffic)
    assert {failure["cause"] for failure in lost} <= {"status_503"}
    assert {failure["url"] for failure in lost} <= {stage.urls[0]}
    assert all(before < failure["t"] < after - 1 for failure in lost)
    assert len(lost) < 100  # about one second's requests


@pytest.mark.serial
def test_the_split_by_weight_is_exact() -> None:
    with staged(plain_lbs=2) as stage:
        for weight in (1, 25):
            stage.bring({"1": 100 - weight, "2": weight})
            for url in stage.urls:
                found = shares(url, 2000)
                assert found.total() == 2000
                assert abs(100 * found["2"] / 2000 - weight) <= 1, (url, weight, found)
