# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Under load: what is done to an nginx of the role swarm_proxy loses no request of any kind of client."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._operations import nginx_drain, nginx_split
from tests.integration_py.nginx_instance import Nginx, Tasks
from tests.integration_py.operating import operate
from tests.sandbox.clients import Clients, clients

pytestmark = pytest.mark.serial

PATIENCE = 60.0
SWITCHES = 20


@dataclass
class Stage:
    """An nginx, version 1 as blue and version 2 as green."""

    nginx: Nginx
    blue: Tasks
    green: Tasks

    def split(self, colour: str, share: float = 100) -> None:
        self.done(operate(nginx_split, **self.nginx.at(), colour=colour, share=share, wait_timeout=PATIENCE))

    def drain(self, tasks: Tasks) -> dict[str, Any]:
        return self.done(operate(nginx_drain, **self.nginx.at(), addresses=tasks.addresses, wait_timeout=PATIENCE))

    def configure(self, blue: Tasks, green: Tasks, **options: Any) -> dict[str, Any]:
        content = self.nginx.content(blue.addresses, green.addresses)
        return self.done(self.nginx.configure(content, wait_timeout=PATIENCE, **options))

    def done(self, result: dict[str, Any]) -> dict[str, Any]:
        assert not result.get("failed"), result
        return result


@contextmanager
def staged() -> Iterator[Stage]:
    with ExitStack() as stack:
        nginx = stack.enter_context(Nginx(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        stage = Stage(nginx, stack.enter_context(Tasks("1")), stack.enter_context(Tasks("2")))
        stage.configure(stage.blue, stage.green)
        yield stage


def failures(traffic: Clients) -> list[dict[str, Any]]:
    return traffic.report()["failures"]


def met(traffic: Clients, version: str, since: float) -> bool:
    """Whether every kind has been answered by a version since then (epoch seconds)."""
    found = {
        seen["kind"] for seen in traffic.report()["versions"] if seen["version"] == version and seen["last"] > since
    }
    return found == set(traffic.kinds)


def test_switches_lose_no_request_of_any_kind() -> None:
    with staged() as stage, clients([stage.nginx.url]) as traffic:
        traffic.wait_until_flowing()
        for number in range(SWITCHES):
            stage.split(("green", "blue")[number % 2])
            time.sleep(0.3)
    assert traffic.failed() == 0, failures(traffic)
    assert traffic.versions() == {"1", "2"}


def test_after_a_switch_and_a_drain_the_old_tasks_can_be_killed() -> None:
    """By the hardest signal, right when the drain says so, with streams and websockets of 3 s under way."""
    with staged() as stage, clients([stage.nginx.url]) as traffic:
        traffic.wait_until_flowing()
        for share in (5, 20, 60):
            stage.split("green", share)
            time.sleep(0.3)
        stage.split("green")
        switched = time.time()
        drained = stage.drain(stage.blue)
        assert drained["sessions"] > 0
        stage.blue.kill()
        traffic.wait_until(lambda _report: met(traffic, "2", switched + 1), PATIENCE)
    assert traffic.failed() == 0, failures(traffic)
    last = traffic.last_sent_to("1")
    assert last is not None and last < switched


def test_new_requests_turn_at_once() -> None:
    """Within half a second from the order, whoever sends them and on whatever connection."""
    with staged() as stage, clients([stage.nginx.url]) as traffic:
        traffic.wait_until_flowing()
        for colour, version, old in (("green", "2", "1"), ("blue", "1", "2"), ("green", "2", "1")):
            ordered = time.time()
            stage.split(colour)
            traffic.wait_until(lambda _report, version=version, at=ordered: met(traffic, version, at + 1), PATIENCE)
            last = traffic.last_sent_to(old)
            assert last is not None and last - ordered < 0.5
    assert traffic.failed() == 0, failures(traffic)


def test_a_deployment_loses_only_what_meets_a_connection_that_the_reload_closes() -> None:
    """New addresses of the idle colour are the one reload of a deployment; see docs/nginx.md."""
    with ExitStack() as stack:
        stage = stack.enter_context(staged())
        coming = [stack.enter_context(Tasks(version)) for version in ("3", "4", "5")]
        with clients([stage.nginx.url]) as traffic:
            traffic.wait_until_flowing()
            old, live = stage.green, stage.blue
            for number, new in enumerate(coming):
                green_is_live = number % 2 == 1
                stage.configure(*((new, live) if green_is_live else (live, new)))
                old.kill()
                stage.split("blue" if green_is_live else "green")
                stage.drain(live)
                old, live = live, new
            traffic.wait_until(lambda report: report["clients"]["get"]["answered"] > 200, PATIENCE)
    causes = {cause for kind in traffic.causes().values() for cause in kind}
    assert causes <= {"eof_on_kept_connection"}, failures(traffic)
    assert set(traffic.causes()) <= {"post", "sticky"}, "only clients that keep connections"
    answered = sum(counts["answered"] for counts in traffic.report()["clients"].values())
    assert traffic.failed() < 0.02 * answered


def closed_by_reloads(close_seconds: float) -> int:
    """How many idle connections of clients six reloads have closed without a word."""
    with staged() as stage, Tasks("3") as other, clients([stage.nginx.url], ("post", "sticky")) as traffic:
        traffic.wait_until_flowing()
        for number in range(6):
            done = stage.configure(stage.blue, (other, stage.green)[number % 2], close_seconds=close_seconds)
            assert done["reloaded"]
            time.sleep(0.3)
        return traffic.stop()["closed_while_idle"]


def test_a_reload_that_was_announced_closes_few_idle_connections() -> None:
    """Each one that is closed without a word is a request that may be lost."""
    without, announced = closed_by_reloads(0), closed_by_reloads(1)

    assert without > 10
    assert announced < without / 4
