# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One server of a HAProxy backend; what ``haproxy_backend`` does for several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import InvalidInput
from .._haproxy.addresses import resolved
from .._haproxy.backend_servers import DRAIN, MAINT, READY, Goal, Wanted
from .._haproxy.runtime import checked_name
from .._invocation.context import Context
from .haproxy_backend import BALANCERS_SPEC, base_goal, bring, checked_weight

ARGUMENT_SPEC: dict[str, Any] = {
    **BALANCERS_SPEC,
    "name": {"type": "str"},
    "address": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "weight": {"type": "int"},
    "admin_state": {"type": "str", "choices": [READY, DRAIN, MAINT], "default": READY},
}

ARGUMENT_RULES: dict[str, Any] = {"required_one_of": [("name", "address")]}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Bring one server into its state; see the module's documentation."""
    goal = _goal(params)
    result = bring(goal, params, context)
    backend = result.pop("backend")
    result["server"] = {
        "name": params["name"],
        "address": params["address"],
        "lbs": {lb: _matching(servers, goal) for lb, servers in backend["lbs"].items()},
    }
    return result


def _goal(params: Mapping[str, Any]) -> Goal:
    address = None if params["address"] is None else resolved(params["address"])
    name = None if params["name"] is None else checked_name(params["name"])
    if params["state"] == "absent":
        if params["weight"] is not None:
            raise InvalidInput("invalid_option", "Option weight makes no sense with state=absent.")
        names = (name,) if address is None and name is not None else ()
        return base_goal(params, absent=() if address is None else (address,), absent_names=names)
    weight = None if params["weight"] is None else checked_weight(params["weight"])
    return base_goal(params, servers=(Wanted(name, address, weight, params["admin_state"]),))


def _matching(servers: Mapping[str, Mapping[str, Any]], goal: Goal) -> dict[str, dict[str, Any]]:
    """The servers of one balancer that the options are about, by their names there."""
    addresses = {*goal.absent, *(wanted.address for wanted in goal.servers if wanted.address)}
    names = {*goal.absent_names, *(wanted.name for wanted in goal.servers if not wanted.address)}
    return {name: dict(server) for name, server in servers.items() if server["address"] in addresses or name in names}
