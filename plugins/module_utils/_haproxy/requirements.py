# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a HAProxy needs so that rollouts can drive it by its runtime API, and what one lacks. Pure.

What the runtime API tells was tried with HAProxy 2.6: the algorithm and the cookie are in the backend's row of the
statistics (``random`` as ``unknown``), the level in ``show cli level``, and a socket pair among ``show cli sockets`` is
that of a master, which passes the listeners on at a reload by itself. It does not tell whether there is a state file,
so that is looked for in the configuration, where one is given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .backend_servers import (
    AUTO,
    DYNAMIC,
    FIRST_VERSION,
    FIRST_VERSION_WITH_CHECKS,
    TEMPLATE,
    Server,
    View,
)

# Algorithms that take weights and servers at run time. "unknown" is how HAProxy shows "random".
_DYNAMIC_ALGORITHMS = frozenset({"roundrobin", "leastconn", "unknown"})
_WITHOUT_WEIGHTS = frozenset({"static-rr", "first"})
# What a dynamic cookie looks like; a slot that has not been used shows the one that its free address gives.
_DYNAMIC_COOKIE = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Seen:
    """One balancer. ``sockets`` is the answer to ``show cli sockets``; ``configuration`` the text, if it was given."""

    view: View
    level: str
    algorithm: str
    cookie: str
    sockets: str
    has_master_socket: bool
    configuration: str | None


@dataclass(frozen=True)
class Needs:
    """What is planned: so many ``servers`` more at each balancer, clients that stay (``sticky``), with checks."""

    backend: str
    servers: int
    is_sticky: bool
    placement: str
    slot_prefix: str
    checks: bool


@dataclass(frozen=True)
class Findings:
    """What is missing, what is doubtful, what cannot be seen from here, and what a new server will be there.

    ``placement`` is ``None`` where a new server is impossible.
    """

    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    placement: str | None = None


@dataclass(frozen=True)
class _Lists:
    """The findings as they come together."""

    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


def examine(seen: Seen, needs: Needs) -> Findings:
    """Return what one balancer lacks. Each text says what to write into the configuration."""
    found = _Lists()
    if seen.level != "admin":
        found.missing.append(f"the runtime socket has the level {seen.level}, it needs 'level admin'")
    _examine_algorithm(seen, needs, found)
    slots = [server for server in seen.view.servers.values() if server.kind == TEMPLATE]
    free = seen.view.free_slots()
    placement = _placement(seen, needs, slots, free, found)
    if placement == TEMPLATE:
        _examine_slots(seen, needs, free, found)
    if needs.is_sticky and not seen.cookie:
        found.missing.append(
            f"backend {needs.backend} has no cookie, so clients do not stay at a server (dynamic-cookie-key KEY, and "
            "cookie NAME insert indirect nocache dynamic)"
        )
    _examine_reloads(seen, placement, found)
    return Findings(tuple(found.missing), tuple(found.warnings), tuple(found.unseen), placement)


def together(findings: Sequence[Findings]) -> str | None:
    """The placement that works at all balancers; each may choose for itself unless they agree."""
    placements = {found.placement for found in findings}
    if None in placements:
        return None
    return placements.pop() if len(placements) == 1 else AUTO


def _template(needs: Needs) -> str:
    return f"server-template {needs.slot_prefix} 1-N unused.invalid:80 check init-addr last,0.0.0.0 disabled"


def _examine_algorithm(seen: Seen, needs: Needs, found: _Lists) -> None:
    algorithm = seen.algorithm
    if algorithm in _WITHOUT_WEIGHTS:
        found.missing.append(
            f"backend {needs.backend} has 'balance {algorithm}', which takes no weights or servers at run time; use "
            "'balance roundrobin' (exact shares), leastconn or random"
        )
    elif not algorithm:
        found.unseen.append(f"it does not tell which algorithm backend {needs.backend} has; it has to be a dynamic one")
    elif algorithm not in _DYNAMIC_ALGORITHMS:
        found.warnings.append(
            f"backend {needs.backend} has 'balance {algorithm}': it needs 'hash-type consistent', which cannot be seen "
            "here, and shares by weight are shares of the keys, not of the requests"
        )
    elif algorithm == "leastconn":
        found.warnings.append(
            f"backend {needs.backend} has 'balance leastconn': weights count together with the open connections, so "
            "shares are not exact"
        )


def _placement(seen: Seen, needs: Needs, slots: list[Server], free: list[Server], found: _Lists) -> str | None:
    """What new servers will be, or ``None``, and why not in ``missing``."""
    enough = len(free) >= needs.servers
    short = (
        f"backend {needs.backend} has {len(free)} free of {len(slots)} slots {needs.slot_prefix}N, {needs.servers} are "
        "needed (server-template)"
    )
    if needs.placement == TEMPLATE or needs.is_sticky:
        if not slots:
            found.missing.append(
                f"backend {needs.backend} has no slots ({_template(needs)})"
                + (", which sticky clients need: servers added at run time take no cookie" if needs.is_sticky else "")
            )
            return None
        if not enough:
            found.missing.append(short)
            return None
        return TEMPLATE
    if needs.placement == AUTO and slots and enough:
        return TEMPLATE
    reason = _cannot_add(seen, needs)
    if reason is None:
        return DYNAMIC if needs.placement == DYNAMIC or not free else AUTO
    found.missing.append(f"{reason}; and {short}" if needs.placement == AUTO else reason)
    return None


def _cannot_add(seen: Seen, needs: Needs) -> str | None:
    version = seen.view.version
    shown = ".".join(map(str, version))
    if version < FIRST_VERSION:
        return f"HAProxy {shown} cannot add servers at run time (2.4 and newer can)"
    if version < FIRST_VERSION_WITH_CHECKS and needs.checks:
        return f"HAProxy {shown} adds servers without checks only (2.5 and newer can check them)"
    return None


def _examine_slots(seen: Seen, needs: Needs, free: list[Server], found: _Lists) -> None:
    name = needs.slot_prefix
    if any(slot.known.host_name is None for slot in free):
        found.missing.append(
            f"the slots {name}N have an IP address in the configuration: after a reload with a state file HAProxy "
            "gives them that one back, with the state and the port that they had; give them a name that nobody "
            f"resolves ({_template(needs)})"
        )
    if needs.checks and any(not slot.known.check_configured for slot in free):
        found.missing.append(f"the slots {name}N are not checked ('check' in the server-template)")
    if seen.cookie and needs.is_sticky:
        cookies = [slot.row.cookie for slot in free if slot.row]
        if not all(cookies):
            found.missing.append(f"the slots {name}N have no cookie (cookie NAME insert indirect nocache dynamic)")
        elif len(set(cookies)) < len(cookies) and not all(map(_DYNAMIC_COOKIE.fullmatch, cookies)):
            found.missing.append(
                f"the slots {name}N share one cookie, so clients stay at none of them (dynamic-cookie-key KEY, and "
                "cookie NAME insert indirect nocache dynamic)"
            )


def _examine_reloads(seen: Seen, placement: str | None, found: _Lists) -> None:
    if not seen.has_master_socket:
        found.warnings.append(
            "without master_socket nobody sees the workers that a reload leaves behind (haproxy -W -S PATH)"
        )
    if seen.sockets and "sockpair@" not in seen.sockets:
        _look_for(
            seen,
            r"expose-fd\s+listeners",
            "it does not run as master and worker (-W): a reload closes listeners and loses requests unless the new "
            "process gets them (-x, and 'expose-fd listeners' at the stats socket)",
            found.warnings,
            found.unseen,
        )
    if placement == DYNAMIC:
        found.warnings.append(
            "servers that are added at run time are forgotten by a reload, until a task adds them again"
        )
    elif placement is not None:
        _look_for(
            seen,
            r"server-state-(file|base)",
            "without a state file a reload forgets addresses, weights and states (server-state-file, and 'show servers "
            "state' written there before each reload)",
            found.missing,
            found.unseen,
        )
        _look_for(
            seen,
            r"load-server-state-from-file\s+(global|local)",
            "without 'load-server-state-from-file global' the state file is not read",
            found.missing,
            found.unseen,
        )


def _look_for(seen: Seen, pattern: str, text: str, lacking: list[str], unseen: list[str]) -> None:
    """Add ``text`` to ``lacking`` where the configuration has it not, to ``unseen`` where there is none to look at."""
    if seen.configuration is None:
        unseen.append(f"{text}; whether it has that cannot be seen from here (option config)")
    elif not re.search(rf"^[^#\n]*\b{pattern}\b", seen.configuration, re.MULTILINE):
        lacking.append(text)
