# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of what is live is asked at the proxies, through them and at the tasks, and told whatever it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import serving
from tests.rehearsal.playbook import Run
from tests.sandbox.swarm import launch

GROUP = "web"
REPLICAS = 2


class Checked:
    """A group whose blue colour is live behind both proxies."""

    def __init__(self, swarm: launch.Swarm, folder: Path) -> None:
        self.swarm = swarm
        self.folder = folder
        self.log = folder / "health.jsonl"
        addresses = {proxy["name"]: {"ansible_host": proxy["address"]} for proxy in swarm.proxies}
        self.inventory = swarm.inventory_with(folder, **addresses)

    def deploy(self, **env: str) -> None:
        """Bring the blue service up, and the proxies to it."""
        labels = {"zdd.rollout.group": GROUP, "zdd.rollout.colour": "blue", "zdd.rollout.version": "1"}
        service = self.swarm.definition(f"{GROUP}-blue", "1", replicas=REPLICAS, labels=labels, env=env)
        run = self.swarm.playbook(
            "tests/swarm/live_service.yml", {"blue_service": service}, folder=self.folder, inventory=self.inventory
        )
        assert run.code == 0, run.output[-3000:]

    def check(self, inventory: Path | None = None, **variables: Any) -> Run:
        """Run the playbook."""
        given = {
            "swarm_bluegreen_name": GROUP,
            "swarm_healthcheck_log": str(self.log),
            "swarm_healthcheck_attempts": "2",
            **variables,
        }
        return self.swarm.playbook(
            "swarm_healthcheck", given, folder=self.folder, inventory=inventory or self.inventory
        )

    def last(self) -> dict[str, Any]:
        """The last line of the log."""
        return json.loads(self.log.read_text().splitlines()[-1])

    def states(self, kind: str) -> list[str]:
        """The states of the targets of a kind in the last line."""
        return [target["state"] for target in self.last()["targets"] if target["from"] == kind]


@pytest.fixture(name="checked")
def _checked(swarm: launch.Swarm, tmp_path: Path) -> Iterator[Checked]:
    found = Checked(swarm, tmp_path)
    found.deploy()
    try:
        yield found
    finally:
        with swarm.docker() as engine:
            engine.remove_service(f"{GROUP}-blue")


def test_what_is_live_is_up_from_everywhere_and_slow_and_a_bad_body_are_seen(checked: Checked) -> None:
    up = checked.check(swarm_healthcheck_expect={"jmespath": "version == '1'"})
    assert up.code == 0, up.output[-3000:]
    assert checked.last()["state"] == "up"
    assert [checked.states(kind) for kind in ("proxy", "outside", "task")] == [
        ["up"] * 2,
        ["up"] * 2,
        ["up"] * REPLICAS,
    ]

    slow = checked.check(swarm_healthcheck_slow_seconds="0.000001")
    assert (slow.code, checked.last()["state"], checked.last()["previous"]) == (0, "slow", "up")

    bad = checked.check(swarm_healthcheck_expect={"body_contains": "something else"})
    assert (bad.code, checked.last()["state"]) == (2, "down")


def test_tasks_may_be_asked_from_the_proxies(checked: Checked) -> None:
    run = checked.check(swarm_healthcheck_from_proxies="true")

    assert run.code == 0, run.output[-3000:]
    assert checked.states("task") == ["up"] * REPLICAS * len(checked.swarm.proxies)
    names = [target["name"] for target in checked.last()["targets"] if target["from"] == "task"]
    assert all(any(f" from {proxy['name']}" in name for name in names) for proxy in checked.swarm.proxies)


def test_one_proxy_that_cannot_be_asked_makes_it_failing_and_the_rest_is_asked(checked: Checked) -> None:
    first = checked.swarm.proxies[0]["name"]
    variables = {proxy["name"]: {"ansible_host": proxy["address"]} for proxy in checked.swarm.proxies}
    variables[first]["ansible_python_interpreter"] = "/no/such/python"
    run = checked.check(inventory=checked.swarm.inventory_with(checked.folder, **variables))

    assert run.code == 2
    assert checked.last()["state"] == "failing"
    assert checked.states("outside") == ["up", "up"]
    assert checked.states("task") == ["up"] * REPLICAS
    assert sorted(checked.states("proxy")) == ["failing", "up"]


def test_a_swarm_without_a_manager_is_logged_told_and_gives_a_sign_of_life(checked: Checked) -> None:
    beat = checked.folder / "beat"
    with serving(lambda _request: (200, {})) as listener:
        run = checked.check(
            swarm_bluegreen_docker_host=["unix:///no/such/socket"],
            bluegreen_timeout="1",
            swarm_healthcheck_webhook_url=f"{listener.url}/hook",
            swarm_healthcheck_heartbeat_file=str(beat),
        )

    assert run.code == 2
    assert checked.last()["state"] == "failing"
    assert checked.states("proxy") == ["up", "up"]
    (request,) = listener.got
    assert "what is live is down" in request.body["text"]
    assert beat.exists()
