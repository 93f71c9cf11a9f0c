# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the traffic turned, from what was seen of it: decided by the benchmark, so it has to be right."""

from __future__ import annotations

from typing import Any

from tests.rehearsal.watch import Change, Watch, clients_turned, decided

OLD, NEW = frozenset({"old"}), frozenset({"new"})


def watch(*changes: Change) -> Watch:
    made = Watch(["lb1", "lb2"])
    made.changes.extend(changes)
    return made


def put(t: float, path: str, method: str = "PUT") -> dict[str, Any]:
    return {"t": t, "method": method, "path": path}


def seen(kind: str, version: str, first: float, last: float) -> dict[str, Any]:
    return {"kind": kind, "version": version, "first": first, "last_sent": last}


def test_the_traffic_has_turned_when_the_last_lb_shows_it() -> None:
    turned = watch(Change(1, "lb1", OLD), Change(1, "lb2", OLD), Change(5, "lb1", NEW), Change(6, "lb2", NEW))

    assert turned.turned() == 6


def test_nothing_has_turned_while_one_lb_stays() -> None:
    assert watch(Change(1, "lb1", OLD), Change(1, "lb2", OLD), Change(5, "lb1", NEW)).turned() is None


def test_a_gap_counts_as_the_fewest() -> None:
    assert watch(Change(1, "lb1", OLD), Change(2, "lb1", frozenset()), Change(3, "lb1", NEW)).fewest() == 0


def test_the_request_that_turned_it_is_the_last_put_before() -> None:
    log = [
        put(1, "/v2/apps/a-blue"),
        put(4, "/v2/apps/a-green"),
        put(4.1, "/v2/tasks/delete", "POST"),
        put(9, "/v2/apps/a-blue"),
    ]

    assert decided(log, turned=5) == 4
    assert decided(log, turned=0.5) is None


def test_clients_tell_the_switch_by_their_short_requests() -> None:
    """A stream that began on the old version long before says nothing about the switch."""
    report = {"versions": [seen("get", "1", 0, 10.1), seen("get", "2", 10.2, 20), seen("stream", "1", 0, 10.9)]}

    saw = clients_turned(report, put=10, old="1", new="2")

    assert round(saw["first_new_s"] or 0, 3) == 0.2
    assert round(saw["last_old_s"] or 0, 3) == 0.1
    assert saw["new_before"] is False


def test_any_kind_that_met_the_new_version_early_is_told() -> None:
    report = {"versions": [seen("get", "2", 10.2, 20), seen("websocket", "2", 9.9, 9.9)]}

    assert clients_turned(report, put=10, old="1", new="2")["new_before"] is True
