# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell how hosts become one swarm, or why they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import Rejected
from .._invocation.context import Context
from .._swarm.cluster import Node, Plan, Wanted, lines, plan, table, unready

ARGUMENT_SPEC: dict[str, Any] = {
    "managers": {"type": "list", "elements": "str", "required": True},
    "workers": {"type": "list", "elements": "str", "default": []},
    "nodes": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "swarm": {"type": "dict", "default": {}},
            "members": {"type": "list", "elements": "dict", "default": []},
            "labels": {"type": "dict", "default": {}},
            "availability": {"type": "str", "default": ""},
        },
    },
}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation.

    :raises Rejected: the hosts cannot become one swarm without harm.
    """
    nodes = [
        Node.of(one["name"], one["swarm"], one["members"], one["labels"], one["availability"])
        for one in params["nodes"]
    ]
    wanted = Wanted(params["managers"], params["workers"])
    made = plan(nodes, wanted)
    if made.problems:
        raise Rejected(
            "swarm_refused",
            f"These hosts cannot be made one swarm; none was changed. {' '.join(made.problems)}",
            detail={"problems": list(made.problems)},
        )
    for text in made.warnings:
        context.warn(text)
    return {"changed": False, **_result(nodes, wanted, made)}


def _result(nodes: list[Node], wanted: Wanted, made: Plan) -> dict[str, Any]:
    lead = next((node for node in nodes if node.name == made.lead), None)
    members = lead.members if lead else {}
    return {
        "lead": made.lead,
        "keeper": made.keeper,
        "initialise": made.initialise,
        "join": list(made.join),
        "promote": list(made.promote),
        "demote": list(made.demote),
        "remote_addrs": list(lead.managers) if lead else [],
        "lines": lines(nodes, wanted, made),
        "unready": unready(nodes, wanted, members),
        "table": table(nodes, members),
    }
