# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each call: what is sent, what is sent again, and what an error says."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.zdd.rollout.plugins.module_utils._errors import (
    InvalidInput,
    Locked,
    NotFound,
    OperationError,
    Rejected,
    Unreachable,
)
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.client import MARATHON_SPEC, Marathon
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import Clock, Reply, Request, serving

RECORDINGS = next(
    folder / "recordings"
    for folder in Path(__file__).resolve().parents
    if (folder / "recordings" / "errors.json").is_file()
)


def marathon(url: str, **options: Any) -> Marathon:
    given = {"marathon_url": [url], **options}
    validation = ArgumentSpecValidator(MARATHON_SPEC).validate(given)
    assert not validation.error_messages
    return Marathon.from_params(validation.validated_parameters, Clock().context())


def replies(*given: Reply) -> Callable[[Request], Reply]:
    """Answer with one after the other."""
    left = iter(given)
    return lambda _request: next(left)


def test_an_app_is_asked_for_with_all_that_is_shown_of_it() -> None:
    with serving(lambda _request: (200, {"app": {"id": "/shop/web"}})) as server:
        assert marathon(server.url).app("shop/web") == {"id": "/shop/web"}

        assert server.got[0].path == "/v2/apps/shop/web"
        assert "app.lastTaskFailure" in server.got[0].query["embed"]


@pytest.mark.parametrize(
    ("call", "sent"),
    [
        (
            lambda m: m.update_app("/a", {"cmd": "x"}, partial=False),
            ("PUT", "/v2/apps/a", {"partialUpdate": ["false"]}),
        ),
        (lambda m: m.update_app("/a", {"cmd": "x"}, force=True), ("PUT", "/v2/apps/a", {"force": ["true"]})),
        (lambda m: m.delete_app("/a", force=False), ("DELETE", "/v2/apps/a", {"force": ["false"]})),
        (lambda m: m.kill_tasks(["t"], wipe=True), ("POST", "/v2/tasks/delete", {"wipe": ["true"]})),
        (lambda m: m.kill_and_scale(["t"], {"/a": 2}), ("POST", "/v2/tasks/delete", {"scale": ["true"]})),
        (lambda m: m.cancel_deployment("d"), ("DELETE", "/v2/deployments/d", {})),
        (lambda m: m.restart_app("/a"), ("POST", "/v2/apps/a/restart", {})),
    ],
)
def test_a_change_returns_its_deployment(call: Callable[[Marathon], Any], sent: tuple[Any, ...]) -> None:
    with serving(lambda _request: (200, {"deploymentId": "d1"}, {"Marathon-Deployment-Id": "d1"})) as server:
        assert call(marathon(server.url)) == "d1"

        request = server.got[0]
        assert (request.method, request.path, request.query) == sent


def test_scaling_sends_again_what_a_partial_update_forgets() -> None:
    app = {"id": "/a", "instances": 1, "executorResources": {"cpus": 0.1}, "resourceLimits": {}}
    with serving(replies((200, {"app": app}), (200, {}), (200, {}))) as server:
        client = marathon(server.url)
        client.scale_app("/a", 3)
        client.scale_app("/a", 4, app={"id": "/a"})

        assert [request.body for request in server.got] == [
            None,
            {"instances": 3, "executorResources": {"cpus": 0.1}},
            {"instances": 4},
        ]


def test_a_creation_whose_answer_was_lost_is_found_to_be_done() -> None:
    app = {"id": "/a", "cmd": "sleep 10", "instances": 1}
    exists = {"message": "An app with id [/a] already exists."}
    with serving(replies(None, (409, exists), (200, {"app": app}))) as server:
        assert marathon(server.url).create_app(app) == app


def test_a_creation_finds_another_app_of_that_name_and_says_so() -> None:
    exists = {"message": "An app with id [/a] already exists."}
    other = {"id": "/a", "cmd": "somebody else's", "instances": 1}
    with serving(replies(None, (409, exists), (200, {"app": other}))) as server, pytest.raises(Rejected) as refused:
        marathon(server.url).create_app({"id": "/a", "cmd": "mine", "instances": 1})

    assert refused.value.code == "already_exists"


@pytest.mark.parametrize("lost", [None, (503, "busy")])
def test_tasks_are_not_killed_twice_where_the_lost_answer_was_for_a_kill_that_was_done(lost: Reply) -> None:
    """A task that is dying would lower the count once more."""
    with serving(replies(lost, (200, {"app": {"id": "/a", "instances": 2}}))) as server:
        assert marathon(server.url).kill_and_scale(["t"], {"/a": 3}) is None

        assert [request.method for request in server.got] == ["POST", "GET"]


def test_tasks_are_killed_again_where_the_first_request_was_lost() -> None:
    same = (200, {"app": {"id": "/a", "instances": 3}})
    with serving(replies(None, same, (200, {"deploymentId": "d1"}))) as server:
        assert marathon(server.url).kill_and_scale(["t"], {"/a": 3}) == "d1"

        assert [request.method for request in server.got] == ["POST", "GET", "POST"]


def test_a_removal_whose_answer_was_lost_is_found_to_be_done() -> None:
    gone = (404, {"message": "App '/a' does not exist"})
    with serving(replies(None, gone, gone)) as server:
        client = marathon(server.url)
        assert client.delete_app("/a") is None
        with pytest.raises(NotFound):
            client.delete_app("/a")


def test_a_restart_is_not_sent_twice() -> None:
    with serving(lambda _request: None) as server:
        with pytest.raises(Unreachable):
            marathon(server.url).restart_app("/a")

        assert len(server.got) == 1


def recorded_errors() -> list[Any]:
    steps = json.loads((RECORDINGS / "errors.json").read_text())["steps"]
    return [pytest.param(step["response"], id=step["about"]) for step in steps if step["response"]["status"] >= 400]


@pytest.mark.parametrize("response", recorded_errors())
def test_each_recorded_refusal_is_told_with_all_its_words(response: dict[str, Any]) -> None:
    status, body = response["status"], response["body"]
    with serving(lambda _request: (status, body)) as server, pytest.raises(OperationError) as refused:
        marathon(server.url).update_app("/a", {})

    error = refused.value
    assert isinstance(error, NotFound if status == 404 else Rejected)
    assert body["message"] in error.message
    assert (error.system, error.request, error.status) == (server.url, "PUT /v2/apps/a", status)
    for item in body["details"] if isinstance(body.get("details"), list) else []:
        assert f"\n{item['path']}: {item['errors'][0]}" in error.message


def test_a_lock_is_told_from_an_app_that_exists_by_its_deployments() -> None:
    locked = {"message": "App is locked by one or more deployments.", "deployments": [{"id": "d1"}, {"id": "d2"}]}
    with serving(lambda _request: (409, locked)) as server, pytest.raises(Locked) as refused:
        marathon(server.url).update_app("/a", {})

    assert refused.value.detail == ["d1", "d2"]
    assert "d1, d2" in refused.value.message


def test_an_unknown_uri_is_an_answer_not_a_failure_of_the_server() -> None:
    with serving(lambda _request: (500, {"message": "URI not found"})) as server:
        with pytest.raises(Rejected, match="URI not found"):
            marathon(server.url).info()

        assert len(server.got) == 1


SECRET = "hush/hush@%"


@pytest.mark.parametrize(
    ("in_url", "options"),
    [("", {"url_username": "me", "url_password": SECRET}), ("me:hush%2Fhush%40%25@", {}), ("", {"auth_token": SECRET})],
)
def test_credentials_are_sent_and_never_shown(in_url: str, options: dict[str, str]) -> None:
    with serving(lambda _request: (401, "<h1>Unauthorized</h1>")) as server:
        url = server.url.replace("://", f"://{in_url}")
        with pytest.raises(Rejected) as refused:
            marathon(url, **options).info()
        sent = server.got[0].headers["Authorization"]

    expected = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert sent == (f"token={SECRET}" if "auth_token" in options else f"Basic {expected}")
    assert refused.value.code == "not_authorized"
    assert "hush" not in refused.value.message + json.dumps(refused.value.failure())


def test_dcos_is_asked_for_a_token_and_again_when_it_has_expired() -> None:
    tokens = iter(["first", "second"])
    valid = {"token=first"}

    def answer(request: Request) -> Reply:
        if request.path == "/acs/api/v1/auth/login":
            return 200, {"token": next(tokens)}
        return (200, {"version": "1"}) if request.headers["Authorization"] in valid else (401, {"message": "expired"})

    with serving(answer) as server:
        client = marathon(server.url, dcos_url=server.url, dcos_username="me", dcos_password=SECRET)
        client.info()
        valid.clear()
        valid.add("token=second")
        client.info()

        assert server.got[0].body == {"uid": "me", "password": SECRET}
        assert server.paths().count("POST /acs/api/v1/auth/login") == 2


def test_a_service_account_logs_in_with_a_token_signed_by_its_key() -> None:
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()

    def answer(request: Request) -> Reply:
        return 200, {"token": "t"} if request.path == "/login" else {"version": "1"}

    with serving(answer) as server:
        account = {"uid": "robot", "private_key": pem, "login_endpoint": f"{server.url}/login"}
        marathon(server.url, dcos_service_account=json.dumps(account)).info()
        login = server.got[0].body

    head, claims, signature = login["token"].split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert decoded["uid"] == login["uid"] == "robot"
    key.public_key().verify(
        base64.urlsafe_b64decode(signature + "=="), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )


def test_a_login_that_is_refused_says_where_and_not_with_what() -> None:
    with serving(lambda _request: (401, {"title": "Bad login"})) as server:
        client = marathon(server.url, dcos_url=server.url, dcos_username="me", dcos_password=SECRET)
        with pytest.raises(Rejected) as refused:
            client.info()

    assert refused.value.code == "not_authorized"
    assert server.url in refused.value.message
    assert "hush" not in refused.value.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url_password": "x"}, "url_username"),
        ({"dcos_username": "x"}, "dcos_url"),
        ({"dcos_service_account": {"uid": "x"}}, "private_key"),
        ({"url_username": "a", "url_password": "b", "auth_token": "c"}, "one kind of login"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_sent(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        marathon("http://127.0.0.1:1", **options)


def test_an_address_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(InvalidInput) as refused:
        marathon("ftp://me:hush@host")

    assert "hush" not in refused.value.message


def test_what_was_changed_is_noted_for_a_failure_that_comes_later() -> None:
    """Reading is none, nor is what Marathon refuses."""
    validation = ArgumentSpecValidator(MARATHON_SPEC)
    context = Clock().context()
    answers = replies((200, {"app": {}}), (422, {"message": "no"}), (201, {"id": "/a"}))
    with serving(answers) as server:
        params = validation.validate({"marathon_url": [server.url]}).validated_parameters
        client = Marathon.from_params(params, context)
        client.app("/a")
        with pytest.raises(Rejected):
            client.create_app({"id": "/a"})
        assert context.changes == []

        client.create_app({"id": "/a"})

    assert context.changes == ["POST /v2/apps"]
