# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong during a rollout, with Marathon or with a load balancer, is survived without a lost request."""

from __future__ import annotations

import random
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chaos.controller import ALL, INSTANCES, RATE, SEED, SHORT_KINDS, Scene, assert_nothing_failed, wait_until
from tests.sandbox import launch
from tests.sandbox.clients import Clients, clients

pytestmark = pytest.mark.serial

# Faults that hit only the collection, not the load balancers' own requests.
OWN = {"agent": "zdd.rollout"}
SOME = 6
BLUE, GREEN = "/v2/apps/web-blue", "/v2/apps/web-green"


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with launch.start(marathon=["127.0.0.1:0", "127.0.0.1:0"], lbs=2) as sandbox:
        yield Scene(sandbox, tmp_path_factory.mktemp("faults"))


@pytest.fixture(name="traffic")
def _traffic(scene: Scene) -> Iterator[Clients]:
    scene.begin_with("1")
    with clients(scene.urls, SHORT_KINDS, RATE) as traffic:
        traffic.wait_until_flowing()
        yield traffic
        scene.sandbox.clear_faults()


@dataclass(frozen=True)
class Trouble:
    """A fault that begins with the rollout, or with the first request that ``at`` (method and path) begins."""

    name: str
    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    at: str = ""

    def __str__(self) -> str:
        return self.name


TROUBLES = [
    Trouble("5xx for two seconds", "marathon_status", {"status": 503, "seconds": 2, **OWN}, f"PUT {GREEN}"),
    Trouble("5xx for two seconds, for the LBs too", "marathon_status", {"status": 503, "seconds": 2}, f"PUT {BLUE}"),
    Trouble("500 for each first request", "marathon_status", {"status": 500, "count": 3, "path": "/v2/apps", **OWN}),
    Trouble("creations dropped", "marathon_drop", {"count": 4, "path": "/v2/apps", **OWN}),
    Trouble("creations applied and dropped", "marathon_drop", {
        "count": 4, "after": True, "path": "/v2/apps", **OWN,
    }),
    Trouble("creation of the app applied and dropped", "marathon_drop", {
        "count": 2, "after": True, "path": "/v2/apps", **OWN,
    }, "GET /v2/events"),
    Trouble("touch of the new app dropped", "marathon_drop", {"count": 2, "path": BLUE, **OWN}, f"PUT {GREEN}"),
    Trouble("touches applied and dropped", "marathon_drop", {"count": 2, "after": True, "path": GREEN, **OWN}),
    Trouble("kills dropped", "marathon_drop", {"count": 2, "path": "/v2/tasks/delete", **OWN}),
    Trouble("kill applied and dropped", "marathon_drop", {
        "count": 1, "after": True, "path": "/v2/tasks/delete", **OWN,
    }),
    Trouble("kill answered with 503", "marathon_status", {
        "count": 2, "status": 503, "path": "/v2/tasks/delete", **OWN,
    }),
    Trouble("removal dropped", "marathon_drop", {"count": 1, "path": GREEN, **OWN}, "POST /v2/tasks/delete"),
    Trouble("removal applied and dropped", "marathon_drop", {
        "count": 6, "after": True, "path": GREEN, **OWN,
    }, f"PUT {BLUE}"),
    Trouble("slow answers", "marathon_slow", {"delay": 0.4, **OWN}),
    Trouble("slow answers for the LBs", "marathon_slow", {"delay": 0.5, "agent": "marathon-lb"}),
    Trouble("leader change while it starts", "leader_change", {"seconds": 1}, f"PUT {GREEN}"),
    Trouble("leader change in the switch", "leader_change", {"seconds": 1}, f"PUT {BLUE}"),
    Trouble("leader change at the end", "leader_change", {"seconds": 1}, f"DELETE {BLUE}"),
    Trouble("event streams cut", "events_drop", {}, f"PUT {GREEN}"),
    Trouble("no events for the collection and the LBs", "events_off", {"seconds": 3}, f"PUT {GREEN}"),
    Trouble("an LB reloads", "lb_reload", {"lb": 1}, f"PUT {BLUE}"),
    Trouble("one LB is slow", "lb_slow", {"lb": 1, "delay": 1.5}),
]  # fmt: skip


@contextmanager
def in_trouble(scene: Scene, trouble: Trouble) -> Iterator[threading.Event]:
    """Start the fault when it is time; the event tells that it began."""
    sandbox, over, begun = scene.sandbox, threading.Event(), threading.Event()
    sandbox.forget_requests()

    def is_time() -> bool:
        if not trouble.at:
            return True
        seen = [entry for entry in sandbox.requests()["log"] if entry["agent"] == "zdd.rollout"]
        return any(f"{entry['method']} {entry['path']}".startswith(trouble.at) for entry in seen)

    def watch() -> None:
        while not over.is_set() and not is_time():
            time.sleep(0.01)
        if not over.is_set():
            sandbox.fault(trouble.kind, **trouble.fields)
            begun.set()

    thread = threading.Thread(target=watch)
    thread.start()
    if not trouble.at:
        assert begun.wait(10)
    try:
        yield begun
    finally:
        over.set()
        thread.join()


CHOSEN = TROUBLES if ALL else sorted(random.Random(SEED).sample(TROUBLES, SOME), key=TROUBLES.index)


@pytest.mark.parametrize("number", range(len(CHOSEN)))
def test_a_rollout_survives(scene: Scene, traffic: Clients, number: int) -> None:
    """It ends well, with the right count, no lock, and no lost request; the old version is met by nobody afterwards."""
    trouble = CHOSEN[number]
    about = f"seed {SEED}, {trouble}"
    with in_trouble(scene, trouble) as begun:
        run = scene.play("bluegreen", scene.variables("2", bluegreen_bake_seconds=0.5))

    assert begun.is_set(), about
    assert run.code == 0 and run.result == "promoted", f"{about}\n{run.output}"
    scene.sandbox.clear_faults()
    assert scene.versions() == ["2"], about
    wait_until(lambda: not scene.leftovers(), f"{about}: {scene.leftovers()}", 15)
    if trouble.kind == "leader_change":
        # A new leader knows of no health at first, and marathon-lb closes the port of an app without healthy tasks:
        # that happens without any rollout too. Nothing else may be lost.
        assert {cause for causes in traffic.causes().values() for cause in causes} <= {"connect"}, traffic.causes()
    else:
        assert_nothing_failed(traffic, f"{about}\n{run.output}")


def test_an_lb_that_is_away_for_a_while_is_waited_for(scene: Scene) -> None:
    """Nothing old is removed before it is back and shows the new version; the other one loses nothing meanwhile."""
    scene.begin_with("1")
    with clients(scene.urls[:1], SHORT_KINDS, RATE) as traffic:
        traffic.wait_until_flowing()
        with in_trouble(scene, Trouble("away", "lb_down", {"lb": 1, "seconds": 4}, f"PUT {GREEN}")) as begun:
            run = scene.play("bluegreen", scene.variables("2"))

        assert begun.is_set()
        assert run.code == 0 and run.result == "promoted", run.output
        assert scene.versions() == ["2"] and not scene.leftovers()
        assert_nothing_failed(traffic, run.output)
    assert all(lb["up"] for lb in scene.sandbox.lb_state())


def test_an_lb_that_stays_away_keeps_everything_as_it_is(scene: Scene) -> None:
    """The old version is not removed; the message names the LB, and the next run finishes when it is back."""
    scene.begin_with("1")
    away = scene.sandbox.lbs[1]["url"].removeprefix("http://")
    with clients(scene.urls[:1], SHORT_KINDS, RATE) as traffic:
        traffic.wait_until_flowing()
        with in_trouble(scene, Trouble("away", "lb_down", {"lb": 1}, f"PUT {GREEN}")):
            run = scene.play("bluegreen", scene.variables("2", bluegreen_switch_timeout=2, bluegreen_retry_timeout=1))

        assert run.code == 2
        assert away in run.output.rpartition("TASK")[2], run.output
        assert "1" in scene.versions()
        assert_nothing_failed(traffic, run.output)
        scene.sandbox.clear_faults()

        run = scene.play("bluegreen", scene.variables("2"))

        assert run.code == 0, run.output
        assert scene.versions() == ["2"] and not scene.leftovers(), run.output
        assert_nothing_failed(traffic, run.output)


def test_a_marathon_that_stays_away_is_named_with_the_request(scene: Scene, traffic: Clients) -> None:
    """The run ends within bounded time, nothing is lost, and the next run finishes."""
    with in_trouble(scene, Trouble("away", "marathon_drop", {**OWN}, f"PUT {GREEN}")):
        run = scene.play("bluegreen", scene.variables("2", bluegreen_retry_timeout=1, bluegreen_healthy_timeout=5))

    last = run.output.rpartition("FAILED!")[2]
    assert run.code == 2
    assert "Marathon at http://" in last and "did not answer" in last, run.output
    scene.sandbox.clear_faults()
    run = scene.play("bluegreen", scene.variables("2"))
    assert run.code == 0, run.output
    assert scene.versions() == ["2"] and not scene.leftovers(), run.output
    assert_nothing_failed(traffic, run.output)


@pytest.mark.parametrize("choice", ["hold", "cut", "fail"])
def test_a_drain_that_does_not_end_follows_the_choice(scene: Scene, choice: str) -> None:
    """``hold`` keeps both and the next run goes on, ``cut`` removes the old one all the same, ``fail`` goes back."""
    scene.begin_with("1")
    variables = scene.variables("2", bluegreen_drain_timeout=1, bluegreen_on_drain_timeout=choice)
    with held_connection(scene) as release:
        run = scene.play("bluegreen", variables)
        if choice == "hold":
            assert run.code == 2 and run.result == "held", run.output
            assert scene.versions() == ["1", "2"]
            assert {app["instances"] for app in scene.group()} == {INSTANCES}
            assert not [app for app in scene.apps() if app["id"].startswith("/zdd-rollout-locks")]
        elif choice == "cut":
            assert run.code == 0 and run.result == "promoted", run.output
            assert scene.versions() == ["2"]
        else:
            # The stream that does not end keeps the new version's tasks from being shown idle too: they are kept.
            assert run.code == 2 and "1 old worker" in run.output, run.output
            assert served_by(scene) == {"1"}
        release()
    if choice == "hold":
        run = scene.play("bluegreen", variables)
        assert run.code == 0 and scene.versions() == ["2"], run.output
    if choice == "fail":
        run = scene.play("rollback", {"bluegreen_group": "web"})
        assert run.code == 0 and scene.versions() == ["1"], run.output


def served_by(scene: Scene) -> set[str]:
    """The versions that answer new requests now."""
    found = set()
    for url in scene.urls * 4:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found.add(answer.headers["X-Version"])
    return found


@contextmanager
def held_connection(scene: Scene) -> Iterator[Callable[[], None]]:
    """A stream through the first LB that takes very long."""
    host, port = scene.urls[0].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"GET /slow?seconds=600 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert connection.recv(12)
        over = threading.Event()

        def read() -> None:
            connection.settimeout(0.2)
            while not over.is_set():
                try:
                    if not connection.recv(65536):
                        return
                except TimeoutError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=read, daemon=True)
        thread.start()

        def release() -> None:
            over.set()
            connection.close()

        try:
            yield release
        finally:
            over.set()
            thread.join()
