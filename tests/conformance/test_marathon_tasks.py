# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of the stand-in: where they go, what they are told, when they count as healthy, what becomes of a crash."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox.marathon.client import CHECK, Client, definition
from tests.sandbox.marathon.threaded import Threaded, running

BARE = {"healthChecks": []}


@pytest.fixture
def marathon(tmp_path: Path) -> Iterator[Threaded]:
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def client(marathon: Threaded) -> Client:
    return Client(marathon.urls[0])


def hosts(client: Client, app_id: str) -> Counter[str]:
    return Counter(one["host"] for one in client.running(app_id).values())


def reasons(client: Client, app_id: str) -> set[str]:
    """Why the last offers were declined."""
    entries = [one for one in client.json("GET", "/v2/queue")["queue"] if one["app"]["id"] == app_id]
    steps = entries[0]["processedOffersSummary"]["rejectSummaryLastOffers"] if entries else []
    return {one["reason"] for one in steps if one["declined"]}


def stuck(client: Client, fields: dict[str, Any], tasks: int) -> set[str]:
    """The reasons once the app has as many tasks as it ever gets."""
    client.json("POST", "/v2/apps", fields)
    app_id = fields["id"]
    client.until(lambda: len(client.running(app_id)), lambda count: count == tasks)
    return set(client.until(lambda: reasons(client, app_id), bool))


def test_unique_hosts_leave_no_place_for_one_more(client: Client) -> None:
    """With as many instances as agents an extra one waits for ever."""
    fields = definition("/unique", instances=5, constraints=[["hostname", "UNIQUE"]], **BARE)

    assert stuck(client, fields, 4) == {"UnfulfilledConstraint"}
    assert set(hosts(client, "/unique").values()) == {1}


def test_max_per_and_cluster_and_like_limit_the_hosts(client: Client) -> None:
    """MAX_PER by count, CLUSTER to the host of the first, LIKE and UNLIKE by pattern."""
    last = client.create(definition("/probe", **BARE))["tasks"][0]["host"]
    for app_id, constraint, tasks in (
        ("/max-per", ["hostname", "MAX_PER", "1"], 4),
        ("/cluster", ["hostname", "CLUSTER"], 3),
        ("/like", ["hostname", "LIKE", last.replace(".", r"\.")], 3),
        ("/unlike", ["hostname", "UNLIKE", last.replace(".", r"\.")], 3),
    ):
        client.create(definition(app_id, instances=tasks, constraints=[constraint], **BARE))

    assert set(hosts(client, "/max-per").values()) == {1}
    assert len(hosts(client, "/cluster")) == 1
    assert set(hosts(client, "/like")) == {last}
    assert last not in hosts(client, "/unlike")


def test_group_by_spreads_and_shrinks_evenly(client: Client) -> None:
    """Two on each of four agents; a scale-down takes from the fullest."""
    client.create(definition("/spread", instances=8, constraints=[["hostname", "GROUP_BY", "4"]], **BARE))
    assert sorted(hosts(client, "/spread").values()) == [2, 2, 2, 2]

    client.json("PUT", "/v2/apps/spread", {"instances": 5})
    client.deployed("/spread")

    assert sorted(hosts(client, "/spread").values()) == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"cpus": 9}, "InsufficientCpus"),
        ({"mem": 9000}, "InsufficientMemory"),
        ({"gpus": 1}, "InsufficientGpus"),
        ({"portDefinitions": [{"port": 40000}], "requirePorts": True}, "InsufficientPorts"),
    ],
)
def test_what_no_agent_has_is_named_in_the_queue(client: Client, fields: dict[str, Any], reason: str) -> None:
    """The deployment waits, and the queue says for what."""
    assert stuck(client, definition("/greedy", **{**BARE, **fields}), 0) == {reason}
    assert len(client.app("/greedy")["deployments"]) == 1


def test_resources_of_dead_tasks_are_offered_again(client: Client) -> None:
    """What does not fit runs as soon as another app is gone."""
    client.create(definition("/big", instances=4, cpus=6, **BARE))
    assert stuck(client, definition("/next", cpus=6, **BARE), 0) == {"InsufficientCpus"}

    client.json("DELETE", "/v2/apps/big")

    client.until(lambda: client.running("/next"), len)


def test_a_required_port_is_the_host_port(client: Client) -> None:
    """requirePorts makes port definitions host ports, so one task fits on each agent."""
    fields = definition("/fixed", instances=5, portDefinitions=[{"port": 31999}], requirePorts=True)

    assert stuck(client, fields, 4) == {"InsufficientPorts"}
    assert [one["ports"] for one in client.running("/fixed").values()] == [[31999]] * 4


def test_the_environment_of_a_task(client: Client, tmp_path: Path) -> None:
    """Addresses, ports by index and by name, ids, labels, the app's own variables."""
    ports = [{"port": 0, "name": "http"}, {"port": 0, "name": "admin"}]
    cmd = "env > variables; sleep 1000"
    fields = definition(
        "/told/env", cmd=cmd, portDefinitions=ports, labels={"tier.x": "web"}, env={"VERSION": "7"}, **BARE
    )
    task = client.create(fields)["tasks"][0]

    def variables() -> dict[str, str]:
        path = tmp_path / "tasks" / task["id"] / "variables"
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split("=", 1) for line in lines if "=" in line)

    found = client.until(variables, lambda seen: "SANDBOX_SERVICE" in seen and "VERSION" in seen)
    app = client.app("/told/env")
    first, second = (str(port) for port in task["ports"])
    wanted = {
        "HOST": task["host"],
        "PORT": first,
        "PORT0": first,
        "PORT1": second,
        "PORT_HTTP": first,
        "PORT_ADMIN": second,
        "PORTS": f"{first},{second}",
        "MESOS_TASK_ID": task["id"],
        "MARATHON_APP_ID": "/told/env",
        "MARATHON_APP_VERSION": app["version"],
        "MARATHON_APP_LABEL_TIER_X": "web",
        "VERSION": "7",
    }
    assert {key: found.get(key) for key in wanted} == wanted


def test_a_task_on_a_container_network_has_an_address_of_its_own(client: Client) -> None:
    """It serves its containerPort there, has no host ports, and is checked there."""
    fields = definition("/overlay", instances=2)
    del fields["portDefinitions"]
    fields["networks"] = [{"mode": "container", "name": "dcos"}]
    fields["container"] = {"type": "DOCKER", "docker": {"image": "x"}, "portMappings": [{"containerPort": 8080}]}

    client.create(fields)

    tasks = list(client.running("/overlay").values())
    addresses = [one["ipAddresses"][0]["ipAddress"] for one in tasks]
    assert len(set(addresses)) == 2
    assert not set(addresses) & {one["host"] for one in tasks}
    assert all(ipaddress.ip_address(one).is_loopback for one in addresses)
    assert [one["ports"] for one in tasks] == [[], []]
    assert requests.get(f"http://{addresses[0]}:8080/", timeout=5).status_code == 200


def test_a_bridged_task_serves_a_host_port_of_its_agent(client: Client) -> None:
    """The old networking form, as zdd.py's users write it."""
    fields = definition("/bridged")
    del fields["portDefinitions"]
    mapping = {"containerPort": 80, "hostPort": 0, "servicePort": 10111}
    fields["container"] = {"docker": {"image": "x", "network": "BRIDGE", "portMappings": [mapping]}}

    app = client.create(fields)

    assert app["networks"] == [{"mode": "container/bridge"}]
    assert app["container"]["portMappings"][0]["servicePort"] == 10111
    (task,) = app["tasks"]
    assert requests.get(f"http://{task['host']}:{task['ports'][0]}/", timeout=5).status_code == 200


def test_tasks_that_run_at_a_tick_get_healthy_together(client: Client) -> None:
    """One ticker per version and check asks all its tasks at once, the first time after one interval."""
    client.create(definition("/chorus", instances=6, healthChecks=[{**CHECK, "intervalSeconds": 3}]))

    results = [one["healthCheckResults"][0] for one in client.running("/chorus").values()]

    seconds = sorted(float(one["firstSuccess"][17:23]) for one in results)
    assert min((seconds[-1] - seconds[0]) % 60, (seconds[0] - seconds[-1]) % 60) < 1.5
    started = min(one["startedAt"] for one in client.running("/chorus").values())
    assert min(one["firstSuccess"] for one in results) > started


def test_an_unhealthy_task_is_killed_and_replaced(marathon: Threaded, client: Client) -> None:
    """After maxConsecutiveFailures, not before; it comes back as the next incarnation."""
    client.create(definition("/ill", healthChecks=[{**CHECK, "maxConsecutiveFailures": 2}]))
    (first,) = client.running("/ill")
    marathon.call(marathon.standin.task_unhealthy, "/ill")

    client.until(lambda: client.app("/ill"), lambda app: app["tasksUnhealthy"] == 1)
    client.until(lambda: client.running("/ill"), lambda live: live and first not in live)
    marathon.call(marathon.standin.clear_faults)

    client.until(lambda: client.app("/ill"), lambda app: app["tasksHealthy"] == 1)


def test_failures_within_the_grace_period_do_not_kill(client: Client) -> None:
    """The task is unhealthy, and runs on."""
    client.json(
        "POST", "/v2/apps", definition("/slow", cmd="sleep 1000", healthChecks=[{**CHECK, "timeoutSeconds": 1}])
    )
    client.until(lambda: client.app("/slow"), lambda app: app["tasksUnhealthy"] == 1)
    before = set(client.running("/slow"))
    time.sleep(4)

    assert set(client.running("/slow")) == before
    assert len(client.app("/slow")["deployments"]) == 1


@pytest.mark.parametrize(
    "check",
    [
        {"protocol": "TCP", "portIndex": 0},
        {"protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "delaySeconds": 0},
        {"protocol": "MESOS_TCP", "portIndex": 0, "delaySeconds": 0},
        {"protocol": "COMMAND", "command": {"value": 'test -n "$PORT0"'}, "delaySeconds": 0},
    ],
    ids=lambda check: check["protocol"],
)
def test_each_kind_of_health_check_finds_a_task_healthy(client: Client, check: dict[str, Any]) -> None:
    """By Marathon or beside the task."""
    checks = [{"intervalSeconds": 1, "gracePeriodSeconds": 30, **check}]

    client.create(definition("/checked", healthChecks=checks))

    assert client.app("/checked")["tasksHealthy"] == 1


def test_a_crash_is_remembered_and_backed_off(marathon: Threaded, client: Client) -> None:
    """lastTaskFailure names the task, its relaunch waits, and resetting the delay ends the wait."""
    client.create(definition("/fragile", backoffSeconds=300))
    (first,) = client.running("/fragile")

    assert marathon.call(marathon.standin.task_kill, app="/fragile") == [first]

    app = client.until(lambda: client.app("/fragile"), lambda seen: "lastTaskFailure" in seen)
    assert app["lastTaskFailure"]["taskId"] == first
    assert app["lastTaskFailure"]["message"] == "Command terminated with signal Killed"
    assert app["lastTaskFailure"]["version"] == app["version"]
    (entry,) = client.json("GET", "/v2/queue")["queue"]
    assert entry["delay"]["overdue"] is False
    assert client.running("/fragile") == {}
    assert client.ask("DELETE", "/v2/queue//fragile/delay").status_code == 204
    client.until(lambda: client.running("/fragile"), len)


def test_the_back_off_grows_with_each_crash(client: Client) -> None:
    """backoffSeconds times backoffFactor, up to maxLaunchDelaySeconds."""
    client.json("POST", "/v2/apps", definition("/loop", cmd="exit 1", backoffSeconds=1, backoffFactor=60, **BARE))

    def left() -> int:
        return max((one["delay"]["timeLeftSeconds"] for one in client.json("GET", "/v2/queue")["queue"]), default=0)

    assert client.until(left, lambda seconds: seconds > 30) <= 60


def test_stopping_leaves_no_process(tmp_path: Path) -> None:
    """Stubborn ones and their children neither."""
    marker = f"sleep 7{time.time_ns() % 10**8}"
    with running(tmp_path) as marathon:
        client = Client(marathon.urls[0])
        client.create(definition("/left", cmd=f'trap "" TERM; {marker} & {marker}', instances=2, **BARE))
        assert processes(marker)

    client.until(lambda: processes(marker), lambda found: found == [])


def processes(text: str) -> list[str]:
    """Command lines of this machine's processes that contain the text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except OSError:
            continue  # it has ended meanwhile
        if text in line:
            found.append(line)
    return found
