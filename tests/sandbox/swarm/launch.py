# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a swarm from Python, for tests and for the demo: a process of its own, which ends with this one.

::

    with launch.start(proxy="haproxy") as swarm:
        nodes = swarm.docker().nodes()
        run = swarm.playbook("swarm_bluegreen", {"swarm_bluegreen_service": swarm.definition("web", "1")})
        with swarm.traffic() as traffic:
            ...
"""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import requests
import yaml

from tests.rehearsal.playbook import Cluster, Run
from tests.sandbox.clients import ALL, Clients, clients
from tests.sandbox.launch import ROOT, Started, StartFailed, launched
from tests.sandbox.swarm import program
from tests.sandbox.swarm.network import run
from tests.sandbox.swarm.proxies import written

__all__ = ["StartFailed", "Swarm", "start"]

RATE = 60.0  # requests/s at each proxy
AFTERWARDS = 0.5  # seconds that the clients go on, to see what the last change left behind
TIMEOUT = 60  # seconds for one answer of an engine
PLAY_LIMIT = 240.0  # seconds for a playbook
BACK_LIMIT, LOOK = 90.0, 0.1  # seconds, after a fault
GLANCE = 3.0  # seconds for the answer of a manager that may have no leader: it would wait for one much longer

Json = dict[str, Any]


class Swarm(Started):
    """A swarm that runs. The attributes are those of the line of JSON (``python -m tests.sandbox.swarm up --help``)."""

    def __init__(self, process: subprocess.Popen[str], description: Mapping[str, Any]) -> None:
        super().__init__(process)
        self.nodes: list[Json] = description["nodes"]
        self.proxies: list[Json] = description["proxies"]
        self.image: str = description["image"]
        self.service: Json = description["service"]
        self.inventory = Path(description["inventory"])
        self.workdir = Path(description["workdir"])
        self.pid: int = description["pid"]

    @property
    def docker_host(self) -> list[str]:
        """What the option ``docker_host`` takes: all engines, the first manager first."""
        return [node["docker_host"] for node in self.nodes]

    @property
    def live(self) -> list[str]:
        """Where each proxy serves the live colour."""
        return [proxy["live"] for proxy in self.proxies]

    @property
    def preview(self) -> list[str]:
        """Where each proxy serves the idle colour."""
        return [proxy["preview"] for proxy in self.proxies]

    def docker(self, node: int = 0, timeout: float = TIMEOUT) -> docker.APIClient:
        """A client of a node's engine; to be closed by the caller."""
        return docker.APIClient(base_url=self.nodes[node]["docker_host"], timeout=timeout)

    # --- faults ---------------------------------------------------------------------------------------------------

    @contextmanager
    def engine_killed(self, node: int) -> Iterator[None]:
        """A node's engine is killed for the time of the ``with``; its containers go on until it is there again."""
        end(Path(self.nodes[node]["docker_host"].removeprefix("unix://")).with_name("pid"), signal.SIGKILL)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGHUP)
            wait_for(self.settled, f"{self.nodes[node]['name']} is back")

    @contextmanager
    def proxy_killed(self, number: int) -> Iterator[None]:
        """A proxy ends at once, with all its connections, for the time of the ``with``."""
        proxy = self.proxies[number]
        pid_file = Path(proxy["pid_file"])
        end(pid_file, signal.SIGTERM)
        pid_file.unlink(missing_ok=True)  # HAProxy leaves it
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGHUP)
            wait_for(lambda: written(pid_file), f"{proxy['name']} is back")

    @contextmanager
    def cut_off(self, node: int) -> Iterator[None]:
        """A node reaches nobody and is reached by nobody for the time of the ``with``, but by its Docker socket."""
        name = self.nodes[node]["name"]
        bridge = Path(self.nodes[node]["netns"]).name.removesuffix(f"-{name}")
        port = [program("ip"), "-netns", bridge, "link", "set", name]
        run([*port, "down"])
        try:
            yield
        finally:
            run([*port, "up"])
            wait_for(self.settled, f"{name} is back")

    def settled(self) -> bool:
        """Whether all engines answer, all nodes are ready and all managers are reachable, as each manager sees it."""
        try:
            return all(self._settled(node) for node in range(len(self.nodes)))
        except (docker.errors.DockerException, requests.RequestException):
            return False

    def _settled(self, node: int) -> bool:
        with self.docker(node, GLANCE) as client:
            about = client.info()["Swarm"]
            nodes = client.nodes() if about["ControlAvailable"] else []
        managers = [found["ManagerStatus"] for found in nodes if "ManagerStatus" in found]
        return (
            about["LocalNodeState"] == "active"
            and all(found["Status"]["State"] == "ready" for found in nodes)
            and all(manager["Reachability"] == "reachable" for manager in managers)
        )

    # --- what is done ---------------------------------------------------------------------------------------------

    def definition(self, name: str, version: str, *, replicas: int = 4, **overrides: Any) -> Json:
        """A definition of the test service. ``env`` is added to its variables, other ``overrides`` replace keys."""
        given = copy.deepcopy(self.service)
        env = {**given["env"], "VERSION": version, **overrides.pop("env", {})}
        return {**given, "name": name, "replicas": replicas, "env": env, **overrides}

    def inventory_with(self, folder: Path, **variables: Mapping[str, Any]) -> Path:
        """The inventory with more variables, by host, as a file in ``folder``."""
        content = yaml.safe_load(self.inventory.read_text())
        for group in content["all"]["children"].values():
            for host, known in group["hosts"].items():
                if known is not None:  # the groups of managers and workers have no variables of their own
                    known.update(variables.get(host, {}))
        changed = folder / "inventory.yml"
        changed.write_text(yaml.safe_dump(content, sort_keys=False))
        return changed

    def playbook(
        self,
        name: str,
        variables: Mapping[str, Any],
        *options: str,
        folder: Path | None = None,
        inventory: Path | None = None,
        timeout: float = PLAY_LIMIT,
    ) -> Run:
        """Run one of the collection's playbooks, or a file that ends in ``.yml``, to its end.

        ``folder`` keeps what the run leaves behind, the report for instance.
        """
        plays = Plays(folder or self.workdir / "play", inventory or self.inventory)
        return plays.play(name, variables, *options, timeout=timeout)

    @contextmanager
    def traffic(
        self, *, kinds: Sequence[str] = ALL, rate: float = RATE, tolerated: Sequence[str] = ()
    ) -> Iterator[Clients]:
        """Clients of all kinds at every proxy; asserts at its end that no request failed by a cause not tolerated.

        A reload of an nginx before 1.27.4 closes idle connections: ``eof_on_kept_connection`` counts what met that.
        """
        with clients(self.live, kinds, rate) as traffic:
            traffic.wait_until_flowing()
            yield traffic
            time.sleep(AFTERWARDS)
            report = traffic.stop()
        assert all(counts["sent"] for counts in report["clients"].values()), report["clients"]
        failures = [failure for failure in report["failures"] if failure["cause"] not in tolerated]
        assert not failures, (traffic.causes(), failures[:20])


class Plays(Cluster):
    """Runs playbooks with an inventory that is there."""

    def __init__(self, folder: Path, inventory: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.inventory = inventory
        self.settings = folder / "ansible.cfg"
        self.settings.write_text("[defaults]\n")

    def command(self, playbook: str, variables: Path, *options: str) -> list[str]:
        words = super().command(playbook, variables, *options)
        if playbook.endswith(".yml"):
            words[words.index(f"zdd.rollout.{playbook}")] = str((ROOT / playbook).resolve())
        return words


def end(pid_file: Path, number: int) -> None:
    """Send the process of a pid file a signal that ends it; return when it has ended."""
    pid = int(pid_file.read_text())
    os.kill(pid, number)
    wait_for(lambda: not alive(pid), f"process {pid} has ended")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return when the condition is true. Raises ``TimeoutError`` with what is missing."""
    deadline = time.monotonic() + BACK_LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"After {BACK_LIMIT:g} s not yet: {what}.")
        time.sleep(LOOK)


def start(**options: Any) -> Swarm:
    """Start a swarm; the options are those of ``up``, with ``_`` for ``-``.

    It ends with the ``with`` statement, with ``stop()``, and when this process dies. Raises :class:`StartFailed`.
    """
    return Swarm(*launched("tests.sandbox.swarm", "up", options))
