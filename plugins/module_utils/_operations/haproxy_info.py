# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what balancers count: from runtime sockets or statistics pages, by column name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import InvalidInput
from .._haproxy import stats
from .._haproxy.endpoints import MARATHON_LB_SPEC, MarathonLb, instances
from .._haproxy.runtime import HAPROXY_SPEC, Runtime
from .._invocation.context import Context
from .._parallel import each

ARGUMENT_SPEC: dict[str, Any] = {
    **{name: option for name, option in MARATHON_LB_SPEC.items() if name not in ("marathon_lb_url", "retry_timeout")},
    **HAPROXY_SPEC,
    "stats_url": {"type": "list", "elements": "str"},
    "backend": {"type": "list", "elements": "str"},
}

ARGUMENT_RULES: dict[str, Any] = {"required_one_of": [("socket", "stats_url")]}

# These stay text although their value may look like a number.
_TEXTS = frozenset({"pxname", "svname", "addr", "cookie", "check_desc", "agent_desc", "last_chk", "last_agt"})


def run(params: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Read all given balancers; see the module's documentation."""
    sources: list[Runtime | MarathonLb] = [
        Runtime.at(address, params["timeout"]) for address in dict.fromkeys(params["socket"] or [])
    ]
    if params["stats_url"]:
        sources.extend(instances({**params, "marathon_lb_url": params["stats_url"]}))
    if not sources:
        raise InvalidInput("invalid_option", "Options socket and stats_url are both empty.")
    wanted = params["backend"]
    lbs = []
    for source, table in zip(sources, each(lambda source: source.table(), sources), strict=True):
        rows = [row for row in table if wanted is None or row.get("pxname") in wanted]
        lbs.append({"lb": source.name, **by_kind(rows)})
    return {"changed": False, "lbs": lbs}


def by_kind(rows: list[dict[str, str]]) -> dict[str, list[dict[str, Any]]]:
    """Divide statistics into frontends, backends and servers, whole numbers as such."""
    found: dict[str, list[dict[str, Any]]] = {"frontends": [], "backends": [], "servers": []}
    kinds = {stats.FRONTEND: "frontends", stats.BACKEND: "backends"}
    for row in rows:
        if not stats.is_listener(row):
            found[kinds.get(row.get("svname", ""), "servers")].append(
                {column: _plain(column, value) for column, value in row.items()}
            )
    return found


def _plain(column: str, value: str) -> Any:
    if column in _TEXTS or not value.removeprefix("-").isdecimal():
        return value
    return int(value)
