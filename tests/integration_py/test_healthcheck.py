# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A health check says what is so, keeps it, tells it, and shows that it is alive; against real servers and files."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._health import files
from ansible_collections.zdd.rollout.plugins.module_utils._health.rules import (
    KINDS,
    STATES,
    Attempt,
    exit_code,
    state_of,
    state_of_all,
)
from ansible_collections.zdd.rollout.plugins.module_utils._operations import healthcheck
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import Request, Serving, dripping, serving
from tests.integration_py.operating import operate

SECRET = "hush-hush"


def good(_request: Request) -> tuple[int, Any]:
    return 200, {"version": "2"}


def bad(_request: Request) -> tuple[int, Any]:
    return 503, "overloaded"


def in_turn(*replies: Callable[[Request], tuple[int, Any]]) -> Callable[[Request], tuple[int, Any]]:
    """One after the other."""
    left = list(replies)

    def answer(request: Request) -> tuple[int, Any]:
        return left.pop(0)(request)

    return answer


def slow(request: Request) -> tuple[int, Any]:
    time.sleep(0.2)
    return good(request)


def target(url: str, kind: str = "proxy", **more: Any) -> dict[str, Any]:
    return {"name": f"a {kind}", "url": url, "from": kind, **more}


def check(*targets: dict[str, Any], **options: Any) -> dict[str, Any]:
    return operate(healthcheck, group="shop", targets=list(targets), **{"attempt_pause": 0, **options})


def free_address() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# The rules.

attempts = st.builds(
    Attempt, seconds=st.floats(0, 3), status=st.just(200), error=st.sampled_from([None, None, "status 503"])
)
seen = st.fixed_dictionaries(
    {"from": st.sampled_from(KINDS), "state": st.sampled_from(STATES), "critical": st.booleans()}
)
all_seen = st.lists(seen, min_size=1, max_size=8).filter(lambda found: any(one["critical"] for one in found))


@given(st.lists(attempts, min_size=1, max_size=6))
def test_a_target_is_down_when_nothing_is_right_and_up_when_all_is_right_and_fast(made: list[Attempt]) -> None:
    wrong = [attempt.error is not None for attempt in made]
    state = state_of(made, slow_seconds=1)

    assert (state == "down") == all(wrong)
    assert (state == "failing") == (any(wrong) and not all(wrong))
    assert (state == "slow") == (not any(wrong) and any((attempt.seconds or 0) > 1 for attempt in made))


@given(all_seen)
def test_all_is_down_only_where_no_way_in_is_left(found: list[dict[str, Any]]) -> None:
    counted = [one for one in found if one["critical"]]
    state = state_of_all(found)

    if state == "down":
        kind = next(kind for kind in KINDS if any(one["from"] == kind for one in counted))
        assert all(one["state"] == "down" for one in counted if one["from"] == kind)
    if state == "up":
        assert all(one["state"] == "up" for one in counted)


@given(all_seen, st.integers(0, 7), st.sampled_from(STATES))
def test_a_target_that_gets_worse_makes_nothing_better(found: list[dict[str, Any]], place: int, worse: str) -> None:
    changed = [dict(one) for one in found]
    one = changed[place % len(changed)]
    one["state"] = max(one["state"], worse, key=exit_code)

    assert exit_code(state_of_all(changed)) >= exit_code(state_of_all(found))


@given(all_seen, st.lists(seen, max_size=4))
def test_what_is_not_critical_does_not_count(found: list[dict[str, Any]], more: list[dict[str, Any]]) -> None:
    assert state_of_all([*found, *({**one, "critical": False} for one in more)]) == state_of_all(found)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ([("proxy", "down"), ("proxy", "up"), ("task", "up")], "failing"),
        ([("proxy", "down"), ("proxy", "down"), ("task", "up")], "down"),
        ([("proxy", "up"), ("task", "down")], "failing"),
        ([("proxy", "up"), ("outside", "down")], "failing"),
        ([("outside", "down"), ("task", "up")], "down"),
        ([("task", "down")], "down"),
        ([("proxy", "up"), ("task", "slow")], "slow"),
        ([("proxy", "failing"), ("task", "slow")], "failing"),
    ],
)
def test_the_verdict_of_some_services(found: list[tuple[str, str]], state: str) -> None:
    assert state_of_all([{"from": kind, "state": one, "critical": True} for kind, one in found]) == state


# What is asked, and what is said of it.


def test_a_service_that_answers_is_up() -> None:
    with serving(good) as server:
        result = check(target(f"{server.url}/health"), target(f"{server.url}/", "task"))

    assert (result["state"], result["exit_code"], result["changed"]) == ("up", 0, False)
    assert result["text"] == "shop is up: 2 of 2 targets are up"
    assert sorted(server.paths()) == ["GET /"] * 3 + ["GET /health"] * 3
    assert json.loads(result["line"])["targets"] == result["targets"]
    assert result["targets"][0]["status"] == 200 and result["targets"][0]["seconds"] > 0


def test_each_state_is_seen_and_a_failing_one_fails_with_all_that_was_seen() -> None:
    with serving(in_turn(good, bad, good)) as flaky, serving(slow) as lame, serving(bad) as ill:
        result = check(
            target(flaky.url, name="flaky"),
            target(lame.url, "task", name="lame", slow_seconds=0.1),
            target(ill.url, "outside", name="ill"),
            target(free_address(), "task", name="gone"),
        )

    assert result["failed"] and result["failure"]["code"] == "unhealthy"
    assert [one["state"] for one in result["targets"]] == ["failing", "slow", "down", "down"]
    assert [one["failures"] for one in result["targets"]] == [1, 0, 3, 3]
    assert (result["state"], result["exit_code"]) == ("failing", 2)
    assert "status 200, got 503" in result["targets"][2]["error"]
    assert result["targets"][3]["error"] == "Connection refused"
    assert result["msg"].startswith("shop is failing: 0 of 4 targets are up; outside ill is down (expected status 200")
    assert "task gone is down (Connection refused, 3 of 3 attempts)" in result["msg"]


@pytest.mark.parametrize(
    ("fail_on", "state", "fails"),
    [(["failing", "down"], "slow", False), (["slow"], "slow", True), ([], "down", False), (["slow"], "down", False)],
)
def test_it_fails_for_the_states_that_are_named(fail_on: list[str], state: str, fails: bool) -> None:
    result = operate(healthcheck, measured=[{"name": "a", "state": state, "from": "task"}], fail_on=fail_on)

    assert (result["state"], bool(result.get("failed"))) == (state, fails)


@pytest.mark.parametrize(
    ("expectation", "state"),
    [
        ({"status": [200, 204]}, "up"),
        ({"status": 503}, "down"),
        ({"body_matches": '"version": *"[0-9]"'}, "up"),
        ({"body_contains": "version 3"}, "down"),
        ({"jmespath": "version == '2'"}, "up"),
        ({"jmespath": "version == '3'"}, "down"),
    ],
)
def test_an_answer_is_compared_with_what_was_expected(expectation: dict[str, Any], state: str) -> None:
    with serving(good) as server:
        result = check(target(server.url, **expectation), fail_on=[])

    assert result["state"] == state


def test_headers_are_sent_and_the_host_may_be_another_one() -> None:
    with serving(good) as server:
        check(
            target(server.url, host_header="shop.example.com", headers={"X-Number": 5}),
            attempts=1,
            secret_headers={"X-Token": SECRET},
        )

    (request,) = server.got
    assert request.headers["Host"] == "shop.example.com"
    assert (request.headers["X-Number"], request.headers["X-Token"]) == ("5", SECRET)


def test_a_redirect_is_not_followed() -> None:
    with serving(lambda _request: (302, "", {"Location": "/elsewhere"})) as server:
        result = check(target(f"{server.url}/old"), attempts=1)

    assert result["state"] == "down"
    assert server.paths() == ["GET /old"]


def test_an_answer_that_never_ends_is_cut_at_the_deadline_and_all_are_asked_at_once() -> None:
    """One after the other these would take 40 deadlines."""
    with dripping(b"HTTP/1.1 200 OK\r\n\r\n") as body, dripping(b"HTTP/1.1 200 OK\r\nX: ") as head:
        begun = time.monotonic()
        result = check(
            *(target(url, name=f"{number}", timeout=0.5) for url in (body, head) for number in range(10)), attempts=2
        )
        took = time.monotonic() - begun

    assert result["state"] == "down"
    assert {one["error"] for one in result["targets"]} == {"no answer within 0.5 s"}
    assert took < 20 * 0.5


def test_a_resolver_that_hangs_is_left_at_the_deadline_and_holds_up_no_other_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()
    resolve = socket.getaddrinfo

    def hanging(host: str, *more: Any, **options: Any) -> Any:
        if host == "nowhere.example.com":
            released.wait(60)
        return resolve(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    with serving(good) as server:
        try:
            result = check(target("http://nowhere.example.com/", timeout=0.3), target(server.url))
        finally:
            released.set()

    assert [one["error"] for one in result["targets"]] == ["no answer within 0.3 s", None]


def test_a_certificate_is_checked_for_the_name_in_the_header(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "shop.example.com")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serving(good, tls) as server:
        unknown = check(target(server.url), attempts=1)
        trusted = check(target(server.url, host_header="shop.example.com"), attempts=1, ca_path=str(certificate))
        other = check(target(server.url, host_header="other.example.com"), attempts=1, ca_path=str(certificate))
        unchecked = check(target(server.url), attempts=1, validate_certs=False)

    assert [result["state"] for result in (unknown, trusted, other, unchecked)] == ["down", "up", "down", "up"]
    assert unknown["targets"][0]["error"].startswith("TLS: ")
    assert "other.example.com" in other["targets"][0]["error"]


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-subj", f"/CN={name}", "-days", "2"),
            *("-addext", f"subjectAltName=DNS:{name}"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key


def test_what_was_measured_elsewhere_counts_as_if_it_were_asked_here() -> None:
    with serving(good) as server:
        elsewhere = check(target(free_address(), name="lb1"), fail_on=[])
        result = check(target(server.url, "task"), measured=elsewhere["targets"])

    assert result["state"] == "down"
    assert [one["name"] for one in result["targets"]] == ["a task", "lb1"]
    assert result["targets"][1] == elsewhere["targets"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": []}, "there is nothing to check"),
        ({"targets": [{**target("http://127.0.0.1"), "critical": False}]}, "No target is critical"),
        ({"targets": [target("127.0.0.1:80")]}, "is no address"),
        ({"targets": [target("http://127.0.0.1:99999")]}, "cannot be read"),
        ({"targets": [target("http://a b/")]}, "has to be encoded"),
        ({"targets": [target("http://127.0.0.1", body_matches="(")]}, "no regular expression"),
        ({"targets": [target("http://127.0.0.1", timeout=0)]}, "timeout of a proxy has to be"),
        ({"targets": [target("http://127.0.0.1")], "attempts": 0}, "attempts has to be from 1"),
        ({"targets": [target("http://127.0.0.1")], "heartbeat_max_age": -1}, "heartbeat_max_age has to be"),
        ({"targets": [target("http://127.0.0.1")], "heartbeat_url": "file:///etc/passwd"}, "is no address"),
        ({"targets": [target("http://127.0.0.1")], "log": "/dev/null"}, "is no file"),
        ({"targets": [target("https://127.0.0.1")], "ca_path": __file__}, "cannot be used"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_anything_is_asked(
    options: dict[str, Any], message: str
) -> None:
    result = operate(healthcheck, **options)

    assert result["failed"] and "state" not in result
    assert message in result["msg"]


def test_credentials_in_an_address_are_refused_and_not_shown() -> None:
    result = check(target(f"http://me:{SECRET}@127.0.0.1/"))

    assert "credentials" in result["msg"] and SECRET not in json.dumps(result)


# The log.


def test_each_check_leaves_one_line_and_one_for_people(tmp_path: Path) -> None:
    log, text = tmp_path / "log", tmp_path / "text"
    with serving(in_turn(good, good, bad, bad, good, good)) as server:
        results = [
            check(target(server.url), attempts=2, fail_on=[], log=str(log), text_log=str(text)) for _time in range(3)
        ]

    assert log.read_text().splitlines() == [result["line"] for result in results]
    assert [(entry["state"], entry["previous"], entry["change"]) for entry in lines(log)] == [
        ("up", None, True),
        ("down", "up", True),
        ("up", "down", True),
    ]
    assert stat.S_IMODE(log.stat().st_mode) == stat.S_IMODE(text.stat().st_mode) == 0o640
    shown = text.read_text().splitlines()
    assert [line.partition(" ")[2].partition(":")[0] for line in shown] == ["shop is up", "shop is down", "shop is up"]
    assert re.match(r"\d{4}-\d\d-\d\dT", shown[0])


def test_services_that_share_a_log_are_told_apart(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    for group, state in (("a", "down"), ("b", "up")):
        operate(healthcheck, group=group, measured=[{"name": "n", "state": state}], fail_on=[], log=log)

    result = operate(healthcheck, group="a", measured=[{"name": "n", "state": "down"}], fail_on=[], log=log)

    assert (result["previous"], result["change"]) == ("down", False)


def test_a_line_that_was_cut_off_spoils_neither_its_neighbours_nor_the_state_before(tmp_path: Path) -> None:
    log = tmp_path / "log"
    measured = [{"name": "n", "state": "slow"}]
    operate(healthcheck, group="g", measured=measured, log=str(log))
    with log.open("a") as file:
        file.write('{"time":"2026-')

    result = operate(healthcheck, group="g", measured=measured, log=str(log))

    assert result["previous"] == "slow"
    assert log.read_text().splitlines()[2] == result["line"]


def test_a_full_log_is_put_aside_once_and_the_state_before_is_known_still(tmp_path: Path) -> None:
    log = tmp_path / "log"
    measured = [{"name": "n", "state": "slow"}]
    results = [
        operate(healthcheck, group="g", measured=measured, log=str(log), log_max_bytes=900) for _time in range(12)
    ]

    old = tmp_path / "log.1"
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]
    assert max(log.stat().st_size, old.stat().st_size) <= 900
    assert [result["previous"] for result in results] == [None, *["slow"] * 11]
    kept = [*old.read_text().splitlines(), *log.read_text().splitlines()]
    assert kept == [result["line"] for result in results][-len(kept) :]


def test_checks_that_run_at_the_same_time_lose_no_line_and_mix_none(tmp_path: Path) -> None:
    """Rotation included: 400 lines of 200 bytes and two files of 60,000 bytes keep more than half of them."""
    log = tmp_path / "log"

    def write(writer: int) -> None:
        for number in range(50):
            files.append(str(log), json.dumps({"writer": writer, "number": number, "fill": "x" * 150}), 60_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    kept = [*lines(tmp_path / "log.1"), *lines(log)]
    for writer in range(8):
        numbers = [entry["number"] for entry in kept if entry["writer"] == writer]
        assert numbers == list(range(50))[len(numbers) * -1 :] if numbers else True
    assert len(kept) > 200


def test_a_log_that_cannot_be_written_is_an_error_and_the_heart_still_beats(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    with serving(good) as server:
        result = check(target(server.url), log=str(tmp_path / "none" / "log"), heartbeat_file=str(beat))

    assert result["failed"] and result["failure"]["code"] == "not_logged"
    assert result["failure"]["detail"]["state"] == "up"
    assert "No such file or directory. shop is up" in result["msg"]
    assert beat.exists()


def test_check_mode_asks_and_leaves_no_trace(tmp_path: Path) -> None:
    with serving(good) as server, serving(good) as listener:
        result = operate(
            healthcheck,
            check_mode=True,
            targets=[target(server.url)],
            log=str(tmp_path / "log"),
            heartbeat_file=str(tmp_path / "beat"),
            heartbeat_url=listener.url,
            webhook_url=listener.url,
        )

    assert result["state"] == "up" and json.loads(result["line"])["state"] == "up"
    assert (listener.got, os.listdir(tmp_path)) == ([], [])


def test_no_secret_gets_into_the_log_or_to_the_webhook(tmp_path: Path) -> None:
    """A server may repeat what it was sent."""
    with serving(lambda request: (500, dict(request.headers))) as echo, serving(good) as listener:
        result = check(
            target(f"{echo.url}/?key={SECRET}"),
            secret_headers={"X-Token": SECRET},
            log=str(tmp_path / "log"),
            text_log=str(tmp_path / "text"),
            webhook_url=f"{listener.url}/services/{SECRET}",
            heartbeat_url=f"{free_address()}{SECRET}",
        )

    assert "X-Token" in result["targets"][0]["error"]
    (request,) = listener.got
    written = [(tmp_path / name).read_text() for name in ("log", "text")]
    assert SECRET not in json.dumps([result, request.body, written])


# Who is told.


def webhook(listener: Serving, log: Path, states: Sequence[str], **options: Any) -> list[str]:
    """The states that the webhook was told."""
    for state in states:
        operate(
            healthcheck,
            group="shop",
            measured=[{"name": "n", "state": state}],
            fail_on=[],
            log=str(log),
            webhook_url=f"{listener.url}/hook",
            **options,
        )
    return [request.body["state"] for request in listener.got]


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("change", ["up", "failing", "up"]),
        ("bad", ["up", "failing", "failing", "up"]),
        ("always", ["up", "up", "failing", "failing", "up", "up"]),
    ],
)
def test_the_webhook_is_told_when_it_is_wanted(tmp_path: Path, moment: str, told: list[str]) -> None:
    states = ["up", "up", "failing", "failing", "up", "up"]
    with serving(good) as listener:
        assert webhook(listener, tmp_path / "log", states, webhook_on=moment) == told
        first = listener.got[0]

    assert (first.method, first.path, first.body["event"]) == ("POST", "/hook", "health")
    assert first.body["text"] == "shop is up: 1 of 1 targets are up"
    assert first.headers["Content-Type"] == "application/json"


def test_a_webhook_that_did_not_listen_is_told_by_the_next_check(tmp_path: Path) -> None:
    with serving(in_turn(good, bad, good)) as listener:
        told = webhook(listener, tmp_path / "log", ["up", "down", "down", "down"])

    assert told == ["up", "down", "down"]
    assert [entry["untold"] for entry in lines(tmp_path / "log")] == [False, True, False, False]


def test_a_webhook_that_is_away_changes_no_verdict(tmp_path: Path) -> None:
    with serving(good) as server, dripping(b"HTTP/1.1 200 OK\r\n") as listener:
        begun = time.monotonic()
        result = check(
            target(server.url), webhook_url=listener, webhook_timeout=0.5, log=str(tmp_path / "log"), attempts=1
        )

    assert result["state"] == "up" and not result.get("failed")
    assert time.monotonic() - begun < 20 * 0.5


# Whether anybody looks at all.


def test_the_sign_of_life_comes_after_each_check_whatever_its_verdict(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    with serving(good) as listener:
        for address in (listener.url, free_address()):
            beat.unlink(missing_ok=True)
            check(target(address), attempts=1, heartbeat_url=f"{listener.url}/ping", heartbeat_file=str(beat))
            assert stat.S_IMODE(beat.stat().st_mode) == 0o640

    assert listener.paths() == ["GET /", "GET /ping", "GET /ping"]


def test_the_heartbeat_file_gets_newer(tmp_path: Path) -> None:
    path = tmp_path / "beat"
    path.touch()
    os.utime(path, (1, 1))

    operate(healthcheck, measured=[{"name": "n", "state": "up"}], heartbeat_file=str(path))

    assert path.stat().st_mtime > 1


@pytest.mark.parametrize("kept_by", ["log", "heartbeat_file"])
def test_a_check_that_did_not_run_is_noticed_by_the_next_one(tmp_path: Path, kept_by: str) -> None:
    path = tmp_path / "kept"
    path.write_text(json.dumps({"time": "2001-01-01T00:00:00+00:00", "group": "shop", "state": "up"}) + "\n")
    os.utime(path, (1, 1))
    options = {kept_by: str(path), "heartbeat_max_age": 3600, "measured": [{"name": "n", "state": "up"}]}
    with serving(good) as listener:
        lenient = operate(healthcheck, group="shop", check_mode=True, **options)
        strict = operate(
            healthcheck, group="shop", fail_on=["down", "gap"], webhook_url=listener.url, webhook_on="bad", **options
        )
        again = operate(healthcheck, group="shop", fail_on=["gap"], **options)

    assert lenient["state"] == "up" and lenient["gap_seconds"] > 3600 and not lenient.get("failed")
    assert strict["failure"]["code"] == "gap" and "in between nobody looked" in strict["msg"]
    assert listener.got[0].body["gap_seconds"] == strict["gap_seconds"]
    assert again["gap_seconds"] is None and not again.get("failed")


def test_the_first_check_of_all_is_no_gap(tmp_path: Path) -> None:
    result = operate(
        healthcheck,
        measured=[{"name": "n", "state": "up"}],
        log=str(tmp_path / "log"),
        heartbeat_max_age=1,
        fail_on=["gap"],
    )

    assert result["gap_seconds"] is None and not result.get("failed")


def test_it_needs_the_standard_library_only() -> None:
    """A proxy host has no requests."""
    program = (
        "import sys, importlib\n"
        "for name in ('requests', 'jmespath', 'jwt', 'cryptography', 'prometheus_client', 'yaml'):\n"
        "    sys.modules[name] = None\n"
        "sys.path[:0] = [sys.argv[1]]\n"
        "importlib.import_module('ansible_collections.zdd.rollout.plugins.module_utils._operations.healthcheck')\n"
    )
    root = Path(healthcheck.__file__).parents[6]
    ran = subprocess.run(
        [sys.executable, "-I", "-c", program, str(root)], capture_output=True, text=True, timeout=60, check=False
    )

    assert ran.returncode == 0, ran.stderr
