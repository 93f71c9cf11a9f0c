# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole swarm with its proxies in one process: what ``up`` runs."""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import requests
import yaml

from tests.sandbox.swarm import image, program
from tests.sandbox.swarm.network import Network
from tests.sandbox.swarm.nodes import Node, form
from tests.sandbox.swarm.proxies import LIVE, PREVIEW, Proxy

FIRST_NODE, FIRST_PROXY = 1, 101  # last bytes of addresses
MOST_MANAGERS = 3  # without --managers: one of them can be lost


class Swarm:
    """The parts of one sandbox. ``folder`` has what goes at its end, ``workdir`` what a user may look at."""

    def __init__(self, network: Network, workdir: Path, chosen: argparse.Namespace) -> None:
        self.network = network
        self.workdir = workdir
        self.folder = workdir / "run"
        self.bare: bool = chosen.bare
        self.managers: int = min(chosen.managers or MOST_MANAGERS, chosen.nodes)
        self.nodes = [
            Node(network, f"node{number}", FIRST_NODE + number - 1, self.folder / f"node{number}")
            for number in range(1, chosen.nodes + 1)
        ]
        self.proxies = [
            Proxy(network, f"proxy{number}", FIRST_PROXY + number - 1, chosen.proxy, self.folder / f"proxy{number}")
            for number in range(1, chosen.proxies + 1)
        ]
        self.inventory = workdir / "inventory.yml"

    def start(self) -> None:
        """Start all parts; return when they are ready. Raises ``RuntimeError`` or one of Docker's errors."""
        self.workdir.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir()
        self.network.add_bridge()
        for number, node in enumerate(self.nodes, FIRST_NODE):
            self.network.add_host(node.name, number)
            node.start()
        for number, proxy in enumerate(self.proxies, FIRST_PROXY):
            self.network.add_host(proxy.name, number)
            proxy.prepare()
            proxy.start()
        root_file_system = self.folder / "image.tar"
        root_file_system.write_bytes(image.root_file_system())
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: _wait_and_load(node, root_file_system), self.nodes))
        if not self.bare:
            form(self.nodes, self.managers)
        self.inventory.write_text(yaml.safe_dump(self._inventory(), sort_keys=False))

    def revive(self) -> None:
        """Start what has ended again: engines with the containers' data, proxies with their configuration."""
        for part in [*self.nodes, *self.proxies]:
            if not part.alive:
                part.start()

    def description(self) -> dict[str, Any]:
        """What ``up`` prints."""
        return {
            "nodes": [node.description() for node in self.nodes],
            "proxies": [proxy.description() for proxy in self.proxies],
            "image": image.IMAGE,
            "service": image.service(),
            "inventory": str(self.inventory),
            "workdir": str(self.workdir),
            "pid": os.getpid(),
        }

    def _inventory(self) -> dict[str, Any]:
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        managers = [node.url for node in self.nodes[: self.managers]]
        cluster = {
            **local,
            "swarm_bluegreen_docker_host": managers,
            "swarm_bluegreen_resolve_image": False,  # no registry knows the image
            **self._proxy_choice(),
        }
        nodes = {
            node.name: {
                **local,
                "swarm_cluster_docker_host": node.url,
                "swarm_cluster_advertise_addr": node.address,
                "swarm_cluster_packages": [],
                "swarm_cluster_manage_service": False,
            }
            for node in self.nodes
        }
        proxies = {proxy.name: {**local, **self._proxy_variables(proxy)} for proxy in self.proxies}
        children = {
            "swarm": {"hosts": {"cluster": cluster}},
            "swarm_proxies": {"hosts": proxies},
            "swarm_nodes": {"hosts": nodes},
            "swarm_managers": {"hosts": dict.fromkeys(list(nodes)[: self.managers])},
            "swarm_workers": {"hosts": dict.fromkeys(list(nodes)[self.managers :])},
        }
        return {"all": {"children": children}}

    def _proxy_choice(self) -> dict[str, Any]:
        """How the cluster gets to its proxies. All of HAProxy's sockets lie on this machine, under different paths."""
        if self.proxies[0].kind == "nginx":
            return {
                "swarm_bluegreen_proxy": "nginx",
                "swarm_bluegreen_proxy_hosts": [proxy.name for proxy in self.proxies],
            }
        return {
            "swarm_bluegreen_proxy": "haproxy",
            "swarm_bluegreen_proxy_hosts": [],
            "swarm_bluegreen_haproxy_socket": [str(proxy.socket) for proxy in self.proxies],
            "bluegreen_haproxy_master_socket": [str(proxy.master_socket) for proxy in self.proxies],
        }

    def _proxy_variables(self, proxy: Proxy) -> dict[str, Any]:
        about = proxy.description()
        given = {
            "kind": proxy.kind,
            "install": False,  # it runs already, and nothing of this machine is touched
            "absent_files": [],
            "check_path": "/health",
            "config": about["config"],
            "main_config": about["main_config"],
            "pid_file": about["pid_file"],
            "live_port": LIVE,
            "preview_port": PREVIEW,
        }
        if proxy.kind == "nginx":
            given |= {"state_dir": about["state_dir"], "status": about["status"], "nginx": program("nginx")}
        else:
            given |= {"socket": about["socket"], "master_socket": about["master_socket"], "haproxy": program("haproxy")}
        return {
            "ansible_host": proxy.address,  # where it is asked; the connection is local
            "ansible_python_interpreter": about["python"],
            **{f"swarm_proxy_{name}": value for name, value in given.items()},
        }


def _wait_and_load(node: Node, root_file_system: Path) -> None:
    node.wait()
    node.load(root_file_system)


def main(network: Network, workdir: Path, chosen: argparse.Namespace) -> int:
    """Run a swarm until SIGTERM or SIGINT; return the exit status. What it has started is the caller's to end.

    On SIGHUP engines and proxies that have ended are started again.
    """
    ends = (signal.SIGTERM, signal.SIGINT)
    for number in ends:
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    swarm = Swarm(network, workdir, chosen)
    try:
        swarm.start()
        asked: queue.SimpleQueue[int] = queue.SimpleQueue()
        # No signals are blocked to be waited for: what is started would inherit that.
        for number in (*ends, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: asked.put(number))
        print(json.dumps(swarm.description()), flush=True)
        while asked.get() == signal.SIGHUP:
            swarm.revive()
    except (RuntimeError, OSError, docker.errors.DockerException, requests.RequestException) as error:
        print(f"swarm: {error}", file=sys.stderr)
        return 1
    return 0
