# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes have to do to be one swarm, from what their engines and the managers say: pure.

Engines are read from the answers of Docker's ``GET /info``, members of the swarm from those of ``GET /nodes``. In
``/info`` the key ``Swarm`` has ``LocalNodeState`` (``inactive``, ``pending``, ``active``, ``error``, ``locked``),
``NodeID``, ``ControlAvailable`` (this engine is a manager), ``Error``, ``RemoteManagers`` (all managers that it knows,
each with ``Addr``, itself among them), and on managers ``Cluster.ID``, which is empty while they have no leader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MANAGER = "manager"
WORKER = "worker"
INACTIVE = "inactive"
ACTIVE = "active"

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Node:
    """A host, and what its engine says; ``state`` is ``inactive`` too where no engine is there yet (check mode).

    ``members`` are the nodes of its swarm by id, as a manager lists them; empty where nobody could tell.
    ``labels`` and ``availability`` are those that it shall have.
    """

    name: str
    state: str = INACTIVE
    node_id: str = ""
    cluster: str = ""
    controls: bool = False
    error: str = ""
    managers: tuple[str, ...] = ()
    members: Mapping[str, Json] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    availability: str = ""

    @classmethod
    def of(cls, name: str, swarm: Json, members: Iterable[Json], labels: Json, availability: str) -> Node:
        """``swarm``: the key ``Swarm`` of ``/info``; ``members``: the answer of ``/nodes``."""
        return cls(
            name,
            state=swarm.get("LocalNodeState") or INACTIVE,
            node_id=swarm.get("NodeID") or "",
            cluster=(swarm.get("Cluster") or {}).get("ID") or "",
            controls=bool(swarm.get("ControlAvailable")),
            error=swarm.get("Error") or "",
            managers=tuple(sorted(manager["Addr"] for manager in swarm.get("RemoteManagers") or [])),
            members={member["ID"]: member for member in members},
            labels=labels,
            availability=availability,
        )


@dataclass(frozen=True)
class Wanted:
    """The names of the hosts that shall be managers and workers, in their order in the inventory."""

    managers: Sequence[str]
    workers: Sequence[str]

    def role(self, name: str) -> str:
        """The role of one of them."""
        return MANAGER if name in self.managers else WORKER


@dataclass(frozen=True)
class Plan:
    """What is done, or with ``problems``: why nothing is.

    ``lead``: the manager that is asked, and that begins the swarm when ``initialise``. ``keeper``: the manager that is
    asked once all managers are there: one that stays a manager. ``join``, ``promote``, ``demote``: names of nodes.
    """

    lead: str
    keeper: str
    initialise: bool
    join: tuple[str, ...]
    promote: tuple[str, ...]
    demote: tuple[str, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def plan(nodes: Sequence[Node], wanted: Wanted) -> Plan:
    """How the nodes become one swarm. ``nodes``: those that answered; nobody else is changed."""
    by_name = {node.name: node for node in nodes}
    ordered = [by_name[name] for name in dict.fromkeys([*wanted.managers, *wanted.workers]) if name in by_name]
    leads = [node for node in ordered if node.controls and not node.error]
    lead = leads[0] if leads else None
    first = next((node.name for node in ordered if node.name in wanted.managers), "")
    problems = [*_misplaced(nodes, wanted), *_unable(ordered)]
    if not problems:
        problems = _foreign(ordered, lead) if lead else _leaderless(ordered, wanted, first)
    keeper = lead.name if lead and lead.name in wanted.managers else first
    joins = [node for node in ordered if node.state == INACTIVE and (lead or node.name != first)]
    members = lead.members if lead else {}
    return Plan(
        lead.name if lead else first,
        keeper,
        lead is None,
        tuple(node.name for node in joins),
        tuple(node.name for node in ordered if _role(node, members) == WORKER and node.name in wanted.managers),
        tuple(node.name for node in ordered if _role(node, members) == MANAGER and node.name not in wanted.managers),
        tuple(problems),
        tuple(_warnings(wanted, by_name)),
    )


def _role(node: Node, members: Mapping[str, Json]) -> str | None:
    """The role that a node has now; ``None`` when it is in no swarm."""
    if node.state != ACTIVE:
        return None
    member = members.get(node.node_id)
    return member["Spec"]["Role"] if member else (MANAGER if node.controls else WORKER)


def _misplaced(nodes: Sequence[Node], wanted: Wanted) -> list[str]:
    found = []
    if not wanted.managers:
        found.append("No host shall be a manager: the group of the managers is empty.")
    both = [name for name in wanted.managers if name in wanted.workers]
    found += [f"{name} is in the group of the managers and in that of the workers." for name in both]
    grouped = {*wanted.managers, *wanted.workers}
    return [*found, *(f"{node.name} is in neither of the groups." for node in nodes if node.name not in grouped)]


def _unable(nodes: Sequence[Node]) -> list[str]:
    """Engines in a state in which they can neither join nor act."""
    found = []
    for node in nodes:
        if node.state == "locked":
            found.append(f"{node.name} has a locked swarm: unlock it there with `docker swarm unlock`.")
        elif node.state not in (INACTIVE, ACTIVE):
            found.append(f"{node.name} is neither in a swarm nor out of one, but {node.state!r}. {node.error}".strip())
        elif node.controls and node.error:
            found.append(f"{node.name} is a manager that cannot act: {node.error}")
    return found


def _foreign(nodes: Sequence[Node], lead: Node) -> list[str]:
    """Nodes of another swarm. A worker's engine does not say which one it is in: the manager has to know the worker."""
    found = []
    for node in nodes:
        if node.state != ACTIVE or node.name == lead.name:
            continue
        if node.controls and node.cluster != lead.cluster:
            other = f"manager of another swarm ({node.cluster})"
        elif not node.controls and lead.members and node.node_id not in lead.members:
            other = f"worker of another swarm ({_whose(node)})"
        else:
            continue
        found.append(f"{node.name} is a {other} than {lead.name} ({lead.cluster}). {_ways_out(node)}")
    return found


def _leaderless(nodes: Sequence[Node], wanted: Wanted, first: str) -> list[str]:
    """No manager of a swarm is among the nodes, so one would be begun: only where there can be none already."""
    found = [
        f"{node.name} is a worker of a swarm ({_whose(node)}) of which no manager is among the hosts. {_ways_out(node)}"
        for node in nodes
        if node.state == ACTIVE
    ]
    if found:
        return found
    if not first:
        return ["None of the managers answered or is in this run: without one nothing can be told or changed."]
    silent = [name for name in wanted.managers if name not in {node.name for node in nodes}]
    if silent:
        away = f"{', '.join(silent)} did not answer or is not in this run"
        return [f"{away}, and no other manager is in a swarm. The swarm may live there, so none is begun."]
    return []


def _whose(node: Node) -> str:
    return f"managers {', '.join(node.managers)}" if node.managers else "unknown managers"


def _ways_out(node: Node) -> str:
    return f"Take {node.name} out of the inventory, or make it leave that swarm with `docker swarm leave`."


def _warnings(wanted: Wanted, present: Mapping[str, Node]) -> list[str]:
    found = []
    count = len(wanted.managers)
    if count and count % 2 == 0:
        found.append(
            f"There are {count} managers. An even number survives the loss of no more of them than {count - 1} would, "
            "and there is one more to lose."
        )
    silent = [name for name in [*wanted.managers, *wanted.workers] if name not in present]
    if silent:
        found.append(f"{', '.join(silent)} did not answer or is not in this run, and is left as it is.")
    return found


def lines(nodes: Sequence[Node], wanted: Wanted, made: Plan) -> list[str]:
    """The plan for people, a line for each node."""
    said = []
    for node in nodes:
        role = wanted.role(node.name)
        if node.name in made.join:
            text = f"joins the swarm of {made.lead} as {role}{_given(node)}"
        elif made.initialise and node.name == made.lead:
            text = f"begins the swarm{_given(node)}"
        elif node.name in made.promote:
            text = "is a worker of the swarm and becomes a manager"
        elif node.name in made.demote:
            text = "is a manager of the swarm and becomes a worker"
        else:
            text = f"is in the swarm as {role}"
        said.append(f"{node.name}: {text}")
    return said


def _given(node: Node) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(node.labels.items()))
    return "".join(
        [
            f", labels {labels}" if labels else "",
            f", availability {node.availability}" if node.availability else "",
        ]
    )


def unready(nodes: Sequence[Node], wanted: Wanted, members: Mapping[str, Json]) -> list[str]:
    """What is missing at the nodes until the swarm is as wanted; empty when nothing is."""
    found = []
    for node in nodes:
        member = members.get(node.node_id)
        if member is None:
            found.append(f"{node.name} is not in the swarm")
            continue
        role = member["Spec"]["Role"]
        state = member["Status"]["State"]
        reachability = (member.get("ManagerStatus") or {}).get("Reachability")
        if state != "ready":
            found.append(f"{node.name} is {state} {member['Status'].get('Message') or ''}".strip())
        elif role != wanted.role(node.name):
            found.append(f"{node.name} is a {role}")
        elif role == MANAGER and reachability != "reachable":
            found.append(f"{node.name} as a manager is {reachability or 'not known to the others'}")
    return found


def table(nodes: Sequence[Node], members: Mapping[str, Json]) -> list[str]:
    """All nodes of the swarm, those that are no hosts of the inventory too, as lines of columns."""
    names = {node.node_id: node.name for node in nodes if node.node_id}
    rows = [("NODE", "HOST NAME", "ROLE", "STATE", "AVAILABILITY", "ADDRESS", "ENGINE", "LABELS")]
    for node_id, member in sorted(members.items(), key=lambda one: (names.get(one[0], "~"), one[0])):
        leader = (member.get("ManagerStatus") or {}).get("Leader")
        rows.append(
            (
                names.get(node_id, "(not in this run)"),
                member["Description"]["Hostname"],
                f"{member['Spec']['Role']}{', leader' if leader else ''}",
                member["Status"]["State"],
                member["Spec"]["Availability"],
                member["Status"].get("Addr") or "",
                (member["Description"].get("Engine") or {}).get("EngineVersion") or "",
                " ".join(f"{name}={value}" for name, value in sorted((member["Spec"].get("Labels") or {}).items())),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
