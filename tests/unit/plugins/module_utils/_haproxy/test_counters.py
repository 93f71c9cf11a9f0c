# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and errors of servers are counted once each, whatever happens to the worker and to the servers."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._analysis.evidence import Counts, Stretch
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.counters import Counter, counted

NEW, OLD, OTHER = "10.0.0.7:80", "10.0.0.8:80", "10.0.0.9:80"
ADDRESSES = {("web", "new"): NEW, ("web", "old"): OLD, ("web", "other"): OTHER}


@dataclass
class Process:
    """A worker that counts as HAProxy does: each server for itself, the backend and the frontend for all."""

    servers: Sequence[str] = ("new", "old")
    counts: dict[str, Tally[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.total: Tally[str] = Tally(stot=1)  # the statistics page counts itself
        for server in self.servers:
            self.add(server)

    def add(self, server: str) -> None:
        """A server that comes begins at 0."""
        self.counts[server] = Tally()

    def answer(self, server: str, good: int = 0, bad: int = 0) -> Process:
        new = Tally(stot=good + bad, hrsp_2xx=good, hrsp_5xx=bad, bin=10 * (good + bad))
        self.counts[server] += new
        self.total += new
        return self

    def rows(self) -> list[dict[str, str]]:
        own = [row("web", server, **counts) for server, counts in self.counts.items()]
        return [row("web", "FRONTEND", **self.total), *own, row("web", "BACKEND", **self.total)]


def row(backend: str, server: str, status: str = "UP", mode: str = "http", **counts: int) -> dict[str, str]:
    texts = {column: str(count) for column, count in counts.items() if count}
    return {"pxname": backend, "svname": server, "status": status, "mode": mode, **texts}


def counter() -> Counter:
    return Counter([NEW], [OLD])


def looked(counter: Counter, process: Process, now: float = 0.0) -> Stretch:
    return counter.look(process.rows(), ADDRESSES, now)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [  # as HAProxy 2.6 counted them
        ({"hrsp_2xx": 4}, Counts(4, 0)),
        ({"hrsp_3xx": 1, "hrsp_4xx": 2, "hrsp_other": 1}, Counts(4, 0)),
        ({"hrsp_1xx": 4, "hrsp_2xx": 4}, Counts(4, 0)),
        ({"hrsp_5xx": 4}, Counts(4, 4)),
        ({"eresp": 4}, Counts(4, 4)),
        ({"eresp": 4, "srv_abrt": 4, "hrsp_2xx": 4}, Counts(4, 4)),
        ({"stot": 12, "econ": 4, "wretr": 8}, Counts(4, 4)),
        ({"stot": 4, "wredis": 4}, Counts(4, 4)),
        ({"cli_abrt": 4}, Counts(0, 0)),
    ],
)
def test_every_way_to_fail_is_one_request_and_one_error(columns: dict[str, int], expected: Counts) -> None:
    assert counted(row("web", "new", **columns)) == expected


def test_in_mode_tcp_sessions_are_counted_and_connections_that_fail() -> None:
    assert counted(row("web", "new", mode="tcp", stot=12, econ=2, wretr=4)) == Counts(8, 2)


def test_the_first_look_only_says_from_where_to_count() -> None:
    assert looked(counter(), Process().answer("new", 50, 50)) == Stretch()


def test_what_comes_between_two_looks_is_counted_by_address() -> None:
    one, process = counter(), Process(servers=("new", "old", "other"))
    looked(one, process)
    process.answer("new", 3, 1).answer("old", 30, 2).answer("other", 7, 7)
    assert looked(one, process) == Stretch(Counts(4, 1), Counts(32, 2))
    assert looked(one, process) == Stretch()


def test_after_a_reload_it_is_counted_from_zero() -> None:
    one = counter()
    looked(one, Process().answer("new", 1000, 10).answer("old", 9000))
    assert looked(one, Process().answer("new", 4, 1).answer("old", 40), 1) == Stretch(Counts(5, 1), Counts(40))
    assert one.reloads == 1


def test_a_reload_is_known_although_the_canary_had_fewer_requests_before() -> None:
    """The new worker's count of this server alone could be a later one of the old worker."""
    one = counter()
    looked(one, Process().answer("new", 2).answer("old", 900))
    assert looked(one, Process().answer("new", 5, 1).answer("old", 40), 1).canary == Counts(6, 1)


def test_while_a_reload_is_under_way_either_worker_may_answer() -> None:
    one, before, after = counter(), Process().answer("new", 100).answer("old", 900), Process()
    looked(one, before)
    after.answer("new", 4).answer("old", 40)
    assert looked(one, after, 0.1).canary == Counts(4)
    before.answer("new", 2, 1)
    assert looked(one, before, 0.2).canary == Counts(3, 1)  # not 103
    after.answer("new", 1)
    assert looked(one, after, 0.3).canary == Counts(1)
    assert one.reloads == 1


def test_an_old_worker_is_forgotten_when_it_cannot_answer_any_more() -> None:
    """Or a new one that has grown as large would be taken for it."""
    one, after = counter(), Process()
    looked(one, Process().answer("new", 10).answer("old", 90))
    looked(one, after, 1)
    after.answer("new", 50, 5).answer("old", 400)
    assert looked(one, after, 60) == Stretch(Counts(55, 5), Counts(400))


def test_a_server_that_was_taken_away_and_added_again_begins_at_zero_and_nobody_else_does() -> None:
    one, process = counter(), Process().answer("new", 100, 2).answer("old", 900)
    looked(one, process)
    process.add("new")
    process.answer("new", 3, 1).answer("old", 10)
    assert looked(one, process) == Stretch(Counts(4, 1), Counts(10))
    assert one.reloads == 0


def test_a_server_that_joins_counts_from_the_beginning() -> None:
    one, process = counter(), Process(servers=("old",)).answer("old", 900)
    looked(one, process)
    process.add("new")
    process.answer("new", 3, 1)
    assert looked(one, process) == Stretch(Counts(4, 1))


def test_a_slot_that_is_given_to_the_canary_keeps_the_counts_of_the_task_before_it_out() -> None:
    one, process = counter(), Process().answer("new", 500, 20)
    one.look(process.rows(), {**ADDRESSES, ("web", "new"): OTHER}, 0)
    process.answer("new", 2, 1)
    assert looked(one, process).canary == Counts(3, 1)


def test_counters_that_somebody_clears_are_counted_from_zero() -> None:
    one, process = counter(), Process().answer("new", 100).answer("old", 900)
    looked(one, process)
    process.counts, process.total = {"new": Tally(), "old": Tally()}, Tally()
    process.answer("new", 0, 2)
    assert looked(one, process) == Stretch(Counts(2, 2))


def test_listeners_are_no_servers() -> None:
    one = counter()
    listener = {**row("web", "sock-1", hrsp_5xx=9), "type": "3"}
    one.look(Process().rows(), {**ADDRESSES, ("web", "sock-1"): NEW}, 0)
    assert one.look([*Process().rows(), listener], {**ADDRESSES, ("web", "sock-1"): NEW}, 0) == Stretch()


@pytest.mark.parametrize("text", ["-3", "many", "1.5", "nan"])
def test_a_count_that_is_none_is_named(text: str) -> None:
    rows = [{**row("web", "new"), "hrsp_5xx": text}]
    with pytest.raises(ValueError, match=f"hrsp_5xx of web/new is '{text}'"):
        counter().look(rows, ADDRESSES, 0)


def test_a_server_of_the_canary_that_stays_down_is_told_and_a_moment_is_not_enough() -> None:
    one = counter()
    down = [{**row("web", "new", "DOWN"), "check_status": "L4CON"}, row("web", "old", "DOWN")]
    assert one.down(down, ADDRESSES, 0) is None
    assert one.down(down, ADDRESSES, 0.5) is None
    assert one.down(down, ADDRESSES, 1.0) == "web/new is DOWN (L4CON)"


def test_a_server_that_came_up_in_between_was_not_down_all_the_time() -> None:
    one = counter()
    states = ["DOWN", "UP", "DOWN 1/2", "DOWN"]
    found = [one.down([row("web", "new", state)], ADDRESSES, 0.8 * look) for look, state in enumerate(states)]
    assert found == [None] * 4


@pytest.mark.parametrize("status", ["UP", "UP 1/3", "no check", "MAINT", "DRAIN", "NOLB"])
def test_only_down_is_down(status: str) -> None:
    one = counter()
    assert [one.down([row("web", "new", status)], ADDRESSES, now) for now in (0, 2, 4)] == [None] * 3


def test_an_address_of_the_canary_that_no_server_has_is_absent() -> None:
    assert counter().absent({("web", "old"): OLD}) == [NEW]
    assert counter().absent(ADDRESSES) == []


events = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["new", "old", "other"]), st.integers(0, 20), st.integers(0, 5)),
        st.sampled_from(["reload", "look", "again"]),
    ),
    max_size=30,
)


@given(events)
def test_what_is_seen_by_looks_is_never_more_than_what_was_and_nothing_is_counted_twice(
    happening: list[object],
) -> None:
    one, process, now = counter(), Process(servers=("new", "old", "other")), 0.0
    looked(one, process)
    seen, was, missed = Stretch(), Tally(), False
    for event in happening:
        now += 1.0
        if event == "reload":
            missed = True
            process = Process(servers=("new", "old", "other"))
        elif event == "again":
            missed = True
            process.add("new")
        elif event == "look":
            seen += looked(one, process, now)
        else:
            server, good, bad = event
            process.answer(server, good, bad)
            was[server] += good + bad
            was[f"{server} bad"] += bad
    seen += looked(one, process, now + 1)
    for server, counts in (("new", seen.canary), ("old", seen.baseline)):
        assert 0 <= counts.errors <= counts.requests
        assert counts.requests <= was[server] and counts.errors <= was[f"{server} bad"]
        if not missed:
            assert (counts.requests, counts.errors) == (was[server], was[f"{server} bad"])
