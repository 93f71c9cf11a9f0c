# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A webhook is told what happens, and cannot do any harm, whatever it does."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.plugin_utils.webhook import post, shown
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import Request, dripping, serving
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.test_operation_action import act

SECRET = "/services/hush-hush"
STEP = {"run": "100.5", "name": "switched", "title": "all traffic goes to /web-green"}
EVENT = {"event": "step"}


def good(_request: Request) -> tuple[int, Any]:
    return 200, "ok"


def look(_params: Any, context: Context) -> dict[str, Any]:
    """An operation that has seen something."""
    context.sample("evidence", text="every LB shows it")
    context.sample("decision", text="go on", reason="it is good")
    return {"changed": True, "sessions": 3}


def told(url: str, *, before: list[dict[str, Any]] | None = None, answer: Any = look, **more: Any) -> dict[str, Any]:
    """The result of a task of a step with a webhook; ``before`` is the journal so far."""
    hook = {"url": url, "headers": {}, "events": [], "timeout": 2.0, "about": {"group": "web"}, **more}
    variables = {
        "inventory_hostname": "east",
        "zdd_rollout_step": STEP,
        "zdd_rollout_webhook": hook,
        "ansible_facts": {"zdd_rollout_journal": before or []},
    }
    return act(answer, {"name": "n"}, variables=variables)


def test_an_event_is_posted_as_json_with_the_headers() -> None:
    with serving(good) as server:
        assert post(f"{server.url}{SECRET}", {"Authorization": "Bearer x", "X-Number": 5}, EVENT, 5) is None

    (request,) = server.got
    assert (request.method, request.path, request.body) == ("POST", SECRET, EVENT)
    assert (request.headers["Authorization"], request.headers["X-Number"]) == ("Bearer x", "5")
    assert request.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(("status", "headers"), [(500, {}), (403, {}), (302, {"Location": "/elsewhere"})])
def test_another_answer_than_a_good_one_is_told_and_nothing_is_tried_again(
    status: int, headers: dict[str, str]
) -> None:
    """Nor is it told to whom it points."""
    with serving(lambda _request: (status, "no", headers)) as server:
        assert post(server.url, {}, EVENT, 5) == f"it answered {status}"

    assert len(server.got) == 1


def test_a_slow_one_costs_no_more_than_the_deadline() -> None:
    """One that accepts and is silent, and one whose listener does not even accept."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        started = time.monotonic()
        why = post(f"http://127.0.0.1:{silent.getsockname()[1]}/", {}, EVENT, 0.3)
        spent = time.monotonic() - started

    assert why is not None and ("no answer" in why or "timed out" in why)
    assert spent < 3


def test_one_that_drips_its_answer_costs_no_more_than_the_deadline() -> None:
    """Each byte comes in time; all of them never do."""
    with dripping(b"HTTP/1.1 200 OK\r\nX-Drip: ") as url:
        started = time.monotonic()
        assert post(url, {}, EVENT, 0.5) == "no answer within 0.5 s"
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("no address hush-hush", {}),
        ("file:///hush-hush", {}),
        ("http://[hush-hush", {}),
        ("http://127.0.0.1:hush-hush/", {}),
        ("http://127.0.0.1:9/hush-hush", {}),
        ("http://127.0.0.1:9/", {"X": "hush-hush\r\nY: 1"}),
        ("http://nobody.invalid/hush-hush", {}),
    ],
)
def test_what_is_wrong_is_told_without_a_secret(url: str, headers: dict[str, str]) -> None:
    result = told(url, headers=headers)

    assert not result.get("failed")
    assert len(result["warnings"]) == 1
    assert "The rollout goes on." in result["warnings"][0]
    assert "hush-hush" not in json.dumps(result)


def test_an_address_is_shown_by_host_and_port_only() -> None:
    assert shown("https://me:secret@hooks.example.com:8443/services/secret?token=secret") == (
        "https://hooks.example.com:8443"
    )


def test_a_step_is_told_with_its_evidence_and_the_journal_does_not_have_the_webhook() -> None:
    with serving(good) as server:
        result = told(server.url + SECRET)

    body = server.got[0].body
    assert (body["event"], body["cluster"], body["group"]) == ("step", "east", "web")
    assert (body["name"], body["operation"], body["changed"]) == ("switched", "an_operation", True)
    assert body["evidence"] == ["every LB shows it"]
    assert body["decisions"] == [{"text": "go on", "reason": "it is good"}]
    assert body["text"] == "east web: switched: all traffic goes to /web-green"
    assert "warnings" not in result
    assert "hush" not in json.dumps(result)


def test_one_that_did_not_listen_is_told_no_further_steps() -> None:
    """So it cannot hold up a rollout by more than its deadline."""
    with serving(lambda _request: (500, "no")) as server:
        first = told(server.url)["ansible_facts"]["zdd_rollout_journal"]
        second = told(server.url, before=first)

    assert first[0]["unheard"] is True
    assert len(server.got) == 1
    assert "warnings" not in second


def test_only_wanted_events_are_told() -> None:
    with serving(good) as server:
        told(server.url, events=["promoted", "held"])
        told(server.url, events=["step"])

    assert [request.body["event"] for request in server.got] == ["step"]


def test_a_failed_task_tells_nothing() -> None:
    """The way back comes first; the end of the run is told."""
    with serving(good) as server:
        result = told(server.url, answer=lambda _params, _context: {"failed": True, "changed": False, "msg": "bad"})

    assert server.got == []
    assert result["journal_entry"]["msg"] == "bad"


def test_the_end_is_told_with_the_report_but_not_with_its_points() -> None:
    part = {"result": "rolled back", "series": {"sessions": {}}}
    report = {**part, "reports": [part]}
    hook = {"url": "", "headers": {}, "events": ["rolled_back"], "timeout": 2.0, "about": {"group": "web"}}
    with serving(good) as server:
        variables = {"zdd_rollout_webhook": {**hook, "url": server.url}, "zdd_rollout_event": "rolled back"}
        act(lambda _params, _context: {"report": report, "lines": ["a", "b"]}, {"name": "n"}, variables=variables)

    assert server.got[0].body["event"] == "rolled_back"
    assert server.got[0].body["report"] == {"result": "rolled back", "reports": [{"result": "rolled back"}]}
    assert server.got[0].body["text"].endswith("a\nb")
