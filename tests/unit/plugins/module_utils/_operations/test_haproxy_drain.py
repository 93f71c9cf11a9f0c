# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server is drained when it is idle in each worker that may still send it something."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import DeadlinePassed
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.stats import ServerRow
from ansible_collections.zdd.rollout.plugins.module_utils._operations.haproxy_drain import (
    BalancerState,
    OldWorker,
    still_reached,
    undrained,
    unready,
)


def row(status: str = "MAINT", scur: int = 0, qcur: int = 0) -> ServerRow:
    return ServerRow("web", "a", status, scur, qcur, 1, "", "", 0, "")


DRAINED = BalancerState("lb1", 9, {"a": "maint"}, {"a": row()}, ())


def forbids(state: BalancerState, first_pid: int = 9, now: float = 100, keep_alive: float = 10) -> str | None:
    return undrained(state, first_pid, now, keep_alive)


def test_maint_and_idle_is_drained() -> None:
    assert forbids(DRAINED) is None


def test_what_is_open_or_queued_forbids_it() -> None:
    assert forbids(replace(DRAINED, rows={"a": row(scur=1)})) == "lb lb1: web/a: 1 open, 0 queued"
    assert forbids(replace(DRAINED, rows={"a": row(qcur=2)})) == "lb lb1: web/a: 0 open, 2 queued"


def test_a_reload_that_lost_the_state_forbids_it() -> None:
    assert forbids(replace(DRAINED, states={"a": "ready"})) == "lb lb1: a is ready (again)"


def test_a_status_that_is_not_maint_forbids_it() -> None:
    assert forbids(replace(DRAINED, rows={"a": row("UP")})) == "lb lb1: web/a is UP"


def test_a_session_on_an_old_worker_forbids_it() -> None:
    state = replace(DRAINED, old_workers=(OldWorker(7, 1, 3, None),))
    assert forbids(state) == "lb lb1 old worker pid 7: 1 open"


def test_an_old_worker_whose_clients_are_gone_is_done() -> None:
    assert forbids(replace(DRAINED, old_workers=(OldWorker(7, 0, 0, 100),))) is None


def test_an_old_worker_with_clients_has_to_be_quiet_for_as_long_as_these_may_be_idle() -> None:
    state = replace(DRAINED, old_workers=(OldWorker(7, 0, 2, 95),))
    assert "2 client connections may still ask" in (forbids(state, now=100) or "")
    assert forbids(state, now=105) is None


def test_after_a_reload_nobody_knows_without_the_master_socket() -> None:
    """It would not get better, so the wait ends at once."""
    state = replace(DRAINED, old_workers=None)
    assert forbids(state) is None
    with pytest.raises(DeadlinePassed) as failure:
        forbids(state, first_pid=8)
    assert failure.value.code == "reloaded"


def test_a_server_without_weight_is_ready_although_it_is_shown_as_drained() -> None:
    assert unready(replace(DRAINED, rows={"a": row("DRAIN")})) == "lb lb1: web/a is DRAIN"
    assert unready(replace(DRAINED, rows={"a": replace(row("DRAIN"), weight=0)})) is None


def test_a_reload_does_not_end_the_wait_while_the_live_worker_is_busy() -> None:
    state = replace(DRAINED, old_workers=None, rows={"a": row(scur=1)})
    assert forbids(state, first_pid=8) == "lb lb1: web/a: 1 open, 0 queued"


def test_one_that_does_not_answer_says_nothing() -> None:
    assert forbids(BalancerState("lb1", error="lb lb1: no answer (timeout)")) == "lb lb1: no answer (timeout)"


def test_new_requests_come_until_it_is_out_whatever_is_still_open() -> None:
    assert still_reached(replace(DRAINED, rows={"a": row(scur=3)})) is None
    assert still_reached(replace(DRAINED, states={"a": "ready"})) == "lb lb1: a is ready (again)"
    assert still_reached(BalancerState("lb1", error="away")) == "away"


@pytest.mark.parametrize(("status", "ready"), [("UP", True), ("UP 1/3", True), ("no check", True), ("DOWN", False)])
def test_ready_means_that_it_gets_requests(status: str, ready: bool) -> None:
    assert (unready(replace(DRAINED, rows={"a": row(status)})) is None) == ready


WORKERS = st.lists(
    st.builds(
        OldWorker,
        st.integers(1, 99),
        st.integers(0, 2),
        st.integers(0, 2),
        st.one_of(st.none(), st.floats(80, 100)),
    ).filter(lambda worker: (worker.sessions == 0) == (worker.quiet_since is not None)),
    max_size=3,
).map(tuple)


@given(WORKERS, st.sampled_from(["ready", "drain", "maint"]), st.integers(0, 1), st.integers(0, 1))
def test_no_session_anywhere_is_ever_left(workers: tuple[OldWorker, ...], state: str, scur: int, qcur: int) -> None:
    seen = BalancerState("lb1", 9, {"a": state}, {"a": row(scur=scur, qcur=qcur)}, workers)
    if forbids(seen) is None:
        assert state == "maint" and scur == qcur == 0
        assert all(worker.sessions == 0 for worker in workers)
        assert all(worker.connections == 0 or 100 - (worker.quiet_since or 100) >= 10 for worker in workers)
