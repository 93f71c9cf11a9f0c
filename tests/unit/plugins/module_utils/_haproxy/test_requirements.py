# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a HAProxy lacks is named, and what it has is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.backend_servers import Server, View, kind_of
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.requirements import (
    Findings,
    Needs,
    Seen,
    examine,
    together,
)
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.runtime import ServerState
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.stats import ServerRow

MASTER = "unix@/s admin all\nsockpair@4 admin all"
WITH_STATE = "global\n  server-state-file /s\ndefaults\n  load-server-state-from-file global\n"
NEEDS = Needs("web", 2, False, "auto", "slot", True)


def slot(
    number: int, host: str | None = "unused.invalid", cookie: str = "46e1ae17eed99317", checked: bool = True
) -> Server:
    known = ServerState(f"slot{number}", number, "0.0.0.0:80", "maint", 100, host, checked, checked)
    row = ServerRow("web", known.name, "MAINT", 0, 0, 100, "", "", 0, "0.0.0.0:80", cookie=cookie)
    return Server(known, kind_of(known, "slot"), row)


def seen(*slots: Server, version: tuple[int, int] = (2, 6), **values: Any) -> Seen:
    view = View("lb1", version, {one.known.name: one for one in slots})
    base = Seen(view, "admin", "roundrobin", "", MASTER, True, WITH_STATE)
    return replace(base, **values)


def missing(seen: Seen, **needs: Any) -> str:
    return "; ".join(examine(seen, replace(NEEDS, **needs)).missing)


def test_what_a_haproxy_needs_at_least() -> None:
    found = examine(seen(), NEEDS)
    assert (found.missing, found.unseen, found.placement) == ((), (), "dynamic")
    assert "forgotten by a reload" in found.warnings[0]


def test_enough_slots_are_better() -> None:
    assert examine(seen(slot(1), slot(2)), NEEDS) == Findings(placement="template")


def test_some_slots_and_some_servers_that_are_added() -> None:
    assert examine(seen(slot(1)), NEEDS).placement == "auto"


def test_a_socket_that_may_only_look() -> None:
    assert missing(seen(level="operator")) == "the runtime socket has the level operator, it needs 'level admin'"


@pytest.mark.parametrize("algorithm", ["static-rr", "first"])
def test_an_algorithm_without_weights(algorithm: str) -> None:
    assert f"'balance {algorithm}', which takes no weights" in missing(seen(algorithm=algorithm))


@pytest.mark.parametrize(("algorithm", "warns"), [("leastconn", True), ("uri", True), ("unknown", False)])
def test_an_algorithm_whose_shares_are_not_exact(algorithm: str, warns: bool) -> None:
    found = examine(seen(slot(1), slot(2), algorithm=algorithm), NEEDS)
    assert (found.missing, bool(found.warnings)) == ((), warns)


def test_versions_and_slots_that_are_too_few() -> None:
    assert "2.3 cannot add servers at run time" in missing(seen(slot(1), version=(2, 3)))
    assert "1 free of 1 slots slotN, 2 are needed" in missing(seen(slot(1), version=(2, 3)))
    assert "without checks only" in missing(seen(version=(2, 4)))
    assert missing(seen(version=(2, 4)), checks=False) == ""
    assert missing(seen(slot(1), slot(2), version=(1, 8))) == ""
    assert "has no slots (server-template slot 1-N" in missing(seen(), placement="template")


def test_sticky_clients_need_slots_with_a_cookie_each() -> None:
    assert "added at run time take no cookie" in missing(seen(cookie="S"), is_sticky=True)
    assert "backend web has no cookie" in missing(seen(slot(1), slot(2)), is_sticky=True)
    assert "have no cookie" in missing(seen(slot(1, cookie=""), slot(2, cookie=""), cookie="S"), is_sticky=True)
    shared = seen(slot(1, cookie="a"), slot(2, cookie="a"), cookie="S")
    assert "share one cookie" in missing(shared, is_sticky=True)
    assert missing(seen(slot(1, cookie="a"), slot(2, cookie="b"), cookie="S"), is_sticky=True) == ""
    assert missing(seen(slot(1), slot(2), cookie="S"), is_sticky=True) == ""


def test_slots_that_a_reload_would_send_elsewhere() -> None:
    assert "have an IP address in the configuration" in missing(seen(slot(1, host=None), slot(2)))
    assert "are not checked" in missing(seen(slot(1, checked=False), slot(2)))


def test_what_a_reload_needs_is_looked_for_where_it_can_be_seen() -> None:
    slots = slot(1), slot(2)
    assert "without a state file" in missing(seen(*slots, configuration="# server-state-file /s\n"))
    assert "is not read" in missing(seen(*slots, configuration="global\n server-state-file /s\n"))
    unseen = examine(seen(*slots, configuration=None), NEEDS).unseen
    assert [text.split()[0] for text in unseen] == ["without", "without"]
    alone = examine(seen(*slots, sockets="unix@/s admin all"), NEEDS)
    assert "not run as master and worker" in alone.warnings[0]
    passes_on = f"{WITH_STATE}  stats socket /s level admin expose-fd listeners\n"
    assert examine(seen(*slots, sockets="unix@/s admin all", configuration=passes_on), NEEDS).warnings == ()
    assert "without master_socket" in examine(seen(*slots, has_master_socket=False), NEEDS).warnings[0]


def test_balancers_agree_on_a_placement_or_each_chooses() -> None:
    dynamic, template, none = Findings(placement="dynamic"), Findings(placement="template"), Findings()
    assert together([dynamic, dynamic]) == "dynamic"
    assert together([dynamic, template]) == "auto"
    assert together([dynamic, none]) is None
