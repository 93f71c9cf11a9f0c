# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients see is counted, and compared with what is expected."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.execution import execute
from ansible_collections.zdd.rollout.plugins.module_utils._operations import canary_check
from ansible_collections.zdd.rollout.plugins.module_utils._operations.canary_check import Client, Failure, Split
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import Clock, Reply, Request, serving

Answers = Callable[[Request], Reply]


def check(url: str, context: Context | None = None, **options: Any) -> dict[str, Any]:
    if not any(name.startswith("version_") for name in options):
        options["version_header"] = "X-Version"
    validator = ArgumentSpecValidator(canary_check.ARGUMENT_SPEC, **canary_check.ARGUMENT_RULES)
    validation = validator.validate({"urls": url, **options})
    assert not validation.error_messages, validation.error_messages
    return execute(canary_check, validation.validated_parameters, context or Context())


def dealing(*versions: str) -> Answers:
    """Versions in turn, as a load balancer deals requests out."""
    turn, lock = itertools.cycle(versions), threading.Lock()

    def answer(_request: Request) -> Reply:
        with lock:
            version = next(turn)
        return 200, {"version": version}, {"X-Version": version}

    return answer


def test_the_clients_are_counted_by_the_version_that_they_saw() -> None:
    with serving(dealing("0.9", "0.9", "1.0", "0.9", "0.9")) as lb:
        result = check(lb.url)

    assert result["msg"] == "Out of 100 clients 80 saw 0.9 and 20 saw 1.0"
    assert not result["changed"]
    assert len(lb.got) == 100
    [old, new] = result["split"]["versions"]
    assert (old["version"], old["clients"], old["share_percent"]) == ("0.9", 80, 80)
    assert new["low_percent"] < 20 < new["high_percent"]
    assert result["split"]["text"][2] == "1.0: 20 %, 12.7 % to 29.2 % at a confidence of 95 %"


def test_check_mode_asks_as_well() -> None:
    with serving(dealing("1")) as lb:
        assert check(lb.url, Context(check_mode=True), clients=3)["split"]["answered"] == 3


def test_clients_are_spread_over_all_addresses_and_ask_for_the_whole_path() -> None:
    with serving(dealing("1")) as one, serving(dealing("1")) as two:
        check("", urls=[f"{one.url}/shop/?page=1", two.url], clients=10)

    assert one.paths() == ["GET /shop/"] * 5
    assert one.got[0].query == {"page": ["1"]}
    assert two.paths() == ["GET /"] * 5


def test_requests_carry_the_headers_and_each_has_a_connection_of_its_own() -> None:
    with serving(dealing("1")) as lb:
        check(lb.url, clients=1, host_header="shop.example.com", headers={"X-A": 1}, secret_headers={"X-B": "b"})

    headers = lb.got[0].headers
    assert headers["Host"] == "shop.example.com"
    assert (headers["X-A"], headers["X-B"], headers["Connection"]) == ("1", "b", "close")


@pytest.mark.parametrize(
    ("option", "value", "body", "version"),
    [
        ("version_jmespath", "app.version", {"app": {"version": "1.0"}}, "1.0"),
        ("version_jmespath", "version", {"version": 2}, "2"),
        ("version_regex", r"release (\S+)", "<p>release 1.0 </p>", "1.0"),
        ("version_regex", r"(<p>).*v(?P<version>\d)", "<p>v7</p>", "7"),
    ],
)
def test_the_version_is_found_in_the_body(option: str, value: str, body: Any, version: str) -> None:
    with serving(lambda _request: (200, body)) as lb:
        result = check(lb.url, clients=1, **{option: value})

    assert result["msg"] == f"Out of 1 client 1 saw {version}"


@pytest.mark.parametrize(
    ("option", "value", "body", "cause"),
    [
        ("version_header", "X-Version", "1.0", "no_version"),
        ("version_jmespath", "version", "1.0 <", "unreadable"),
        ("version_jmespath", "version", {"version": None}, "no_version"),
        ("version_jmespath", "version", {"version": {"major": 1}}, "no_version"),
        ("version_jmespath", "version", {"version": True}, "no_version"),
        ("version_jmespath", "sum(version)", {"version": "a"}, "no_version"),
        ("version_regex", "v(.*)", "1.0", "no_version"),
        ("version_regex", "v(.*)", "v  ", "no_version"),
        ("version_regex", "v(.*)", "v" + 1000 * "1", "no_version"),
        ("version_regex", "v(x)?", "v", "no_version"),
    ],
)
def test_an_answer_without_a_version_is_a_failure(option: str, value: str, body: Any, cause: str) -> None:
    with serving(lambda _request: (200, body)) as lb:
        result = check(lb.url, clients=2, **{option: value})

    assert result["failure"]["code"] == "too_many_failures"
    [failure] = result["failure"]["detail"]["failures"]
    assert (failure["cause"], failure["count"]) == (cause, 2)
    assert result["msg"].startswith("Out of 2 clients 2 saw no version: 2 requests failed, max_failures is 0 (2 times")


def test_an_error_is_a_failure_of_the_version_that_it_comes_from() -> None:
    replies = itertools.cycle([(200, "", {"X-Version": "1"}), (500, "", {"X-Version": "2"}), (502, "")])
    context = Context()
    with serving(lambda _request: next(replies)) as lb:
        result = check(lb.url, context, clients=6, parallel=1, max_failures=4)

    assert result["msg"] == "Out of 6 clients 2 saw 1 and 4 saw no version"
    sampled = {kind: values for _ago, kind, values in context.samples.before(context.now())}
    assert sampled == {
        "errors": {"1": {"requests": 2, "errors": 0}, "2": {"requests": 2, "errors": 2}},
        "evidence": {"text": result["msg"]},
    }
    assert [(each["status"], each["version"], each["count"]) for each in result["split"]["failures"]] == [
        (500, "2", 2),
        (502, None, 2),
    ]
    assert result["split"]["versions"][0]["share_percent"] == 100, "a share of those that saw a version"


def test_other_statuses_are_fine_when_they_are_asked_for() -> None:
    with serving(lambda _request: (404, "", {"X-Version": "1"})) as lb:
        assert check(lb.url, clients=1, status=[200, 404])["split"]["answered"] == 1


def test_a_cut_connection_is_counted_and_not_asked_again() -> None:
    replies = itertools.cycle([None, (200, "", {"X-Version": "1"})])
    with serving(lambda _request: next(replies)) as lb:
        result = check(lb.url, clients=10, parallel=1)

    assert len(lb.got) == 10
    [failure] = result["failure"]["detail"]["failures"]
    assert (failure["cause"], failure["count"], failure["status"]) == ("unreachable", 5, None)


def test_the_failures_are_told_apart_by_their_causes() -> None:
    replies = itertools.cycle([(500, ""), (502, ""), (503, ""), (504, "")])
    with serving(lambda _request: next(replies)) as lb:
        result = check(lb.url, clients=9, parallel=1, max_failures=8)

    assert "9 requests failed, max_failures is 8 (3 times" in result["msg"]
    assert result["msg"].endswith(", and 1 other causes).")


@pytest.mark.parametrize(
    ("expect", "tolerance", "problem"),
    [
        ({"1": 80, "2": 20}, None, None),
        ({"1": "80", "2": "20"}, None, None),
        ({"2": 20}, None, None),
        ({"2": 28}, None, None),
        ({"2": 50}, None, "2 was expected at 50 %, seen at 20 % (12.7 % to 29.2 % at a confidence of 95 %)"),
        ({"2": 28}, 5, "2 was expected at 28 %, seen at 20 % (tolerance 5 percentage points)"),
        ({"2": 25}, 5, None),
        ({"1": 100}, None, "1 was expected at 100 %, seen at 80 %"),
        ({"1": 100}, 20, None),
        ({"1": 80, "3": 20}, 5, "3 was expected at 20 %, seen at 0 %"),
        ({"1": 80, "3": 0}, 5, None),
        ({"1": 78, "3": 2}, None, None),
        ({"1": 80, "2": 10}, 9, "2 was expected at 10 %"),
        ({"1": 80, "3": 5}, 6, None),
        ({"1": 90, "3": 10}, 12, "other versions (2) were expected at 0 %, seen at 20 %"),
    ],
)
def test_the_shares_are_compared_with_the_expected_ones(
    expect: dict[str, Any], tolerance: float | None, problem: str | None
) -> None:
    with serving(dealing("1", "1", "2", "1", "1")) as lb:
        result = check(lb.url, expect=expect, tolerance=tolerance)

    if problem is None:
        assert not result.get("failed"), result["msg"]
    else:
        assert result["failure"]["code"] == "unexpected_split"
        assert result["msg"].startswith("Out of 100 clients 80 saw 1 and 20 saw 2: ")
        assert problem in result["msg"]


def test_no_version_must_be_seen_beside_those_that_make_up_all() -> None:
    with serving(dealing(*["1"] * 49, "2", *["1"] * 49, "3")) as lb:
        result = check(lb.url, expect={"1": 99, "2": 1})

    assert "other versions (3) were expected at 0 %, seen at 1 %" in result["msg"]


def test_an_expectation_is_not_met_by_clients_that_saw_nothing() -> None:
    with serving(lambda _request: (200, "")) as lb:
        result = check(lb.url, clients=2, expect={"1": 0}, max_failures=2)

    assert result["failure"]["code"] == "unexpected_split"
    assert "no version was seen" in result["msg"]


def sticking(*, keeps: bool) -> Answers:
    """The first answer is from version 1 or 2 in turn and gives a cookie that a later one may follow."""
    turn, lock = itertools.cycle("12"), threading.Lock()

    def answer(request: Request) -> Reply:
        given = request.headers.get("Cookie", "").removeprefix("server=")
        with lock:
            version = next(turn) if not given else given if keeps else "1"
        return 200, "", {"X-Version": version, "Set-Cookie": f"server={version}; path=/"}

    return answer


@pytest.mark.parametrize("host", [None, "shop.example.com"])
def test_a_client_that_keeps_its_cookies_stays_on_what_it_has_seen(host: str | None) -> None:
    with serving(sticking(keeps=True)) as lb:
        result = check(lb.url, clients=10, requests_per_client=4, sticky_versions=["1", "2"], host_header=host)

    assert result["msg"] == "Out of 10 clients 5 saw 1 and 5 saw 2"
    assert {each["version"]: (each["requests"], each["left"]) for each in result["split"]["versions"]} == {
        "1": (20, 0),
        "2": (20, 0),
    }


def test_a_client_that_is_sent_elsewhere_is_one_that_left() -> None:
    with serving(sticking(keeps=False)) as lb:
        result = check(lb.url, clients=10, parallel=1, requests_per_client=4, sticky_versions=["1", "2"])

    assert result["failure"]["code"] == "not_sticky"
    assert "5 clients that saw 2 got another version afterwards" in result["msg"]
    assert "that saw 1 " not in result["msg"], "who comes to a version late has not left it"
    counted = {each["version"]: each["clients"] for each in result["failure"]["detail"]["versions"]}
    assert counted == {"1": 5, "2": 5}, "a client counts for the version that answered it first"


def test_a_sticky_version_that_nobody_saw_is_a_warning() -> None:
    context = Context()
    with serving(dealing("1")) as lb:
        check(lb.url, context, clients=2, requests_per_client=2, sticky_versions=["2"])

    assert context.warnings == ["No client saw 2, so it was not seen whether clients stay on it."]


def test_all_that_is_wrong_is_said_at_once() -> None:
    replies = itertools.cycle([(200, "", {"X-Version": "1"}), (500, "")])
    with serving(lambda _request: next(replies)) as lb:
        result = check(lb.url, clients=4, parallel=1, expect={"2": 100})

    assert result["failure"]["code"] == "too_many_failures"
    assert "2 requests failed" in result["msg"]
    assert "2 was expected at 100 %" in result["msg"]


def test_when_the_time_is_over_it_says_how_far_it_came() -> None:
    def answer(_request: Request) -> Reply:
        time.sleep(0.2)
        return 200, "", {"X-Version": "1"}

    with serving(answer) as lb:
        result = check(lb.url, clients=1000, parallel=2, wait_timeout=1)

    assert result["failure"]["code"] == "deadline_passed"
    detail = result["failure"]["detail"]
    assert 1 <= detail["answered"] < 1000
    assert detail["failures"] == [], "what the deadline cuts off is no failure of the load balancer"
    assert f"{1000 - detail['answered']} of 1000 clients had not asked all" in result["msg"]


def test_when_nobody_was_answered_in_time_nothing_is_made_up() -> None:
    released = threading.Event()

    def answer(_request: Request) -> Reply:
        released.wait(60)
        return None

    with serving(answer) as lb:
        result = check(lb.url, clients=3, wait_timeout=0.3)
        released.set()

    assert result["failure"]["code"] == "deadline_passed"
    assert result["msg"].endswith("3 of 3 clients had not asked all they were to ask. No client was answered.")


def test_a_load_balancer_that_never_answers_ends_with_the_timeout_of_a_request() -> None:
    released = threading.Event()

    def answer(_request: Request) -> Reply:
        released.wait(60)
        return None

    with serving(answer) as lb:
        started = time.monotonic()
        result = check(lb.url, clients=2, timeout=0.3)
        took = time.monotonic() - started
        released.set()

    assert took < 30, "it is not asked until the server gives up"
    assert result["failure"]["code"] == "too_many_failures"


def test_the_rate_is_kept() -> None:
    clock = Clock()
    with serving(dealing("1")) as lb:
        check(lb.url, clock.context(), clients=20, parallel=1, requests_per_second=4)

    assert clock.time - 1000 == pytest.approx(19 / 4)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"clients": 0}, "clients"),
        ({"requests_per_client": 0}, "requests_per_client"),
        ({"parallel": 1000}, "parallel"),
        ({"max_failures": -1}, "max_failures"),
        ({"tolerance": -1}, "tolerance"),
        ({"confidence": 95}, "confidence"),
        ({"confidence": 0}, "confidence"),
        ({"timeout": 0}, "timeout"),
        ({"wait_timeout": 0}, "wait_timeout"),
        ({"requests_per_second": 0}, "requests_per_second"),
        ({"requests_per_second": 0.1}, "1000 s, which is more than wait_timeout (300 s)"),
        ({"sticky_versions": "1"}, "requests_per_client"),
        ({"expect": {"1": "many"}}, "1: 'many'"),
        ({"expect": {"1": True}}, "1: True"),
        ({"expect": {"1": -1}}, "1: -1"),
        ({"expect": {"1": 60, "2": 60}}, "120 %"),
        ({"version_regex": "("}, "no regular expression"),
        ({"version_regex": "v1"}, "has no group"),
        ({"version_jmespath": "["}, "no JMESPath"),
        ({"urls": []}, "urls is empty"),
        ({"urls": "lb:10000"}, "lb:10000"),
        ({"urls": "http://me:secret@lb:10000"}, "credentials"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anybody_asks(options: dict[str, Any], named: str) -> None:
    with serving(dealing("1")) as lb:
        result = check(lb.url, **options)

    assert result["failure"]["code"] == "invalid_option"
    assert named in result["msg"]
    assert "secret" not in result["msg"]
    assert lb.got == []


VERSIONS = st.sampled_from(["0.9", "1.0", "1.1"])
FAILURES = st.builds(Failure, st.sampled_from(["status", "unreachable"]), st.sampled_from(["a", "b"]))
CLIENTS = st.lists(st.builds(Client, st.lists(VERSIONS), st.lists(FAILURES), st.just(True)), max_size=30)


@given(CLIENTS)
def test_nothing_is_counted_twice_and_nothing_is_lost(clients: list[Client]) -> None:
    described = Split(clients, len(clients), 0.95).described()

    assert sum(each["clients"] for each in described["versions"]) == described["answered"]
    assert described["answered"] == sum(bool(client.versions) for client in clients)
    counted = [
        *(each["requests"] for each in described["versions"]),
        *(each["count"] for each in described["failures"]),
    ]
    assert sum(counted) == described["requests"]
    assert described["requests"] == sum(len(client.versions) + len(client.failures) for client in clients)
    assert all(each["left"] <= sum(each["version"] in client.versions for client in clients)
               for each in described["versions"])  # fmt: skip


@given(st.lists(st.text("ab", min_size=3, max_size=6), min_size=11, max_size=40))
def test_many_versions_make_no_long_sentence(versions: list[str]) -> None:
    assert Split([], 3, 0.95).summary() == "No client was answered"
    summary = Split([Client([version], finished=True) for version in versions], len(versions), 0.95).summary()

    assert summary.count(" saw ") <= 11
