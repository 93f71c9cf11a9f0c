# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what the user's HAProxy lack for rollouts by the runtime API, before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._errors import InvalidInput, NotFound, OperationError, Rejected
from .._haproxy import stats
from .._haproxy.backend_servers import AUTO, DYNAMIC, TEMPLATE, view_of
from .._haproxy.requirements import Findings, Needs, Seen, examine, together
from .._haproxy.runtime import HAPROXY_SPEC, Runtime, checked_name
from .._invocation.context import Context
from .._parallel import each

ARGUMENT_SPEC: dict[str, Any] = {
    **HAPROXY_SPEC,
    "socket": {"type": "list", "elements": "str", "required": True},
    "master_socket": {"type": "list", "elements": "str"},
    "config": {"type": "list", "elements": "path"},
    "backend": {"type": "str", "required": True},
    "needs": {"type": "int", "default": 0},
    "sticky": {"type": "bool", "default": False},
    "placement": {"type": "str", "choices": [AUTO, DYNAMIC, TEMPLATE], "default": AUTO},
    "slot_prefix": {"type": "str", "default": "slot"},
    "check": {"type": "bool", "default": True},
    "report_only": {"type": "bool", "default": False},
}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Examine all balancers; see the module's documentation."""
    needs = Needs(
        checked_name(params["backend"]),
        params["needs"],
        params["sticky"],
        params["placement"],
        params["slot_prefix"],
        params["check"],
    )
    if needs.servers < 0:
        raise InvalidInput("invalid_option", f"Option needs: {needs.servers} is below 0.")
    if needs.is_sticky and needs.placement == DYNAMIC:
        raise InvalidInput(
            "invalid_option", "Sticky clients need slots: a server that is added at run time takes no cookie."
        )
    reports = each(lambda places: _examined(places, needs, params["timeout"]), _places(params))
    findings = [found for _report, found in reports]
    missing = [f"lb {report['lb']}: {text}" for report, found in reports for text in found.missing]
    unseen = [f"lb {report['lb']}: {text}" for report, found in reports for text in found.unseen]
    for report, found in reports:
        for text in found.warnings:
            context.warn(f"lb {report['lb']}: {text}")
    placement = None if missing else together(findings)
    if missing and not params["report_only"]:
        raise Rejected(
            "preflight_failed",
            f"HAProxy is not ready for backend {needs.backend}: {'; '.join(missing)}. See docs/haproxy.md.",
            detail={"missing": missing, "unseen": unseen, "lbs": [report for report, _found in reports]},
        )
    return {
        "changed": False,
        "missing": missing,
        "unseen": unseen,
        "placement": placement,
        "lbs": [report for report, _found in reports],
    }


def _places(params: Mapping[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """The socket, master socket and configuration of each balancer.

    :raises InvalidInput: the lists do not fit together.
    """
    sockets = params["socket"]
    if not sockets:
        raise InvalidInput("invalid_option", "Option socket needs at least one entry.")
    if len(set(sockets)) != len(sockets):
        raise InvalidInput("invalid_option", "Option socket names a balancer twice.")
    others = {}
    for option in ("master_socket", "config"):
        given = params[option] or []
        if given and len(given) != len(sockets):
            raise InvalidInput(
                "invalid_option", f"Option {option} needs one entry for each entry of the option socket, in its order."
            )
        others[option] = given or [None] * len(sockets)
    return list(zip(sockets, others["master_socket"], others["config"], strict=True))


def _examined(
    places: tuple[str, str | None, str | None], needs: Needs, timeout: float
) -> tuple[dict[str, Any], Findings]:
    address, master, config = places
    runtime = Runtime.at(address, timeout)
    report: dict[str, Any] = {"lb": address, "version": None, "level": None, "algorithm": None, "cookie": None}
    report |= {"slots": 0, "free_slots": 0}
    try:
        seen = _seen(runtime, master, config, needs, timeout)
    except InvalidInput:
        raise
    except NotFound:
        return report, Findings((f"there is no backend {needs.backend}",))
    except OperationError as error:
        return report, Findings((error.message.removeprefix(f"lb {address}: "),))
    found = examine(seen, needs)
    slots = [server for server in seen.view.servers.values() if server.kind == TEMPLATE]
    return {
        "lb": address,
        "version": ".".join(map(str, seen.view.version)),
        "level": seen.level,
        "algorithm": seen.algorithm or None,
        "cookie": seen.cookie or None,
        "slots": len(slots),
        "free_slots": len(seen.view.free_slots()),
    }, found


def _seen(runtime: Runtime, master: str | None, config: str | None, needs: Needs, timeout: float) -> Seen:
    sight = runtime.sight(needs.backend)
    rows = stats.server_rows(sight.table, f"lb {runtime.name}", "show stat")
    mine = {server: row for (backend, server), row in rows.items() if backend == needs.backend}
    own = next(row for row in sight.table if row.get("pxname") == needs.backend and row.get("svname") == stats.BACKEND)
    if master is not None:
        Runtime.at(master, timeout).workers()
    return Seen(
        view_of(runtime.name, sight, needs.slot_prefix, mine, {}),
        sight.level,
        own.get("algo", ""),
        own.get("cookie", ""),
        runtime.sockets() if sight.level == "admin" else "",
        master is not None,
        None if config is None else _text(config),
    )


def _text(config: str) -> str:
    try:
        return Path(config).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidInput("invalid_option", f"Option config: {config}: {error.strerror}.") from None
