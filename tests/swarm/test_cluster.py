# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts become one swarm, stay as the inventory says, and are taken apart only when that is confirmed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from tests.rehearsal.playbook import Run
from tests.sandbox.swarm import launch
from tests.sandbox.swarm.proxies import NAME

pytestmark = pytest.mark.usefixtures("engine")

Json = dict[str, Any]


class Hosts:
    """The nodes of a sandbox as an inventory of managers and workers, and what their engines say."""

    def __init__(self, sandbox: launch.Swarm, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.names = [node["name"] for node in sandbox.nodes]

    def play(
        self,
        playbook: str,
        *options: str,
        managers: Sequence[str] = ("node1",),
        host_variables: Mapping[str, Json] | None = None,
        **variables: Any,
    ) -> Run:
        """Run a playbook; all nodes that are no ``managers`` are workers."""
        known = {
            node["name"]: {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "swarm_cluster_docker_host": node["docker_host"],
                "swarm_cluster_advertise_addr": node["address"],
                "swarm_cluster_packages": [],
                "swarm_cluster_manage_service": False,
                **(host_variables or {}).get(node["name"], {}),
            }
            for node in self.sandbox.nodes
        }
        groups = {
            "swarm_managers": {"hosts": {name: known[name] for name in managers}},
            "swarm_workers": {"hosts": {name: known[name] for name in self.names if name not in managers}},
        }
        content = yaml.safe_load(self.sandbox.inventory.read_text())
        content["all"]["children"] |= groups
        del content["all"]["children"]["swarm_nodes"]
        inventory = self.folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump(content, sort_keys=False))
        return self.sandbox.playbook(playbook, variables, *options, folder=self.folder, inventory=inventory)

    def joined(self, *options: str, **given: Any) -> Run:
        """The play of the cluster, which has to succeed."""
        run = self.play("swarm_cluster", *options, **given)
        assert run.code == 0, run.output
        return run

    def engine(self, name: str) -> docker.APIClient:
        """A client of one engine."""
        return self.sandbox.docker(self.names.index(name))

    def info(self, name: str) -> Json:
        """What the engine says about its swarm."""
        with self.engine(name) as engine:
            return engine.info()["Swarm"]

    def members(self, manager: str = "node1") -> dict[str, Json]:
        """The nodes of the manager's swarm, by host name."""
        with self.engine(manager) as engine:
            return {member["Description"]["Hostname"]: member for member in engine.nodes()}

    def leave(self) -> None:
        """All engines are out of any swarm."""
        for name in reversed(self.names):
            if self.info(name)["LocalNodeState"] != "inactive":
                with self.engine(name) as engine:
                    engine.leave_swarm(force=True)

    def tokens(self, manager: str = "node1") -> list[str]:
        """The tokens to join with."""
        with self.engine(manager) as engine:
            return list(engine.inspect_swarm()["JoinTokens"].values())


@pytest.fixture(scope="module")
def sandbox(engine: None) -> Iterator[launch.Swarm]:
    """Three engines that are in no swarm, and an nginx."""
    with launch.start(bare=True, proxies=1) as running:
        yield running


@pytest.fixture
def hosts(sandbox: launch.Swarm, tmp_path: Path) -> Hosts:
    """In no swarm at first."""
    made = Hosts(sandbox, tmp_path)
    made.leave()
    return made


def changes(run: Run) -> dict[str, int]:
    """Tasks that said ``changed``, by host."""
    recap = run.output.rpartition("PLAY RECAP")[2]
    return {host: int(count) for host, count in re.findall(r"^(\S+)\s*:.*?changed=(\d+)", recap, re.MULTILINE)}


def test_bare_hosts_become_a_swarm_and_a_second_run_changes_nothing(hosts: Hosts) -> None:
    """Labels and availability are those of the inventory, and the table tells all of it."""
    given = {"node2": {"swarm_cluster_labels": {"disk": "ssd"}}, "node3": {"swarm_cluster_availability": "pause"}}

    first = hosts.joined(host_variables=given)

    members = hosts.members()
    assert {name: member["Spec"]["Role"] for name, member in members.items()} == {
        "node1": "manager",
        "node2": "worker",
        "node3": "worker",
    }
    assert {member["Status"]["State"] for member in members.values()} == {"ready"}
    assert {name: member["Status"]["Addr"] for name, member in members.items()} == {
        node["name"]: node["address"] for node in hosts.sandbox.nodes
    }
    assert members["node2"]["Spec"]["Labels"] == {"disk": "ssd"}
    assert members["node3"]["Spec"]["Availability"] == "pause"
    assert changes(first) == {"node1": 1, "node2": 2, "node3": 2}
    assert re.search(r"node2 .* worker .* ready .* disk=ssd", first.output)

    again = hosts.joined(host_variables=given)
    checked = hosts.joined("--check", host_variables=given)

    assert set(changes(again).values()) == set(changes(checked).values()) == {0}


def test_check_mode_tells_what_would_be_done_with_bare_hosts_and_does_none_of_it(hosts: Hosts) -> None:
    """It knows of no token, as there is no swarm that could have one."""
    run = hosts.joined("--check", host_variables={"node2": {"swarm_cluster_labels": {"disk": "ssd"}}})

    assert "node1: begins the swarm" in run.output
    assert "node2: joins the swarm of node1 as worker, labels disk=ssd" in run.output
    assert changes(run) == {"node1": 1, "node2": 1, "node3": 1}
    assert {hosts.info(name)["LocalNodeState"] for name in hosts.names} == {"inactive"}


def test_no_token_is_in_any_output(hosts: Hosts) -> None:
    """Neither in results and invocations, nor in what a later task shows of a host's variables."""
    tasks = hosts.folder / "shown.yml"
    tasks.write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "swarm_managers:swarm_workers",
                    "gather_facts": False,
                    "tasks": [
                        {"ansible.builtin.import_role": {"name": "zdd.rollout.swarm_cluster"}},
                        {"ansible.builtin.debug": {"var": "hostvars[inventory_hostname]"}},
                    ],
                }
            ]
        )
    )

    run = hosts.play(str(tasks), "-vvv", "--diff", managers=("node1", "node2"))

    assert run.code == 0, run.output
    assert "__swarm_cluster_node" in run.output, "the variables are not shown"
    assert len(hosts.tokens()) == 2
    for token in hosts.tokens():
        assert token not in run.output
    assert "SWMTKN" not in run.output


def test_roles_change_as_the_inventory_does_also_that_of_the_only_manager(hosts: Hosts) -> None:
    """Those that become managers do so first, and the last one to change is the manager that was."""
    hosts.joined()
    foretold = hosts.joined("--check", managers=("node2", "node3"))
    assert "node1: is a manager of the swarm and becomes a worker" in foretold.output
    assert hosts.members()["node2"]["Spec"]["Role"] == "worker"

    run = hosts.joined(managers=("node2", "node3"))

    members = hosts.members("node2")
    assert {name: member["Spec"]["Role"] for name, member in members.items()} == {
        "node1": "worker",
        "node2": "manager",
        "node3": "manager",
    }
    assert "There are 2 managers" in run.output
    assert set(changes(hosts.joined(managers=("node2", "node3"))).values()) == {0}


def test_a_node_of_another_swarm_is_refused_and_nothing_is_changed(hosts: Hosts) -> None:
    """Neither it nor the nodes that could have joined."""
    for name in ("node1", "node3"):
        with hosts.engine(name) as engine:
            engine.init_swarm(advertise_addr=hosts.sandbox.nodes[hosts.names.index(name)]["address"])

    run = hosts.play("swarm_cluster")

    assert run.code != 0
    assert "node3 is a manager of another swarm" in run.output
    assert "docker swarm leave" in run.output
    assert hosts.info("node2")["LocalNodeState"] == "inactive"
    assert hosts.info("node1")["Cluster"]["ID"] != hosts.info("node3")["Cluster"]["ID"]


def test_an_engine_that_does_not_answer_is_told_at_once(hosts: Hosts) -> None:
    """With Docker's own address, and without waiting for what was not started."""
    lost = {"node1": {"swarm_cluster_docker_host": "unix:///no/engine"}}

    run = hosts.play("swarm_cluster", managers=("node1", "node2", "node3"), host_variables=lost)

    assert run.code != 0
    assert "Error connecting" in run.output
    assert "The swarm may live there, so none is begun" in run.output
    assert {hosts.info(name)["LocalNodeState"] for name in hosts.names} == {"inactive"}


class Group:
    """A group of a swarm with its nginx, as a rollout leaves it."""

    network = "shop"

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        hosts.joined()
        play = hosts.folder / "proxy.yml"
        role = {
            "name": "zdd.rollout.swarm_proxy",
            "vars": {"swarm_proxy_name": NAME, "swarm_proxy_install": False, "swarm_proxy_absent_files": []},
        }
        tasks = [{"ansible.builtin.import_role": {"name": role.pop("name")}, **role}]
        play.write_text(yaml.safe_dump([{"hosts": "swarm_proxies", "gather_facts": False, "tasks": tasks}]))
        run = hosts.play(str(play))
        assert run.code == 0, run.output
        with hosts.engine("node1") as engine:
            engine.create_network(self.network, driver="overlay")
            for colour in ("blue", "green", "preview"):
                self.create(engine, f"{NAME}-{colour}", {"zdd.rollout.group": NAME, "zdd.rollout.colour": colour})

    def create(self, engine: docker.APIClient, name: str, labels: Mapping[str, str]) -> None:
        """A service without tasks, which no one has to wait for."""
        template = docker.types.TaskTemplate(
            docker.types.ContainerSpec(self.hosts.sandbox.image), networks=[{"Target": self.network}]
        )
        mode = docker.types.ServiceMode("replicated", replicas=0)
        engine.create_service(template, name=name, labels=dict(labels), mode=mode)

    def dispose(self, *options: str, **variables: Any) -> Run:
        """The play that removes it."""
        managers = [self.hosts.sandbox.nodes[0]["docker_host"]]
        given = {"swarm_dispose_name": NAME, "swarm_dispose_docker_host": managers}
        return self.hosts.play("swarm_dispose", *options, **{**given, **variables})

    def left(self) -> dict[str, list[str]]:
        """What there is of it: names of services, of networks, of locks, and files of the proxy."""
        [proxy] = self.hosts.sandbox.proxies
        state = Path(proxy["state_dir"])
        files = [Path(proxy["config"]), *(state.iterdir() if state.exists() else [])]
        with self.hosts.engine("node1") as engine:
            return {
                "services": sorted(service["Spec"]["Name"] for service in engine.services()),
                "networks": [network["Name"] for network in engine.networks(names=[self.network])],
                "configs": [config["Spec"]["Name"] for config in engine.configs()],
                "files": sorted(path.name for path in files if path.exists()),
            }


NOTHING: dict[str, list[str]] = {"services": [], "networks": [], "configs": [], "files": []}


@pytest.fixture
def group(hosts: Hosts) -> Group:
    """It is gone with the swarm; its nginx is the next one's again."""
    return Group(hosts)


def test_a_group_is_removed_only_when_its_name_is_said_once_more(group: Group) -> None:
    """Before that the play tells all that would go; afterwards nothing is left, and a second run finds nothing."""
    there = group.left()
    assert there["services"] == [f"{NAME}-blue", f"{NAME}-green", f"{NAME}-preview"]

    for variables in ({}, {"swarm_dispose_confirm": "other"}):
        refused = group.dispose(swarm_dispose_networks=[group.network], **variables)
        assert refused.code != 0
        assert f"service {NAME}-blue: 0 tasks of {group.hosts.sandbox.image}" in refused.output
        assert f"network {group.network}" in refused.output
        assert f"configuration of {NAME} at proxy1" in refused.output
        assert group.left() == there

    listed = group.dispose("--check", swarm_dispose_networks=[group.network])
    assert listed.code == 0, listed.output
    assert changes(listed)["cluster"] > 0
    assert group.left() == there

    given = {"swarm_dispose_networks": [group.network], "swarm_dispose_confirm": NAME}
    removed = group.dispose(**given)
    assert removed.code == 0, removed.output
    assert group.left() == NOTHING

    again = group.dispose(**given)
    assert again.code == 0, again.output
    assert set(changes(again).values()) == {0}


def test_a_service_that_someone_else_has_made_is_not_removed(group: Group) -> None:
    """And nothing else of the group is, either."""
    with group.hosts.engine("node1") as engine:
        engine.remove_service(f"{NAME}-green")
        group.create(engine, f"{NAME}-green", {"team": "another"})
    there = group.left()

    run = group.dispose(swarm_dispose_confirm=NAME)

    assert run.code != 0
    assert f"{NAME}-green was made by someone else" in run.output
    assert group.left() == there


def test_a_swarm_is_taken_apart_only_when_that_is_confirmed(group: Group) -> None:
    """Workers and managers leave, whatever runs there, and the play names what ends."""
    given = {"swarm_dispose_swarm": True, "swarm_dispose_name": ""}

    refused = group.dispose(**given, swarm_dispose_confirm=NAME)
    listed = group.dispose("--check", **given)

    assert refused.code != 0
    for run in (refused, listed):
        assert "node1, node2, node3 leave the swarm" in run.output
        assert f"these services end: {NAME}-blue, {NAME}-green, {NAME}-preview" in run.output
    assert set(changes(listed).values()) == {1}
    assert len(group.hosts.members()) == 3

    removed = group.dispose("-vvv", **given, swarm_dispose_confirm="swarm")

    assert removed.code == 0, removed.output
    assert {group.hosts.info(name)["LocalNodeState"] for name in group.hosts.names} == {"inactive"}
    assert "SWMTKN" not in removed.output
    assert set(changes(group.dispose(**given)).values()) == {0}
