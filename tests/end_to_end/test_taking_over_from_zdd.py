# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments that zdd.py left half done: each is finished or taken back, and no request is lost.

All eight recorded states at once, each an inventory host of its own: so they also stand in each other's way, since any
reload leaves workers behind that all of them have to wait for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.stage import AFTERWARDS, Playing, Service, all_from, nothing_failed, wait_for
from tests.rehearsal.playbook import Run
from tests.sandbox import launch, zdd_states
from tests.sandbox.clients import clients

PLACES = {name: zdd_states.Place(f"/zdd-{name}", 12000 + 10 * n) for n, name in enumerate(zdd_states.NAMES)}
# Requests/s at each state. Many are asked at once; and no connection may be used about 1 s after its last use, which is
# when the LBs close it.
RATE = 8.0

Json = dict[str, Any]


class LeftBehind:
    """The states on a sandbox, and what is to be done with them."""

    def __init__(self, sandbox: launch.Running, folder: Path) -> None:
        self.sandbox = sandbox
        self.cluster = Playing(folder, sandbox.marathon, [lb["url"] for lb in sandbox.lbs])
        # The plans differ, and no host has to wait for the others.
        self.cluster.settings.write_text("[defaults]\nstrategy = free\n")

    def play(self, playbook: str, variables: Callable[[str], Json], *options: str) -> Run:
        """Run a playbook with each state as a host; ``variables`` of a state by its name."""
        access = {"marathon_url": self.sandbox.marathon, "marathon_lb_url": [lb["url"] for lb in self.sandbox.lbs]}
        self.cluster.use({"all": {"hosts": {name: {**access, **variables(name)} for name in PLACES}}})
        return self.cluster.play(playbook, {}, *options, "--forks", "8", timeout=300)

    def versions(self, name: str) -> list[tuple[str, int, int]]:
        """Version, wanted and healthy instances of the apps of a state."""
        apps = zdd_states.apps(self.sandbox, PLACES[name])
        return [(app["env"]["VERSION"], app["instances"], app["tasksHealthy"]) for app in apps]

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Clients of all kinds at every state; none of their requests may fail."""
        urls = [f"http://{self.sandbox.lbs[0]['host']}:{place.port}" for place in PLACES.values()]
        with clients(urls, rate=RATE) as traffic:
            traffic.wait_until_flowing()
            yield
            time.sleep(AFTERWARDS)
            traffic.stop()
            nothing_failed(traffic)


@pytest.fixture
def left(sandboxes: Callable[..., launch.Running], tmp_path: Path) -> Iterator[LeftBehind]:
    sandbox = sandboxes(lbs=1, agents=4)
    zdd_states.load_all(sandbox, PLACES)
    yield LeftBehind(sandbox, tmp_path)
    for place in PLACES.values():
        zdd_states.remove(sandbox, place)


def group_of(name: str) -> Json:
    return {"bluegreen_group": PLACES[name].group}


def definition(name: str, version: str) -> Json:
    """What a user has at hand: the definition without a colour, as zdd.py was given it."""
    place = PLACES[name]
    made = zdd_states.definitions(name, place)[0]
    ours = ("GROUP", "ALT_PORT")
    labels = {key: value for key, value in made["labels"].items() if "DEPLOYMENT" not in key or key.endswith(ours)}
    del labels["HAPROXY_0_PORT"], labels["HAPROXY_APP_ID"]
    del made["instances"]
    return {**made, "id": place.app_id, "labels": labels, "env": {"VERSION": version}}


def test_promote_finishes_each_of_them(left: LeftBehind) -> None:
    """A rehearsal tells what zdd.py left, and changes nothing."""
    before = {name: left.versions(name) for name in PLACES}
    told = left.play("promote", group_of, "--check")
    assert told.code == 0, told.output
    assert told.output.count("zdd.py left this group") == len(PLACES)
    assert {name: left.versions(name) for name in PLACES} == before

    with left.traffic():
        run = left.play("promote", group_of)
        assert run.code == 0, run.output
    assert {name: left.versions(name) for name in PLACES} == {name: [("v2", 4, 4)] for name in PLACES}


def test_rollback_takes_each_of_them_back(left: LeftBehind) -> None:
    with left.traffic():
        run = left.play("rollback", group_of)
        assert run.code == 0, run.output
    assert {name: left.versions(name) for name in PLACES} == {name: [("v1", 4, 4)] for name in PLACES}


def test_deploying_the_wanted_version_finishes_each_of_them(left: LeftBehind) -> None:
    """By the definition that zdd.py was given: not created anew, though zdd.py has changed its port and labels."""
    with left.traffic():
        run = left.play("bluegreen", lambda name: {"bluegreen_app": definition(name, "v2")})
        assert run.code == 0, run.output
    assert "create: create" not in run.output
    assert {name: left.versions(name) for name in PLACES} == {name: [("v2", 4, 4)] for name in PLACES}


def test_an_app_of_zdd_is_replaced_and_taken_back_at_full_capacity(
    sandboxes: Callable[..., launch.Running], service: Callable[..., Service]
) -> None:
    """Its servers come out of maintenance as up, since the labels of the version that is left count then."""
    app = service(on=sandboxes(lbs=1, agents=4))
    place = zdd_states.Place(app.app_id, app.port)
    blue = zdd_states.definitions("killed-right-after-create", place)[0]
    app.marathon("POST", "/v2/apps", blue)
    wait_for(lambda: zdd_states.servers(app.sandbox, 0, place)["blue"] == {"UP": 4}, "all of it is served")
    least = []

    def look(ended: threading.Event) -> None:
        while not ended.wait(0.05):
            shown = zdd_states.servers(app.sandbox, 0, place)
            least.append(sum(statuses["UP"] for statuses in shown.values()))

    with app.traffic() as traffic:
        labels = {key: value for key, value in blue["labels"].items() if "DEPLOYMENT" not in key}
        new = {**blue, "id": app.app_id, "env": {"VERSION": "v2"}, "labels": labels}
        assert app.deploy(new, bluegreen_keep_old=True).result == "kept"
        assert all_from(traffic, "v2")
        ended = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            watch = pool.submit(look, ended)
            back = app.play("rollback", new)
            ended.set()
            watch.result()
        assert (back.code, back.result) == (0, "rolled back"), back.output
        assert all_from(traffic, "v1")
    assert min(least) == 4
