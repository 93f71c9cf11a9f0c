# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned and told of groups in a real swarm. What the proxies show is given, as it would be observed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from zlib import crc32

import pytest
import yaml

from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    swarm_bluegreen_info,
    swarm_bluegreen_plan,
    swarm_bluegreen_split,
)
from tests.integration_py.operating import operate
from tests.rehearsal.playbook import Run
from tests.sandbox.swarm import launch

PORT = 8000
WAIT = 60.0

Json = dict[str, Any]


class Group:
    """A group of a name of its own, whose services are removed at the end."""

    def __init__(self, swarm: launch.Swarm, name: str, folder: Path) -> None:
        self.swarm, self.name, self.folder = swarm, name, folder

    def view(self, to_green: float = 0.0, name: str = "proxy1", **addresses: Sequence[str]) -> Json:
        known = {"blue": [], "green": [], **addresses}
        return {"name": name, "kind": "nginx", "share": {"blue": 100 - to_green, "green": to_green}, "addresses": known}

    def plan(self, *views: Json, **options: Any) -> Json:
        given = {"name": self.name, "proxies": list(views) or [self.view()], **options}
        return operate(swarm_bluegreen_plan, docker_host=self.swarm.docker_host, **given)

    def deploy(self, version: str, *views: Json, replicas: int = 2, **options: Any) -> Json:
        return self.plan(*views, service=self.swarm.definition(self.name, version, replicas=replicas), **options)

    def split(self, colour: str, **options: Any) -> Json:
        given = {"name": self.name, "colour": colour, "wait_timeout": WAIT, **options}
        return operate(swarm_bluegreen_split, docker_host=self.swarm.docker_host, **given)

    def info(self, *views: Json, **options: Any) -> Json:
        given = {"name": self.name, "proxies": list(views), **options}
        return operate(swarm_bluegreen_info, docker_host=self.swarm.docker_host, **given)

    def define(self, service: Mapping[str, Any]) -> Run:
        """What the role does with the ``service`` of a plan."""
        options = {**service, "docker_host": self.swarm.docker_host[0]}
        task = {"community.docker.docker_swarm_service": options}
        play = self.folder / "define.yml"
        play.write_text(
            yaml.safe_dump(json.loads(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}])))
        )
        run = self.swarm.playbook(str(play), {}, folder=self.folder / "define")
        assert run.code == 0, run.output
        return run

    def remove(self) -> None:
        with self.swarm.docker() as client:
            for service in client.services(filters={"name": self.name}):
                client.remove_service(service["ID"])


@pytest.fixture(name="group")
def _group(swarm: launch.Swarm, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Group]:
    group = Group(swarm, f"plan-{crc32(request.node.name.encode())}", tmp_path)
    yield group
    group.remove()


def answer(address: str) -> Json:
    with urlopen(f"http://{address}/", timeout=10) as reply:
        return json.load(reply)


def test_a_version_goes_from_nothing_to_live_and_is_replaced(group: Group) -> None:
    """The way of a rollout, with the services that a plan describes made by community.docker."""
    planned = group.deploy("1")["plan"]
    assert [step["name"] for step in planned["steps"]] == ["create", "healthy", "switched"]
    group.define(planned["service"])
    first = group.split("blue", instances=2, share=100.0)
    assert len(first["addresses"]["blue"]) == 2 and first["addresses"]["green"] == []
    assert {answer(address)["version"] for address in first["own_addresses"]} == {"1"}

    live = group.view(0.0, blue=first["own_addresses"])
    assert group.deploy("1", live)["plan"]["result"] == "unchanged"
    second = group.deploy("2", live)["plan"]
    assert (second["live"], second["idle"], second["service"]["name"]) == ("blue", "green", f"{group.name}-green")
    group.define(second["service"])
    both = group.split("green", instances=2, share=5.0)
    assert {answer(address)["version"] for address in both["own_addresses"]} == {"2"}
    weights = {
        server["name"].rpartition(".")[0]: server["weight"] for server in both["servers"] + both["other_servers"]
    }
    own = sum(weight for name, weight in weights.items() if "-green." in name)
    assert abs(100 * own / sum(weights.values()) - 5) < 0.25

    canary = group.view(5.0, **both["addresses"])
    told = group.info(canary)
    assert told["live"] is None and told["lines"][0] == f"{group.name}: both colours have traffic"
    assert told["groups"][group.name]["colours"]["green"]["share"] == 5
    assert group.plan(canary, goal="rollback")["plan"]["result"] == "rolled back"


def test_the_same_definition_is_defined_once(group: Group) -> None:
    """A run that died after it had created the service changes nothing the second time."""
    group.define(group.deploy("1")["plan"]["service"])
    again = group.deploy("1")["plan"]

    assert again["steps"][0]["name"] == "create"
    assert group.define(again["service"]).changed == 0


def test_the_tasks_that_are_taken_out_are_all_that_may_have_requests(group: Group) -> None:
    group.define(group.deploy("1")["plan"]["service"])
    blue = group.split("blue", instances=2)["own_addresses"]
    group.define(group.deploy("2", group.view(blue=blue))["plan"]["service"])

    split = group.split("green", instances=2, share=100.0)

    assert sorted(split["idle_addresses"]) == sorted(blue)
    assert {server["state"] for server in split["other_servers"]} == {"drain"}
    assert {server["state"] for server in split["servers"]} == {"ready"}
    assert sorted(split["known_addresses"]) == sorted([*blue, *split["own_addresses"]])


def test_haproxys_show_what_is_live_by_the_names_of_their_servers(group: Group) -> None:
    group.define(group.deploy("1")["plan"]["service"])
    servers = group.split("blue", instances=2, share=100.0)["servers"]
    lb = {"lb": "haproxy1", "servers": {server.pop("name"): {**server, "status": "UP"} for server in servers}}

    told = group.info(haproxy_lbs=[lb])

    assert told["live"] == "blue"
    assert told["groups"][group.name]["colours"]["blue"]["traffic"] == "all"


def test_what_is_waited_for_in_vain_is_told(group: Group) -> None:
    group.define(group.deploy("1")["plan"]["service"])
    group.split("blue", instances=2)

    short = group.split("blue", instances=3, wait_timeout=0.5)
    partial = group.split("blue", instances=3, wait_timeout=0.5, partial=True)
    nothing = group.split("green", wait_timeout=0.5)

    assert short["msg"] == f"After 0.5 s: 2 of 3 tasks of {group.name}-blue are ready"
    assert len(partial["own_addresses"]) == 2
    assert nothing["failure"]["code"] == "not_found"
    assert group.split("green", wait_timeout=0, partial=True, share=100.0)["servers"] == []


def test_a_service_of_the_same_name_made_by_someone_else_is_refused(group: Group, swarm: launch.Swarm) -> None:
    with swarm.docker() as client:
        client.create_service(
            {"ContainerSpec": {"Image": swarm.image, "Command": ["/bin/busybox", "sleep", "600"]}},
            name=f"{group.name}-green",
            mode={"Replicated": {"Replicas": 0}},
        )

    refused = group.deploy("1")

    assert refused["failure"]["code"] == "foreign_service"
    assert f"service {group.name}-green already, which was made by someone else" in refused["msg"]


def test_an_image_that_is_nowhere_is_named(group: Group, swarm: launch.Swarm) -> None:
    service = {**swarm.definition(group.name, "1"), "image": "registry.invalid/nothing:7"}
    service.pop("resolve_image")

    refused = group.plan(service=service)

    assert refused["failure"]["code"] == "image_not_found"
    assert "registry.invalid/nothing:7" in refused["msg"]


def test_proxies_that_disagree_are_reported_and_brought_together(group: Group) -> None:
    group.define(group.deploy("1")["plan"]["service"])
    blue = group.split("blue", instances=2)["own_addresses"]
    group.define(group.deploy("2", group.view(blue=blue))["plan"]["service"])
    known = group.split("green", instances=2)["addresses"]
    views = [group.view(0.0, **known), group.view(100.0, "proxy2", **known)]

    refused = group.deploy("3", *views)
    repaired = group.plan(*views, goal="toggle", colour="blue")["plan"]

    assert refused["failure"]["code"] == "proxies_disagree"
    assert "proxy2: 0 % to blue, 100 % to green" in refused["msg"]
    assert group.info(*views)["lines"][0] == f"{group.name}: the proxies disagree"
    assert [step["name"] for step in repaired["steps"]] == ["healthy", "switched", "drained"]


def test_a_fixed_port_needs_a_node_for_each_replica(group: Group, swarm: launch.Swarm) -> None:
    ports = {"blue": 18001, "green": 18002}

    refused = group.deploy("1", replicas=4, published_ports=ports)
    planned = group.deploy("1", replicas=3, published_ports=ports)["plan"]

    assert refused["failure"]["code"] == "too_few_nodes"
    assert planned["service"]["publish"][0]["published_port"] == 18001
