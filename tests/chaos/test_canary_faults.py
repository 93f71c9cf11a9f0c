# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canaries go up, on and back while one thing after the other goes wrong: nothing is lost, nothing is left over."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chaos.controller import ALL, RATE, SEED, SHORT_KINDS, PlainScene, Scene, wait_until
from tests.rehearsal.playbook import Run
from tests.sandbox import launch
from tests.sandbox.clients import clients

pytestmark = [pytest.mark.serial, pytest.mark.timeout(5400 if ALL else 900)]

SECONDS = 150.0 if ALL else 6.0  # of trouble, for each kind of load balancer
CALM = (0.2, 1.2)  # seconds between two faults
AFTERWARDS = 6.0  # seconds: until what a fault did to requests is over
OWN = {"agent": "zdd.rollout"}
CUT = ("eof", "eof_on_kept_connection", "reset", "truncated", "status_502")
# A run gives up soon, so that there are many of them.
IMPATIENT = {
    "bluegreen_retry_timeout": 4,
    "bluegreen_switch_timeout": 10,
    "bluegreen_healthy_timeout": 10,
    "bluegreen_drain_timeout": 4,
    "bluegreen_retire_timeout": 10,
    "bluegreen_haproxy_persistence_timeout": 1,
}


@dataclass(frozen=True)
class Trouble:
    """A fault. ``hits``: the load balancer whose requests it may cost, or ``everyone``; ``None``: it may cost nothing.

    ``causes``: what these requests may then fail with, anything when there are none.
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    hits: int | str | None = None
    causes: tuple[str, ...] = ()


MARATHON = (
    Trouble("marathon_status", {"status": 503, "seconds": 1.5, **OWN}),
    Trouble("marathon_status", {"status": 500, "count": 2, **OWN}),
    Trouble("marathon_drop", {"count": 2, **OWN}),
    Trouble("marathon_drop", {"count": 2, "after": True, **OWN}),
    Trouble("marathon_slow", {"delay": 0.4, "seconds": 2, **OWN}),
    Trouble("events_drop"),
    Trouble("events_off", {"seconds": 2}),
    Trouble("long connection"),
    # What a task had in hand when it was killed is lost with it.
    Trouble("canary killed", hits="everyone", causes=CUT),
    Trouble("canary unhealthy", hits="everyone", causes=CUT),
)  # fmt: skip
MODES: dict[str, Any] = {
    "marathon-lb": (
        {"lbs": 2, "marathon": ["127.0.0.1:0", "127.0.0.1:0"]},
        Scene,
        ({"instances": 1, "pause": True},),
        (
            *MARATHON,
            # A new leader knows of no health at first, and marathon-lb closes the port of an app without healthy tasks.
            Trouble("leader_change", {"seconds": 0.5}, hits="everyone", causes=("connect",)),
            Trouble("lb_reload", {"lb": 1}),
            Trouble("lb_slow", {"lb": 1, "delay": 1.0}),
            Trouble("lb_down", {"lb": 1, "seconds": 1.5}, hits=1),
        ),
    ),
    "plain HAProxy": (
        {"lbs": 0, "plain_lbs": 2, "plain_slots": 8, "marathon": ["127.0.0.1:0", "127.0.0.1:0"]},
        PlainScene,
        ({"weight": 10}, {"weight": 30, "pause": True}, {"weight": 60}),
        (
            *MARATHON,
            Trouble("leader_change", {"seconds": 0.5}),
            Trouble("plain_lb_reload", {"lb": 0, "keep_state": True}),
            Trouble("plain_lb_reload", {"lb": 1, "keep_state": False}, hits=1),
            Trouble("plain_lb_down", {"lb": 1, "seconds": 1.5}, hits=1),
        ),
    ),
}


class Troublemaker:
    """Makes one trouble after the other for the time of a ``with``; ``made`` has each with its time (epoch)."""

    def __init__(self, scene: Scene, troubles: tuple[Trouble, ...], source: random.Random) -> None:
        self.scene = scene
        self.troubles = troubles
        self.source = source
        self.made: list[tuple[float, Trouble]] = []
        self.over = threading.Event()
        self.held: list[socket.socket] = []
        self.thread = threading.Thread(target=self.work, daemon=True)

    def __enter__(self) -> Troublemaker:
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        self.thread.join()
        self.release()
        self.scene.sandbox.clear_faults()

    def work(self) -> None:
        bag: list[Trouble] = []
        while not self.over.wait(self.source.uniform(*CALM)):
            bag = bag or self.source.sample(self.troubles, len(self.troubles))
            trouble = bag.pop()
            self.made.append((time.time(), trouble))
            self.make(trouble)

    def make(self, trouble: Trouble) -> None:
        sandbox = self.scene.sandbox
        if trouble.kind == "long connection":
            self.release()
            host, port = self.scene.urls[0].removeprefix("http://").split(":")
            self.held.append(socket.create_connection((host, int(port)), timeout=30))
            self.held[0].sendall(f"GET /slow?seconds=600 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return
        try:
            if trouble.kind == "canary killed":
                task = self.canary(lambda app: app["tasks"][0]["id"])
                if task is not None:
                    sandbox.fault("task_kill", task=task)
            elif trouble.kind == "canary unhealthy":
                app = self.canary(lambda app: app["id"])
                if app is not None:
                    sandbox.fault("task_unhealthy", app=app)
                    self.over.wait(3)
                    sandbox.clear_faults()
            else:
                sandbox.fault(trouble.kind, **trouble.fields)
        except (ValueError, OSError):  # the load balancer is down already, or there is no leader to ask for tasks
            self.made.pop()

    def canary(self, what: Callable[[Any], str]) -> str | None:
        """Something of the new version, while there are two."""
        group = self.scene.group()
        new = max(group, key=lambda app: int(app["env"]["VERSION"]), default=None)
        return what(new) if len(group) == 2 and new is not None and new["tasks"] else None

    def release(self) -> None:
        while self.held:
            self.held.pop().close()

    def may_cost(self, url: str, sent: float, cause: str) -> bool:
        """Whether a request that was sent then to the load balancer at ``url`` may be lost so."""
        number = self.scene.urls.index(url)
        return any(
            trouble.hits in (number, "everyone")
            and (not trouble.causes or cause in trouble.causes)
            # Without servers a load balancer stays until a run comes by.
            and at - 1 <= sent <= at + (AFTERWARDS if trouble.hits == "everyone" else float("inf"))
            for at, trouble in self.made
        )


@dataclass
class Act:
    """Canaries of one app, one after the other. ``version``: the newest; it is live where ``ended``."""

    scene: Scene
    steps: tuple[Mapping[str, Any], ...]
    source: random.Random
    version: int = 1
    ended: bool = True
    told: list[str] = field(default_factory=list)

    def go_on(self) -> None:
        """One playbook, whichever makes sense."""
        if self.ended:
            self.version += 1
            self.ended = False
        if self.play("canary").result == "paused":
            choice = self.source.choice(("promote", "promote", "rollback"))
            self.ended = self.play(choice).result == "promoted"

    def play(self, playbook: str, **more: Any) -> Run:
        variables = self.scene.variables(str(self.version), canary_steps=self.steps, **IMPATIENT, **more)
        run = self.scene.play(playbook, variables)
        self.told.append(f"{playbook} of {self.version}: {run.result} ({run.duration_s:.1f} s): {reason(run)}")
        for never in ("Defect in", "Traceback", "MODULE FAILURE", "is undefined"):
            assert never not in run.output, run.output
        return run

    def finish(self) -> None:
        """What a person does when the trouble is over."""
        whole = tuple({**step, "pause": False} for step in self.steps)
        for _try in range(3):
            self.steps = whole
            if self.play("canary").code == 0:
                return
        raise AssertionError("\n".join(self.told))


def reason(run: Run) -> str:
    return str(run.report.get("failure") or (run.output[-1500:] if run.code and not run.report else "fine"))


@pytest.fixture(name="mode", params=MODES)
def _mode(request: pytest.FixtureRequest) -> Any:
    return MODES[request.param]


@pytest.fixture(name="scene")
def _scene(mode: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    options, kind, _steps, _troubles = mode
    with launch.start(**options) as sandbox:
        scene = kind(sandbox, tmp_path_factory.mktemp("trouble"))
        scene.begin_with("1")
        yield scene


def test_nothing_is_lost_and_nothing_is_left_over(scene: Scene, mode: Any) -> None:
    _options, _kind, steps, troubles = mode
    print(f"CHAOS_SEED={SEED}")
    act = Act(scene, steps, random.Random(SEED))
    with ExitStack() as stack:
        # Apart, so that what one load balancer loses does not hide what another one does.
        traffic = {url: stack.enter_context(clients([url], SHORT_KINDS, RATE)) for url in scene.urls}
        for one in traffic.values():
            one.wait_until_flowing()
        with Troublemaker(scene, troubles, random.Random(SEED)) as trouble:
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                act.go_on()
        calm = time.time()
        act.finish()
        wait_until(lambda: not scene.leftovers(), f"{scene.leftovers()}", 30)
        finished = time.time()
        time.sleep(0.5)
        failures = [failure for one in traffic.values() for failure in one.stop()["failures"]]
    story = "\n".join(
        [
            f"CHAOS_SEED={SEED}",
            *(f"{at - calm:7.1f} {one.kind} {dict(one.fields)}" for at, one in trouble.made),
            *act.told,
        ]
    )
    assert scene.versions() == [str(act.version)], story
    lost = [
        failure
        for failure in failures
        if failure["t"] > finished or not trouble.may_cost(failure["url"], failure["t"], failure["cause"])
    ]
    assert not lost, f"{[{**one, 't': round(one['t'] - calm, 2)} for one in lost[:20]]}\n{story}"
    print(story, f"lost by load balancer: {Counter(failure['url'] for failure in failures)}", sep="\n")
