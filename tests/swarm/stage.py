# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group of services on a swarm, the playbooks that roll it out, the clients that use it meanwhile, and what was seen.

Each version has a number of its own, so that what clients have met says when it was live.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.rehearsal.playbook import Run
from tests.sandbox.clients import SHARES, Clients, clients
from tests.sandbox.swarm import launch

GROUP_LABEL, VERSION_LABEL = "zdd.rollout.group", "zdd.rollout.version"
MONITOR_SECONDS = 1
# requests/s at each proxy: so many that a kept connection is used again long before HAProxy closes it, a second later
RATE = 60.0
LIMIT = 60.0  # seconds for what is waited for
GLANCE = 0.02  # seconds between two looks

Json = dict[str, Any]


class Group:
    """One group behind all proxies of a sandbox, with clients of all kinds at all of them from its first version on."""

    def __init__(self, swarm: launch.Swarm, name: str, folder: Path) -> None:
        self.swarm = swarm
        self.name = name
        self.folder = folder
        self.latest = 0
        self.traffic: Clients | None = None

    # --- what is done ---------------------------------------------------------------------------------------------

    def play(
        self, playbook: str, variables: Mapping[str, Any] | None = None, *options: str, folder: str = "play"
    ) -> Run:
        """Run a playbook for this group to its end. Two at a time need a ``folder`` each."""
        given = {
            "swarm_bluegreen_name": self.name,
            "swarm_proxy_name": self.name,
            "swarm_bluegreen_monitor_seconds": MONITOR_SECONDS,
            **(variables or {}),
        }
        return self.swarm.playbook(playbook, given, *options, folder=self.folder / folder)

    def done(self, playbook: str, variables: Mapping[str, Any] | None = None) -> Run:
        """The same, and it has to succeed."""
        run = self.play(playbook, variables)
        assert run.code == 0, run.output[-6000:]
        return run

    def next_version(self) -> str:
        self.latest += 1
        return str(self.latest)

    def wanted(self, version: str, replicas: int | None = None, **env: str) -> Json:
        """The variables that ask for a version; with as many replicas as are live without a number."""
        service = self.swarm.definition(self.name, version, env=env)
        del service["replicas"]
        if replicas is not None:
            service["replicas"] = replicas
        return {"swarm_bluegreen_service": service, "swarm_bluegreen_version": version}

    def begin(self, replicas: int) -> None:
        """Set the proxies up, make a first version live, and put the clients on it."""
        self.done("swarm_proxy")
        self.done("swarm_bluegreen", self.wanted(self.next_version(), replicas))
        self.traffic = Clients(self.swarm.live, rate=RATE)
        self.traffic.wait_until_flowing()

    def end(self) -> None:
        """Stop the clients, remove the services."""
        if self.traffic is not None:
            self.traffic.kill()
        with self.swarm.docker() as engine:
            for service in engine.services(filters={"label": f"{GROUP_LABEL}={self.name}"}):
                engine.remove_service(service["ID"])
            wait_for(lambda: not engine.tasks(filters={"label": f"{GROUP_LABEL}={self.name}"}), "the tasks are gone")

    # --- what is there --------------------------------------------------------------------------------------------

    def services(self) -> dict[str, Json]:
        """The services of the group by their versions."""
        with self.swarm.docker() as engine:
            found = engine.services(filters={"label": f"{GROUP_LABEL}={self.name}"})
        return {service["Spec"]["Labels"][VERSION_LABEL]: service["Spec"] for service in found}

    def replicas(self) -> dict[str, int]:
        """Wanted tasks by version."""
        return {version: spec["Mode"]["Replicated"]["Replicas"] for version, spec in self.services().items()}

    def tasks(self, version: str | None = None) -> list[Json]:
        """The tasks that run, of a version or of all, as Docker tells them."""
        names = [spec["Name"] for known, spec in self.services().items() if version in (None, known)]
        with self.swarm.docker() as engine:
            found = engine.tasks(filters={"service": names, "desired-state": "running"}) if names else []
        return [task for task in found if task["Status"]["State"] == "running"]

    def nodes(self) -> dict[str, str]:
        """The names of the nodes by id."""
        with self.swarm.docker() as engine:
            return {node["ID"]: node["Description"]["Hostname"] for node in engine.nodes()}

    def on_node(self, name: str) -> list[str]:
        """The ids of the tasks that run on a node."""
        nodes = self.nodes()
        return [task["ID"] for task in self.tasks() if nodes[task["NodeID"]] == name]

    def live(self) -> str:
        """The version that every proxy serves."""
        found = set()
        for url in self.swarm.live:
            with urllib.request.urlopen(f"{url}/", timeout=LIMIT) as answer:
                found.add(answer.headers["X-Version"])
        (version,) = found
        return version

    def live_colour(self) -> str:
        return self.services()[self.live()]["Name"].removeprefix(f"{self.name}-")

    def workers(self) -> dict[str, set[int]]:
        """The processes that serve, by proxy: a reload would make new ones."""
        found = {}
        for proxy in self.swarm.proxies:
            master = int(Path(proxy["pid_file"]).read_text())
            found[proxy["name"]] = {master, *map(int, children(master))}
        return found

    def locked(self) -> bool:
        """Whether somebody has the lock of the group."""
        with self.swarm.docker() as engine:
            return bool(engine.configs(filters={"label": f"{GROUP_LABEL}={self.name}"}))

    def state(self) -> list[Any]:
        """What must not change when nothing is to be changed."""
        with self.swarm.docker() as engine:
            services = engine.services(filters={"label": f"{GROUP_LABEL}={self.name}"})
        files = [
            (str(path), path.read_bytes())
            for proxy in self.swarm.proxies
            for path in [Path(proxy["config"]), *sorted(Path(proxy["state_dir"] or proxy["config"]).rglob("*"))]
            if path.is_file()
        ]
        return [
            sorted((service["ID"], service["Version"]["Index"]) for service in services),
            sorted(task["ID"] for task in self.tasks()),
            self.workers(),
            files,
            self.locked(),
        ]

    # --- what was seen --------------------------------------------------------------------------------------------

    @contextmanager
    def unharmed(self, *tolerated: str) -> Iterator[Clients]:
        """No client of any kind fails for the time of the ``with``, by a cause that is not tolerated.

        At its end each kind has been answered at each proxy once more, so that what the last change has left is met.
        """
        assert self.traffic is not None
        before = len(self.traffic.report()["failures"])
        yield self.traffic
        met = self.met()
        assert met == {self.live()}, met
        report = self.traffic.report()
        assert all(counts["answered"] for counts in report["clients"].values()), report["clients"]
        failures = [failure for failure in report["failures"][before:] if failure["cause"] not in tolerated]
        assert not failures, (len(failures), failures[:20])
        assert not self.locked()

    def met(self) -> set[str]:
        """The versions that clients meet from now on: those of the next short request of each kind at each proxy."""
        assert self.traffic is not None
        now = time.time()
        wanted = {(kind, url) for kind in SHARES for url in self.traffic.urls}

        def all_met(report: Json) -> bool:
            return wanted <= {(seen["kind"], seen["url"]) for seen in report["versions"] if seen["last_sent"] > now}

        report = self.traffic.wait_until(all_met, LIMIT)
        return {seen["version"] for seen in report["versions"] if seen["last_sent"] > now}

    def share(self, version: str, requests: int) -> float:
        """The percentage that a version gets of so many requests, over all proxies."""
        with clients(self.swarm.live, ("get",), 2 * RATE) as some:
            some.wait_until(lambda report: report["clients"]["get"]["sent"] >= requests, LIMIT)
            report = some.stop()
        assert not some.failed(), some.causes()
        answered = sum(seen["count"] for seen in report["versions"])
        return 100 * sum(seen["count"] for seen in report["versions"] if seen["version"] == version) / answered


class Turn:
    """How long a switch took: clients that are there for it only, at all proxies at once.

    ``seconds`` lie between the moment when the first request was sent that the new version has answered, and the moment
    when the last one was sent that the old version has answered; negative where no request came in between.
    """

    def __init__(self, group: Group, old: str, new: str) -> None:
        self.group = group
        self.old = old
        self.new = new
        self.seconds = float("nan")

    @contextmanager
    def watched(self) -> Iterator[Turn]:
        with clients(self.group.swarm.live, ("get",), RATE) as some:
            some.wait_until_flowing()
            yield self
            report = some.stop()
        assert not some.failed(), some.causes()
        sent = {seen["version"]: [] for seen in report["versions"]}
        for seen in report["versions"]:
            sent[seen["version"]].append((seen["first_sent"], seen["last_sent"]))
        assert sent.keys() == {self.old, self.new}, sent
        self.seconds = max(last for _first, last in sent[self.old]) - min(first for first, _last in sent[self.new])


def until_healthy(tasks: Sequence[Mapping[str, Any]]) -> float:
    """How many seconds the slowest of these tasks needed from its beginning to its being healthy."""
    return max(moment(task["Status"]["Timestamp"]) - moment(task["CreatedAt"]) for task in tasks)


def moment(text: str) -> float:
    """A time of Docker's as epoch seconds."""
    return datetime.fromisoformat(text).timestamp()


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def wait_for(condition: Callable[[], bool], what: str, timeout: float = LIMIT) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout:g} s not yet: {what}"
        time.sleep(GLANCE)
