# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's rolling upgrades have the most and the least tasks that the real Marathon's had."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.marathon.client import Client, definition
from tests.sandbox.marathon.threaded import running

RECORDED = json.loads((Path(__file__).resolve().parent.parent / "recordings" / "rolling-upgrades.json").read_text())


def name(case: dict[str, Any]) -> str:
    return f"{case['instances']}-{case['minimumHealthCapacity']}-{case['maximumOverCapacity']}"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running(tmp_path_factory.mktemp("marathon")) as marathon:
        yield Client(marathon.urls[0])


def counted(app: dict[str, Any], first: str) -> tuple[int, int, int]:
    """Old running, new running, healthy, as in the recording."""
    live = [one for one in app["tasks"] if one["state"] == "TASK_RUNNING"]
    old = sum(one["version"] == first for one in live)
    return old, len(live) - old, app["tasksHealthy"]


@pytest.mark.parametrize("case", RECORDED, ids=name)
def test_an_upgrade_runs_as_many_tasks_as_recorded(client: Client, case: dict[str, Any]) -> None:
    """Most running at once and least healthy follow from upgradeStrategy and the count alone."""
    app_id = f"/upgrade/{name(case).replace('.', '')}"
    strategy = {key: case[key] for key in ("minimumHealthCapacity", "maximumOverCapacity")}
    first = client.create(definition(app_id, instances=case["instances"], upgradeStrategy=strategy))["version"]
    client.until(lambda: client.app(app_id), lambda app: app["tasksHealthy"] == case["instances"])

    client.json("PUT", f"/v2/apps{app_id}", {"env": {"VERSION": "2"}})
    states = []
    deadline = time.monotonic() + 60
    while True:
        app = client.app(app_id)
        state = counted(app, first)
        if not states or states[-1] != state:
            states.append(state)
        if not app["deployments"] or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    client.json("DELETE", f"/v2/apps{app_id}")

    assert max(old + new for old, new, _healthy in states) == case["most_running"], states
    assert min(healthy for _old, _new, healthy in states) == case["least_healthy"], states
    assert states[-1] == (0, case["instances"], case["instances"])
