# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing counts as admitted or drained without evidence from every instance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import (
    DeadlinePassed,
    InvalidInput,
    Rejected,
    Unreachable,
)
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy import configuration
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.marathon_lb import (
    LbView,
    Processes,
    Server,
    Watch,
    reach,
    servers_of,
    still_reached,
    unadmitted,
    undrained,
)
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.stats import ServerRow
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context

A = Server("web_10000", "a", "10.0.0.1:31001")
B = Server("web_10000", "b", "10.0.0.1:31002")


def row(server: Server, status: str = "UP", scur: int = 0, qcur: int = 0) -> ServerRow:
    return ServerRow(server.backend, server.server, status, scur, qcur, 1, "", "", 0, "")


def config(*lines: str) -> configuration.Configuration:
    return configuration.parse("backend web_10000\n" + "".join(f"  server {line}\n" for line in lines))


ENABLED = config("a 10.0.0.1:31001 check", "b 10.0.0.1:31002 check")
DISABLED = config("a 10.0.0.1:31001 check disabled", "b 10.0.0.1:31002 check disabled")
IDLE = Processes((1, 9), 9)


def view(status: str, live: configuration.Configuration, processes: Processes | None = IDLE, **counts: int) -> LbView:
    rows = {(server.backend, server.server): row(server, status, **counts) for server in (A, B)}
    return LbView("lb1:9090", rows, live, processes)


def test_a_server_that_is_up_and_enabled_is_admitted() -> None:
    assert unadmitted([view("UP", ENABLED)], [A, B]) is None


def test_one_that_starts_up_counts_and_one_that_is_down_does_not() -> None:
    assert unadmitted([view("UP 1/3", ENABLED)], [A]) is None
    assert unadmitted([view("DOWN 1/2", ENABLED)], [A, B]) == (
        "lb lb1:9090: 0 of 2 servers admitted; web_10000/a is DOWN 1/2"
    )


def test_no_check_is_enough_only_where_the_configuration_checks_nothing() -> None:
    unchecked = config("a 10.0.0.1:31001", "b 10.0.0.1:31002")
    assert unadmitted([view("no check", unchecked)], [A]) is None
    assert "no check yet" in (unadmitted([view("no check", ENABLED)], [A]) or "")


def test_up_in_the_statistics_and_disabled_in_the_live_configuration_is_not_admitted() -> None:
    assert unadmitted([view("UP", DISABLED)], [A]) == ("lb lb1:9090: web_10000/a is disabled in the live configuration")


def test_every_instance_has_to_show_it() -> None:
    away = LbView("lb2:9090", error="lb lb2:9090: no answer (connection refused)")
    assert unadmitted([view("UP", ENABLED), away], [A]) == "lb lb2:9090: no answer (connection refused)"
    assert undrained([view("MAINT", DISABLED), away], [A]) == "lb lb2:9090: no answer (connection refused)"


def test_a_server_by_another_name_is_known_by_its_address() -> None:
    renamed = Server("web_10000", "host_10_0_0_1_31001", "10.0.0.1:31001")
    assert unadmitted([view("UP", ENABLED)], [renamed]) is None
    assert "not disabled" in (undrained([LbView("lb1", {}, ENABLED, IDLE)], [renamed]) or "")


def test_maint_idle_live_and_without_old_workers_is_drained() -> None:
    assert undrained([view("MAINT", DISABLED)], [A, B]) is None


def test_absent_is_drained_too() -> None:
    assert undrained([LbView("lb1", {}, config("c 10.0.0.1:31003"), IDLE)], [A, B]) is None


def test_a_session_on_an_old_worker_forbids_the_kill() -> None:
    """After a reload the new worker shows 0 while the old one still serves."""
    state = view("MAINT", DISABLED, Processes((1, 7, 9), 9))
    assert undrained([state], [A]) == "lb lb1:9090: 1 old worker serves connections from before the reload"


def test_what_is_up_down_or_draining_forbids_the_kill() -> None:
    for status in ("UP", "DOWN", "DRAIN", "no check"):
        assert "still take traffic" in (undrained([view(status, DISABLED)], [A]) or "")


def test_open_and_queued_sessions_forbid_the_kill() -> None:
    assert undrained([view("MAINT", DISABLED, scur=2)], [A]) == "lb lb1:9090: web_10000/a: 2 open, 0 queued"
    assert undrained([view("MAINT", DISABLED, qcur=1)], [A]) == "lb lb1:9090: web_10000/a: 0 open, 1 queued"


def test_maint_at_run_time_only_forbids_the_kill() -> None:
    """What is not in the configuration is gone with the next reload."""
    assert "not disabled in the live configuration" in (undrained([view("MAINT", ENABLED)], [A]) or "")


def test_workers_that_were_not_counted_forbid_the_kill() -> None:
    assert undrained([view("MAINT", DISABLED, None)], [A]) == "lb lb1:9090: worker processes not counted yet"


def test_a_live_worker_that_is_not_among_the_processes_means_a_reload() -> None:
    assert undrained([view("MAINT", DISABLED, Processes((1, 8), 9))], [A]) == "lb lb1:9090: reloading (pid 9 is gone)"


def test_an_instance_without_a_master_is_idle_with_one_process() -> None:
    state = view("MAINT", DISABLED, Processes((7, 9), 9))
    assert undrained([state], [A], idle_processes=2) is None
    assert undrained([state], [A], idle_processes=1) is not None


def test_the_live_process_alone_leaves_no_old_worker_whatever_an_idle_one_is_said_to_have() -> None:
    assert undrained([view("MAINT", DISABLED, Processes((9,), 9))], [A], idle_processes=3) is None


def test_fewer_processes_than_an_idle_instance_has_tell_nothing() -> None:
    """One of the two may be an old worker."""
    state = view("MAINT", DISABLED, Processes((7, 9), 9))
    assert "2 HAProxy processes; an idle one has 3" in (undrained([state], [A], idle_processes=3) or "")
    assert state.old_workers(3) is None


def test_cut_is_forbidden_while_new_requests_may_come_and_only_then() -> None:
    away = LbView("lb2:9090", error="lb lb2:9090: no answer (connection refused)")
    assert still_reached([view("MAINT", DISABLED, None, scur=3)], [A]) is None
    assert "no answer" in (still_reached([view("MAINT", DISABLED), away], [A]) or "")
    assert "still take traffic" in (still_reached([view("UP", DISABLED)], [A]) or "")
    assert "not disabled" in (still_reached([view("MAINT", ENABLED)], [A]) or "")


STATUSES = st.sampled_from(["UP", "UP 1/2", "DOWN", "MAINT", "DRAIN", "no check"])
CONFIGS = st.sampled_from([ENABLED, DISABLED, config("a 10.0.0.1:31001 disabled"), config()])
VIEWS = st.builds(
    lambda status, live, scur, pids, error: replace(
        view(status, live, Processes(tuple(range(1, 1 + pids)), 1), scur=scur), error="away" if error else None
    ),
    STATUSES,
    CONFIGS,
    st.integers(0, 2),
    st.integers(1, 4),
    st.booleans(),
)


@given(st.lists(VIEWS, min_size=1, max_size=3))
def test_a_server_is_never_admitted_and_drained_at_once(views: list[LbView]) -> None:
    assert unadmitted(views, [A]) is not None or undrained(views, [A]) is not None


@given(st.lists(VIEWS, min_size=1, max_size=3))
def test_drained_means_so_at_each_instance_and_for_each_server(views: list[LbView]) -> None:
    whole = undrained(views, [A, B]) is None
    assert whole == all(undrained([each], [server]) is None for each in views for server in (A, B))
    if whole:
        for each in views:
            assert each.error is None and each.processes is not None
            assert len(each.processes.pids) == 2 or each.processes.pids == (each.processes.live,)
            assert all(found.in_maintenance and found.is_idle for found in (each.rows or {}).values())


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    time: float = 100.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def context(self) -> Context:
        return Context(now=lambda: self.time, sleep=self.sleep)


@dataclass
class FakeLb:
    """An instance that answers what is put in, or raises it; ``asked`` is what it was asked when."""

    clock: Clock
    name: str = "lb1:9090"
    status: Callable[[float], str] = lambda _time: "MAINT"
    text: str = "backend web_10000\n  server a 10.0.0.1:31001 disabled\n"
    processes: Callable[[float], tuple[int, ...]] = lambda _time: (1, 9)
    failure: Callable[[float], Exception | None] = lambda _time: None
    asked: list[tuple[str, float]] = field(default_factory=list)

    def _ask(self, what: str) -> None:
        self.asked.append((what, self.clock.time))
        failure = self.failure(self.clock.time)
        if failure:
            raise failure

    def stats(self) -> Mapping[tuple[str, str], ServerRow]:
        self._ask("stats")
        return {(A.backend, A.server): row(A, self.status(self.clock.time))}

    def config(self) -> str:
        self._ask("config")
        return self.text

    def pids(self) -> tuple[int, ...]:
        self._ask("pids")
        return self.processes(self.clock.time)

    def process_id(self) -> int:
        self._ask("page")
        return 9

    def times(self, what: str) -> list[float]:
        return [time for asked, time in self.asked if asked == what]


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()


def watch(clock: Clock, *lbs: Any) -> Watch:
    return Watch(clock.context(), lbs, [A])


def test_workers_are_counted_only_when_all_else_is_seen_everywhere(clock: Clock) -> None:
    first = FakeLb(clock, "lb1:9090")
    second = FakeLb(clock, "lb2:9090", status=lambda time: "UP" if time < 103 else "MAINT")
    watch(clock, first, second).wait_drained(60)
    assert len(first.times("pids")) == len(second.times("pids")) == 1
    assert first.times("pids")[0] >= 103


def test_workers_are_counted_ever_more_seldom(clock: Clock) -> None:
    lb = FakeLb(clock, processes=lambda time: (1, 7, 9) if time < 160 else (1, 9))
    watch(clock, lb).wait_drained(120)
    times = lb.times("pids")
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) < 40
    assert min(gaps) > 0.14
    assert max(gaps) <= 5 + 1e-6
    for begin, gap in zip(times, gaps, strict=False):
        assert gap >= min(5, 0.15 * (begin - times[0])) - 1e-6
    assert clock.time - 160 <= 5 + 0.25, "the wait ends soon after the last old worker"


def test_only_instances_with_old_workers_are_counted_again(clock: Clock) -> None:
    done = FakeLb(clock, "lb1:9090")
    busy = FakeLb(clock, "lb2:9090", processes=lambda time: (1, 7, 9) if time < 105 else (1, 9))
    watch(clock, done, busy).wait_drained(60)
    assert len(done.times("pids")) == 1
    assert len(busy.times("pids")) > 1


def test_an_instance_that_takes_the_servers_back_in_is_counted_anew(clock: Clock) -> None:
    flapping = FakeLb(clock, "lb1:9090", status=lambda time: "UP" if 102 <= time < 104 else "MAINT")
    busy = FakeLb(clock, "lb2:9090", processes=lambda time: (1, 7, 9) if time < 106 else (1, 9))
    watch(clock, flapping, busy).wait_drained(60)
    assert len(flapping.times("pids")) == 2
    assert flapping.times("pids")[1] >= 104


def test_an_instance_that_is_away_for_a_while_is_missing_and_never_counts(clock: Clock) -> None:
    away = Unreachable("unreachable", "lb lb1:9090: no answer (connection refused)")
    lb = FakeLb(clock, failure=lambda time: away if time < 107 else None)
    seen = watch(clock, lb).wait_drained(60)
    assert clock.time >= 107
    assert undrained(seen, [A]) is None


def test_the_last_look_counts_the_workers_too(clock: Clock) -> None:
    lb = FakeLb(clock, processes=lambda _time: (1, 7, 9))
    looking = watch(clock, lb)
    with pytest.raises(DeadlinePassed, match="1 old worker"):
        looking.wait_drained(30)
    assert lb.times("pids")[-1] == pytest.approx(130)
    assert looking.left() == [{"lb": "lb1:9090", "sessions": 0, "old_workers": 1, "error": None}]


def test_one_that_was_seen_without_a_master_has_an_old_worker_when_it_has_two(clock: Clock) -> None:
    """It was drained, took the servers back in, and was reloaded: the second process is no master."""
    bare = FakeLb(
        clock,
        "lb1:9090",
        status=lambda time: "UP" if 102 <= time < 104 else "MAINT",
        processes=lambda time: (7, 9) if 104 <= time < 110 else (9,),
    )
    busy = FakeLb(clock, "lb2:9090", processes=lambda time: (1, 7, 9) if time < 105 else (1, 9))
    context = clock.context()
    Watch(context, [bare, busy], [A]).wait_drained(60)
    assert clock.time >= 110
    assert "lb1:9090 has no HAProxy process but the live one" in context.warnings[0]


def test_an_instance_that_joins_is_asked_too(clock: Clock) -> None:
    first = FakeLb(clock, "lb1:9090", status=lambda time: "UP" if time < 120 else "MAINT")
    late = FakeLb(clock, "lb2:9090", status=lambda time: "UP" if time < 140 else "MAINT")
    Watch(clock.context(), lambda: [first] if clock.time < 107 else [first, late], [A]).wait_drained(60)
    assert late.times("stats")[0] < 107 + 6
    assert clock.time >= 140


def test_an_instance_that_joins_at_the_end_is_asked_before_the_wait_is_over(clock: Clock) -> None:
    first = FakeLb(clock, "lb1:9090", status=lambda time: "UP" if time < 101 else "MAINT")
    late = FakeLb(clock, "lb2:9090", status=lambda time: "UP" if time < 103 else "MAINT")
    Watch(clock.context(), lambda: [first] if clock.time < 101 else [first, late], [A]).wait_taken_out(60)
    assert clock.time >= 103


def test_one_that_has_left_is_asked_while_it_answers_and_then_no_more(clock: Clock) -> None:
    away = Unreachable("unreachable", "lb lb2:9090: no answer (connection refused)")
    stays = FakeLb(clock, "lb1:9090")
    leaves = FakeLb(clock, "lb2:9090", status=lambda _time: "UP", failure=lambda time: away if time >= 120 else None)
    views = Watch(clock.context(), lambda: [stays, leaves] if clock.time < 105 else [stays], [A]).wait_drained(60)
    assert 120 <= clock.time < 130
    assert [view.name for view in views] == ["lb1:9090"]


def test_a_name_service_that_is_away_says_nothing(clock: Clock) -> None:
    lb = FakeLb(clock)

    def find() -> list[FakeLb]:
        if 100 < clock.time < 110:
            raise Unreachable("unresolvable", "lb lb: the host name has no address")
        return [lb]

    looking = Watch(clock.context(), find, [A])
    clock.time = 101
    looking.wait_taken_out(60)
    assert clock.time >= 110


def test_what_forbids_a_cut_is_looked_at_anew(clock: Clock) -> None:
    lb = FakeLb(clock, status=lambda _time: "UP")
    assert "still take traffic" in (watch(clock, lb).still_reached() or "")
    assert watch(clock, FakeLb(clock)).still_reached() is None


def test_an_instance_that_refuses_ends_the_wait_at_once(clock: Clock) -> None:
    lb = FakeLb(clock, failure=lambda _time: Rejected("refused", "lb lb1:9090 answered GET / with 401."))
    with pytest.raises(Rejected):
        watch(clock, lb).wait_admitted(60)
    assert clock.time == 100


def test_admission_is_seen_without_counting_workers(clock: Clock) -> None:
    lb = FakeLb(
        clock,
        status=lambda time: "UP" if time > 101 else "MAINT",
        text="backend web_10000\n server a 10.0.0.1:31001\n",
    )
    watch(clock, lb).wait_admitted(60)
    assert lb.times("pids") == []
    assert len(lb.times("config")) == 1


def test_polls_start_fast_and_get_slower(clock: Clock) -> None:
    lb = FakeLb(clock, status=lambda _time: "UP")
    with pytest.raises(DeadlinePassed):
        watch(clock, lb).wait_drained(10)
    assert clock.slept[0] == pytest.approx(0.02)
    assert max(clock.slept) == pytest.approx(0.25)


def test_an_instance_that_reloads_at_the_begin_is_given_time(clock: Clock) -> None:
    away = Unreachable("unreachable", "lb lb1:9090: no answer (connection refused)")
    reach(clock.context(), [FakeLb(clock, failure=lambda time: away if time < 101 else None)], 30)
    with pytest.raises(Unreachable):
        reach(clock.context(), [FakeLb(clock, failure=lambda _time: away)], 30)


APP: dict[str, Any] = {
    "id": "/shop/web-blue",
    "labels": {"HAPROXY_GROUP": "external", "HAPROXY_DEPLOYMENT_GROUP": "shop/web"},
    "portDefinitions": [{"port": 10000}, {"port": 10001}],
    "networks": [{"mode": "host"}],
    "instances": 1,
}
TASK: dict[str, Any] = {"id": "t1", "host": "10.0.0.7", "ports": [31001, 31002], "state": "TASK_RUNNING"}


def test_each_service_port_has_a_server_by_the_place_of_the_port() -> None:
    assert servers_of(APP, TASK) == [
        Server("shop_web_10000", "10_0_0_7_31001", "10.0.0.7:31001"),
        Server("shop_web_10001", "10_0_0_7_31002", "10.0.0.7:31002"),
    ]


def test_a_host_name_and_its_address_are_both_in_the_name() -> None:
    named = {**TASK, "host": "agent-7.example.com", "ports": [31001]}
    found = servers_of({**APP, "portDefinitions": [{"port": 10000}]}, named, lambda _host: "10.0.0.7")
    assert found == [Server("shop_web_10000", "agent-7_example_com_10_0_0_7_31001", "10.0.0.7:31001")]


def test_an_app_in_a_container_network_is_reached_at_the_tasks_own_address() -> None:
    app = {
        "id": "/web",
        "labels": {"HAPROXY_0_GROUP": "internal"},
        "networks": [{"mode": "container", "name": "dcos"}],
        "container": {"portMappings": [{"containerPort": 8080, "servicePort": 10000}]},
        "instances": 1,
    }
    task = {**TASK, "ports": [], "ipAddresses": [{"ipAddress": "9.0.1.2", "protocol": "IPv4"}]}
    assert servers_of(app, task, lambda host: host) == [
        Server("web_10000", "10_0_0_7_9_0_1_2_8080", "9.0.1.2:8080"),
    ]
    assert servers_of(app, {**task, "ipAddresses": []}, lambda host: host) == []


@pytest.mark.parametrize("state", ["TASK_KILLING", "TASK_UNREACHABLE", "TASK_RUNNING"])
def test_a_task_that_dies_or_fails_has_its_servers_all_the_same(state: str) -> None:
    task = {**TASK, "state": state, "healthCheckResults": [{"alive": False}]}
    assert len(servers_of({**APP, "healthChecks": []}, task)) == 2


def test_ports_that_marathon_lb_does_not_expose_are_left_out() -> None:
    labels = {"HAPROXY_1_GROUP": "external", "HAPROXY_1_PORT": "80"}
    assert [server.backend for server in servers_of({**APP, "labels": labels}, TASK)] == ["shop_web-blue_80"]
    assert servers_of({**APP, "labels": {}}, TASK) == []


def test_a_definition_that_breaks_marathon_lb_off_is_refused() -> None:
    with pytest.raises(InvalidInput):
        servers_of({**APP, "labels": {**APP["labels"], "HAPROXY_0_PORT": "eighty"}}, TASK)
