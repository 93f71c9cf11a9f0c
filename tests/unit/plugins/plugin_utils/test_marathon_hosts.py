# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Marathon runs becomes hosts that say where they are, what they are, and whether users reach them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.plugin_utils.marathon_hosts import Host, describe, grouped, hosts

GROUP_LABELS = {
    "HAPROXY_GROUP": "external",
    "HAPROXY_DEPLOYMENT_GROUP": "web_shop",
    "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "2",
    "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "0",
}


CHECK = {
    "protocol": "HTTP",
    "portIndex": 0,
    "path": "/",
    "intervalSeconds": 1,
    "timeoutSeconds": 1,
    "gracePeriodSeconds": 1,
    "maxConsecutiveFailures": 3,
}


def task(name: str, port: int, *, state: str = "TASK_RUNNING", alive: bool = True, **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "host": "10.0.0.7",
        "slaveId": "S1",
        "ports": [port],
        "ipAddresses": [{"ipAddress": "10.0.0.7", "protocol": "IPv4"}],
        "state": state,
        "startedAt": "2026-01-01T00:00:00.000Z",
        "version": "2026-01-01T00:00:00.000Z",
        "healthCheckResults": [{"alive": alive}],
        **fields,
    }


def app(app_id: str, *tasks: dict[str, Any], labels: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": app_id,
        "instances": len(tasks),
        "labels": labels or {},
        "env": {"VERSION": "1.0", "PASSWORD": "hush"},
        "portDefinitions": [{"port": 10000, "name": "http"}],
        "healthChecks": [CHECK],
        "tasks": list(tasks),
        "version": "2026-01-01T00:00:00.000Z",
        "versionInfo": {"lastScalingAt": "2026-01-01T00:00:00.000Z", "lastConfigChangeAt": "2026-01-01T00:00:00.000Z"},
        **fields,
    }


def pair() -> list[dict[str, Any]]:
    """Two colours of a group; all the traffic is on green, which was scaled last."""
    blue = {**GROUP_LABELS, "HAPROXY_DEPLOYMENT_COLOUR": "blue", "HAPROXY_DEPLOYMENT_STARTED_AT": "2026-01-01T00:00:00"}
    green = {**blue, "HAPROXY_DEPLOYMENT_COLOUR": "green", "HAPROXY_DEPLOYMENT_STARTED_AT": "2026-01-02T00:00:00"}
    scaled = {"lastScalingAt": "2026-01-02T00:00:00.000Z", "lastConfigChangeAt": "2026-01-01T00:00:00.000Z"}
    return [
        app("/web/shop-green", task("g.1", 31003), task("g.2", 31004), labels=green, versionInfo=scaled),
        app("/web/shop-blue", task("b.1", 31001), task("b.2", 31002), labels=blue),
    ]


def found(kind: str, *apps: dict[str, Any]) -> dict[str, Host]:
    return {host.name: host for host in hosts(kind, "fra", describe(apps, grouped(apps)))}


def test_tasks_are_hosts_at_the_address_of_their_agent() -> None:
    hosts_found = found("tasks", *pair())

    assert list(hosts_found) == ["b.1@fra", "b.2@fra", "g.1@fra", "g.2@fra"]
    host = hosts_found["g.1@fra"]
    assert host.variables["ansible_host"] == "10.0.0.7"
    assert host.variables["marathon_cluster"] == "fra"
    assert "ansible_connection" not in host.variables
    told = host.variables["marathon_task"]
    assert (told["addresses"], told["ports"], told["healthy"], told["version"], told["agent_id"]) == (
        ["10.0.0.7:31003"],
        [31003],
        True,
        "1.0",
        "S1",
    )
    assert host.variables["marathon_app"]["id"] == "/web/shop-green"


def test_hosts_are_in_the_groups_of_all_that_they_belong_to() -> None:
    assert found("tasks", *pair())["g.1@fra"].groups == [
        "cluster_fra",
        "app_web_shop_green",
        "group_web_shop",
        "colour_green",
        "version_1_0",
    ]


def test_what_takes_the_traffic_is_live() -> None:
    live = {name: host.variables["marathon_task"]["live"] for name, host in found("tasks", *pair()).items()}

    assert live == {"b.1@fra": False, "b.2@fra": False, "g.1@fra": True, "g.2@fra": True}
    assert found("groups", *pair())["web_shop@fra"].variables["marathon_group"]["live"] == ["/web/shop-green"]


def test_what_is_live_depends_on_all_of_the_group_also_when_a_part_was_asked_for() -> None:
    [_green, blue] = pair()

    [alone] = describe([blue], grouped([blue]))
    [beside_green] = describe([blue], grouped(pair()))

    assert (alone["live"], beside_green["live"]) == (True, False)


def test_an_unhealthy_task_is_not_live() -> None:
    single = app("/a", task("a.1", 31001), task("a.2", 31002, alive=False), labels={"HAPROXY_GROUP": "external"})

    live = {name: host.variables["marathon_task"]["live"] for name, host in found("tasks", single).items()}

    assert live == {"a.1@fra": True, "a.2@fra": False}


def test_where_marathon_lb_cannot_decide_nothing_is_said() -> None:
    apps = pair()
    del apps[0]["labels"]["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"]

    assert {app["live"] for app in describe(apps, grouped(apps))} == {None}


def test_an_app_that_no_load_balancer_serves_is_not_live() -> None:
    assert [each["live"] for each in describe([app("/a", task("a.1", 31001))], {})] == [False]


def test_a_task_with_an_address_of_its_own_is_reached_there() -> None:
    container = {
        "networks": [{"mode": "container", "name": "net"}],
        "container": {"type": "DOCKER", "docker": {"image": "a:2"}, "portMappings": [{"containerPort": 80}]},
        "portDefinitions": None,
    }
    own = task("a.1", 0, ipAddresses=[{"ipAddress": "9.0.0.1", "protocol": "IPv4"}])

    host = found("tasks", app("/a", own, **container))["a.1@fra"]

    assert host.variables["ansible_host"] == "9.0.0.1"
    assert host.variables["marathon_task"]["addresses"] == ["9.0.0.1:80"]
    assert "version_2" in host.groups


@pytest.mark.parametrize(
    "gone", [task("a.1", 1, state="TASK_FAILED"), task("a.1", 1, host=None, ports=[], ipAddresses=[])]
)
def test_what_is_not_there_is_no_host(gone: dict[str, Any]) -> None:
    assert found("tasks", app("/a", gone)) == {}


def test_a_task_of_an_earlier_definition_has_no_version() -> None:
    old = task("a.1", 31001, version="2025-01-01T00:00:00.000Z")
    host = found("tasks", app("/a", old))["a.1@fra"]

    assert host.variables["marathon_task"]["version"] is None
    assert not any(group.startswith("version_") for group in host.groups)


def test_apps_are_hosts_without_a_login() -> None:
    host = found("apps", *pair())["web_shop-blue@fra"]

    assert host.variables["ansible_connection"] == "local"
    assert [each["id"] for each in host.variables["marathon_tasks"]] == ["b.1", "b.2"]
    assert host.variables["marathon_app"]["counts"]["healthy"] == 2
    assert host.variables["marathon_app"]["service_ports"] == [10000]
    assert "tasks" not in host.variables["marathon_app"]
    assert "version_1_0" in host.groups


def test_a_group_is_in_the_groups_of_all_its_apps() -> None:
    host = found("groups", *pair(), app("/other"))["web_shop@fra"]

    assert host.groups == ["cluster_fra", "app_web_shop_blue", "app_web_shop_green", "group_web_shop"]
    assert host.variables["marathon_group"]["colours"] == {"/web/shop-blue": "blue", "/web/shop-green": "green"}


def test_a_cluster_is_a_host_by_its_name_whatever_it_runs() -> None:
    [busy] = found("clusters", *pair()).values()
    [idle] = found("clusters").values()

    assert (busy.name, busy.variables["marathon_group_names"]) == ("fra", ["web_shop"])
    assert "group_web_shop" in busy.groups
    assert (idle.name, idle.groups, idle.variables["marathon_app_ids"]) == ("fra", ["cluster_fra"], [])


@pytest.mark.parametrize("kind", ["tasks", "apps", "groups", "clusters"])
def test_no_environment_is_told(kind: str) -> None:
    told = json.dumps([host.variables for host in found(kind, *pair()).values()])

    assert "web" in told
    assert "hush" not in told


def test_a_colour_that_is_none_of_ours_is_left_out() -> None:
    odd = app("/a", task("a.1", 31001), labels={"HAPROXY_DEPLOYMENT_COLOUR": "mauve"})

    assert describe([odd], {})[0]["colour"] is None
