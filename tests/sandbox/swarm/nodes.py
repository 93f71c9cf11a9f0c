# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines of a swarm: one ``dockerd`` for each node, in a network namespace of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

import docker
import requests

from tests.sandbox.swarm import PATH, image, program
from tests.sandbox.swarm.network import NAMESPACES, Network

START_LIMIT, LOOK = 60.0, 0.05  # seconds
TIMEOUT = 60  # seconds for one answer of an engine on a busy machine
MANAGEMENT = 2377  # port of the managers
# What would make an engine look for a proxy, or another engine.
FOREIGN = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "docker_")


class Node:
    """One engine, in the namespace of the host ``name``, with its data in ``folder``."""

    def __init__(self, network: Network, name: str, number: int, folder: Path) -> None:
        self.network = network
        self.name = name
        self.address = network.address(number)
        self.folder = folder
        self.socket = folder / "sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the engine; ``wait`` until it answers.

        It has mounts and a host name of its own, and neither a user's configuration nor a proxy.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "daemon.json").write_text("{}\n")
        words = [
            program("dockerd"),
            f"--config-file={self.folder / 'daemon.json'}",
            f"--data-root={self.folder / 'data'}",
            f"--exec-root={self.folder / 'exec'}",
            f"--pidfile={self.folder / 'pid'}",
            f"--host={self.url}",
            f"--cgroup-parent=/{self.network.name}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--log-level=warn",
        ]
        script = f"hostname {self.name} && exec {shlex.join(words)}"
        kept = {name: value for name, value in os.environ.items() if not name.lower().startswith(FOREIGN)}
        with (self.folder / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.network.enter(self.name), program("unshare"), "--uts", "--mount", "sh", "-c", script],
                env={**kept, "PATH": PATH},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def alive(self) -> bool:
        """Whether the engine's process runs."""
        return self.process is not None and self.process.poll() is None

    def wait(self) -> None:
        """Return when the engine answers. Raises ``RuntimeError`` with the end of its log."""
        deadline = time.monotonic() + START_LIMIT
        while not self._answers():
            if not self.alive or time.monotonic() > deadline:
                said = (self.folder / "dockerd.log").read_text().splitlines()[-20:]
                raise RuntimeError("\n".join([f"The Docker engine of {self.name} does not answer:", *said]))
            time.sleep(LOOK)

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        try:
            with docker.APIClient(base_url=self.url, timeout=TIMEOUT) as client:
                return client.ping()
        except (docker.errors.DockerException, requests.RequestException):
            return False

    def client(self) -> docker.APIClient:
        return docker.APIClient(base_url=self.url, timeout=TIMEOUT)

    def load(self, root_file_system: Path) -> None:
        """Make the image of the test service known to the engine."""
        with self.client() as client:
            client.import_image_from_file(
                str(root_file_system), repository=image.REPOSITORY, tag=image.TAGS[0], changes=image.changes()
            )
            for tag in image.TAGS[1:]:
                client.tag(image.IMAGE, image.REPOSITORY, tag)

    def description(self) -> dict[str, str]:
        """What the line of JSON says about it."""
        return {
            "name": self.name,
            "address": self.address,
            "docker_host": self.url,
            "netns": str(NAMESPACES / self.network.namespace(self.name)),
        }


def form(nodes: list[Node], managers: int) -> None:
    """Make them one swarm, the first ``managers`` of them its managers."""
    first = nodes[0]
    with first.client() as client:
        client.init_swarm(advertise_addr=first.address, listen_addr=f"{first.address}:{MANAGEMENT}")
        tokens = client.inspect_swarm()["JoinTokens"]
    for number, node in enumerate(nodes[1:], 1):
        with node.client() as client:
            client.join_swarm(
                remote_addrs=[f"{first.address}:{MANAGEMENT}"],
                join_token=tokens["Manager" if number < managers else "Worker"],
                advertise_addr=node.address,
                listen_addr=f"{node.address}:{MANAGEMENT}",
            )
    deadline = time.monotonic() + START_LIMIT
    with first.client() as client:
        while not _ready(client, nodes, managers):
            if time.monotonic() > deadline:
                raise RuntimeError(f"The swarm's nodes are not ready after {START_LIMIT:g} s.")
            time.sleep(LOOK)


def _ready(client: docker.APIClient, nodes: list[Node], managers: int) -> bool:
    """Whether all nodes are there, and enough managers are reachable for one of them to be lost."""
    found = client.nodes()
    ready = sum(node["Status"]["State"] == "ready" for node in found)
    reachable = sum(node.get("ManagerStatus", {}).get("Reachability") == "reachable" for node in found)
    return ready == len(nodes) and reachable == managers
