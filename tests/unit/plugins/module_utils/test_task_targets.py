# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a task is reached, in each kind of network."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput, NotFound
from ansible_collections.zdd.rollout.plugins.module_utils._task_targets import (
    Target,
    checked_url,
    port_address,
    tasks_of,
)

TASK: dict[str, Any] = {"id": "t1", "host": "10.0.0.7", "ports": [31001, 31002], "state": "TASK_RUNNING"}
HOST = {"id": "/web", "networks": [{"mode": "host"}], "portDefinitions": [{"port": 10000}, {"port": 10001}]}
BRIDGE = {
    "id": "/web",
    "networks": [{"mode": "container/bridge"}],
    "container": {"portMappings": [{"containerPort": 80, "servicePort": 10000}, {"containerPort": 81}]},
}
CONTAINER = {**BRIDGE, "networks": [{"mode": "container", "name": "dcos"}]}
OLD_BRIDGE = {"id": "/web", "container": {"docker": {"network": "BRIDGE", "portMappings": [{"containerPort": 80}]}}}
OWN_ADDRESS = {**TASK, "ports": [], "ipAddresses": [{"ipAddress": "9.0.1.2"}]}


@pytest.mark.parametrize(
    ("app", "task", "index", "address"),
    [
        (HOST, TASK, 0, ("10.0.0.7", 31001)),
        (HOST, TASK, 1, ("10.0.0.7", 31002)),
        (BRIDGE, TASK, 1, ("10.0.0.7", 31002)),
        (OLD_BRIDGE, TASK, 0, ("10.0.0.7", 31001)),
        (CONTAINER, OWN_ADDRESS, 0, ("9.0.1.2", 80)),
        (CONTAINER, OWN_ADDRESS, 1, ("9.0.1.2", 81)),
    ],
)
def test_a_port_is_at_the_agent_or_at_the_tasks_own_address(
    app: dict[str, Any], task: dict[str, Any], index: int, address: tuple[str, int]
) -> None:
    assert port_address(app, task, index) == address


@pytest.mark.parametrize(("app", "task", "index"), [(HOST, TASK, 2), (HOST, TASK, -1), (CONTAINER, TASK, 0)])
def test_a_port_or_an_address_that_is_not_there_is_an_error(
    app: dict[str, Any], task: dict[str, Any], index: int
) -> None:
    with pytest.raises(InvalidInput):
        port_address(app, task, index)


def test_an_ipv6_address_is_written_in_brackets() -> None:
    task = {**OWN_ADDRESS, "ipAddresses": [{"ipAddress": "fd00::2"}]}
    assert Target("", "t1", CONTAINER, task).address("https", 0) == "https://[fd00::2]:80"


def test_without_ids_the_running_tasks_are_meant() -> None:
    app = {"id": "/web", "tasks": [TASK, {**TASK, "id": "t2", "state": "TASK_STAGING"}]}
    assert [task["id"] for task in tasks_of(app, None)] == ["t1"]
    assert [task["id"] for task in tasks_of(app, ["t2", "t2"])] == ["t2"]


def test_unknown_ids_are_reported_and_not_guessed() -> None:
    app = {"id": "/web", "tasks": [TASK]}
    with pytest.raises(NotFound, match="t9"):
        tasks_of(app, ["t1", "t9"])
    gone: list[str] = []
    assert tasks_of(app, ["t1", "t9"], gone) == [TASK]
    assert gone == ["t9"]


@pytest.mark.parametrize("url", ["10.0.0.7:80", "ftp://h/", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        checked_url(url)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidInput) as failure:
        checked_url("http://user:geheim@h:80/")
    assert "geheim" not in failure.value.message
