# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put deployments that the real zdd.py left half done (``tests/recordings/zdd-states``) into a sandbox, alive.

The apps get the recorded labels and counts. They are created and scaled in the recorded order, since marathon-lb asks
which one was scaled last: an app that had grown grows by one here too, one that had shrunk loses a task by its id.

::

    with launch.start() as sandbox:
        zdd_states.load(sandbox, "hybrid-reached")
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.marathon_lb_decision import server_name
from tests.sandbox.launch import Running

FOLDER = Path(__file__).resolve().parent.parent / "recordings" / "zdd-states"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
LIMIT = 90.0  # seconds that a state may take to be there, on a machine that is busy with other things

# What Marathon shows of an app beside its definition.
_STATUS = (
    "version", "versionInfo", "tasks", "tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy", "deployments",
)  # fmt: skip

Json = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a state is put: the id of its apps without a colour, and its service port."""

    app_id: str = "/web"
    port: int = 10000

    @property
    def group(self) -> str:
        return self.app_id.strip("/").replace("/", "_")


def recording(name: str) -> Json:
    """The recording; its keys are described in ``tests/recordings/README.md``."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def recorded_servers(name: str) -> dict[str, Counter[str]]:
    """How many servers of each colour had which status, as the real marathon-lb showed it."""
    by_colour = recording(name)["summary"]["lb"]
    return {colour: Counter(by_colour.get(colour, {})) for colour in ("blue", "green")}


def definitions(name: str, place: Place = Place()) -> list[Json]:
    """The recorded apps as definitions of the test service at ``place``, the one that was created first at the front.

    Marathon kills a task that fails its check often enough, whatever it is doing: it gets more time here, since a
    test's machine is slow.
    """
    apps = sorted(recording(name)["apps"], key=_created)
    return [_definition(app, place) for app in apps]


def load(sandbox: Running, name: str, place: Place = Place()) -> None:
    """Put one state into the sandbox; return when Marathon and every LB show it as recorded, and nothing moves."""
    load_all(sandbox, {name: place})


def load_all(sandbox: Running, places: Mapping[str, Place]) -> None:
    """Put several states side by side; each needs an app id and a port of its own."""
    with ThreadPoolExecutor(len(places)) as pool:
        loading = [pool.submit(_Loader(sandbox, place).load, name) for name, place in places.items()]
        for one in loading:
            one.result()
    for name, place in places.items():
        _until(lambda name=name, place=place: _is_there(sandbox, name, place), f"every LB shows {name} as recorded")
    _until(lambda: all(len(lb["pids"]) == 2 for lb in sandbox.lb_state()), "no old worker is left")


def servers(sandbox: Running, lb: int, place: Place = Place()) -> dict[str, Counter[str]]:
    """How many servers of each colour have which status at one LB."""
    colours = {
        server_name(task["host"], task["host"], task["ports"][0]): app["id"].rpartition("-")[2]
        for app in _Loader(sandbox, place).apps()
        for task in app["tasks"]
        if task.get("ports")
    }
    text = requests.get(f"{sandbox.lbs[lb]['url']}/haproxy?stats;csv", timeout=30).text
    found: dict[str, Counter[str]] = {"blue": Counter(), "green": Counter()}
    for row in csv.DictReader(io.StringIO(text.removeprefix("# "))):
        if row["pxname"] == f"{place.group}_{place.port}" and row["svname"] not in ("FRONTEND", "BACKEND"):
            found.setdefault(colours.get(row["svname"], "gone"), Counter())[row["status"].split()[0]] += 1
    return found


def apps(sandbox: Running, place: Place = Place()) -> list[Json]:
    """The apps at ``place`` with their tasks, the one that was created first at the front."""
    return sorted(_Loader(sandbox, place).apps(), key=_created)


def remove(sandbox: Running, place: Place = Place()) -> None:
    """Remove the apps at ``place``; return when they are gone."""
    loader = _Loader(sandbox, place)
    for app in loader.apps():
        requests.delete(f"{sandbox.marathon[0]}/v2/apps{app['id']}?force=true", timeout=30)
    _until(lambda: not loader.apps() and not loader.removing(), "the apps are removed")


class _Loader:
    """One state at one place."""

    def __init__(self, sandbox: Running, place: Place) -> None:
        self.marathon = sandbox.marathon[0]
        self.place = place

    def load(self, name: str) -> None:
        steps: list[tuple[str, Callable[[], None]]] = []
        for app in recording(name)["apps"]:
            change = _scaled_by(app)
            definition = _definition(app, self.place)
            created = {**definition, "instances": app["instances"] - change}
            steps.append((_created(app), lambda created=created: self.ask("POST", "/v2/apps", created)))
            if change:
                steps.append((app["versionInfo"]["lastScalingAt"], lambda app=definition: self.scale(app)))
        for _moment, step in sorted(steps, key=lambda step: step[0]):
            step()
            _until(self.settled, f"the apps of {name} are settled")

    def scale(self, definition: Mapping[str, Any]) -> None:
        """To its count: by a number where it grows, by the id of the first task (as zdd.py does it) where it shrinks.

        marathon-lb takes the tasks with the first ids out, so these are the ones that zdd.py has found drained.
        """
        live = next(app for app in self.apps() if app["id"] == definition["id"])
        if live["instances"] < definition["instances"]:
            self.ask("PUT", f"/v2/apps{definition['id']}", {"instances": definition["instances"]})
        else:
            first = min(task["id"] for task in live["tasks"])
            self.ask("POST", "/v2/tasks/delete?scale=true", {"ids": [first]})

    def settled(self) -> bool:
        """No deployment is in progress, and each app has its tasks, all of them alive."""
        return all(
            not app["deployments"] and len(app["tasks"]) == app["instances"] == app["tasksHealthy"]
            for app in self.apps()
        )

    def apps(self) -> list[Json]:
        """The apps at the place, with tasks."""
        answer = requests.get(
            f"{self.marathon}/v2/apps",
            params={
                "label": f"HAPROXY_DEPLOYMENT_GROUP=={self.place.group}",
                "embed": ["apps.tasks", "apps.deployments"],
            },
            timeout=30,
        )
        return answer.json()["apps"]

    def removing(self) -> bool:
        """Whether tasks of apps that are removed are still dying; Marathon keeps the ids locked until then."""
        deployments = requests.get(f"{self.marathon}/v2/deployments", timeout=30).json()
        return any(app.rpartition("-")[0] == self.place.app_id for one in deployments for app in one["affectedApps"])

    def ask(self, method: str, path: str, body: Any) -> None:
        answer = requests.request(method, f"{self.marathon}{path}", json=body, timeout=30)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"


def _is_there(sandbox: Running, name: str, place: Place) -> bool:
    wanted = recorded_servers(name)
    return all(servers(sandbox, lb, place) == wanted for lb in range(len(sandbox.lbs)))


def _scaled_by(app: Mapping[str, Any]) -> int:
    """1 when the app was last scaled up, -1 when it was scaled down, 0 when it is as it was created."""
    info = app["versionInfo"]
    if info["lastScalingAt"] == info["lastConfigChangeAt"]:
        return 0
    return 1 if any(task["stagedAt"] >= info["lastScalingAt"] for task in app["tasks"]) else -1


def _created(app: Mapping[str, Any]) -> str:
    return str(app["versionInfo"]["lastConfigChangeAt"])


def _definition(app: Mapping[str, Any], place: Place) -> Json:
    made: Json = {key: value for key, value in app.items() if key not in _STATUS}
    recorded = int(app["labels"]["HAPROXY_0_PORT"])
    moved = place.port - recorded
    made["id"] = f"{place.app_id}-{app['labels']['HAPROXY_DEPLOYMENT_COLOUR']}"
    made["cmd"] = "exec $SANDBOX_SERVICE"
    made["portDefinitions"] = [{**port, "port": port["port"] + moved} for port in app["portDefinitions"]]
    made["healthChecks"] = [{**check, "maxConsecutiveFailures": 20} for check in app["healthChecks"]]
    made["labels"] = {
        **app["labels"],
        "HAPROXY_DEPLOYMENT_GROUP": place.group,
        "HAPROXY_DEPLOYMENT_ALT_PORT": str(int(app["labels"]["HAPROXY_DEPLOYMENT_ALT_PORT"]) + moved),
        "HAPROXY_0_PORT": str(place.port),
        "HAPROXY_APP_ID": place.app_id,
    }
    return made


def _until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"after {LIMIT:g} s not yet: {what}"
        time.sleep(0.1)
