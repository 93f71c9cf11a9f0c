# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a service can be relied on, and when it never will: judged from what the API shows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import Hopeless, OperationError
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.tasks import address_of, node_address
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.waiting import Convergence, Look

NODES = {
    "n1": {"ID": "n1", "Status": {"State": "ready", "Addr": "10.0.0.1"}, "Description": {"Hostname": "node1"}},
    "n2": {"ID": "n2", "Status": {"State": "down", "Addr": "10.0.0.2"}, "Description": {"Hostname": "node2"}},
}
STATES = ("new", "pending", "preparing", "ready", "starting", "running", "shutdown", "failed", "rejected", "complete")
CREATED = "2026-01-01T00:00:00.000000001Z"


def task(
    number: int,
    state: str = "running",
    desired: str = "running",
    *,
    node: str | None = "n1",
    slot: int | None = None,
    error: str | None = None,
    created: str = CREATED,
    ended: str = "2026-01-01T00:00:02Z",
) -> dict[str, Any]:
    return {
        "ID": f"t{number}",
        "Slot": slot or number,
        "NodeID": node,
        "DesiredState": desired,
        "CreatedAt": created,
        "Status": {"State": state, "Timestamp": ended, "Message": state, **({"Err": error} if error else {})},
    }


def look(
    tasks: list[dict[str, Any]], replicas: int = 2, *, old: tuple[str, ...] = (), update: Any = None, at: float = 0
) -> Look:
    """All tasks but the ``old`` ones are of the present definition."""
    service = {"Spec": {"Name": "web", "Mode": {"Replicated": {"Replicas": replicas}}}, "UpdateStatus": update}
    current = frozenset(one["ID"] for one in tasks if one["ID"] not in old and one["NodeID"])
    return Look(service, tasks, current, NODES, at)


def code_of(convergence: Convergence, *looks: Look) -> str | None:
    """The code with which one of the looks ends the wait."""
    try:
        for one in looks:
            convergence.missing(one)
    except OperationError as error:
        return error.code
    return None


TASKS = st.lists(
    st.tuples(
        st.sampled_from(STATES),
        st.sampled_from(["ready", "running", "shutdown", "remove"]),
        st.booleans(),
    ),
    max_size=6,
)


@given(TASKS, st.integers(0, 3))
def test_it_is_never_done_beside_a_mixture(made: list[tuple[str, str, bool]], replicas: int) -> None:
    """Done is: so many tasks run as are wanted, each of the present definition, and none else may serve."""
    tasks = [task(number, state, desired) for number, (state, desired, _old) in enumerate(made, 1)]
    old = tuple(f"t{number}" for number, (_state, _desired, is_old) in enumerate(made, 1) if is_old)
    convergence = Convergence(monitor=0, max_failures=99)

    try:
        missing = convergence.missing(look(tasks, replicas, old=old))
    except Hopeless:
        return

    def is_good(one: dict[str, Any]) -> bool:
        return (one["Status"]["State"], one["DesiredState"]) == ("running", "running") and one["ID"] not in old

    serving = [one for one in tasks if one["Status"]["State"] in ("starting", "running")]
    others = [one for one in tasks if one not in serving and one["DesiredState"] in ("ready", "running")]
    done = len(serving) == replicas and all(is_good(one) for one in serving)
    if missing is None:
        assert done
    elif not others:
        assert not done


def test_what_is_missing_is_named_with_the_reason_for_it() -> None:
    tasks = [task(1), task(2, "starting"), task(3, "pending", error="no suitable node (x)"), task(9)]

    missing = Convergence().missing(look(tasks, 3, old=("t9",)))

    assert missing == (
        "1 of 3 tasks of web are ready (1 pending: no suitable node (x), 1 starting); "
        "1 tasks of an earlier definition of web still run"
    )


def test_a_change_of_tasks_begins_the_watch_anew() -> None:
    """Also one that happened between two looks."""
    convergence = Convergence(monitor=5)
    assert convergence.missing(look([task(1), task(2)], at=0)) == "2 of 2 tasks of web are ready, and watched for 5 s"
    assert convergence.missing(look([task(1), task(3, slot=2)], at=4.9)) is not None
    assert convergence.missing(look([task(1), task(3, slot=2)], at=5.1)) is not None

    assert convergence.missing(look([task(1), task(3, slot=2)], at=9.9)) is None


def test_failures_of_long_ago_are_no_crash_loop() -> None:
    """The slot was well for a day before its node went down."""
    hour = "2026-01-01T00"
    old = [
        task(minute, "failed", "shutdown", slot=1, created=f"{hour}:0{minute}:00Z", ended=f"{hour}:0{minute}:02Z")
        for minute in range(1, 5)
    ]
    lived = task(5, "failed", "shutdown", slot=1, created="2026-01-01T00:05:00Z", ended="2026-01-02T00:00:00Z")
    now = task(6, "starting", slot=1, created="2026-01-02T00:00:05Z")

    assert code_of(Convergence(), look([*old, lived, now], 1)) is None
    assert code_of(Convergence(), look([*old, now], 1)) == "crash_loop"


def test_each_failure_counts_once_however_often_it_is_seen() -> None:
    convergence = Convergence(max_failures=2)
    failed = [task(1, "failed", "shutdown", slot=1, error="task: non-zero exit (1)"), task(2, "starting", slot=1)]

    assert code_of(convergence, *[look(failed, 1, at=number) for number in range(5)]) is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("task: non-zero exit (1)", "crash_loop"),
        ("task: unhealthy container", "unhealthy"),
        ("No such image: web:1", "image_missing"),
        ("driver failed: listen tcp4 0.0.0.0:80: bind: address already in use", "port_conflict"),
        ("driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", "port_conflict"),
    ],
)
def test_the_tasks_own_errors_tell_what_is_wrong(error: str, code: str) -> None:
    failed = [task(number, "failed", "shutdown", error=error) for number in range(1, 4)]
    with pytest.raises(Hopeless) as failure:
        Convergence().missing(look(failed, 3))

    assert failure.value.code == code
    assert f"3 tasks of web failed: {error} (on node1: 3)" in failure.value.message
    assert [one["error"] for one in failure.value.detail] == [error] * 3


def test_nodes_have_time_to_take_a_task() -> None:
    """A host-mode port may be freed by a task that is just ending."""
    convergence = Convergence(unschedulable=30)
    waiting = [
        task(1),
        task(2, "pending", node=None, error="no suitable node (host-mode port already in use on 3 nodes)"),
    ]

    assert code_of(convergence, look(waiting, at=0), look(waiting, at=29)) is None
    assert code_of(convergence, look(waiting, at=30)) == "port_conflict"


def test_a_pause_is_the_end_only_where_old_tasks_are_left() -> None:
    """Docker pauses an update also when a node is drained soon after it, and all tasks are ready again."""
    paused = {"State": "paused", "Message": "update paused due to failure"}

    assert Convergence(monitor=0).missing(look([task(1), task(2)], update=paused)) is None
    assert code_of(Convergence(), look([task(1), task(2)], old=("t2",), update=paused)) == "update_paused"


@pytest.mark.parametrize("state", ["rollback_started", "rollback_paused", "rollback_completed"])
def test_what_docker_has_undone_is_no_success(state: str) -> None:
    assert code_of(Convergence(), look([task(1), task(2)], update={"State": state, "Message": ""})) == "rolled_back"


def test_what_a_node_runs_that_is_down_is_not_waited_for() -> None:
    lost = task(3, "running", "shutdown", node="n2", slot=2)
    seen = look([task(1), task(2), lost])

    assert Convergence(monitor=0).missing(seen) is None
    assert seen.lost() == [lost]


@given(st.sampled_from(["10.0.0.3", "fd00::3"]), st.integers(1, 65535))
def test_a_task_is_reached_at_its_node_or_in_its_network(host: str, port: int) -> None:
    nodes = {"n": {"Status": {"Addr": host}}}
    shown = f"[{host}]" if ":" in host else host
    published = {"TargetPort": 8000, "PublishedPort": port, "PublishMode": "host", "Protocol": "tcp"}
    one = {
        "NodeID": "n",
        "Status": {"PortStatus": {"Ports": [{**published, "Protocol": "udp", "PublishedPort": 1}, published]}},
        "NetworksAttachments": [{"Network": {"ID": "x", "Spec": {"Name": "front"}}, "Addresses": [f"{host}/24"]}],
    }

    assert address_of(one, nodes, 8000) == f"{shown}:{port}"
    assert address_of(one, nodes, 8001) is None and address_of(one, {}, 8000) is None
    assert address_of(one, nodes, 8000, "overlay", "front") == f"{shown}:8000"
    assert address_of(one, nodes, 8000, "overlay", "back") is None


def test_a_manager_that_sees_itself_nowhere_tells_its_own_address() -> None:
    assert node_address({"Status": {"Addr": "0.0.0.0"}, "ManagerStatus": {"Addr": "10.0.0.1:2377"}}) == "10.0.0.1"
    assert node_address({"Status": {"Addr": "127.0.0.1"}, "ManagerStatus": {"Addr": "[fd00::1]:2377"}}) == "fd00::1"
    assert node_address({"Status": {"Addr": "10.0.0.2"}, "ManagerStatus": {"Addr": "10.0.0.1:2377"}}) == "10.0.0.2"
