# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How hosts become one swarm, from what their engines say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._swarm.cluster import Node, Wanted, plan, table, unready


def member(
    node_id: str, role: str = "worker", *, state: str = "ready", reachability: str | None = None
) -> dict[str, Any]:
    """A node as a manager lists it."""
    manager = {"Reachability": reachability or "reachable", "Leader": False} if role == "manager" else None
    return {
        "ID": node_id,
        "Spec": {"Role": role, "Availability": "active", "Labels": {}},
        "Status": {"State": state, "Addr": "192.0.2.1"},
        "Description": {"Hostname": f"host-{node_id}", "Engine": {"EngineVersion": "20.10.24"}},
        **({"ManagerStatus": manager} if manager else {}),
    }


def manager(name: str, *members: dict[str, Any], cluster: str = "c", error: str = "") -> Node:
    """A host that is a manager; ``members`` are the others that it knows."""
    known = [member(name, "manager"), *members]
    swarm = {
        "LocalNodeState": "active",
        "NodeID": name,
        "ControlAvailable": True,
        "Cluster": {"ID": cluster},
        "Error": error,
        "RemoteManagers": [{"NodeID": name, "Addr": f"{name}:2377"}],
    }
    return Node.of(name, swarm, known, {}, "")


def worker(name: str) -> Node:
    """A host that is a worker."""
    remote = [{"NodeID": "x", "Addr": "198.51.100.1:2377"}]
    swarm = {"LocalNodeState": "active", "NodeID": name, "ControlAvailable": False, "RemoteManagers": remote}
    return Node.of(name, swarm, [], {}, "")


def test_the_first_manager_begins_and_the_others_join() -> None:
    made = plan([Node("w"), Node("b"), Node("a")], Wanted(["a", "b"], ["w"]))

    assert (made.lead, made.initialise, made.join, made.problems) == ("a", True, ("b", "w"), ())


def test_the_first_that_is_a_manager_already_leads_whatever_its_place() -> None:
    made = plan([Node("a"), manager("b")], Wanted(["a", "b"], []))

    assert (made.lead, made.initialise, made.join) == ("b", False, ("a",))


def test_a_manager_that_shall_be_a_worker_leads_until_another_one_is_a_manager() -> None:
    made = plan([manager("a", member("b")), worker("b")], Wanted(["b"], ["a"]))

    assert (made.lead, made.keeper, made.promote, made.demote) == ("a", "b", ("b",), ("a",))


def test_no_swarm_is_begun_while_a_manager_is_silent() -> None:
    """It may be the one that has the swarm."""
    [problem] = plan([Node("b"), Node("w")], Wanted(["a", "b"], ["w"])).problems

    assert problem.startswith("a did not answer")


def test_a_silent_manager_is_no_obstacle_where_another_one_leads() -> None:
    made = plan([manager("b"), Node("w")], Wanted(["a", "b"], ["w"]))

    assert made.problems == ()
    assert any("a did not answer" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (
            [manager("a", cluster="one"), manager("b", cluster="two")],
            "b is a manager of another swarm (two) than a (one)",
        ),
        ([manager("a"), worker("b")], "b is a worker of another swarm (managers 198.51.100.1:2377)"),
        ([Node("a"), worker("b")], "of which no manager is among the hosts"),
        (
            [manager("a", error="The swarm does not have a leader."), Node("b")],
            "a manager that cannot act: The swarm does",
        ),
        ([Node("a", state="locked"), Node("b")], "docker swarm unlock"),
        ([Node("a", state="error", error="no disk"), Node("b")], "no disk"),
        ([Node("b")], "None of the managers answered"),
    ],
)
def test_what_would_do_harm_is_refused(nodes: list[Node], said: str) -> None:
    assert said in " ".join(plan(nodes, Wanted(["a"], ["b"])).problems)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted([], ["a"]), "the group of the managers is empty"),
        (Wanted(["a"], ["a"]), "a is in the group of the managers and in that of the workers"),
        (Wanted(["b"], []), "a is in neither of the groups"),
    ],
)
def test_groups_that_make_no_sense_are_refused(wanted: Wanted, said: str) -> None:
    assert said in " ".join(plan([Node("a")], wanted).problems)


@given(st.integers(min_value=1, max_value=7))
def test_only_an_even_number_of_managers_is_warned_of(count: int) -> None:
    names = [f"m{number}" for number in range(count)]
    made = plan([Node(name) for name in names], Wanted(names, []))

    assert bool(made.warnings) == (count % 2 == 0)


@given(st.data())
def test_a_plan_that_is_followed_leaves_nothing_to_do(data: st.DataObject) -> None:
    """Whatever state the nodes of one swarm begin in, a second plan is empty and all nodes are ready."""
    names = [f"n{number}" for number in range(data.draw(st.integers(1, 6)))]
    managers = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    wanted = Wanted(managers, [name for name in names if name not in managers])
    now = {name: data.draw(st.sampled_from(["none", "worker", "manager"])) for name in names}
    if "manager" not in now.values():
        now = dict.fromkeys(names, "none")

    first = plan(nodes_of(now), wanted)
    assert first.problems == ()
    after = dict(now)
    for name in [*first.join, *([first.lead] if first.initialise else [])]:
        after[name] = wanted.role(name)
    for name in first.promote:
        after[name] = "manager"
    assert after[first.keeper] == "manager", "nobody could be asked to demote the others"
    for name in first.demote:
        after[name] = "worker"

    second = plan(nodes_of(after), wanted)
    assert (second.initialise, second.join, second.promote, second.demote) == (False, (), (), ())
    lead = next(node for node in nodes_of(after) if node.name == second.lead)
    assert unready(nodes_of(after), wanted, lead.members) == []
    assert len(table(nodes_of(after), lead.members)) == len(names) + 1


def nodes_of(roles: dict[str, str]) -> list[Node]:
    """Hosts in one swarm with these roles, ``none`` for those that are in none."""
    members = [member(name, role) for name, role in roles.items() if role != "none"]
    made = {"none": Node, "worker": worker, "manager": lambda name: manager(name, *members)}
    return [made[role](name) for name, role in roles.items()]


def test_a_node_that_is_down_or_unreachable_is_not_ready() -> None:
    nodes = [manager("a"), manager("b"), worker("c"), Node("d")]
    members = {
        "a": member("a", "manager"),
        "b": member("b", "manager", reachability="unreachable"),
        "c": member("c", state="down"),
    }

    assert unready(nodes, Wanted(["a", "b"], ["c", "d"]), members) == [
        "b as a manager is unreachable",
        "c is down",
        "d is not in the swarm",
    ]
