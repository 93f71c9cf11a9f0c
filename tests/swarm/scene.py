# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One group of services behind the nginx of a swarm, on which faults fall."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.zdd.rollout.plugins.module_utils._swarm.lock_store import config_name
from tests.chaos.controller import CALLBACKS, Death, kill_all
from tests.rehearsal.playbook import Run, environment
from tests.sandbox.clients import Clients
from tests.sandbox.swarm import launch

GROUP = "web"
COLOURS = ("blue", "green")
REPLICAS = 2
SHORT_KINDS = ("get", "post", "sticky")
RATE = 30.0  # requests/s at each proxy
RUN_LIMIT = 560.0  # seconds, for one playbook on a machine with a lot to do
MOMENT, MOMENT_LIMIT = 0.2, 400.0  # seconds: between two looks for a moment in a run, and until it has to have come

Json = dict[str, Any]


class Scene:
    """The group ``web``, and what is known of it from outside."""

    def __init__(self, swarm: launch.Swarm, folder: Path) -> None:
        self.swarm = swarm
        self.folder = folder
        self.log = folder / "tasks.log"
        self.plays = launch.Plays(folder, swarm.inventory)
        self.numbers = map(str, itertools.count(1))

    # --- what is done ---------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        """The proxies, and a first version that is live."""
        run = self.swarm.playbook("swarm_proxy", {"swarm_proxy_name": GROUP}, timeout=RUN_LIMIT)
        assert run.code == 0, run.output
        self.deploy()

    def fresh(self) -> str:
        """The name of a version that never was before."""
        return next(self.numbers)

    def variables(self, version: str, *, env: Mapping[str, str] | None = None, **more: Any) -> Json:
        """Variables of the role for a version; a ``service`` replaces fields of the definition."""
        definition = self.swarm.definition(GROUP, version, replicas=REPLICAS, env=env or {}, **more.pop("service", {}))
        given = {"swarm_bluegreen_service": definition, "swarm_bluegreen_version": version}
        return {**given, "swarm_bluegreen_monitor_seconds": 1, **more}

    def play(self, playbook: str, variables: Mapping[str, Any]) -> Run:
        return self.plays.play(playbook, variables, timeout=RUN_LIMIT)

    def deploy(self) -> str:
        """A new version, which becomes live."""
        version = self.fresh()
        run = self.play("swarm_bluegreen", self.variables(version))
        assert run.code == 0, run.output
        assert self.live() == [version] * len(self.swarm.proxies), run.output
        return version

    def killed(self, playbook: str, variables: Mapping[str, Any], death: Death | None = None) -> list[str]:
        """Run a playbook until it dies by ``death``, or to its end; the names of the tasks that it had begun."""
        given = self.folder / "variables.json"
        given.write_text(json.dumps(dict(variables)) + "\n")
        env = environment(self.plays.settings) | {
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "dies",
            "CHAOS_LOG": str(self.log),
        }
        if death is not None:
            env |= {"CHAOS_TASK": str(death.task), "CHAOS_AFTER": str(death.after)}
        process = subprocess.Popen(
            self.plays.command(playbook, given),
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(RUN_LIMIT)
        finally:
            if process.poll() is None:
                kill_all(process.pid)
            process.wait()
        return self.log.read_text().splitlines()

    def kill_task(self, version: str) -> None:
        """The container of one task of a version is killed."""
        number, container = self.containers(version)[0]
        with self.swarm.docker(number) as engine:
            engine.kill(container)

    # --- what is seen ---------------------------------------------------------------------------------------------

    def live(self) -> list[str]:
        """The version that each proxy serves."""
        return [answered(url) for url in self.swarm.live]

    def services(self, node: int = 0) -> dict[str, Json]:
        """The services of the group by colour, as a manager knows them."""
        with self.swarm.docker(node) as client:
            found = {service["Spec"]["Name"]: service for service in client.services()}
        return {colour: found[f"{GROUP}-{colour}"] for colour in COLOURS if f"{GROUP}-{colour}" in found}

    def node_of(self, version: str) -> int:
        """The last of the nodes that run a task of a version."""
        return self.containers(version)[-1][0]

    def containers(self, version: str) -> list[tuple[int, str]]:
        """Node number and id of each container that runs a version."""
        found = []
        for number in range(len(self.swarm.nodes)):
            with self.swarm.docker(number) as engine:
                ids = [container["Id"] for container in engine.containers()]
                about = {one: engine.inspect_container(one)["Config"]["Env"] for one in ids}
            found += [(number, one) for one, env in about.items() if f"VERSION={version}" in env]
        return found

    def state(self) -> Json:
        """What a refused run may not change: the services' definitions, the proxies' configuration and split."""
        return {
            "services": {colour: service["Version"]["Index"] for colour, service in self.services().items()},
            "proxies": [
                [Path(proxy["config"]).read_text(), *sorted(split_files(proxy))] for proxy in self.swarm.proxies
            ],
        }

    def leftovers(self) -> list[str]:
        """What a finished run must not leave, in words."""
        found = []
        with self.swarm.docker() as client:
            names = {service["Spec"]["Name"]: service for service in client.services()}
            found += [f"service {name}" for name in names if name not in [f"{GROUP}-{colour}" for colour in COLOURS]]
            for name, service in names.items():
                wanted = service["Spec"]["Mode"]["Replicated"]["Replicas"]
                tasks = client.tasks({"service": name})
                running = [task for task in tasks if task["Status"]["State"] == "running"]
                if len(running) != wanted:
                    found.append(f"{name} runs {len(running)} of {wanted}")
            found += [f"lock {one['Spec']['Name']}" for one in client.configs() if one["Spec"]["Name"] == LOCK]
        splits = [split_files(proxy) for proxy in self.swarm.proxies]
        found += [f"share file {name}" for names in splits for name in names if name.startswith("share/")]
        if any(names != splits[0] for names in splits):
            found.append(f"the proxies differ: {splits}")
        return found


LOCK = config_name(GROUP)


def split_files(proxy: Mapping[str, Any]) -> set[str]:
    """The files by which an nginx splits its traffic."""
    top = Path(proxy["state_dir"])
    paths = [path for name in ("live", "share") for path in (top / name).rglob("*")]
    return {str(path.relative_to(top)) for path in paths if path.is_file()}


def answered(url: str) -> str:
    """The version that answers at ``url``."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.headers["X-Version"]


@contextmanager
def meanwhile(condition: Callable[[], Any], act: Callable[[], Any]) -> Iterator[None]:
    """Do something in the middle of what the ``with`` does, once ``condition`` holds. It has to come to that."""
    over = threading.Event()

    def watch() -> None:
        deadline = time.monotonic() + MOMENT_LIMIT
        while not condition():
            if over.wait(MOMENT) or time.monotonic() > deadline:
                raise TimeoutError("the moment to act has not come")
        act()

    with ThreadPoolExecutor(1) as pool:
        acted = pool.submit(watch)
        try:
            yield
        finally:
            over.set()
    acted.result()


def met(traffic: Clients, version: str) -> Callable[[], bool]:
    """The condition that a version has answered some client."""
    return lambda: traffic.first_met(version) is not None


@contextmanager
def long_request(url: str, seconds: float) -> Iterator[threading.Event]:
    """A stream that is open for the time of the ``with``; the event is set when the other side ends it before."""
    target = urlsplit(url)
    over = threading.Event()
    with socket.create_connection((target.hostname, target.port or 80), timeout=60) as connection:
        connection.sendall(f"GET /slow?seconds={seconds:g} HTTP/1.1\r\nHost: {target.hostname}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")

        def read() -> None:
            with contextlib.suppress(OSError):  # a reset ends it, too
                while connection.recv(65536):
                    pass
            over.set()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield over
        finally:
            with contextlib.suppress(OSError):  # the other side was faster
                connection.shutdown(socket.SHUT_RDWR)
            reader.join()


def assert_finished(scene: Scene, run: Run, version: str, about: str) -> None:
    """The run ended well, every proxy serves the version, and nothing is left."""
    assert run.code == 0, f"{about}: {run.output}"
    assert scene.live() == [version] * len(scene.swarm.proxies), about
    launch.wait_for(lambda: not scene.leftovers(), f"{about}: nothing is left over ({scene.leftovers()})")


def said(run: Run, *words: str) -> None:
    """The run has failed, and every one of ``words`` is in its output, however Ansible has broken the lines."""
    output = " ".join(run.output.replace("\\n", " ").split())
    assert run.code != 0, run.output
    missing = [word for word in words if word not in output]
    assert not missing, f"{missing} not in: {run.output}"


def all_of(scene: Scene, kinds: Sequence[str] = SHORT_KINDS) -> Any:
    """Clients at all proxies; asserts at its end that no request failed."""
    return scene.swarm.traffic(kinds=kinds, rate=RATE)
