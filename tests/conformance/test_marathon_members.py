# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's members: leader and standby, authentication, faults, and the log of requests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.sandbox.marathon.client import Client, definition
from tests.sandbox.marathon.threaded import Threaded, running

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def marathon(tmp_path: Path) -> Iterator[Threaded]:
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def client(marathon: Threaded) -> Client:
    return Client(marathon.urls[0])


@contextmanager
def stream(url: str, *types: str) -> Iterator[requests.Response]:
    with requests.get(
        f"{url}/v2/events", params={"event_type": types}, headers=STREAM, stream=True, timeout=30
    ) as answer:
        assert answer.status_code == 200
        yield answer


def read(answer: requests.Response, count: int | None = None) -> list[dict[str, Any]]:
    """So many events, or all until the stream is cut."""
    events: list[dict[str, Any]] = []
    try:
        for line in answer.iter_lines(chunk_size=1):
            if line.startswith(b"data: "):
                events.append(json.loads(line[6:]))
            if count is not None and len(events) >= count:
                break
    except requests.RequestException:
        return events  # cut off: what the caller asked for
    return events


# Leader and standby


def test_a_standby_hands_on_requests_and_redirects_the_stream(tmp_path: Path) -> None:
    """A change made at any member is seen at all; event streams are the leader's."""
    with running(tmp_path, members=3) as marathon:
        leader, standby, other = (Client(url) for url in marathon.urls)
        created = standby.ask("POST", "/v2/apps", definition("/handed", instances=0))

        assert created.status_code == 201
        assert created.headers["X-Marathon-Leader"] == leader.url
        assert "X-Marathon-Via" in created.headers
        assert other.app("/handed")["id"] == "/handed"
        assert standby.json("GET", "/v2/leader") == {"leader": leader.url.removeprefix("http://")}
        events = standby.session.get(
            f"{standby.url}/v2/events?event_type=x", headers=STREAM, timeout=30, allow_redirects=False
        )
        assert (events.status_code, events.headers["Location"]) == (302, f"{leader.url}/v2/events?event_type=x")


def test_a_change_of_leader_keeps_tasks_and_deployments_and_forgets_health(tmp_path: Path) -> None:
    """The old leader refuses connections, the new one goes on; results come with the next check."""
    with running(tmp_path, members=2) as marathon:
        old, new = (Client(url) for url in marathon.urls)
        old.create(definition("/kept", instances=2))
        before = old.running("/kept")
        marathon.call(marathon.standin.no_offers)
        deployment = old.json("PUT", "/v2/apps/kept", {"instances": 3})["deploymentId"]

        with stream(old.url) as answer:
            marathon.call(marathon.standin.leader_change, 1)
            read(answer)  # ends: the stream is cut
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{old.url}/ping", timeout=5)
        app = new.app("/kept")  # held until there is a leader

        assert {one["id"] for one in app["tasks"]} == set(before)
        assert app["tasksHealthy"] == 0
        assert [one["id"] for one in new.json("GET", "/v2/deployments")] in ([deployment], [])
        assert new.json("GET", "/v2/leader") == {"leader": new.url.removeprefix("http://")}
        marathon.call(marathon.standin.clear_faults)
        new.until(lambda: new.app("/kept"), lambda seen: seen["tasksHealthy"] == 3)
        assert set(before) < set(new.running("/kept"))
        old.until(lambda: old.ask("GET", "/v2/info").status_code, lambda status: status == 200)


def test_a_restart_goes_on_under_a_new_leader(tmp_path: Path) -> None:
    """The plan begins anew and takes up what was done."""
    with running(tmp_path, members=2) as marathon:
        client = Client(marathon.urls[1])
        first = client.create(definition("/rolling", instances=3))["version"]
        client.json("PUT", "/v2/apps/rolling", {"env": {"VERSION": "2"}})
        client.until(lambda: len(client.running("/rolling")), lambda count: count > 3)

        marathon.call(marathon.standin.leader_change, 0.3)

        app = client.deployed("/rolling")
        client.until(lambda: client.app("/rolling"), lambda seen: seen["tasksHealthy"] == 3)
        assert all(one["version"] > first for one in app["tasks"] if one["state"] == "TASK_RUNNING")
        assert len(client.running("/rolling")) == 3


def test_without_a_leader_a_standby_answers_502(tmp_path: Path) -> None:
    """After a while of waiting for one."""
    with running(tmp_path, members=2) as marathon:
        client = Client(marathon.urls[1])
        marathon.call(marathon.standin.leader_change, 60)

        assert client.ask("GET", "/v2/apps").status_code == 502

        marathon.call(marathon.standin.clear_faults)
        client.until(lambda: client.ask("GET", "/v2/apps").status_code, lambda status: status == 200)


def test_an_only_member_that_abdicates_is_away_and_comes_back(client: Client) -> None:
    """Its process ends and is started again; the apps are still there."""
    client.json("POST", "/v2/apps", definition("/still", instances=0))

    assert client.json("DELETE", "/v2/leader") == {"message": "Leadership abdicated"}

    def answers() -> bool:
        try:
            return requests.get(f"{client.url}/ping", timeout=5).ok
        except requests.ConnectionError:
            return False

    client.until(answers, lambda seen: not seen)
    client.until(answers, bool)
    assert client.app("/still")["id"] == "/still"


# Authentication


def test_basic_authentication_guards_every_path(tmp_path: Path) -> None:
    """Without, and with wrong credentials, 401 with the realm; a password may contain a colon."""
    with running(tmp_path, credentials="user:pass:word") as marathon:
        url = marathon.urls[0]
        for path in ("/v2/apps", "/ping", "/v2/events"):
            refused = requests.get(f"{url}{path}", headers=STREAM, timeout=5)
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert requests.get(f"{url}/v2/apps", auth=("user", "word"), timeout=5).status_code == 401
        assert requests.get(f"{url}/v2/apps", auth=("user", "pass:word"), timeout=5).status_code == 200


def login(url: str, **body: str) -> requests.Response:
    return requests.post(f"{url}/acs/api/v1/auth/login", json=body, timeout=5)


def test_a_dcos_token_is_needed_and_can_expire(tmp_path: Path) -> None:
    """Login by user and password; an expired token is refused, a new one taken."""
    with running(tmp_path, credentials="user:secret", dcos_auth=True) as marathon:
        url = marathon.urls[0]
        refused = requests.get(f"{url}/v2/apps", timeout=5)
        assert (refused.status_code, list(refused.json())) == (401, ["message"])
        assert login(url, uid="user", password="wrong").status_code == 401
        for _index in range(2):
            headers = {"Authorization": f"token={login(url, uid='user', password='secret').json()['token']}"}
            assert requests.get(f"{url}/v2/apps", headers=headers, timeout=5).status_code == 200
            marathon.call(marathon.standin.auth_expire)
            assert requests.get(f"{url}/v2/apps", headers=headers, timeout=5).status_code == 401


def test_a_service_account_signs_with_its_own_key(tmp_path: Path) -> None:
    """RS256 by the registered key; another key, another user, an expired claim and another method are refused."""
    own, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _index in range(2))
    public = own.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    soon = int(time.time()) + 300
    with running(tmp_path, dcos_auth=True) as marathon:
        url = marathon.urls[0]
        body = {"public_key": public.decode()}
        assert requests.put(f"{url}/acs/api/v1/users/robot", json=body, timeout=5).status_code == 201

        def status(key: Any, algorithm: str = "RS256", **claims: Any) -> int:
            token = jwt.encode({"uid": "robot", "exp": soon, **claims}, key, algorithm=algorithm)
            return login(url, uid="robot", token=token).status_code

        assert status(own) == 200
        assert status(other) == 401
        assert status(own, uid="someone") == 401
        assert status(own, exp=1) == 401
        assert status("a secret that is long enough for HS256", "HS256") == 401


# Faults


def test_a_status_fault_holds_for_so_many_requests_of_a_path(marathon: Threaded, client: Client) -> None:
    """Nothing is done meanwhile."""
    marathon.call(marathon.standin.marathon_status, 503, count=2, path="/v2/apps")
    fields = definition("/late", instances=0)

    assert client.ask("GET", "/v2/info").status_code == 200
    assert [client.ask("POST", "/v2/apps", fields).status_code for _index in range(3)] == [503, 503, 201]


def test_a_fault_can_be_for_one_client_only(marathon: Threaded) -> None:
    """By a part of its User-Agent."""
    marathon.call(marathon.standin.marathon_status, 500, agent="ansible")

    assert Client(marathon.urls[0], **{"User-Agent": "marathon-lb"}).ask("GET", "/v2/apps").status_code == 200
    assert Client(marathon.urls[0], **{"User-Agent": "ansible-httpget"}).ask("GET", "/v2/apps").status_code == 500


@pytest.mark.parametrize(("after", "applied"), [(False, 404), (True, 200)])
def test_a_dropped_request_may_have_been_applied(marathon: Threaded, client: Client, after: bool, applied: int) -> None:
    """The client sees the same either way."""
    marathon.call(marathon.standin.marathon_drop, count=1, after=after)

    with pytest.raises(requests.ConnectionError):
        client.ask("POST", "/v2/apps", definition("/doubtful", instances=0))

    assert client.ask("GET", "/v2/apps//doubtful").status_code == applied


def test_slow_answers_come_late(marathon: Threaded, client: Client) -> None:
    """And at the usual pace once the fault is cleared."""
    marathon.call(marathon.standin.marathon_slow, 1.0)
    begun = time.monotonic()
    client.ask("GET", "/v2/apps")
    slow = time.monotonic() - begun
    marathon.call(marathon.standin.clear_faults)
    begun = time.monotonic()
    client.ask("GET", "/v2/apps")

    assert slow >= 1.0
    assert time.monotonic() - begun < slow


def test_event_streams_are_cut_and_refused(marathon: Threaded, client: Client) -> None:
    """events_drop cuts once, events_off refuses until it ends."""
    with stream(client.url, "api_post_event") as answer:
        client.json("PUT", "/v2/apps/seen", definition("/seen", instances=0))
        assert [one["uri"] for one in read(answer, 1)] == ["/v2/apps/seen"]
        marathon.call(marathon.standin.events_drop)
        assert read(answer) == []
    with stream(client.url) as answer:
        marathon.call(marathon.standin.events_off)
        read(answer)
    assert client.session.get(f"{client.url}/v2/events", headers=STREAM, timeout=5).status_code == 503
    marathon.call(marathon.standin.clear_faults)
    with stream(client.url):
        pass


def test_a_stream_has_only_the_types_that_were_asked_for(client: Client) -> None:
    """Without a filter it has all."""
    with stream(client.url, "group_change_success", "deployment_success") as answer:
        client.json("POST", "/v2/apps", definition("/typed", instances=0))
        assert {one["eventType"] for one in read(answer, 2)} == {"group_change_success", "deployment_success"}


def test_requests_are_logged_with_their_client(marathon: Threaded) -> None:
    """User-Agent, method, path with query, status; 0 where no answer was given."""
    client = Client(marathon.urls[0], **{"User-Agent": "tester/1"})
    client.ask("GET", "/v2/apps", label="a")
    client.ask("GET", "/v2/apps/none")
    marathon.call(marathon.standin.marathon_drop, count=1)
    with pytest.raises(requests.ConnectionError):
        client.ask("DELETE", "/v2/apps/none")

    log = marathon.call(lambda: list(marathon.standin.requests))

    assert [(one.agent, one.method, one.path, one.status) for one in log] == [
        ("tester/1", "GET", "/v2/apps?label=a", 200),
        ("tester/1", "GET", "/v2/apps/none", 404),
        ("tester/1", "DELETE", "/v2/apps/none", 0),
    ]
    assert sorted(one.time for one in log) == [one.time for one in log]
