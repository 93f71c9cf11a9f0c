# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence from marathon-lb and from the tasks themselves, against the sandbox: two load balancers, real tasks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import requests

from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    marathon_app,
    marathon_app_info,
    marathon_lb_wait,
    marathon_tasks_delete,
    pending_operations_wait,
    tasks_check,
)
from tests.integration_py.haproxy_instance import Backend, eventually
from tests.integration_py.operating import operate
from tests.sandbox import launch

# What has to end early ends long before this (s).
PATIENCE = 90.0
GROUP = {
    "HAPROXY_GROUP": "external",
    "HAPROXY_0_MODE": "http",
    "HAPROXY_DEPLOYMENT_GROUP": "web",
    "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "2",
    "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "0",
}
Do = Callable[..., dict[str, Any]]


@pytest.fixture(name="sandbox", scope="module")
def _sandbox() -> Iterator[launch.Running]:
    with launch.start(lbs=2) as running:
        yield running


def unused(sandbox: launch.Running) -> str:
    """An address in the sandbox's own network at which nobody listens."""
    return sandbox.lbs[0]["host"].rpartition(".")[0] + ".99"


@pytest.fixture(name="do")
def _do(sandbox: launch.Running) -> Iterator[Do]:
    """Run an operation against the sandbox; afterwards no app and no fault is left."""

    def run(operation: ModuleType, **options: Any) -> dict[str, Any]:
        known = {
            "marathon_url": sandbox.marathon,
            "marathon_lb_url": [lb["url"] for lb in sandbox.lbs],
            "wait_timeout": PATIENCE,
            "retry_timeout": 5,
        }
        given = {name: value for name, value in known.items() if name in operation.ARGUMENT_SPEC}
        return operate(operation, **{**given, **options})

    yield run
    sandbox.clear_faults()
    for app in run(marathon_app_info)["apps"]:
        run(marathon_app, app_id=app["id"], state="absent", force=True)


def deploy(sandbox: launch.Running, do: Do, app_id: str = "/web", **fields: Any) -> list[dict[str, Any]]:
    """Deploy an app with two instances; its tasks."""
    definition = {**sandbox.app(id=app_id, instances=2), **fields}
    assert "failed" not in do(marathon_app, app=definition)
    return tasks_of(do, app_id)


def tasks_of(do: Do, app_id: str) -> list[dict[str, Any]]:
    (app,) = do(marathon_app_info, app_id=app_id)["apps"]
    return app["tasks"]


def colour(sandbox: launch.Running, do: Do, name: str) -> list[dict[str, Any]]:
    started = {"blue": "2026-01-01T00:00:00.000000", "green": "2026-01-01T01:00:00.000000"}[name]
    labels = {**GROUP, "HAPROXY_DEPLOYMENT_STARTED_AT": started, "HAPROXY_DEPLOYMENT_COLOUR": name}
    return deploy(sandbox, do, f"/web-{name}", labels=labels)


def address(task: dict[str, Any]) -> str:
    return f"http://{task['host']}:{task['ports'][0]}"


@contextmanager
def streams(*urls: str, seconds: float) -> Iterator[list[str]]:
    """One stream from each address, all under way; yields the list that gets each text when it has come whole."""
    texts: list[str] = []
    begun = [threading.Event() for _url in urls]

    def read(url: str, event: threading.Event) -> None:
        with requests.get(f"{url}/slow?seconds={seconds}", stream=True, timeout=PATIENCE) as response:
            event.set()
            texts.append(response.text)

    threads = [threading.Thread(target=read, args=pair) for pair in zip(urls, begun, strict=True)]
    for thread in threads:
        thread.start()
    assert all(event.wait(PATIENCE) for event in begun)
    yield texts
    for thread in threads:
        thread.join(PATIENCE)


# Admission and drain at marathon-lb


def test_tasks_are_admitted_when_every_load_balancer_serves_them(sandbox: launch.Running, do: Do) -> None:
    tasks = deploy(sandbox, do)
    result = do(marathon_lb_wait, app_id="/web", state="admitted")
    assert result["fulfilled"] and not result["changed"]
    assert sorted(result["tasks"]) == sorted(task["id"] for task in tasks)
    assert [lb["lb"] for lb in result["lbs"]] == [lb["url"].removeprefix("http://") for lb in sandbox.lbs]
    for lb in result["lbs"]:
        assert [server["status"][:2] for server in lb["servers"]] == ["UP", "UP"]
    for lb in sandbox.lbs:
        assert requests.get(f"http://{lb['host']}:10000/", timeout=10).json()["version"] == "1"


def test_a_load_balancer_that_is_away_is_missing_and_is_waited_for(sandbox: launch.Running, do: Do) -> None:
    deploy(sandbox, do)
    do(marathon_lb_wait, app_id="/web", state="admitted")
    results: list[dict[str, Any]] = []
    slow = threading.Thread(
        target=lambda: results.append(do(marathon_lb_wait, app_id="/web", state="admitted", retry_timeout=60))
    )
    sandbox.fault("lb_down", lb=1, seconds=3)
    began = time.monotonic()
    slow.start()
    slow.join(PATIENCE)
    assert results[0]["fulfilled"]
    assert time.monotonic() - began > 1


def test_a_load_balancer_that_does_not_answer_at_the_begin_is_named(sandbox: launch.Running, do: Do) -> None:
    deploy(sandbox, do)
    nobody = unused(sandbox)
    url = [sandbox.lbs[0]["url"], f"http://{nobody}:9090"]
    result = do(marathon_lb_wait, app_id="/web", state="admitted", marathon_lb_url=url, retry_timeout=0.5)
    assert result["failure"]["code"] == "unreachable"
    assert f"{nobody}:9090" in result["msg"]


def test_what_is_in_flight_at_an_old_worker_is_waited_for(sandbox: launch.Running, do: Do) -> None:
    blue = colour(sandbox, do, "blue")
    do(marathon_lb_wait, app_id="/web-blue", state="admitted")
    with streams(*(f"http://{lb['host']}:10000" for lb in sandbox.lbs), seconds=9) as texts:
        colour(sandbox, do, "green")
        assert do(marathon_lb_wait, app_id="/web-green", state="admitted")["fulfilled"]
        early = do(marathon_lb_wait, app_id="/web-blue", state="drained", wait=False)
        assert not texts, "the streams have to outlive the start of green"
        assert not early["fulfilled"] and "old worker" in early["missing"]
        requests.delete(f"{sandbox.control}/requests", timeout=10)
        result = do(marathon_lb_wait, app_id="/web-blue", state="drained", group="web")
        asked = sum(sandbox.requests()["by_agent"].values())
        assert result["fulfilled"]
        assert [lb["old_workers"] for lb in result["lbs"]] == [0, 0]
        assert [server["status"] for lb in result["lbs"] for server in lb["servers"]] == ["MAINT"] * 4
        assert [lb["keep_alive_seconds"] for lb in result["lbs"]] == [1, 1]
        killed = do(marathon_tasks_delete, ids=[task["id"] for task in blue], scale=True)
    assert "failed" not in killed
    assert len(texts) == 2 and all(len(text.splitlines()) >= 80 for text in texts), "no stream was cut"
    assert asked <= 10


@pytest.mark.parametrize(("choice", "code"), [("hold", "held"), ("fail", "deadline_passed"), ("cut", None)])
def test_a_drain_that_does_not_end_follows_the_choice(
    sandbox: launch.Running, do: Do, choice: str, code: str | None
) -> None:
    colour(sandbox, do, "blue")
    do(marathon_lb_wait, app_id="/web-blue", state="admitted")
    with streams(f"http://{sandbox.lbs[0]['host']}:10000", seconds=9):
        colour(sandbox, do, "green")
        do(marathon_lb_wait, app_id="/web-green", state="admitted")
        result = do(marathon_lb_wait, app_id="/web-blue", state="drained", wait_timeout=0.5, on_timeout=choice)
        only_traffic = do(marathon_lb_wait, app_id="/web-blue", state="drained", count_workers=False)
    if code is None:
        assert result["deadline_passed"] and not result["fulfilled"]
        assert result["sessions_cut"] is None, "what an old worker has cannot be asked"
        assert result["lbs"][0]["old_workers"] == 1
    else:
        assert result["failure"]["code"] == code
        assert result["failure"]["detail"][0]["old_workers"] == 1
    assert only_traffic["fulfilled"] and not only_traffic["evidence"]["workers_counted"]


def test_tasks_that_are_gone_need_no_drain_and_cannot_be_admitted(sandbox: launch.Running, do: Do) -> None:
    deploy(sandbox, do)
    drained = do(marathon_lb_wait, app_id="/web", state="drained", tasks=["web.no-such-task"])
    assert drained["fulfilled"] and drained["gone"] == ["web.no-such-task"]
    admitted = do(marathon_lb_wait, app_id="/web", state="admitted", tasks=["web.no-such-task"])
    assert admitted["failure"]["code"] == "unknown_tasks"


@pytest.mark.parametrize(
    ("options", "code"),
    [({"app_id": "/ghost"}, "not_found"), ({"group": "ghost"}, "not_found"), ({"app_id": "/inner"}, "not_exposed")],
)
def test_what_marathon_lb_does_not_serve_is_refused_at_once(
    sandbox: launch.Running, do: Do, options: dict[str, Any], code: str
) -> None:
    deploy(sandbox, do, "/inner", labels={})
    result = do(marathon_lb_wait, state="admitted", **options)
    assert result["failure"]["code"] == code


# Pending operations


@pytest.mark.parametrize(
    "reading",
    [
        {"path": "/pending", "jmespath": "pending"},
        {"path": "/pending", "jmespath": "sum(values(queues))"},
        {"path": "metrics", "metric": "pending_operations"},
        {"path": "metrics", "metric": "pending_operations_by_queue", "metric_labels": {"queue": "streams"}},
    ],
    ids=["json", "sum", "gauge", "labels"],
)
def test_a_task_is_done_when_its_own_metrics_say_so(sandbox: launch.Running, do: Do, reading: dict[str, Any]) -> None:
    tasks = deploy(sandbox, do)
    with streams(address(tasks[1]), seconds=2) as texts:
        now = do(pending_operations_wait, app_id="/web", wait=False, **reading)
        assert not now["fulfilled"] and now["missing"].startswith("1 pending in 1 of 2 tasks")
        result = do(pending_operations_wait, app_id="/web", **reading)
        assert result["fulfilled"]
        assert [task["pending"] for task in result["tasks"]] == [0, 0]
        assert min(task["zeros"] for task in result["tasks"]) >= 3
        eventually(lambda: len(texts) == 1)


def test_what_does_not_end_is_counted(sandbox: launch.Running, do: Do) -> None:
    tasks = deploy(sandbox, do)
    urls = [address(task) for task in tasks]
    reading = {"urls": urls, "path": "/pending", "jmespath": "pending", "wait_timeout": 0.3}
    with streams(urls[0], urls[0], urls[1], seconds=3):
        held = do(pending_operations_wait, **reading)
        cut = do(pending_operations_wait, on_timeout="cut", **reading)
    assert held["failure"]["code"] == "held"
    assert sorted(task["pending"] for task in held["failure"]["detail"]) == [1, 2]
    assert (cut["operations_cut"], cut["deadline_passed"], cut["fulfilled"]) == (3, True, False)


def test_silence_is_not_zero(sandbox: launch.Running, do: Do) -> None:
    (task, _other) = deploy(sandbox, do)
    reading = {"jmespath": "pending", "wait_timeout": 0.5}
    for urls in ([f"http://{unused(sandbox)}:1/pending"], [f"{address(task)}/fail?status=503"], [f"{address(task)}/"]):
        result = do(pending_operations_wait, urls=urls, **reading)
        assert result["failure"]["code"] == "held"
        assert "do not tell" in result["msg"]
        assert result["failure"]["detail"][0]["pending"] is None


def test_a_task_that_marathon_calls_gone_is_done(sandbox: launch.Running, do: Do) -> None:
    (gone, stays) = deploy(sandbox, do)
    results: list[dict[str, Any]] = []

    def wait() -> None:
        results.append(do(pending_operations_wait, app_id="/web", path="/pending", jmespath="pending"))

    with streams(address(stays), seconds=5):
        waiting = threading.Thread(target=wait)
        waiting.start()
        do(marathon_tasks_delete, ids=[gone["id"]], scale=True)
        waiting.join(PATIENCE)
    by_id = {task["task"]: task for task in results[0]["tasks"]}
    assert by_id[gone["id"]]["gone"] and not by_id[stays["id"]]["gone"]
    assert results[0]["fulfilled"]
    again = do(pending_operations_wait, app_id="/web", tasks=[gone["id"]], path="/pending", jmespath="pending")
    assert again["fulfilled"] and again["tasks"][0]["gone"]


# Checks


def test_checks_pass_on_all_tasks(sandbox: launch.Running, do: Do) -> None:
    deploy(sandbox, do, env={"VERSION": "7"})
    result = do(
        tasks_check,
        app_id="/web",
        checks=[
            {"path": "/", "jmespath": "version == '7'", "body_contains": '"task"', "body_matches": r"\bversion\b"},
            {"path": "/fail?status=418", "status": [418]},
            {"path": "/echo", "method": "post", "body": {"a": 1}, "jmespath": "a == `1`"},
        ],
    )
    assert (result.get("msg"), result.get("checks")) == (None, 6)
    assert len(result["tasks"]) == 2 and not result["changed"]


@pytest.mark.parametrize(
    ("check", "expected", "got"),
    [
        ({"jmespath": "version == '8'"}, "'version == \\'8\\'' to be true", "200"),
        ({"path": "/fail?status=500"}, "status 200", "500"),
        ({"body_contains": "ghost"}, "a body with 'ghost'", "200"),
        ({"body_matches": "gh.st"}, "a body that matches 'gh.st'", "200"),
        ({"path": "/metrics", "jmespath": "a"}, "'a' to be true", "no JSON"),
        ({"path": "/work?seconds=3", "timeout": 0.2}, "an answer", "did not answer"),
    ],
    ids=["jmespath", "status", "contains", "matches", "no JSON", "timeout"],
)
def test_a_failed_check_says_which_task_what_was_expected_and_what_came(
    sandbox: launch.Running, do: Do, check: dict[str, Any], expected: str, got: str
) -> None:
    tasks = deploy(sandbox, do)
    result = do(tasks_check, app_id="/web", checks=[{"path": "/health"}, check], wait_timeout=0)
    assert result["failure"]["code"] == "check_failed"
    assert result["msg"].startswith("2 of 4 checks failed")
    failures = result["failure"]["detail"]
    assert sorted(failure["task"] for failure in failures) == sorted(task["id"] for task in tasks)
    assert all(expected.replace("\\'", "'").strip("'") in failure["expected"].replace('"', "'") for failure in failures)
    assert all(got in failure["got"] for failure in failures)


def test_checks_that_fail_at_first_are_repeated_for_a_while(sandbox: launch.Running, do: Do) -> None:
    deploy(sandbox, do, env={"READY_AFTER": "4"})
    checks = [{"path": "/ready"}]
    assert do(tasks_check, app_id="/web", checks=checks, wait_timeout=0)["failed"]
    assert "failed" not in do(tasks_check, app_id="/web", checks=checks)


def test_secret_headers_are_sent_and_not_shown(do: Do) -> None:
    with Backend() as backend:
        result = do(
            tasks_check,
            urls=[backend.url],
            checks=[{"body_contains": "ghost", "headers": {"X-Kind": "smoke"}}],
            secret_headers={"X-Token": "geheim"},
            wait_timeout=0,
        )
        (_method, _path, headers) = backend.seen[0]
    assert (headers["X-Token"], headers["X-Kind"]) == ("geheim", "smoke")
    assert result["failure"]["code"] == "check_failed"
    assert "geheim" not in str(result)
