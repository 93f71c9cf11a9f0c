# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that dies: ``ansible-playbook`` in a process group of its own, ended with SIGKILL at a chosen moment."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ansible_collections.zdd.rollout.plugins.module_utils._operations import haproxy_backend
from tests.integration_py.operating import operate
from tests.rehearsal.playbook import HOST, Cluster, Run, environment
from tests.sandbox.clients import Clients
from tests.sandbox.launch import Running

# CHAOS_ALL=1: everything. Without it some of it, other parts in each run; CHAOS_SEED repeats a run.
ALL = bool(os.environ.get("CHAOS_ALL"))
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))

CALLBACKS = Path(__file__).parent / "callbacks"
PORT = 10000
INSTANCES = 2
RUN_LIMIT = 120.0  # seconds, for one playbook
SHORT_KINDS = ("get", "post", "sticky")
RATE = 50.0
FREE = "0.0.0.0:"

Json = dict[str, Any]
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Death:
    """Before task number ``task`` begins (from 0), or ``after`` seconds later."""

    task: int
    after: float = 0.0

    def __str__(self) -> str:
        return f"{self.task}+{self.after:.2f}s" if self.after else str(self.task)


class Scene:
    """One sandbox with one app behind its LBs, and a controller for it."""

    def __init__(self, sandbox: Running, folder: Path, **app: Any) -> None:
        self.sandbox = sandbox
        self.cluster = Cluster(folder, sandbox.marathon, [lb["url"] for lb in sandbox.lbs])
        self.log = folder / "tasks.log"
        self.definition = sandbox.app(instances=INSTANCES, **app)
        self.urls = [f"http://{lb['host']}:{PORT}" for lb in sandbox.lbs]

    def variables(self, version: str, **more: Any) -> Json:
        """Variables of the role for a version; ``env`` goes into the definition."""
        env = {"VERSION": version, **more.pop("env", {})}
        return {"bluegreen_app": {**self.definition, "env": env}, **more}

    def play(self, playbook: str, variables: Mapping[str, Any], *options: str) -> Run:
        return self.cluster.play(playbook, variables, *options, timeout=RUN_LIMIT)

    def begin_with(self, version: str) -> None:
        """This version alone, whatever was there."""
        self.sandbox.clear_faults()
        if self.versions() == [version] and not self.leftovers():
            return
        for app in self.apps():
            ask(self.sandbox, "DELETE", f"/v2/apps{app['id']}?force=true")
        wait_until(lambda: not self.deployments(), "the sandbox is empty")
        self.empty_lbs()
        run = self.play("bluegreen", self.variables(version))
        assert run.code == 0, run.output

    def empty_lbs(self) -> None:
        """marathon-lb knows by itself that the apps are gone."""

    def apps(self) -> list[Json]:
        return ask(self.sandbox, "GET", "/v2/apps?embed=apps.tasks&embed=apps.counts")["apps"]

    def group(self) -> list[Json]:
        return [app for app in self.apps() if "HAPROXY_DEPLOYMENT_GROUP" in app["labels"]]

    def deployments(self) -> list[Json]:
        return ask(self.sandbox, "GET", "/v2/deployments")

    def versions(self) -> list[str]:
        return sorted(app["env"]["VERSION"] for app in self.group())

    def leftovers(self) -> list[str]:
        """What a finished rollout must not leave, in words."""
        apps = self.apps()
        group = self.group()
        found = [f"{app['id']} is left" for app in apps if app not in group and not app["id"].startswith("/other")]
        found += [f"{app['id']} has {app['instances']}" for app in group if app["instances"] != INSTANCES]
        found += [f"{app['id']} runs {len(app['tasks'])}" for app in group if len(app["tasks"]) != INSTANCES]
        return found + [f"deployment {deployment['id']} runs" for deployment in self.deployments()]

    def killed(self, playbook: str, variables: Mapping[str, Any], death: Death | None = None, **more: Any) -> list[str]:
        """Run it until it dies by ``death``, or ``when(entry)`` holds for a request in Marathon's log; tasks begun."""
        when: Callable[[Entry], bool] | None = more.get("when")
        given = self.cluster.folder / "variables.json"
        given.write_text(json.dumps(dict(variables)) + "\n")
        env = environment(self.cluster.settings) | {
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "dies",
            "CHAOS_LOG": str(self.log),
        }
        if death is not None:
            env |= {"CHAOS_TASK": str(death.task), "CHAOS_AFTER": str(death.after)}
        process = subprocess.Popen(
            self.cluster.command(playbook, given),
            cwd=self.cluster.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while when is not None and process.poll() is None:
                if any(when(entry) for entry in self.sandbox.requests()["log"]):
                    break
                time.sleep(0.005)
            else:
                process.wait(RUN_LIMIT)
        finally:
            if process.poll() is None:
                kill_all(process.pid)
            process.wait()
        if when is not None:
            assert process.returncode == -signal.SIGKILL, f"the run had ended by itself with {process.returncode}"
        return self.log.read_text().splitlines()


class PlainScene(Scene):
    """One app behind the ordinary HAProxys of its sandbox, whose servers are set by the runtime API alone."""

    def __init__(self, sandbox: Running, folder: Path, **app: Any) -> None:
        super().__init__(sandbox, folder, **app)
        self.urls = [lb["url"] for lb in sandbox.plain_lbs]
        self.sockets = [lb["socket"] for lb in sandbox.plain_lbs]
        self.backend = sandbox.plain_lbs[0]["backend"]
        self.reach(
            bluegreen_lb_mode="haproxy",
            haproxy_socket=self.sockets,
            haproxy_master_socket=[lb["master_socket"] for lb in sandbox.plain_lbs],
            haproxy_backend=self.backend,
        )

    def reach(self, **variables: Any) -> None:
        """Give these variables to the cluster's host."""
        host = {"marathon_url": self.sandbox.marathon, "ansible_python_interpreter": sys.executable, **variables}
        self.cluster.inventory.write_text(json.dumps({"all": {"hosts": {HOST: host}}}) + "\n")

    def empty_lbs(self) -> None:
        """Servers of the runtime API do not outlive a reload without a state file."""
        for number in range(len(self.sockets)):
            self.sandbox.fault("plain_lb_reload", lb=number, keep_state=False)

    def servers(self) -> list[dict[str, Json]]:
        """The servers of each LB by their addresses, without free slots.

        :raises OperationError: one of them does not answer.
        """
        found = operate(haproxy_backend, socket=self.sockets, backend=self.backend, servers=[])
        if "lbs" not in found:
            raise ConnectionError(found["msg"])
        used = [[one for one in lb["servers"].values() if not one["address"].startswith(FREE)] for lb in found["lbs"]]
        return [{server["address"]: server for server in servers} for servers in used]

    def leftovers(self) -> list[str]:
        tasks = {f"{task['host']}:{task['ports'][0]}" for app in self.group() for task in app["tasks"]}
        found = super().leftovers()
        for number, servers in enumerate(self.servers()):
            found += [f"lb {number} has a server at {address} without a task" for address in servers.keys() - tasks]
            found += [f"lb {number} has no server for the task at {address}" for address in tasks - servers.keys()]
            found += [
                f"lb {number}: the server at {address} is {server['state']} with weight {server['weight']}"
                for address, server in servers.items()
                if server["state"] != "ready" or server["weight"] == 0
            ]
        return found


class Shares:
    """The percentage of the requests that each LB gives to a version, as it was all the time, by weights and states."""

    def __init__(self, scene: PlainScene, version: str) -> None:
        self.scene = scene
        self.version = version
        self.seen: list[list[float]] = [[] for _socket in scene.sockets]
        self.over = threading.Event()
        self.versions: dict[str, str] = {}
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> Self:
        self.look()
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        self.thread.join()
        self.look()

    def watch(self) -> None:
        while not self.over.wait(0.02):
            self.look()

    def look(self) -> None:
        try:
            lbs = self.scene.servers()
        except ConnectionError:  # it is down, or reloads just now
            return
        if any(address not in self.versions for servers in lbs for address in servers):
            for app in self.scene.group():
                for task in app["tasks"]:
                    self.versions[f"{task['host']}:{task['ports'][0]}"] = app["env"]["VERSION"]
        for servers, seen in zip(lbs, self.seen, strict=True):
            weights = {
                address: server["weight"]
                for address, server in servers.items()
                if server["state"] == "ready" and server["status"].startswith("UP")
            }
            own = sum(weight for address, weight in weights.items() if self.versions.get(address) == self.version)
            if weights and (share := 100 * own / sum(weights.values())) not in seen[-1:]:
                seen.append(share)

    def assert_rising(self, about: str) -> None:
        """By more than what integer weights may be off."""
        for seen in self.seen:
            assert all(after >= before - 0.5 for before, after in itertools.pairwise(seen)), f"{about}: {seen}"

    def assert_falling(self, about: str) -> None:
        for seen in self.seen:
            assert all(after <= before + 0.5 for before, after in itertools.pairwise(seen)), f"{about}: {seen}"


def kill_all(pid: int) -> None:
    """End a process and all that descend from it at the same moment; Ansible's workers have sessions of their own."""
    os.kill(pid, signal.SIGSTOP)
    family = [pid]
    for member in family:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            with suppress(OSError):
                family += [int(child) for child in children.read_text().split()]
    for member in family:
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def ask(sandbox: Running, method: str, path: str, body: Any = None) -> Any:
    """One request to the Marathon stand-in, as a person would send it."""
    request = urllib.request.Request(
        sandbox.marathon[0] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "person"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_until(condition: Callable[[], Any], what: str, limit: float = 30.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit:g} s: {what}"
        time.sleep(0.05)


def assert_nothing_failed(traffic: Clients, about: str) -> None:
    assert traffic.failed() == 0, f"{about}: {traffic.causes()} {traffic.report().get('failures')}"


def changes(sandbox: Running) -> list[str]:
    """The requests in Marathon's log that change something, but for those of a person."""
    return [
        f"{entry['method']} {entry['path']}"
        for entry in sandbox.requests()["log"]
        if entry["method"] != "GET" and entry["agent"] != "person"
    ]
