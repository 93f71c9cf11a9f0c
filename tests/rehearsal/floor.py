# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The physical floor of a blue-green: the same sequence as the role's, by bare HTTP calls and polls every 20 ms.

No Ansible, no lock, no plan, no evidence beyond what the next call needs: nothing that does these steps on this sandbox
is faster by more than the polls' pause. The sequence is the one that was seen to work on the real thing (reference A12
and A13): both apps carry ``HAPROXY_0_BACKEND_HEAD`` with fresh server state, and an app is made the receiver of the
traffic by *touching* it (one instance more, and that one task away again before it serves).
"""

from __future__ import annotations

import csv
import http.client
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.marathon_lb_decision import server_name

POLL = 0.02  # seconds
PATIENCE = 180.0  # seconds for one step
FRESH_STATE = (
    "\nbackend {backend}\n  balance {balance}\n  mode {mode}\n  load-server-state-from-file none\n"  # reference A12
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A step of the sequence and the seconds it took."""

    name: str
    duration_s: float


@dataclass
class Result:
    """What one rollout took. ``requests`` are those to Marathon, ``turned_s`` the time from the PUT to every LB."""

    steps: list[Step] = field(default_factory=list)
    requests: int = 0
    turned_s: float = 0.0

    @property
    def duration_s(self) -> float:
        return sum(step.duration_s for step in self.steps)

    def as_dict(self) -> Json:
        return {**asdict(self), "duration_s": self.duration_s}


class Http:
    """Plain calls to one base URL.

    An LB is asked over a new connection each time: a kept one would go on asking the worker from before a reload, and
    keep it from ending.
    """

    def __init__(self, url: str, keeps: bool) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self.keeps = keeps
        self.requests = 0

    def call(self, method: str, path: str, body: Json | None = None) -> tuple[int, bytes]:
        self.requests += 1
        headers = {"User-Agent": "floor", "Accept": "application/json", "Content-Type": "application/json"}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if not self.keeps:
            self.connection.close()  # it connects anew by itself
        return answer.status, content

    def ask(self, method: str, path: str, body: Json | None = None) -> Any:
        status, content = self.call(method, path, body)
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path}: {status} {content.decode(errors='replace')}")
        return json.loads(content)

    def text(self, path: str) -> str:
        status, content = self.call("GET", path)
        if status != 200:
            raise RuntimeError(f"GET {path}: {status}")
        return content.decode()


def coloured(app: Mapping[str, Any], colour: str) -> Json:
    """``app`` as one colour of the deployment group that is named after it, with the labels of reference A3 and A12."""
    group = str(app["id"]).strip("/").replace("/", "_")
    labels = {
        **app.get("labels", {}),
        "HAPROXY_DEPLOYMENT_GROUP": group,
        "HAPROXY_DEPLOYMENT_COLOUR": colour,
        "HAPROXY_DEPLOYMENT_STARTED_AT": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": str(app["instances"]),
        "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "0",
        "HAPROXY_0_BACKEND_HEAD": FRESH_STATE,
    }
    return {**app, "id": f"/{str(app['id']).strip('/')}-{colour}", "labels": labels}


def servers_of(app: Json) -> set[str]:
    """The names that marathon-lb gives to the servers of an app's running tasks (host networks)."""
    return {
        server_name(task["host"], task["host"], port)
        for task in app["tasks"]
        if task["state"] == "TASK_RUNNING"
        for port in task["ports"]
    }


class Floor:
    """Drives one Marathon and its LBs (``lbs``: URLs of their statistics) by hand."""

    def __init__(self, marathon: str, lbs: Sequence[str]) -> None:
        self.marathon = Http(marathon, keeps=True)
        self.lbs = [Http(url, keeps=False) for url in lbs]

    def app(self, app_id: str) -> Json:
        return self.marathon.ask("GET", f"/v2/apps{app_id}")["app"]

    def states(self, lb: Http) -> dict[str, str]:
        """Status by server name at one LB, all backends together."""
        rows = csv.DictReader(io.StringIO(lb.text("/haproxy?stats;csv").removeprefix("# ")))
        return {row["svname"]: row["status"] for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")}

    def pids(self) -> list[int]:
        return [len(lb.text("/_haproxy_getpids").split()) for lb in self.lbs]

    def healthy(self, app_id: str) -> bool:
        app = self.app(app_id)
        return not app["deployments"] and app["tasksHealthy"] == app["tasksRunning"] == app["instances"]

    def serves(self, receiver: set[str], idle: set[str]) -> bool:
        """Whether every LB sends to all of ``receiver`` and to none of ``idle``."""
        for lb in self.lbs:
            states = self.states(lb)
            up = all(states.get(name, "").startswith("UP") for name in receiver)
            if not up or any(states.get(name, "MAINT") != "MAINT" for name in idle):
                return False
        return True

    def touch(self, app_id: str) -> None:
        """Make ``app_id`` the receiver (reference A13); nothing of it restarts."""
        before = self.app(app_id)
        known = {task["id"] for task in before["tasks"]}
        self.marathon.ask("PUT", f"/v2/apps{app_id}", {"instances": before["instances"] + 1})
        extra: list[str] = []

        def came() -> bool:
            extra[:] = [task["id"] for task in self.app(app_id)["tasks"] if task["id"] not in known]
            return bool(extra)

        until(came, f"{app_id} has its extra task")
        self.marathon.ask("POST", "/v2/tasks/delete?scale=true&force=true", {"ids": extra})

    def first(self, app: Mapping[str, Any]) -> str:
        """Deploy ``app`` as blue where nothing is; its id, when every LB serves all of it."""
        definition = coloured(app, "blue")
        self.marathon.ask("POST", "/v2/apps", definition)
        app_id = definition["id"]
        until(lambda: self.healthy(app_id), f"{app_id} is healthy")
        servers = servers_of(self.app(app_id))
        until(lambda: self.serves(servers, set()), f"every LB serves {app_id}")
        return app_id

    def rollout(self, old: str, app: Mapping[str, Any]) -> Result:
        """Replace the app ``old`` by the other colour of ``app``."""
        definition = coloured(app, "green" if old.endswith("-blue") else "blue")
        new = definition["id"]
        result = Result()
        before = self.marathon.requests
        steady = self.pids()
        old_servers = servers_of(self.app(old))
        with timed(result, "create"):
            self.marathon.ask("POST", "/v2/apps", definition)
            self.touch(old)
        with timed(result, "healthy"):
            until(lambda: self.healthy(new), f"{new} is healthy")
        with timed(result, "switched"):
            new_servers = servers_of(self.app(new))
            put = time.monotonic()
            self.touch(new)
            until(lambda: self.serves(new_servers, old_servers), f"every LB sends all to {new}")
            result.turned_s = time.monotonic() - put
        with timed(result, "drained"):
            until(
                lambda: all(now <= then for now, then in zip(self.pids(), steady, strict=True)), "the old workers end"
            )
        with timed(result, "retire"):
            self.remove(old)
        result.requests = self.marathon.requests - before
        return result

    def remove(self, app_id: str) -> None:
        """Delete the app and wait for the deployment that does it."""
        deployment = self.marathon.ask("DELETE", f"/v2/apps{app_id}")["deploymentId"]
        until(
            lambda: all(running["id"] != deployment for running in self.marathon.ask("GET", "/v2/deployments")),
            f"{app_id} is removed",
        )


@contextmanager
def timed(result: Result, name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    result.steps.append(Step(name, time.monotonic() - started))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not after {PATIENCE:g} s: {what}")
        time.sleep(POLL)
