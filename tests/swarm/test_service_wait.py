# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for, scaling and copying services of a real swarm, and everything that goes wrong with them."""

from __future__ import annotations

import copy
import ctypes
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    swarm_service_copy,
    swarm_service_scale,
    swarm_service_wait,
)
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.client import SWARM_SPEC, Swarm
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.waiting import Watch
from tests.integration_py.operating import operate
from tests.sandbox.swarm import launch

SECOND = 10**9  # in the nanoseconds of the API
GROUP = "t"

Json = dict[str, Any]


@pytest.fixture(name="client")
def _client(swarm: launch.Swarm) -> Iterator[Swarm]:
    """The managers; services that a test has made are gone afterwards."""
    params = ArgumentSpecValidator(SWARM_SPEC).validate({"docker_host": swarm.docker_host}).validated_parameters
    with Swarm.from_params(params, Context()) as client:
        yield client
        for service in client.services(GROUP):
            client.remove_service(service["Spec"]["Name"])


@pytest.fixture(name="spec")
def _spec(swarm: launch.Swarm) -> Callable[..., Json]:
    """A definition of the test service, as the API has it."""
    given = swarm.service

    def spec(name: str = "t-blue", *, replicas: int = 2, env: Mapping[str, str] | None = None, **changes: Any) -> Json:
        env = {**given["env"], "VERSION": "1", **(env or {})}
        container = {
            "Image": given["image"],
            "Command": given["command"],
            "Env": [f"{key}={value}" for key, value in env.items()],
            "Mounts": [
                {"Type": mount["type"], "Source": mount["source"], "Target": mount["target"], "ReadOnly": True}
                for mount in given["mounts"]
            ],
            "Healthcheck": {
                "Test": given["healthcheck"]["test"],
                "Interval": SECOND // 2,
                "Timeout": 5 * SECOND,
                "Retries": 2,
            },
            **changes.pop("container", {}),
        }
        template = {
            "ContainerSpec": container,
            "RestartPolicy": {"Condition": "any", "Delay": SECOND // 2},
            **changes.pop("template", {}),
        }
        return {
            "Name": name,
            "Labels": {"zdd.rollout.group": GROUP, "zdd.rollout.colour": name.rpartition("-")[2]},
            "TaskTemplate": template,
            "Mode": {"Replicated": {"Replicas": replicas}},
            "UpdateConfig": {"Parallelism": 0, "FailureAction": "pause", "Order": "stop-first"},
            "EndpointSpec": {"Ports": [{"TargetPort": 8000, "PublishMode": "host"}]},
            **changes,
        }

    return spec


def wait(swarm: launch.Swarm, name: str = "t-blue", **options: Any) -> Json:
    given = {"docker_host": swarm.docker_host, "monitor_seconds": 0.5, "wait_timeout": 90, **options}
    return operate(swarm_service_wait, name=name, **given)


def scale(swarm: launch.Swarm, replicas: int, name: str = "t-blue", **options: Any) -> Json:
    given = {"monitor_seconds": 0.5, "wait_timeout": 90, **options}
    return operate(swarm_service_scale, docker_host=swarm.docker_host, name=name, replicas=replicas, **given)


def copied(swarm: launch.Swarm, **options: Any) -> Json:
    given = {"name": "t-blue", "to": "t-green", **options}
    return operate(swarm_service_copy, docker_host=swarm.docker_host, **given)


def running(client: Swarm, name: str = "t-blue") -> list[Json]:
    return [task for task in client.tasks(name) if task["Status"]["State"] in ("starting", "running")]


def replace(client: Swarm, name: str, spec: Json) -> None:
    client.change_service(name, lambda _service: spec)


# What is waited for


def test_all_tasks_are_ready_and_their_addresses_are_told(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """Docker counts the replicas as soon as they are wanted; here they answer."""
    client.create_service(spec(replicas=4))

    result = wait(swarm, target_port=8000)

    assert result["fulfilled"] and not result["changed"], result
    tasks = running(client)
    assert sorted(task["id"] for task in result["tasks"]) == sorted(task["ID"] for task in tasks)
    assert [task["slot"] for task in result["tasks"]] == [1, 2, 3, 4]
    hosts = {node["name"]: node["address"] for node in swarm.nodes}
    assert all(task["address"].startswith(f"{hosts[task['node']]}:") for task in result["tasks"])
    assert len(set(result["addresses"])) == 4 and result["addresses"] == sorted(result["addresses"])
    for address in result["addresses"]:
        host, _colon, port = address.partition(":")
        assert int(port) and host in hosts.values()


def test_no_task_of_the_earlier_version_is_left(swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]) -> None:
    """While an update goes on, tasks of both are healthy."""
    client.create_service(spec(UpdateConfig={"Parallelism": 1, "Delay": SECOND, "Order": "start-first"}))
    before = {task["id"] for task in wait(swarm)["tasks"]}
    new = spec(env={"VERSION": "2"}, UpdateConfig={"Parallelism": 1, "Delay": SECOND, "Order": "start-first"})
    replace(client, "t-blue", new)

    result = wait(swarm)

    assert result["fulfilled"], result
    assert not before & {task["id"] for task in result["tasks"]}
    assert {task["ID"] for task in running(client)} == {task["id"] for task in result["tasks"]}


def test_a_change_that_restarts_nothing_is_ready_at_once(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service(spec())
    before = wait(swarm)["tasks"]
    replace(client, "t-blue", {**spec(), "Labels": {**spec()["Labels"], "note": "new"}})

    assert wait(swarm)["tasks"] == before


def test_nothing_is_waited_for_where_nothing_shall_run(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service(spec(replicas=0))

    result = wait(swarm, monitor_seconds=30, wait_timeout=20)

    assert result["fulfilled"] and result["tasks"] == []


def test_a_global_service_has_a_task_on_each_node(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service({**spec(), "Mode": {"Global": {}}})

    result = wait(swarm)

    assert sorted(task["node"] for task in result["tasks"]) == sorted(node["name"] for node in swarm.nodes)


def test_a_look_says_what_is_missing_and_waits_for_nothing(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """So in check mode, where the service may not even be there."""
    absent = operate(swarm_service_wait, docker_host=swarm.docker_host, name="t-none", check_mode=True)
    client.create_service(spec())
    early = wait(swarm, wait=False)

    assert not absent.get("failed") and not absent["fulfilled"] and "t-none" in absent["missing"]
    assert not early["fulfilled"] and "0 of 2 tasks of t-blue are ready" in early["missing"]


def test_another_count_than_expected_is_refused_at_once(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service(spec())

    result = wait(swarm, replicas=3)

    assert result["failure"]["code"] == "replicas_differ" and "wants 2 tasks, not the 3" in result["msg"]


def test_a_service_that_is_not_there_is_named(swarm: launch.Swarm) -> None:
    result = wait(swarm, "t-none")

    assert result["failure"]["code"] == "not_found" and "t-none" in result["msg"]


def test_the_deadline_says_what_was_seen_last(swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]) -> None:
    client.create_service(spec(container={"Healthcheck": {"Test": ["NONE"]}}))

    result = wait(swarm, monitor_seconds=30, wait_timeout=4)

    assert result["failure"]["code"] == "deadline_passed"
    assert "2 of 2 tasks of t-blue are ready, and watched for 30 s" in result["msg"]
    assert result["failure"]["system"] in swarm.docker_host


def test_a_look_costs_two_requests(swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]) -> None:
    """One for the service and one for its tasks, while nothing happens."""
    client.create_service(spec())
    wait(swarm)
    watch = Watch(client, "t-blue")
    watch.look()
    sent = client.sent

    for _look in range(5):
        watch.look()

    assert client.sent - sent == 10


# What cannot come any more


def test_an_image_that_no_node_has_ends_the_wait(swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]) -> None:
    """As soon as each task was refused once, although three would have to fail."""
    client.create_service(
        spec(replicas=1, container={"Image": "nosuch:1"}, template={"RestartPolicy": {"Delay": 60 * SECOND}})
    )

    result = wait(swarm)

    assert result["failure"]["code"] == "image_missing", result
    assert "No such image: nosuch:1" in result["msg"] and "1 task of t-blue failed" in result["msg"]
    assert result["failure"]["detail"][0]["node"] in [node["name"] for node in swarm.nodes]
    assert result["failure"]["detail"][0]["error"] == "No such image: nosuch:1"


def test_a_crash_loop_ends_the_wait_with_the_exit_code(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service(spec(container={"Command": ["/bin/busybox", "sh", "-c", "exit 7"]}))

    result = wait(swarm)

    assert result["failure"]["code"] == "crash_loop"
    assert "task: non-zero exit (7)" in result["msg"]
    assert len(result["failure"]["detail"]) >= 3
    assert {failure["exit_code"] for failure in result["failure"]["detail"]} == {7}


def test_a_task_that_dies_after_it_was_ready_is_no_success(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """Each of them is ready for a moment; the time that is watched is never without a failure."""
    dies = {"Command": ["/bin/busybox", "sh", "-c", "sleep 2; exit 9"], "Healthcheck": {"Test": ["NONE"]}}
    client.create_service(spec(replicas=1, container=dies))

    result = wait(swarm, monitor_seconds=5)

    assert result["failure"]["code"] == "crash_loop", result
    assert "task: non-zero exit (9)" in result["msg"]


def test_a_program_that_ends_well_is_a_failure_too(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """A service has no end."""
    client.create_service(spec(container={"Command": ["/bin/busybox", "true"]}))

    assert wait(swarm)["failure"]["code"] == "crash_loop"


def test_containers_that_never_get_healthy_say_so(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    sick = {"Test": ["CMD", "/bin/busybox", "false"], "Interval": SECOND // 5, "Retries": 1}
    client.create_service(spec(container={"Healthcheck": sick}))

    result = wait(swarm, max_failures=2)

    assert result["failure"]["code"] == "unhealthy", result
    assert "unhealthy container" in result["msg"] and "health check fails" in result["msg"]


def test_tasks_that_no_node_may_take_end_the_wait(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service(spec(template={"Placement": {"Constraints": ["node.labels.disk == none"]}}))

    result = wait(swarm, unschedulable_timeout=1.5)

    assert result["failure"]["code"] == "unschedulable", result
    assert "scheduling constraints not satisfied on 3 nodes" in result["msg"]
    assert "2 of 2 tasks of t-blue" in result["msg"]


def test_an_update_to_what_no_node_may_take_ends_the_wait(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """The old tasks may still run then; it is not they that are waited for."""
    client.create_service(spec())
    wait(swarm)
    replace(client, "t-blue", spec(template={"Placement": {"Constraints": ["node.labels.disk == none"]}}))

    result = wait(swarm, unschedulable_timeout=1.5)

    assert result["failure"]["code"] == "unschedulable", result


def test_a_port_that_other_tasks_have_ends_the_wait(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """Four tasks, three nodes."""
    ports = {"Ports": [{"TargetPort": 8000, "PublishedPort": 8111, "PublishMode": "host"}]}
    client.create_service(spec(replicas=4, EndpointSpec=ports))

    result = wait(swarm, unschedulable_timeout=1.5)

    assert result["failure"]["code"] == "port_conflict", result
    assert "host-mode port already in use on 3 nodes" in result["msg"]
    assert "1 of 4 tasks of t-blue" in result["msg"] and "published port" in result["msg"]


def test_a_port_that_another_program_has_ends_the_wait(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """Docker does not know of it, and tries again and again."""
    ports = {"Ports": [{"TargetPort": 8000, "PublishedPort": 8112, "PublishMode": "host"}]}
    taken = [listening(node["netns"], 8112) for node in swarm.nodes]
    try:
        client.create_service(spec(replicas=1, EndpointSpec=ports))
        result = wait(swarm)
    finally:
        for server in taken:
            server.close()

    assert result["failure"]["code"] == "port_conflict", result
    assert "address already in use" in result["msg"]


def listening(netns: str, port: int) -> socket.socket:
    """A socket in another network namespace, made by a thread of its own."""

    def make() -> socket.socket:
        handle = os.open(netns, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(handle, 0x40000000):  # CLONE_NEWNET, for this thread only
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(handle)
        return socket.create_server(("0.0.0.0", port))

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(make).result()


def test_an_update_that_docker_has_paused_is_not_waited_for(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """One at a time, and the first one fails: the others stay what they are."""
    careful = {"Parallelism": 1, "FailureAction": "pause", "Order": "stop-first"}
    client.create_service(spec(UpdateConfig=careful))
    wait(swarm)
    replace(
        client,
        "t-blue",
        spec(UpdateConfig=careful, container={"Command": ["/bin/busybox", "sh", "-c", "exit 7"]}),
    )

    result = wait(swarm, max_failures=50)

    assert result["failure"]["code"] == "update_paused", result
    assert "tasks of the earlier definition" in result["msg"] and "non-zero exit (7)" in result["msg"]


def test_an_update_that_docker_has_undone_is_no_success(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """All tasks are ready again, of the wrong version."""
    careful = {"Parallelism": 0, "FailureAction": "rollback", "Order": "stop-first"}
    client.create_service(spec(UpdateConfig=careful))
    wait(swarm)
    replace(
        client,
        "t-blue",
        spec(UpdateConfig=careful, container={"Command": ["/bin/busybox", "sh", "-c", "exit 7"]}),
    )

    result = wait(swarm, max_failures=50)

    assert result["failure"]["code"] == "rolled_back", result
    assert "earlier definition" in result["msg"]


def test_a_service_that_is_removed_meanwhile_is_named(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service(spec(template={"Placement": {"Constraints": ["node.labels.disk == none"]}}))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, swarm)
        time.sleep(1)
        client.remove_service("t-blue")
        result = waiting.result(timeout=100)

    assert result["failure"]["code"] == "service_gone", result
    assert "t-blue was removed while it was waited for" in result["msg"]


def test_failures_of_the_past_do_not_count(swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]) -> None:
    """Docker keeps the tasks that failed; the slot is healthy since."""
    flaky = "test -e /srv/up || { touch /srv/up; exit 3; }"
    client.create_service(spec(replicas=1, container={"Command": ["/bin/busybox", "sh", "-c", flaky]}))
    assert wait(swarm, max_failures=2)["failure"]["code"] == "crash_loop"
    well = spec(replicas=1)
    replace(client, "t-blue", well)

    result = wait(swarm, max_failures=1)

    assert result["fulfilled"], result
    assert any(task["Status"]["State"] in ("failed", "complete") for task in client.tasks("t-blue"))


# Scaling


def view(colour: str, share: float, connections: Mapping[str, int] | None = None) -> Json:
    other = "green" if colour == "blue" else "blue"
    return {
        "name": "proxy1",
        "kind": "nginx",
        "share": {colour: share, other: 100 - share},
        "addresses": {colour: list(connections or {}), other: []},
        "old_workers": 0,
        "connections": dict(connections or {}),
    }


def haproxy(**weights: int) -> Json:
    """An entry of what ``haproxy_backend`` returns."""
    servers = {
        f"t-{colour}.1.x": {"address": f"10.9.9.9:{number}", "state": "ready", "weight": weight}
        for number, (colour, weight) in enumerate(weights.items(), 1)
    }
    return {"lb": "lb1", "servers": servers}


def test_more_tasks_are_wanted_and_waited_for(swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]) -> None:
    client.create_service(spec(replicas=1))
    foretold = scale(swarm, 3, check_mode=True)
    result = scale(swarm, 3)
    again = scale(swarm, 3)

    assert foretold["changed"] and foretold["diff"] == result["diff"]
    assert result["changed"] and len(result["tasks"]) == 3
    assert not again["changed"] and again["tasks"] == result["tasks"]
    assert result["service"] == {"name": "t-blue", "replicas": 3}


def test_fewer_tasks_go_in_batches_and_the_rest_stays(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service(spec(replicas=5))
    before = {task["id"] for task in wait(swarm)["tasks"]}

    result = scale(swarm, 1, proxies=[view("blue", 0)], batch_size=3)

    assert result["changed"] and not result.get("failed"), result
    assert {task["id"] for task in result["tasks"]} < before and len(result["tasks"]) == 1
    assert [task["ID"] for task in running(client)] == [task["id"] for task in result["tasks"]]


def test_to_none(swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]) -> None:
    client.create_service(spec())
    wait(swarm)

    assert scale(swarm, 0, proxies=[view("blue", 0)])["tasks"] == []
    assert running(client) == []
    assert not scale(swarm, 0)["changed"]


def test_a_service_is_removed_when_its_tasks_have_ended(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """With the same evidence; once it is gone, that is no change."""
    client.create_service(spec())
    wait(swarm)
    refused = operate(swarm_service_scale, docker_host=swarm.docker_host, name="t-blue", state="absent")
    foretold = scale(swarm, 0, state="absent", cut=True, check_mode=True)
    result = scale(swarm, 0, state="absent", proxies=[view("blue", 0)])
    again = scale(swarm, 0, state="absent")

    assert refused["failure"]["code"] == "no_evidence"
    assert foretold["changed"] and result["changed"] and foretold["diff"] == result["diff"]
    assert result["service"] is None and result["tasks"] == []
    assert client.services(GROUP) == []
    assert not again["changed"] and not again.get("failed")


def test_what_still_serves_is_not_ended(swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]) -> None:
    """By the share of new requests, by requests in flight, and where nobody has looked; ``cut`` says so."""
    client.create_service(spec())
    (address, _other) = wait(swarm, target_port=8000)["addresses"]
    live = scale(swarm, 0, proxies=[view("green", 100), view("blue", 5)])
    busy = scale(swarm, 0, proxies=[view("blue", 0, {address: 2})])
    idle = {"name": "p", "share": {"green": 100}}
    own = scale(swarm, 0, target_port=8000, proxies=[{**idle, "connections": {address: 1, "10.9.9.9:1": 7}}])
    by_weight = scale(swarm, 0, haproxy_lbs=[haproxy(blue=10, green=90)])
    blind = scale(swarm, 0)
    elsewhere = scale(
        swarm, 1, proxies=[{**idle, "connections": {"10.9.9.9:1": 7}}], haproxy_lbs=[haproxy(blue=0, green=1)]
    )

    assert live["failure"]["code"] == busy["failure"]["code"] == own["failure"]["code"] == "still_serving"
    assert "proxy1 sends it 5 % of the new requests" in live["msg"]
    assert f"2 requests in flight at {address}" in busy["msg"]
    assert own["failure"]["detail"] == [{"proxy": "p", "share": 0, "connections": {address: 1}}]
    assert blind["failure"]["code"] == "no_evidence"
    assert by_weight["failure"]["code"] == "still_serving" and "lb1 sends it 10 %" in by_weight["msg"]
    assert not any(refused["changed"] for refused in (live, busy, own, blind, by_weight))
    assert elsewhere["changed"] and not elsewhere.get("failed")
    assert scale(swarm, 0, cut=True, proxies=[view("blue", 100)])["tasks"] == []


def test_a_global_service_cannot_be_scaled(swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]) -> None:
    client.create_service({**spec(), "Mode": {"Global": {}}})

    assert scale(swarm, 2)["failure"]["code"] == "not_replicated"


def test_who_changes_a_service_at_the_same_time_loses_nothing(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """A change that comes too late is worked out anew."""
    client.create_service(spec(replicas=0))

    def label(number: int) -> None:
        params = ArgumentSpecValidator(SWARM_SPEC).validate({"docker_host": swarm.docker_host}).validated_parameters

        def change(service: Json) -> Json:
            return {**service["Spec"], "Labels": {**service["Spec"]["Labels"], f"n{number}": "1"}}

        with Swarm.from_params(params, Context()) as other:
            other.change_service("t-blue", change)

    with ThreadPoolExecutor(5) as pool:
        labelled = [pool.submit(label, number) for number in range(4)]
        scaled = pool.submit(scale, swarm, 1)
        assert all(future.result(timeout=60) is None for future in labelled)

    assert scaled.result()["service"]["replicas"] == 1
    labels = client.service("t-blue")["Spec"]["Labels"]
    assert {f"n{number}" for number in range(4)} <= set(labels)
    assert client.service("t-blue")["Spec"]["Mode"] == {"Replicated": {"Replicas": 1}}


# Copying


def test_a_copy_runs_the_same_and_is_itself(swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]) -> None:
    """All of the definition but the name, the colour, the count and the fixed ports; the second time is no change."""
    ports = {"Ports": [{"TargetPort": 8000, "PublishedPort": 8113, "PublishMode": "host"}]}
    client.create_service(spec(env={"TOKEN": "hush"}, EndpointSpec=ports))
    foretold = copied(swarm, replicas=1, check_mode=True)
    result = copied(swarm, replicas=1)
    again = copied(swarm, replicas=1)
    source, copy_ = (client.service(name)["Spec"] for name in ("t-blue", "t-green"))

    assert foretold["changed"] and result["changed"] and not again["changed"]
    assert "hush" not in str(result["diff"])
    assert result["service"]["labels"]["zdd.rollout.colour"] == "green"
    assert copy_["TaskTemplate"] == source["TaskTemplate"]
    assert copy_["Mode"] == {"Replicated": {"Replicas": 1}}
    assert "PublishedPort" not in copy_["EndpointSpec"]["Ports"][0]
    assert copy_["UpdateConfig"]["Parallelism"] == 0
    assert wait(swarm, "t-green", target_port=8000)["addresses"]


def test_a_copy_follows_its_source_and_keeps_what_is_its_own(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service(spec(replicas=0))
    first = copied(swarm, published_ports={"8000": 8114}, deployed_at="2026-01-01T00:00:00.000000+00:00")
    replace(client, "t-blue", spec(replicas=0, env={"VERSION": "2"}))
    second = copied(swarm, published_ports={"8000": 8114})
    third = copied(swarm, published_ports={"8000": 8114})

    assert first["service"]["labels"]["zdd.rollout.deployed_at"] == "2026-01-01T00:00:00.000000+00:00"
    assert second["changed"] and "VERSION=(before)" in second["diff"]["before"]
    assert "VERSION=(after)" in second["diff"]["after"]
    assert second["service"]["labels"]["zdd.rollout.deployed_at"] > "2026-01-01"
    assert not third["changed"] and third["service"] == second["service"]
    now = client.service("t-green")["Spec"]
    assert now["EndpointSpec"]["Ports"][0]["PublishedPort"] == 8114
    assert "VERSION=2" in now["TaskTemplate"]["ContainerSpec"]["Env"]


def test_services_of_somebody_else_are_neither_copied_nor_replaced(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service(spec(replicas=0))
    foreign = copy.deepcopy(spec("t-green", replicas=0))
    foreign["Labels"] = {}
    client.create_service(foreign)
    try:
        over, of = copied(swarm), copied(swarm, name="t-green", to="t-blue")
    finally:
        client.remove_service("t-green")

    assert over["failure"]["code"] == of["failure"]["code"] == "not_ours"
    assert "made by someone else" in over["msg"]


def test_a_port_that_is_not_published_cannot_be_given(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    client.create_service(spec(replicas=0))

    assert "colour" in copied(swarm, to="t-new")["msg"]
    assert "9999" in copied(swarm, published_ports={"9999": 1})["msg"]
    assert copied(swarm, published_ports={"http": 1})["failure"]["code"] == "invalid_option"
    assert copied(swarm, name="t-none")["failure"]["code"] == "not_found"


# A swarm in which something is broken


def test_a_manager_that_dies_meanwhile_is_not_missed(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """Another one is asked, and the wait goes on where it was."""
    leader = next(
        number
        for number, node in enumerate(swarm.nodes)
        if any(
            known["Description"]["Hostname"] == node["name"] and known["ManagerStatus"].get("Leader")
            for known in client.nodes().values()
        )
    )
    others = [f"node.hostname != {swarm.nodes[leader]['name']}"]
    client.create_service(spec(template={"Placement": {"Constraints": others}}))
    hosts = [swarm.nodes[leader]["docker_host"], *swarm.docker_host]
    wait(swarm)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, swarm, docker_host=hosts, monitor_seconds=6, wait_timeout=60)
        time.sleep(1)
        with swarm.engine_killed(leader):
            result = waiting.result(timeout=90)

    assert result.get("fulfilled"), result
    assert len(result["tasks"]) == 2


def test_a_node_that_vanishes_is_replaced_and_named(
    swarm: launch.Swarm, client: Swarm, spec: Callable[..., Json]
) -> None:
    """What runs there nobody knows, so nobody waits for its end."""
    # Not the leader: the others need up to a minute to notice that one is cut off, and answer nothing until then.
    leaders = {
        node["Description"]["Hostname"]
        for node in client.nodes().values()
        if (node.get("ManagerStatus") or {}).get("Leader")
    }
    number = max(index for index, node in enumerate(swarm.nodes) if node["name"] not in leaders)
    lost = swarm.nodes[number]["name"]
    reached = [node["docker_host"] for node in swarm.nodes if node["name"] != lost]
    client.create_service(spec(replicas=3))
    assert lost in {task["node"] for task in wait(swarm)["tasks"]}
    with swarm.cut_off(number):
        wait_until_down(client, lost)
        params = ArgumentSpecValidator(swarm_service_wait.ARGUMENT_SPEC).validate(
            {"docker_host": reached, "name": "t-blue", "monitor_seconds": 0.5, "wait_timeout": 60}
        )
        context = Context()
        result = swarm_service_wait.run(params.validated_parameters, context)

    assert len(result["tasks"]) == 3 and lost not in {task["node"] for task in result["tasks"]}
    assert any(lost in text and "not known" in text for text in context.warnings)


def wait_until_down(client: Swarm, name: str) -> None:
    deadline = time.monotonic() + 60
    while any(
        node["Description"]["Hostname"] == name and node["Status"]["State"] != "down"
        for node in client.nodes().values()
    ):
        assert time.monotonic() < deadline, "the swarm still believes in the node"
        time.sleep(0.5)
