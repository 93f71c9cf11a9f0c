# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marathon-lb stand-in treats its HAProxy as the real one does, no kinder."""

from __future__ import annotations

import csv
import io
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox import launch


@pytest.fixture(scope="module")
def shared() -> Iterator[launch.Running]:
    with launch.start() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: launch.Running) -> Iterator[launch.Running]:
    """The sandbox, emptied after each test."""
    yield shared
    url = shared.marathon[0]
    for app in requests.get(f"{url}/v2/apps", timeout=30).json()["apps"]:
        requests.delete(f"{url}/v2/apps{app['id']}?force=true", timeout=30)
    until(lambda: not requests.get(f"{url}/v2/deployments", timeout=30).json())
    until(lambda: "\nbackend " not in text(shared, "/_haproxy_getconfig"))


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return found


def text(sandbox: launch.Running, path: str) -> str:
    return requests.get(f"{sandbox.lbs[0]['url']}{path}", timeout=30).text


def statistics(sandbox: launch.Running, backend: str = "web_10000") -> dict[str, dict[str, str]]:
    rows = csv.DictReader(io.StringIO(text(sandbox, "/haproxy?stats;csv").removeprefix("# ")))
    return {row["svname"]: row for row in rows if row["pxname"] == backend and row["svname"].isupper() is False}


def up(sandbox: launch.Running, backend: str = "web_10000") -> int:
    return sum(row["status"].startswith("UP") for row in statistics(sandbox, backend).values())


def create(sandbox: launch.Running, **overrides: Any) -> requests.Response:
    answer = requests.post(f"{sandbox.marathon[0]}/v2/apps", json=sandbox.app(**overrides), timeout=30)
    assert answer.status_code == 201, answer.text
    return answer


def scale(sandbox: launch.Running, app: str, instances: int) -> None:
    answer = requests.put(f"{sandbox.marathon[0]}/v2/apps{app}", json={"instances": instances}, timeout=30)
    assert answer.status_code == 200, answer.text


def pids(sandbox: launch.Running) -> list[int]:
    return [int(pid) for pid in text(sandbox, "/_haproxy_getpids").split()]


def test_healthy_tasks_are_served_and_only_those(sandbox: launch.Running) -> None:
    create(sandbox, instances=2, env={"HEALTHY_AFTER": "1.5"})
    until(lambda: requests.get(f"{sandbox.marathon[0]}/v2/apps/web", timeout=30).json()["app"]["tasksRunning"] == 2)
    assert statistics(sandbox) == {}

    until(lambda: up(sandbox) == 2)


def test_an_old_worker_stays_while_it_serves(sandbox: launch.Running) -> None:
    """Its master lists it; the new worker knows nothing of its sessions."""
    create(sandbox, instances=1)
    until(lambda: up(sandbox) == 1)
    until(lambda: len(pids(sandbox)) == 2)
    with requests.get(f"http://{sandbox.lbs[0]['host']}:10000/slow?seconds=4", stream=True, timeout=30) as stream:
        scale(sandbox, "/web", 2)
        until(lambda: up(sandbox) == 2)

        listed = pids(sandbox)
        assert len(listed) == 3
        assert sorted(listed) == sorted(sandbox.lb_state()[0]["pids"])
        assert sum(int(row["scur"]) for row in statistics(sandbox).values()) == 0
        assert len(stream.content.splitlines()) >= 30

    until(lambda: len(pids(sandbox)) == 2)


def test_nothing_is_written_or_reloaded_when_nothing_differs(sandbox: launch.Running) -> None:
    create(sandbox, instances=1)
    until(lambda: up(sandbox) == 1)
    until(lambda: len(pids(sandbox)) == 2)
    before = sandbox.lb_state()[0]
    sandbox.forget_requests()

    assert text(sandbox, "/_mlb_signal/hup") == "Sent SIGHUP signal to marathon-lb"
    until(lambda: any(each["path"].startswith("/v2/apps") for each in sandbox.requests()["log"]))
    time.sleep(0.5)
    assert sandbox.lb_state()[0] == before


def test_usr1_reloads_what_is_there(sandbox: launch.Running) -> None:
    before = sandbox.lb_state()[0]

    def reloaded() -> dict[str, Any] | None:
        """Ask again when nothing happens: a late event of the test before takes precedence over the signal."""
        assert text(sandbox, "/_mlb_signal/usr1") == "Sent SIGUSR1 signal to marathon-lb"
        time.sleep(0.5)
        state = sandbox.lb_state()[0]
        return state if state["reloads"] > before["reloads"] else None

    assert until(reloaded)["changes"] == before["changes"]


def test_getconfig_is_what_the_worker_started_with(sandbox: launch.Running) -> None:
    create(sandbox, instances=1)
    until(lambda: up(sandbox) == 1)
    path = Path(sandbox.lbs[0]["config"])
    live = path.read_text()
    assert text(sandbox, "/_haproxy_getconfig") == live

    path.write_text(f"{live}# not read by any worker yet\n")
    assert text(sandbox, "/_haproxy_getconfig") == live
    text(sandbox, "/_mlb_signal/hup")  # the text on disk differs from the one that is wanted: it is written anew
    until(lambda: path.read_text() == live)


def test_an_app_with_an_invalid_template_is_left_out(sandbox: launch.Running) -> None:
    labels = sandbox.app()["labels"]
    create(sandbox, id="/bad", labels={**labels, "HAPROXY_0_PORT": "10005", "HAPROXY_0_BACKEND_HEAD": "no haproxy\n"})
    create(sandbox)

    until(lambda: up(sandbox) == 4)
    assert "10005" not in text(sandbox, "/_haproxy_getconfig")


def test_one_bad_label_stops_the_configuration_of_all_apps(sandbox: launch.Running) -> None:
    create(sandbox, instances=1)
    until(lambda: up(sandbox) == 1)
    create(sandbox, id="/bad", instances=1, labels={"HAPROXY_GROUP": "external", "HAPROXY_0_PORT": "http"})
    scale(sandbox, "/web", 2)
    until(lambda: requests.get(f"{sandbox.marathon[0]}/v2/apps/web", timeout=30).json()["app"]["tasksHealthy"] == 2)
    time.sleep(1)
    assert up(sandbox) == 1

    requests.delete(f"{sandbox.marathon[0]}/v2/apps/bad", timeout=30)
    until(lambda: up(sandbox) == 2)


def test_several_service_ports_are_several_backends(sandbox: launch.Running) -> None:
    create(sandbox, portDefinitions=[{"port": 10000}, {"port": 10001}], instances=2)

    until(lambda: up(sandbox) == 2)
    rows = statistics(sandbox, "web_10001")
    assert [row["status"] for row in rows.values()] == ["no check", "no check"]
    answer = requests.get(f"http://{sandbox.lbs[0]['host']}:10001", timeout=30)
    assert f"_{answer.json()['port']}" in "".join(rows)


def test_tasks_of_a_container_network_are_reached_at_their_own_address(sandbox: launch.Running) -> None:
    app = sandbox.app(
        instances=2,
        networks=[{"mode": "container", "name": "dcos"}],
        container={"type": "MESOS", "portMappings": [{"containerPort": 8000, "servicePort": 10000, "name": "http"}]},
    )
    del app["portDefinitions"]
    assert requests.post(f"{sandbox.marathon[0]}/v2/apps", json=app, timeout=30).status_code == 201

    until(lambda: up(sandbox) == 2)
    assert all(name.endswith("_8000") for name in statistics(sandbox))


@pytest.mark.parametrize("kind", ["socket", "tcp_socket"])
def test_the_runtime_api_takes_orders(sandbox: launch.Running, kind: str) -> None:
    create(sandbox, instances=1)
    until(lambda: up(sandbox) == 1)
    (name,) = statistics(sandbox)
    address = sandbox.lbs[0][kind]
    with socket.socket(socket.AF_UNIX if kind == "socket" else socket.AF_INET) as connection:
        host, _separator, port = address.rpartition(":")
        connection.connect(address if kind == "socket" else (host, int(port)))
        connection.sendall(f"set server web_10000/{name} state maint\n".encode())
        assert connection.recv(4096).strip() == b""

    assert statistics(sandbox)[name]["status"] == "MAINT"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/_haproxy_health_check", "Service ready."),
        ("/_haproxy_getvhostmap", ""),
        ("/_haproxy_getappmap", ""),
        ("/metrics", "haproxy_process_nbthread 1"),
        ("/haproxy?stats", "Statistics Report"),
    ],
)
def test_the_other_pages_are_there(sandbox: launch.Running, path: str, expected: str) -> None:
    assert expected in text(sandbox, path)


def test_an_app_is_found_by_its_id_in_a_header(sandbox: launch.Running) -> None:
    create(sandbox, instances=1)
    until(lambda: up(sandbox) == 1)
    (bind,) = (line for line in text(sandbox, "/_haproxy_getconfig").splitlines() if ":9091" in line)

    answer = requests.get(f"http://{bind.split()[1]}", headers={"X-Marathon-App-Id": "/web"}, timeout=30)
    assert answer.headers["X-Version"] == "1"


def test_it_follows_the_next_leader(sandbox: launch.Running) -> None:
    create(sandbox, instances=1)
    until(lambda: up(sandbox) == 1)
    sandbox.fault("events_drop")
    scale(sandbox, "/web", 2)

    until(lambda: up(sandbox) == 2)
