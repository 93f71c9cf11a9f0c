# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app on a sandbox, the playbooks that roll it out, the clients that use it meanwhile, and what all of them saw."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.rehearsal.playbook import Cluster, Run
from tests.sandbox import launch
from tests.sandbox.clients import ALL, SHARES, Clients, clients

AGENT = "zdd.rollout"  # how the collection names itself to Marathon
RATE = 60.0  # requests/s at each LB
AFTERWARDS = 0.5  # seconds that the clients go on after the last run, to see what it left behind

Json = dict[str, Any]


class Playing(Cluster):
    """Also runs a playbook of a file, an inventory of several hosts, and tasks of a user's own."""

    def __init__(self, folder: Path, marathon: Sequence[str], lbs: Sequence[str]) -> None:
        super().__init__(folder, marathon, lbs)
        self.use(json.loads(self.inventory.read_text()))

    def use(self, inventory: Json) -> None:
        """Take this inventory. Ordinary modules run with the Python of this process, wherever another one lies."""
        all_hosts = {**inventory["all"], "vars": {"ansible_python_interpreter": sys.executable}}
        self.inventory.write_text(json.dumps({"all": all_hosts}, indent=2) + "\n")

    def command(self, playbook: str, variables: Path, *options: str) -> list[str]:
        words = super().command(playbook, variables, *options)
        if playbook.endswith(".yml"):
            words[words.index(f"zdd.rollout.{playbook}")] = playbook
        return words


class Service:
    """One app, by its id without a colour, with a service port of its own on every LB of the sandbox."""

    def __init__(
        self, sandbox: launch.Running, folder: Path, app_id: str, port: int, instances: int = 4, **definition: Any
    ) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.app_id = app_id
        self.port = port
        self.instances = instances
        self.base = definition
        self.cluster = Playing(folder, sandbox.marathon, [lb["url"] for lb in sandbox.lbs])

    # --- what is wanted -------------------------------------------------------------------------------------------

    def definition(self, version: str, **overrides: Any) -> Json:
        """The definition of a version. ``environment`` is added to its variables, other ``overrides`` replace keys."""
        environment = {"VERSION": version, **overrides.pop("environment", {})}
        given = {
            "instances": self.instances,
            "portDefinitions": [{"port": self.port, "name": "http"}],
            **self.base,
            **overrides,
        }
        app = self.sandbox.app(id=self.app_id, env=environment, **given)
        for check in app["healthChecks"]:
            # Marathon kills a task that fails its check so often, whatever it is doing: leave it the time to finish.
            check["maxConsecutiveFailures"] = 20
        if app.get("container"):
            del app["portDefinitions"]
        return app

    @property
    def group(self) -> str:
        return self.app_id.strip("/").replace("/", "_")

    # --- what is done ---------------------------------------------------------------------------------------------

    def play(self, playbook: str, version: str | Json, *options: str, **variables: Any) -> Run:
        """Run a playbook for a version (its name, or its definition); what Marathon was asked before is forgotten."""
        app = version if isinstance(version, dict) else self.definition(version)
        self.sandbox.forget_requests()
        return self.cluster.play(playbook, {"bluegreen_app": app, **variables}, *options, timeout=240)

    def deploy(self, version: str | Json, **variables: Any) -> Run:
        """A ``bluegreen.yml`` that has to succeed."""
        run = self.play("bluegreen", version, **variables)
        assert run.code == 0, run.output
        return run

    def rehearse(self, playbook: str, version: str | Json, **variables: Any) -> Run:
        """A check mode run: asserts that it succeeds, and that nothing was asked of Marathon but to be told."""
        before = self.state()
        run = self.play(playbook, version, "--check", **variables)
        assert run.code == 0, run.output
        assert {entry["method"] for entry in self.asked()} == {"GET"}, self.asked()
        assert self.state() == before
        return run

    def marathon(self, method: str, path: str, body: Any = None) -> Json:
        """Ask the sandbox's Marathon as somebody else than the collection."""
        request = urllib.request.Request(
            f"{self.sandbox.marathon[0]}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "end-to-end"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def remove(self) -> None:
        """Remove the apps of the group, as a test leaves them."""
        for app in self.apps():
            try:
                self.marathon("DELETE", f"/v2/apps/{app['id']}?force=true")
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
        wait_for(lambda: not self.apps(), "the apps are removed")

    # --- what is there --------------------------------------------------------------------------------------------

    def apps(self) -> list[Json]:
        """The apps of the group, with their tasks."""
        found = self.marathon("GET", f"/v2/apps?id={self.app_id.strip('/')}&embed=apps.tasks")["apps"]
        return sorted(found, key=lambda app: app["id"])

    def state(self) -> list[Any]:
        """What must not change when nothing is to be changed: apps, their versions and counts, their tasks."""
        return [
            (app["id"], app["version"], app["instances"], sorted(task["id"] for task in app["tasks"]))
            for app in self.apps()
        ]

    def tasks(self) -> list[str]:
        """The ids of all tasks of the group."""
        return sorted(task["id"] for app in self.apps() for task in app["tasks"])

    def counts(self) -> dict[str, int]:
        """Wanted instances by version."""
        return {app["env"]["VERSION"]: app["instances"] for app in self.apps()}

    def ids(self) -> list[str]:
        return [app["id"] for app in self.apps()]

    # --- what was seen --------------------------------------------------------------------------------------------

    def urls(self, port: int | None = None) -> list[str]:
        return [f"http://{lb['host']}:{port or self.port}" for lb in self.sandbox.lbs]

    @contextmanager
    def traffic(self, *, kinds: Sequence[str] = ALL, rate: float = RATE, port: int | None = None) -> Iterator[Clients]:
        """Clients of all kinds at every LB; asserts at its end that none of their requests failed."""
        with clients(self.urls(port), kinds, rate) as traffic:
            traffic.wait_until_flowing()
            yield traffic
            time.sleep(AFTERWARDS)
            traffic.stop()
            nothing_failed(traffic)

    def asked(self) -> list[Json]:
        """What the collection has asked of Marathon since the last run began; event streams are no requests."""
        log = self.sandbox.requests()["log"]
        mine = [entry for entry in log if str(entry["agent"]).startswith(AGENT)]
        return sorted(mine, key=lambda entry: entry["t"])

    def requests_by_step(self, run: Run) -> list[tuple[str, int]]:
        """Requests to Marathon by step, with those before, between and after the steps."""
        names = ["before", *(step["name"] for step in run.steps)]
        left = [entry["t"] for entry in self.asked()]
        found = []
        for name, end in zip(names, run.step_ends(), strict=True):
            inside = [t for t in left if t <= end]
            left = left[len(inside) :]
            found.append((name, len(inside)))
        return [*found, ("after", len(left))]

    def turned_to(self, app_id: str, *, again: bool = False) -> float:
        """When the first request was made that turns the traffic to this app (epoch seconds): its touch.

        ``again``: the last one, for an app that had it turned to itself before (to keep it while the other warms up).
        """
        times = [
            entry["t"]
            for entry in self.asked()
            if entry["method"] == "PUT" and entry["path"].partition("?")[0].endswith(app_id)
        ]
        assert times, f"nothing turned the traffic to {app_id}: {self.asked()}"
        return times[-1 if again else 0]

    def removed(self, app_id: str) -> float:
        """When the request was made that removes this app (epoch seconds)."""
        times = [
            entry["t"]
            for entry in self.asked()
            if entry["method"] == "DELETE" and entry["path"].partition("?")[0].endswith(app_id)
        ]
        assert times, f"{app_id} was not removed: {self.asked()}"
        return times[0]

    def served(self) -> bool:
        """Whether every LB answers at the service port."""
        for url in self.urls():
            try:
                with urllib.request.urlopen(f"{url}/", timeout=5):
                    pass
            except OSError:
                return False
        return True

    def changes(self) -> list[int]:
        """How many configurations each LB has had."""
        return [lb["changes"] for lb in self.sandbox.lb_state()]

    @contextmanager
    def counted(self) -> Iterator[dict[str, int]]:
        """Look at the counts all the time; at the end ``instances`` and ``alive`` have the most that both apps had."""
        most = {"instances": 0, "alive": 0}
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.1):
                apps = self.apps()
                most["instances"] = max(most["instances"], sum(app["instances"] for app in apps))
                most["alive"] = max(most["alive"], sum(app["tasksHealthy"] for app in apps))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield most
        finally:
            ended.set()
            thread.join()


class Connection:
    """One long request through an LB, read all the time; ``whole`` as long as it was not cut."""

    def __init__(self, url: str, seconds: float) -> None:
        host, _separator, port = url.removeprefix("http://").partition(":")
        self.whole = True
        self.began = threading.Event()
        self.sock = socket.create_connection((host, int(port)), timeout=30)
        self.sock.sendall(f"GET /slow?seconds={seconds:g} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        assert self.began.wait(30), f"{url} does not answer"

    def read(self) -> None:
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b""
            if not data:
                self.whole = False
                return
            self.began.set()

    def end(self) -> None:
        """Leave it, if that has not been done before."""
        if self.whole:
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.sock.close()


@contextmanager
def long_connection(url: str, seconds: float = 60.0) -> Iterator[Connection]:
    """Somebody's long request, which has to be whole for the time of the ``with``."""
    connection = Connection(url, seconds)
    try:
        yield connection
    finally:
        connection.end()


def nothing_failed(traffic: Clients) -> None:
    """Each kind of clients has sent requests, and none of them failed."""
    report = traffic.report()
    assert all(counts["sent"] for counts in report["clients"].values()), report["clients"]
    assert not traffic.failed(), json.dumps({"causes": traffic.causes(), "failures": report["failures"][:20]}, indent=1)


def all_from(traffic: Clients, version: str) -> bool:
    """Whether all clients meet this version from now on; waits for the next answer of each kind with short requests."""
    now = time.time()
    wanted = {(kind, url) for kind in traffic.kinds if kind in SHARES for url in traffic.urls}
    report = traffic.wait_until(
        lambda report: wanted <= {(seen["kind"], seen["url"]) for seen in report["versions"] if seen["last_sent"] > now}
    )
    return {seen["version"] for seen in report["versions"] if seen["last_sent"] > now} == {version}


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout:g} s not yet: {what}"
        time.sleep(0.05)


def recap(run: Run, host: str) -> dict[str, int]:
    """The numbers of one host in Ansible's recap."""
    line = next(line for line in run.output.rpartition("PLAY RECAP")[2].splitlines() if line.startswith(f"{host} "))
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}


def names(run: Run) -> list[str]:
    """The steps of a run, in order."""
    return [step["name"] for step in run.steps]


def inventory(hosts: Mapping[str, launch.Running], **variables: Mapping[str, Any]) -> Json:
    """An inventory in which each sandbox is a cluster; ``variables`` by host."""
    return {
        "all": {
            "hosts": {
                name: {
                    "marathon_url": sandbox.marathon,
                    "marathon_lb_url": [lb["url"] for lb in sandbox.lbs],
                    **variables.get(name, {}),
                }
                for name, sandbox in hosts.items()
            }
        }
    }
