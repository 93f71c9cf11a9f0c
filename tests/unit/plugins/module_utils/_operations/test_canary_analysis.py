# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A canary is promoted on evidence only, whatever the source of the numbers says or does not say."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.execution import execute
from ansible_collections.zdd.rollout.plugins.module_utils._operations import canary_analysis

from ..serving import Clock, Request, Serving, serving

NAMES = ("canary_requests", "canary_errors", "baseline_requests", "baseline_errors")
SLOW = ("canary_slow", "baseline_slow")
QUERIES = {name: f"sum({name})" for name in NAMES}
SLOW_QUERIES = {**QUERIES, **{name: f"sum({name})" for name in SLOW}}


def analysed(clock: Clock | Context | None = None, *, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """The result of the operation with these options, on a clock that moves by sleeping only, or in a context."""
    rules = canary_analysis.ARGUMENT_RULES
    validation = ArgumentSpecValidator(canary_analysis.ARGUMENT_SPEC, **rules).validate(options)
    assert not validation.error_messages, validation.error_messages
    context = clock if isinstance(clock, Context) else (clock or Clock()).context(check_mode=check_mode)
    result = execute(canary_analysis, validation.validated_parameters, context)
    return {**result, "warnings": context.warnings}


class Service:
    """What Prometheus has counted: each look finds more, as ``rates`` say; ``value`` makes something else of it."""

    def __init__(self, value: Callable[[str, float, int], Any] | None = None, **rates: float) -> None:
        self.rates = {**dict.fromkeys((*NAMES, *SLOW), 0), "canary_requests": 50, "baseline_requests": 450, **rates}
        self.looks = 0
        self.times: list[list[str]] = []
        self._value = value or (lambda _name, value, _look: {"result": [{"metric": {}, "value": [1.5, f"{value:g}"]}]})

    def answer(self, request: Request) -> tuple[Any, ...]:
        (query,) = request.query["query"]
        name = query.removeprefix("sum(").removesuffix(")")
        if name == NAMES[0]:
            self.looks += 1
        self.times.append(request.query.get("time", []))
        found = self._value(name, 1000 * (name[-8:] == "requests") + self.rates[name] * self.looks, self.looks)
        if isinstance(found, tuple):
            return found
        return 200, {"status": "success", "data": {"resultType": "vector", **found}}


def sample(value: str) -> dict[str, Any]:
    return {"result": [{"metric": {}, "value": [1.5, value]}]}


def by_prometheus(
    service: Service, clock: Clock | Context | None = None, **options: Any
) -> tuple[dict[str, Any], Serving]:
    defaults = {"source": "prometheus", "queries": QUERIES, "wait_timeout": 60}
    with serving(service.answer) as prometheus:
        result = analysed(clock, **{**defaults, "prometheus_url": [prometheus.url], **options})
    return result, prometheus


def detail(result: Mapping[str, Any], code: str) -> dict[str, Any]:
    assert result["failed"], result
    assert result["failure"]["code"] == code, result
    return result["failure"]["detail"]


# Verdicts


def test_a_canary_without_errors_is_promoted_as_soon_as_there_are_enough_requests() -> None:
    result, _prometheus = by_prometheus(Service())
    analysis = result["analysis"]
    assert (analysis["verdict"], analysis["cause"], result["changed"]) == ("promote", None, False)
    assert analysis["canary"]["requests"] == 300  # of 50 each look: the first number that 299 are in
    assert analysis["canary"]["upper_bound"] < 0.01
    assert "0 of 300 requests to the canary failed" in analysis["reason"]


def test_what_was_counted_before_the_first_look_does_not_matter() -> None:
    def value(name: str, count: float, _look: int) -> dict[str, Any]:
        return sample(str(int(count) + (10**6 if "requests" in name else 10**5)))

    result, _prometheus = by_prometheus(Service(value))
    assert result["analysis"]["canary"] == {
        "requests": 300, "errors": 0, "error_rate": 0.0, "slow": None, "lower_bound": 0.0,
        "upper_bound": pytest.approx(0.00994, abs=1e-5),
    }  # fmt: skip


def test_nothing_is_promoted_before_the_bake_is_over_and_then_at_once() -> None:
    clock = Clock()
    result, _prometheus = by_prometheus(Service(), clock, seconds=20.5)
    assert result["analysis"]["verdict"] == "promote"
    assert result["analysis"]["seconds"] == 20.5
    assert any("of the bake are left" in line for line in clock.lines)


def test_a_bad_canary_is_aborted_in_the_middle_of_the_bake() -> None:
    result, _prometheus = by_prometheus(Service(canary_errors=5, baseline_errors=2), seconds=60)
    found = detail(result, "canary_aborted")
    assert (found["verdict"], found["cause"]) == ("abort", "errors")
    assert found["likelihood_ratio"] >= found["ratio_needed"] == 100
    assert found["seconds"] < 10
    assert "likelihood ratio" in result["msg"] and not result["changed"]


def test_a_slow_canary_is_aborted() -> None:
    service = Service(canary_slow=20, baseline_slow=9)
    result, _prometheus = by_prometheus(service, queries=SLOW_QUERIES, max_slow_share=0.1, seconds=60)
    assert detail(result, "canary_aborted")["cause"] == "slow"


def test_a_share_of_slow_requests_that_is_as_before_but_too_large_holds() -> None:
    service = Service(canary_slow=10, baseline_slow=90)
    result, _prometheus = by_prometheus(service, queries=SLOW_QUERIES, max_slow_share=0.1)
    assert "were slow" in detail(result, "held")["reason"]


def test_versions_that_are_equally_bad_hold() -> None:
    result, _prometheus = by_prometheus(Service(canary_errors=5, baseline_errors=45))
    found = detail(result, "held")
    assert (found["verdict"], found["cause"]) == ("inconclusive", None)
    assert "run this again" in result["msg"]


def test_a_margin_promotes_a_canary_that_is_as_the_old_version() -> None:
    service = Service(canary_errors=1, baseline_errors=9)
    result, _prometheus = by_prometheus(service, margin=0.02, wait_timeout=300)
    assert result["analysis"]["verdict"] == "promote"


def test_a_canary_that_fails_most_requests_is_stopped_although_the_old_version_does_too() -> None:
    result, _prometheus = by_prometheus(Service(canary_errors=30, baseline_errors=300), seconds=60)
    assert detail(result, "canary_aborted")["cause"] == "hard_error_rate"


@pytest.mark.parametrize(("choice", "verdict"), [("promote", "promote"), ("abort", "canary_aborted"), ("hold", "held")])
def test_the_user_decides_what_happens_when_nothing_was_shown(choice: str, verdict: str) -> None:
    result, _prometheus = by_prometheus(Service(canary_requests=1), wait_timeout=30, on_inconclusive=choice)
    if choice == "promote":
        assert result["analysis"]["verdict"] == verdict
        assert result["analysis"]["cause"] == "inconclusive"
    else:
        assert "requests that it takes at least" in detail(result, verdict)["reason"]


def test_the_numbers_and_the_decision_are_kept_for_the_report() -> None:
    result, _prometheus = by_prometheus(Service(), canary_name="1.1", baseline_name="1.0")
    kinds = [(kind, values) for _ago, kind, values in result["zdd_samples"]]
    assert kinds[-1] == ("decision", {"text": "promote", "reason": result["analysis"]["reason"]})
    assert kinds[-2] == ("evidence", {"text": result["analysis"]["reason"]})
    assert kinds[-3] == (
        "errors", {"1.1": {"requests": 300, "errors": 0}, "1.0": {"requests": 2700, "errors": 0}}
    )  # fmt: skip


# Bad input


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"alpha": 0}, "alpha is 0"),
        ({"confidence": 1}, "confidence is 1"),
        ({"confidence": 95}, "confidence is 95"),
        ({"max_error_rate": 0}, "max_error_rate is 0"),
        ({"margin": 1.5}, "margin is 1.5"),
        ({"max_slow_share": -1}, "max_slow_share is -1"),
        ({"hard_error_rate": 2}, "hard_error_rate is 2"),
        ({"hard_min_requests": 0}, "hard_min_requests is 0"),
        ({"seconds": -1}, "seconds is -1"),
        ({"wait_timeout": -1}, "wait_timeout is -1"),
        ({"interval": 0}, "interval is 0"),
        ({"stale_after": 0}, "stale_after is 0"),
        ({"source": "command", "command": []}, "command is empty"),
        ({"source": "command", "command": ["/no/such/command"]}, "'/no/such/command' cannot be run"),
        ({"canary_addresses": []}, "canary_addresses is empty"),
        ({"canary_addresses": ["10.0.0.1"]}, "'10.0.0.1' is not host:port"),
        ({"canary_addresses": ["10.0.0.1:80"], "baseline_addresses": ["10.0.0.1:80"]}, "at once"),
        ({"socket": []}, "socket and stats_url are both empty"),
        ({"max_slow_share": 0.1}, "HAProxy knows the average time of the last 1024 requests only"),
        ({"source": "prometheus", "prometheus_url": []}, "prometheus_url is empty"),
        ({"source": "prometheus", "max_slow_share": 0.1}, "needs the queries canary_slow and baseline_slow"),
    ],
)
def test_options_that_cannot_be_used_are_named(options: dict[str, Any], named: str) -> None:
    given = {
        "socket": ["/no/such/socket"],
        "canary_addresses": ["10.0.0.1:80"],
        "baseline_addresses": ["10.0.0.2:80"],
        "prometheus_url": ["http://127.0.0.1:9"],
        "queries": QUERIES,
    }
    result = analysed(**{**given, **options})
    assert result["failed"] and result["failure"]["code"] == "invalid_option"
    assert named in result["msg"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"socket": ["/s"]},
        {"socket": ["/s"], "canary_addresses": ["10.0.0.1:80"]},
        {"source": "prometheus"},
        {"source": "prometheus", "prometheus_url": ["http://p"], "queries": {"canary_requests": "sum(a)"}},
        {"source": "prometheus", "prometheus_url": ["http://p"], "queries": {**QUERIES, "canary_slow": "sum(a)"}},
        {"source": "command"},
        {"source": "guess"},
        {"source": "command", "command": ["true"], "prometheus_password": "p"},
    ],
)
def test_what_a_source_needs_is_asked_for(options: dict[str, Any]) -> None:
    validation = ArgumentSpecValidator(canary_analysis.ARGUMENT_SPEC, **canary_analysis.ARGUMENT_RULES)
    assert validation.validate(options).error_messages


def test_in_check_mode_nothing_is_watched() -> None:
    result = analysed(check_mode=True, source="command", command=["/no/such/command"])
    assert (result["analysis"]["verdict"], result["analysis"]["looks"]) == ("inconclusive", 0)


def test_a_bake_that_is_longer_than_the_deadline_is_watched_to_its_end() -> None:
    result, _prometheus = by_prometheus(Service(), seconds=30, wait_timeout=5)
    assert (result["analysis"]["verdict"], result["analysis"]["seconds"]) == ("promote", 30)


# Prometheus that does not answer, or not what was asked for


def test_all_queries_are_asked_for_the_same_time() -> None:
    service = Service()
    by_prometheus(service)
    assert service.times[:4] == [[], ["1.5"], ["1.5"], ["1.5"]]


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"prometheus_token": "t0ken"}, "Bearer t0ken"),
        ({"prometheus_username": "me", "prometheus_password": "p"}, "Basic bWU6cA=="),
        ({"prometheus_token": ""}, None),
    ],
)
def test_prometheus_gets_the_credentials(options: dict[str, Any], header: str | None) -> None:
    _result, prometheus = by_prometheus(Service(), **options)
    assert {request.headers.get("Authorization") for request in prometheus.got} == {header}


def always(name: str, reply: Any) -> Callable[[str, float, int], Any]:
    """One query is answered so from the second look on, the other ones as usual."""
    return lambda asked, value, look: reply if asked == name and look > 1 else sample(f"{value:g}")


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        ({"result": []}, "or vector(0)"),
        (sample("NaN"), "canary_errors is nan"),
        (sample("+Inf"), "canary_errors is inf"),
        (sample("-3"), "canary_errors is -3, below zero"),
        (sample("2.5"), "no whole number"),
        (sample("many"), "something unreadable"),
        (sample("1e9"), "more than canary_requests"),
        ({"result": [{"value": "1"}]}, "something unreadable"),
        ({"result": None}, "something unreadable"),
        ((200, "<html>"), "no JSON"),
        ((200, []), "something unreadable"),
        ((503, "starting"), "503"),
    ],
    ids=str,
)
def test_an_answer_without_a_good_number_is_not_no_error_and_holds(reply: Any, named: str) -> None:
    result, _prometheus = by_prometheus(Service(always("canary_errors", reply)), wait_timeout=20)
    assert named in detail(result, "held")["reason"]


def test_a_prometheus_that_is_gone_holds() -> None:
    service = Service()
    with serving(service.answer) as prometheus:
        url = prometheus.url
    options = {"source": "prometheus", "prometheus_url": [url], "queries": QUERIES, "wait_timeout": 20}
    assert "did not answer" in detail(analysed(**options), "held")["reason"]


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((400, {"status": "error", "errorType": "bad_data", "error": "parse error: no"}), "invalid_query"),
        ({"result": [{"value": [1, "1"]}, {"value": [1, "2"]}]}, "invalid_query"),
        ({"resultType": "matrix", "result": []}, "invalid_query"),
        ((401, "no"), "refused"),
        ((404, "nothing here"), "refused"),
    ],
    ids=str,
)
def test_what_will_not_get_better_fails_at_once(reply: Any, code: str) -> None:
    clock = Clock()
    result, _prometheus = by_prometheus(Service(always("canary_errors", reply)), clock)
    assert (result["failed"], result["failure"]["code"]) == (True, code)
    assert "canary_errors" in result["msg"]
    assert len(clock.slept) <= 1


def test_a_scalar_is_a_number_too() -> None:
    service = Service(lambda _name, value, _look: {"resultType": "scalar", "result": [1.5, f"{value:g}"]})
    assert by_prometheus(service)[0]["analysis"]["verdict"] == "promote"


def test_stale_numbers_promote_nothing_although_they_would_be_enough() -> None:
    def frozen(name: str, _value: float, look: int) -> dict[str, Any]:
        return sample(str(400 * min(look, 2)) if name[-8:] == "requests" else "0")

    options = {"seconds": 30, "wait_timeout": 30, "stale_after": 10, "on_inconclusive": "promote"}
    result, _prometheus = by_prometheus(Service(frozen), **options)
    assert "the numbers are stale: no new request to the canary" in detail(result, "held")["reason"]


def test_a_canary_without_traffic_is_never_promoted_not_even_by_choice() -> None:
    service = Service(canary_requests=0)
    result, _prometheus = by_prometheus(service, wait_timeout=30, on_inconclusive="promote")
    assert "the canary has got no request yet" in detail(result, "held")["reason"]


def test_a_count_that_gets_smaller_is_counted_from_there_on() -> None:
    """A task that is gone takes its counters out of the sum. Nobody knows what came in between."""

    def reset(name: str, _value: float, look: int) -> dict[str, Any]:
        return sample(str((0 if look >= 4 else 5000) + 100 * look) if name[-8:] == "requests" else "0")

    result, _prometheus = by_prometheus(Service(reset))
    assert result["analysis"]["verdict"] == "promote"
    assert result["analysis"]["canary"]["requests"] == 300
    assert result["analysis"]["looks"] == 5  # the fourth tells nothing
    assert any("got smaller during the analysis (canary_requests)" in text for text in result["warnings"])


@pytest.mark.parametrize("counters", [(1000, 10), (1000, 10, 500), (10, 1000), (400, 800, 0)])
def test_several_who_count_behind_one_name_are_not_added_up(counters: tuple[int, ...]) -> None:
    def value(name: str, _value: float, look: int) -> dict[str, Any]:
        return sample(str(look + counters[look % len(counters)]) if name[-8:] == "requests" else "0")

    options = {"seconds": 15, "wait_timeout": 40, "on_inconclusive": "promote"}
    reason = detail(by_prometheus(Service(value), **options)[0], "held")["reason"]
    assert "went" in reason or "these are no counters" in reason


# Commands that lie


def by_command(folder: Path, script: str, clock: Clock | Context | None = None, **options: Any) -> dict[str, Any]:
    """A command that counts its calls in the file ``calls``, from 1."""
    head = (
        "import json, os, sys, time\n"
        f"with open({str(folder / 'calls')!r}, 'a') as file:\n"
        "    file.write('.')\n"
        f"n = os.path.getsize({str(folder / 'calls')!r})\n"
        "good = {'canary_requests': 100 * n, 'canary_errors': 0, 'baseline_requests': 900 * n, 'baseline_errors': 0}\n"
    )
    path = folder / "numbers.py"
    path.write_text(head + script)
    command = [sys.executable, "-S", "-E", str(path), "an argument; with $(a shell's) words"]
    return analysed(clock, **{"source": "command", "command": command, "wait_timeout": 5, **options})


def test_a_command_that_prints_json_is_a_source(tmp_path: Path) -> None:
    result = by_command(
        tmp_path, 'assert sys.argv[1] == "an argument; with $(a shell\'s) words"\nprint(json.dumps(good))'
    )
    assert result["analysis"]["verdict"] == "promote"
    assert result["analysis"]["canary"]["requests"] == 300


def test_slow_requests_of_a_command_are_asked_for_when_they_are_limited(tmp_path: Path) -> None:
    missing = by_command(tmp_path, "print(json.dumps(good))", max_slow_share=0.1, wait_timeout=0)
    assert "canary_slow is missing" in detail(missing, "held")["reason"]
    given = by_command(
        tmp_path, "print(json.dumps({**good, 'canary_slow': 0, 'baseline_slow': n}))", max_slow_share=0.1
    )
    assert given["analysis"]["canary"]["slow"] == 0


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("print('all is well')", "it printed no JSON: 'all is well'"),
        ("print('[1, 2]')", "a JSON list, not an object"),
        ("", "it printed no JSON"),
        ("print(json.dumps(good)); print('no source', file=sys.stderr); sys.exit(3)", "ended with 3: 'no source'"),
        ("os.kill(os.getpid(), 9)", "ended with -9"),
        ("print(json.dumps({**good, 'canary_errors': -n}))", "canary_errors is -"),
        ("print(json.dumps({**good, 'canary_errors': '0'}))", "canary_errors is '0', no number"),
        ("print(json.dumps({**good, 'canary_errors': None}))", "canary_errors is None, no number"),
        ("print(json.dumps({**good, 'canary_errors': True}))", "canary_errors is True, no number"),
        ("print(json.dumps({**good, 'canary_errors': float('nan')}))", "canary_errors is nan, no number"),
        ("print(json.dumps({**good, 'canary_errors': 0.5}))", "no whole number"),
        ("print('{\"canary_requests\": 1e999}')", "canary_requests is inf, no number"),
        ("del good['baseline_errors']; print(json.dumps(good))", "baseline_errors is missing"),
        ("good['canary_errors'] = 100 * n + 1; print(json.dumps(good))", "more than canary_requests"),
        ("good['canary_requests'] = 1000 - n; print(json.dumps(good))", "canary_requests went from"),
        ("good['canary_requests'] = 1000; print(json.dumps(good))", "the canary has got no request yet"),
    ],
)
def test_a_command_that_lies_holds_with_what_is_wrong(tmp_path: Path, script: str, named: str) -> None:
    result = by_command(tmp_path, script, wait_timeout=1, on_inconclusive="promote")
    assert named in detail(result, "held")["reason"]


def test_a_command_that_prints_without_end_is_cut(tmp_path: Path) -> None:
    result = by_command(tmp_path, "while True: print('x' * 65536)", wait_timeout=0)
    assert "printed more than 1 MiB" in detail(result, "held")["reason"]


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"pid = os.fork()\nif pid:\n    open({str(child)!r}, 'w').write(str(pid))\ntime.sleep(600)"
    result = by_command(tmp_path, script, wait_timeout=0, timeout=1)
    assert "took too long" in detail(result, "held")["reason"]
    pid = int(child.read_text())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and is_running(pid):
        time.sleep(0.01)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie, which waits for whoever adopted it."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


# Tasks that crash. Marathon's events come by a real clock, so these run on it.


class Cluster:
    """A Marathon without events, with the app ``/web-green``, whose last failure is ``failure``."""

    def __init__(self, failure: Mapping[str, Any] | None = None) -> None:
        self.failure = failure
        self.away = False

    def answer(self, request: Request) -> tuple[Any, ...]:
        if not request.path.endswith("/web-green"):
            return 404, {"message": "no events here"}
        if self.away:
            return 503, "no leader"
        app = {"id": "/web-green", "version": "2026-01-01T00:00:00.000Z", "instances": 1, "tasks": []}
        return 200, {"app": {**app, **({"lastTaskFailure": self.failure} if self.failure else {})}}


class Turning(Service):
    """Calls ``turn`` when the look number ``look`` is made."""

    def __init__(self, look: int, turn: Callable[[], object], **rates: float) -> None:
        super().__init__(**rates)
        self._look, self._turn = look, turn

    def answer(self, request: Request) -> tuple[Any, ...]:
        if self.looks == self._look:
            self._turn()
        return super().answer(request)


CRASH = {"state": "TASK_FAILED", "host": "agent-1", "message": "Command exited with status 1", "version": "2026-01-02T"}


def beside_marathon(cluster: Cluster, service: Service, **options: Any) -> tuple[dict[str, Any], int]:
    """The result, and how often Marathon was asked."""
    with serving(cluster.answer) as marathon:
        at = {"marathon_url": [marathon.url], "app_id": "web-green", "interval": 0.01}
        result, _prometheus = by_prometheus(service, Context(), **{**at, **options})
        return result, len(marathon.got)


def test_a_task_that_ends_during_the_analysis_aborts_the_canary() -> None:
    cluster = Cluster()
    service = Turning(2, lambda: setattr(cluster, "failure", CRASH))
    result, _asked = beside_marathon(cluster, service, seconds=60)
    found = detail(result, "canary_aborted")
    assert found["cause"] == "crashed" and found["seconds"] < 40
    assert "TASK_FAILED on agent-1, Command exited with status 1" in result["msg"]


def test_a_task_that_ended_before_the_analysis_does_not() -> None:
    result, asked = beside_marathon(Cluster(CRASH), Service())
    assert result["analysis"]["verdict"] == "promote"
    assert asked <= 10


def test_before_it_is_promoted_marathon_is_asked_once_more() -> None:
    cluster = Cluster()
    result, _asked = beside_marathon(cluster, Turning(7, lambda: setattr(cluster, "failure", CRASH)))
    assert detail(result, "canary_aborted")["cause"] == "crashed"


def test_while_marathon_is_away_nothing_is_promoted() -> None:
    cluster = Cluster()
    service = Turning(2, lambda: setattr(cluster, "away", True))
    result, _asked = beside_marathon(cluster, service, wait_timeout=1)
    assert "Marathon" in detail(result, "held")["reason"]


def test_an_app_that_is_not_there_is_named() -> None:
    result, _asked = beside_marathon(Cluster(), Service(), app_id="/web-red")
    assert (result["failed"], result["failure"]["code"]) == (True, "not_found")
