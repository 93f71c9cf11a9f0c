# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations on Marathon's apps, deployments and tasks, against the sandbox: real processes, real checks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    marathon_app,
    marathon_app_info,
    marathon_deployment,
    marathon_tasks_delete,
)
from tests.integration_py.operating import operate
from tests.sandbox import launch

# A machine under load may be slow; what must end early is told from what does not by ending long before this (s).
PATIENCE = 90.0


@pytest.fixture(name="sandbox", scope="module")
def _sandbox() -> Iterator[launch.Running]:
    with launch.start(marathon=["127.0.0.1:0", "127.0.0.1:0"]) as running:
        yield running


Do = Callable[..., dict[str, Any]]


@pytest.fixture(name="do")
def _do(sandbox: launch.Running) -> Iterator[Do]:
    """Run an operation against the sandbox; afterwards no app and no fault is left."""

    def run(operation: ModuleType, **options: Any) -> dict[str, Any]:
        return operate(operation, **{"marathon_url": sandbox.marathon, "wait_timeout": PATIENCE, **options})

    def info_or(operation: ModuleType, **options: Any) -> dict[str, Any]:
        if operation is marathon_app_info:
            return operate(operation, marathon_url=sandbox.marathon, **options)
        return run(operation, **options)

    yield info_or
    sandbox.clear_faults()
    for app in info_or(marathon_app_info)["apps"]:
        info_or(marathon_app, app_id=app["id"], state="absent", force=True)


def tasks_of(do: Do, app_id: str = "/web") -> list[str]:
    (app,) = do(marathon_app_info, app_id=app_id)["apps"]
    return sorted(task["id"] for task in app["tasks"] if task["state"] == "TASK_RUNNING")


def sent(sandbox: launch.Running) -> list[str]:
    """What the collection asked of Marathon since the log was begun anew."""
    return [
        f"{request['method']} {request['path'].partition('?')[0]}"
        for request in sandbox.requests()["log"]
        if request["agent"].startswith("zdd.rollout")
    ]


def test_check_apply_check_apply_for_each_change(sandbox: launch.Running, do: Do) -> None:
    """What check mode says is what happens, and what happened once does not happen again."""
    one = sandbox.app(instances=2)
    two = sandbox.app(instances=2, env={"VERSION": "2"})
    for options in (
        {"app": one},
        {"app": two},
        {"app_id": "web", "instances": 3},
        {"app_id": "/web", "state": "absent"},
    ):
        said = do(marathon_app, check_mode=True, **options)
        done = do(marathon_app, **options)
        again = do(marathon_app, check_mode=True, **options)
        once_more = do(marathon_app, **options)

        assert said["changed"] and done["changed"], options
        assert not again["changed"] and not once_more["changed"], options
        assert done["diff"] == said["diff"], options
        assert once_more["app"] == again["app"] == done["app"]
        kept = [set(result) - {"zdd_samples"} for result in (said, done, again, once_more)]
        assert all(keys == kept[0] for keys in kept), options


def test_an_app_is_healthy_when_the_task_ends(sandbox: launch.Running, do: Do) -> None:
    result = do(marathon_app, app=sandbox.app(env={"VERSION": "1", "START_DELAY": "1", "HEALTHY_AFTER": "2"}))

    assert result["tasks"]["settled"] == 4
    assert result["deployment_id"]
    (app,) = do(marathon_app_info, app_id="/web")["apps"]
    assert all(task["healthy"] for task in app["tasks"])
    assert app["service_ports"] == [10000]


def test_readiness_is_waited_for(sandbox: launch.Running, do: Do) -> None:
    check = {"name": "r", "portName": "http", "path": "/ready", "intervalSeconds": 2, "timeoutSeconds": 1}
    app = sandbox.app(instances=1, readinessChecks=[check], env={"VERSION": "1", "READY_AFTER": "3"})

    do(marathon_app, app=app)

    (shown,) = do(marathon_app_info, app_id="/web")["apps"]
    (task,) = shown["tasks"]
    assert requests.get(f"http://{task['host']}:{task['ports'][0]}/ready", timeout=10).status_code == 200


def test_scaling_restarts_nothing_and_a_definition_without_count_keeps_the_live_one(
    sandbox: launch.Running, do: Do
) -> None:
    do(marathon_app, app=sandbox.app(instances=2))
    before = tasks_of(do)
    do(marathon_app, app_id="/web", instances=3)

    assert set(before) < set(tasks_of(do))
    definition = sandbox.app()
    del definition["instances"]
    assert not do(marathon_app, app=definition)["changed"]
    changed = do(marathon_app, app={**definition, "labels": {"a": "b"}})
    assert (changed["changed"], changed["app"]["instances"]) == (True, 3)
    assert not set(before) & set(tasks_of(do)), "another definition starts other tasks"


def test_nothing_is_sent_but_one_question_when_nothing_is_to_be_done(sandbox: launch.Running, do: Do) -> None:
    do(marathon_app, app=sandbox.app(instances=1))
    sandbox.forget_requests()

    do(marathon_app, app=sandbox.app(instances=1))

    assert sent(sandbox) == ["GET /v2/apps/web"]


def test_a_run_that_changes_nothing_waits_for_what_an_earlier_one_began(sandbox: launch.Running, do: Do) -> None:
    app = sandbox.app(instances=2, env={"VERSION": "1", "HEALTHY_AFTER": "3"})
    begun = do(marathon_app, app=app, wait=False)
    assert begun["tasks"]["settled"] < 2

    again = do(marathon_app, app=app)

    assert not again["changed"]
    assert again["tasks"]["settled"] == 2


@pytest.mark.parametrize(
    ("change", "options", "code", "said"),
    [
        ({"cmd": "exit 3"}, {}, "crash_loop", "Command exited with status 3"),
        ({"cpus": 1000}, {"offer_timeout": 2}, "no_offers", "InsufficientCpus"),
        (
            {
                "env": {"VERSION": "2", "UNHEALTHY_AFTER": "0.1"},
                "healthChecks": [
                    {**launch.APP["healthChecks"][0], "gracePeriodSeconds": 1, "maxConsecutiveFailures": 1}
                ],
            },
            {},
            "checks_fail",
            "503",
        ),
    ],
)
def test_a_version_that_never_gets_there_ends_the_wait_with_the_reason(
    sandbox: launch.Running, do: Do, change: dict[str, Any], options: dict[str, Any], code: str, said: str
) -> None:
    do(marathon_app, app=sandbox.app(instances=2))
    old = tasks_of(do)
    started = time.monotonic()

    failed = do(marathon_app, app=sandbox.app(instances=2, **change), **options)

    assert time.monotonic() - started < PATIENCE / 2
    assert failed["failed"] and failed["changed"]
    assert failed["failure"]["code"] == code
    assert failed["failure"]["system"] in sandbox.marathon
    assert said in failed["msg"]
    assert set(old) <= set(tasks_of(do)), "the old version still serves"
    back = do(marathon_deployment, app_id="/web", state="rolled_back")
    assert back["deployment"]["result"] == "cancelled"
    assert not do(marathon_app, app=sandbox.app(instances=2))["changed"]


def test_a_wait_that_is_too_short_says_what_is_missing(sandbox: launch.Running, do: Do) -> None:
    app = sandbox.app(instances=2, env={"VERSION": "1", "HEALTHY_AFTER": "300"})

    failed = do(marathon_app, app=app, wait_timeout=2)

    assert failed["failure"]["code"] == "deadline_passed"
    assert failed["msg"].startswith("After 2 s: /web: 0 of 2 tasks healthy")


def test_a_rejected_definition_is_told_by_path_and_nothing_is_changed(sandbox: launch.Running, do: Do) -> None:
    wrong = {"minimumHealthCapacity": 1.5, "maximumOverCapacity": -1}

    failed = do(marathon_app, app=sandbox.app(upgradeStrategy=wrong))

    assert failed["failure"]["code"] == "rejected"
    assert "\n/upgradeStrategy/maximumOverCapacity: error.min" in failed["msg"]
    assert "\n/upgradeStrategy/minimumHealthCapacity: error.max" in failed["msg"]
    assert not failed["changed"]
    assert do(marathon_app_info)["apps"] == []


def test_a_running_deployment_holds_the_app_unless_forced(sandbox: launch.Running, do: Do) -> None:
    do(marathon_app, app=sandbox.app(instances=1))
    slow = sandbox.app(instances=1, env={"VERSION": "2", "HEALTHY_AFTER": "300"})
    held_by = do(marathon_app, app=slow, wait=False)["deployment_id"]

    refused = do(marathon_app, app=sandbox.app(instances=1))
    forced = do(marathon_app, app=sandbox.app(instances=1), force=True)

    assert refused["failure"]["code"] == "app_locked"
    assert refused["failure"]["detail"] == [held_by]
    assert forced["changed"]
    assert forced["tasks"]["settled"] == 1


def test_a_rollback_by_somebody_else_ends_the_wait(sandbox: launch.Running, do: Do) -> None:
    do(marathon_app, app=sandbox.app(instances=1))
    slow = sandbox.app(instances=1, env={"VERSION": "2", "HEALTHY_AFTER": "300"})
    waiting: dict[str, Any] = {}
    waiter = threading.Thread(target=lambda: waiting.update(do(marathon_app, app=slow)))
    waiter.start()
    wait_for(lambda: do(marathon_app_info, app_id="/web")["apps"][0]["deployments"])

    do(marathon_deployment, app_id="/web", state="rolled_back")
    waiter.join(PATIENCE)

    assert waiting["failure"]["code"] == "changed_meanwhile"


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_requests_grow_neither_with_instances_nor_with_time(sandbox: launch.Running, do: Do) -> None:
    counts = []
    for instances, delay in ((2, "0"), (16, "0"), (2, "8")):
        sandbox.forget_requests()
        app = sandbox.app(
            id=f"/n{instances}-{delay}", instances=instances, env={"VERSION": "1", "HEALTHY_AFTER": delay}
        )
        result = do(marathon_app, app=app)
        counts.append(len(sent(sandbox)))
        assert result["requests"] == counts[-1], "the result counts them as Marathon does"

    assert max(counts) <= 10
    assert counts[1] <= counts[0] + 2


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("marathon_status", {"status": 503, "seconds": 2}),
        ("marathon_drop", {"count": 2}),
        ("marathon_drop", {"count": 1, "after": True, "path": "/v2/apps"}),
        ("leader_change", {"seconds": 2}),
        ("events_off", {"seconds": 20}),
        ("marathon_slow", {"delay": 0.3, "seconds": 5}),
    ],
)
def test_trouble_at_marathon_is_survived(sandbox: launch.Running, do: Do, kind: str, fields: dict[str, Any]) -> None:
    sandbox.fault(kind, **fields)
    created = do(marathon_app, app=sandbox.app(instances=2))
    sandbox.fault(kind, **fields)
    changed = do(marathon_app, app=sandbox.app(instances=2, env={"VERSION": "2"}))
    sandbox.fault(kind, **fields)
    removed = do(marathon_app, app_id="/web", state="absent")

    assert [result.get("msg") for result in (created, changed, removed)] == [None] * 3
    assert changed["tasks"]["settled"] == 2
    assert do(marathon_app_info)["apps"] == []


def test_trouble_during_a_wait_is_survived(sandbox: launch.Running, do: Do) -> None:
    app = sandbox.app(instances=2, env={"VERSION": "1", "HEALTHY_AFTER": "4"})
    result: dict[str, Any] = {}
    waiter = threading.Thread(target=lambda: result.update(do(marathon_app, app=app)))
    waiter.start()
    wait_for(lambda: do(marathon_app_info, app_id="/web")["apps"])

    sandbox.fault("events_drop")
    sandbox.fault("leader_change", seconds=1)
    waiter.join(PATIENCE)

    assert result["changed"]
    assert result["tasks"]["settled"] == 2


@pytest.mark.parametrize("events", [True, False])
def test_success_is_told_from_cancellation(sandbox: launch.Running, do: Do, events: bool) -> None:
    """By its event, and where there was none by what the deployment has left behind."""
    if not events:
        sandbox.fault("events_off")
    outcomes = []
    for version, cancel in (("1", False), ("2", False), ("3", True)):
        app = sandbox.app(instances=1, env={"VERSION": version, "HEALTHY_AFTER": "300" if cancel else "1"})
        begun = do(marathon_app, app=app, wait=False)["deployment_id"]
        result: dict[str, Any] = {}
        waiter = threading.Thread(
            target=lambda begun=begun, result=result: result.update(do(marathon_deployment, deployment_id=begun))
        )
        sandbox.forget_requests()
        waiter.start()
        wait_for(lambda: "GET /v2/deployments" in sent(sandbox))
        if cancel:
            requests.delete(f"{sandbox.marathon[0]}/v2/deployments/{begun}", timeout=10)
        waiter.join(PATIENCE)
        outcomes.append(result["failure"]["code"] if "failure" in result else result["deployment"]["result"])

    assert outcomes == ["success", "success", "deployment_cancelled"]


def test_cancelling_leaves_the_definition_and_is_idempotent(sandbox: launch.Running, do: Do) -> None:
    do(marathon_app, app=sandbox.app(instances=1))
    slow = sandbox.app(instances=1, env={"VERSION": "2", "HEALTHY_AFTER": "300"})
    begun = do(marathon_app, app=slow, wait=False)["deployment_id"]

    said = do(marathon_deployment, app_id="/web", state="cancelled", check_mode=True)
    done = do(marathon_deployment, app_id="/web", state="cancelled")
    again = do(marathon_deployment, deployment_id=begun, state="cancelled")

    assert said["changed"] and done["changed"] and not again["changed"]
    assert done["diff"] == said["diff"]
    assert done["deployment"]["id"] == begun
    assert again["deployment"]["result"] == "unknown"
    (app,) = do(marathon_app_info, app_id="/web")["apps"]
    assert (app["definition"]["env"]["VERSION"], app["deployments"]) == ("2", [])


def test_tasks_are_killed_as_given_and_the_app_gets_smaller(sandbox: launch.Running, do: Do) -> None:
    do(marathon_app, app=sandbox.app(id="/shop/web", instances=4))
    ids = tasks_of(do, "/shop/web")
    unknown = "shop_web.instance-11111111-2222-3333-4444-555555555555._app.1"
    options = {"ids": [*ids[:3], unknown, "no task at all"], "scale": True}

    said = do(marathon_tasks_delete, check_mode=True, **options)
    done = do(marathon_tasks_delete, **options)
    again = do(marathon_tasks_delete, **options)

    assert (said["killed"], said["unknown"]) == (ids[:3], [unknown, "no task at all"])
    assert (done["killed"], done["diff"]) == (said["killed"], said["diff"])
    assert len(done["deployment_ids"]) == 1
    assert (again["changed"], again["unknown"]) == (False, options["ids"])
    assert tasks_of(do, "/shop/web") == ids[3:]
    assert do(marathon_app_info, app_id="/shop/web")["apps"][0]["definition"]["instances"] == 1


def test_batches_follow_each_other_one_request_each(sandbox: launch.Running, do: Do) -> None:
    do(marathon_app, app=sandbox.app(instances=4))
    sandbox.forget_requests()

    done = do(marathon_tasks_delete, ids=tasks_of(do)[:3], scale=True, batch=2)

    assert len(done["deployment_ids"]) == 2
    assert sent(sandbox).count("POST /v2/tasks/delete") == 2
    assert len(tasks_of(do)) == 1


def test_tasks_killed_without_scaling_are_replaced(sandbox: launch.Running, do: Do) -> None:
    do(marathon_app, app=sandbox.app(instances=2))
    ids = tasks_of(do)

    done = do(marathon_tasks_delete, ids=ids[:1])

    assert done["deployment_ids"] == []
    settled = do(marathon_app, app=sandbox.app(instances=2))
    assert settled["tasks"]["settled"] == 2
    assert ids[0] not in tasks_of(do)


def test_several_batches_without_waiting_are_refused(sandbox: launch.Running, do: Do) -> None:
    do(marathon_app, app=sandbox.app(instances=2))

    refused = do(marathon_tasks_delete, ids=tasks_of(do), batch=1, wait=False)

    assert refused["failure"]["code"] == "invalid_option"
    assert len(tasks_of(do)) == 2


def test_apps_are_found_by_group_label_or_id(sandbox: launch.Running, do: Do) -> None:
    for number, group in enumerate(["team/web", "team/web", "other"]):
        labels = {"HAPROXY_DEPLOYMENT_GROUP": group, "n": str(number)}
        do(marathon_app, app=sandbox.app(id=f"/a{number}", instances=0, labels=labels))

    def found(**options: Any) -> list[str]:
        return [app["id"] for app in do(marathon_app_info, **options)["apps"]]

    assert found(group="team/web") == ["/a0", "/a1"]
    assert found(label="n in (1, 2)") == ["/a1", "/a2"]
    assert found(app_id="a2") == ["/a2"]
    assert found(app_id="/none") == []
    assert found() == ["/a0", "/a1", "/a2"]
    assert len(do(marathon_app_info, app_id="/a0", versions=True)["apps"][0]["versions"]) == 1


def test_wrong_credentials_are_told_as_such() -> None:
    with launch.start(http_credentials="me:hush:hush") as sandbox:

        def apps(**options: Any) -> dict[str, Any]:
            return operate(marathon_app_info, marathon_url=sandbox.marathon, **options)

        refused = apps(url_username="me", url_password="wrong")

        assert refused["failure"]["code"] == "not_authorized"
        assert "wrong" not in refused["msg"]
        assert apps(url_username="me", url_password="hush:hush")["apps"] == []


def test_dcos_lets_users_and_service_accounts_in_and_a_login_that_expires_is_renewed() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with launch.start(dcos_auth=True) as sandbox:
        (url, *_others) = sandbox.marathon
        account = {"uid": "robot", "private_key": private.decode(), "login_endpoint": f"{url}/acs/api/v1/auth/login"}
        requests.put(f"{url}/acs/api/v1/users/robot", json={"public_key": public.decode()}, timeout=10)
        forged = {**account, "private_key": _another_key()}

        assert operate(marathon_app_info, marathon_url=[url])["failure"]["code"] == "not_authorized"
        assert operate(marathon_app_info, marathon_url=[url], dcos_service_account=account)["apps"] == []
        refused = operate(marathon_app_info, marathon_url=[url], dcos_service_account=forged)
        assert refused["failure"]["code"] == "not_authorized"

        user = {"marathon_url": [url], "dcos_url": url, "dcos_username": "me", "dcos_password": "hush"}
        app = sandbox.app(instances=1, env={"VERSION": "1", "HEALTHY_AFTER": "4"})
        result: dict[str, Any] = {}
        waiter = threading.Thread(target=lambda: result.update(operate(marathon_app, app=app, **user)))
        waiter.start()
        wait_for(lambda: operate(marathon_app_info, app_id="/web", **user)["apps"])
        sandbox.fault("auth_expire")
        waiter.join(PATIENCE)

        assert result["tasks"]["settled"] == 1


def _another_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
