# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plain HAProxys show of a deployment group: who has the traffic, and how much of it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.haproxy_group import (
    addresses,
    observe_behind_haproxy,
)
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.state import Traffic


def app(colour: str, *ports: int, started: str = "1") -> dict[str, Any]:
    tasks = [
        {
            "id": f"web-{colour}.{port}",
            "host": "127.0.0.1",
            "ports": [port],
            "state": "TASK_RUNNING",
            "healthCheckResults": [{"alive": True}],
        }
        for port in ports
    ]
    labels = {
        "HAPROXY_DEPLOYMENT_GROUP": "web",
        "HAPROXY_DEPLOYMENT_COLOUR": colour,
        "HAPROXY_DEPLOYMENT_STARTED_AT": f"2026-01-0{started}T00:00:00",
        "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": str(len(ports)),
    }
    return {"id": f"/web-{colour}", "instances": len(ports), "labels": labels, "tasks": tasks, "env": {"VERSION": "1"}}


def lb(**servers: tuple[str, int]) -> dict[str, Any]:
    """Servers ``p31001=("ready", 100)`` by their port."""
    rows = {
        name: {
            "address": f"127.0.0.1:{name[1:]}",
            "weight": weight,
            "state": state,
            "status": {"ready": "UP", "drain": "DRAIN", "maint": "MAINT"}.get(state, state),
        }
        for name, (state, weight) in servers.items()
    }
    for row in rows.values():
        row["state"] = row["state"] if row["state"] in ("drain", "maint") else "ready"
    return {"lb": "one", "servers": rows}


class Apps:
    """Stands in for the Marathon client, of which only the apps are asked."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = list(found)
        self.context = Context()

    def apps(self, **_options: Any) -> list[dict[str, Any]]:
        return self.found


BLUE, GREEN = app("blue", 31001, 31002), app("green", 32001, started="2")


def observed(*lbs: dict[str, Any]) -> Any:
    return observe_behind_haproxy(Apps(BLUE, GREEN), "web", lbs, 0).group  # type: ignore[arg-type]


def test_the_share_is_that_of_the_weights_of_all_that_serve() -> None:
    group = observed(lb(p31001=("ready", 95), p31002=("ready", 95), p32001=("ready", 10)))

    assert (group.old.share, group.new.share) == (95, 5)
    assert (group.old.traffic, group.new.traffic) == (Traffic.SOME, Traffic.SOME)


def test_lbs_that_differ_are_both_told() -> None:
    """One of them has forgotten the canary."""
    group = observed(
        lb(p31001=("ready", 10), p31002=("ready", 10), p32001=("ready", 20)),
        lb(p31001=("ready", 10), p31002=("ready", 10)),
    )

    assert (group.new.share, group.new.lowest_share) == (50, 0)


@pytest.mark.parametrize("state", ["drain", "maint", "DOWN", "DOWN 1/2"])
def test_what_is_taken_out_or_dead_serves_nobody(state: str) -> None:
    group = observed(lb(p31001=(state, 100), p31002=(state, 100), p32001=("ready", 100)))

    assert (group.old.traffic, group.new.traffic) == (Traffic.NONE, Traffic.ALL)


def test_what_a_check_says_is_no_share() -> None:
    """Else a canary would seem to have come further where the old version is ill."""
    group = observed(lb(p31001=("DOWN", 95), p31002=("DOWN", 95), p32001=("ready", 10)))

    assert (group.old.share, group.new.share) == (95, 5)


def test_servers_of_others_are_no_part_of_the_share() -> None:
    group = observed(lb(p31001=("ready", 50), p31002=("ready", 50), p32001=("ready", 100), p40000=("ready", 100)))

    assert group.new.share == 50


def test_a_task_on_an_agent_out_of_sight_may_serve_all_the_same() -> None:
    lost = {**BLUE, "tasks": [{**BLUE["tasks"][0], "state": "TASK_UNREACHABLE"}]}
    shown = lb(p31001=("ready", 100), p32001=("ready", 100))
    group = observe_behind_haproxy(Apps(lost, GREEN), "web", [shown], 0).group  # type: ignore[arg-type]

    assert group.new.traffic is Traffic.SOME


def test_a_weight_of_nothing_is_no_traffic() -> None:
    group = observed(lb(p31001=("ready", 100), p31002=("ready", 100), p32001=("ready", 0)))

    assert (group.old.traffic, group.new.traffic) == (Traffic.ALL, Traffic.NONE)


def test_an_app_that_one_lb_serves_whole_and_another_in_part_has_not_all_traffic() -> None:
    group = observed(
        lb(p31001=("ready", 100), p31002=("ready", 100)),
        lb(p31001=("ready", 100)),
    )

    assert group.old.traffic is Traffic.SOME


def test_without_an_lb_nothing_is_known() -> None:
    with pytest.raises(InvalidInput, match="haproxy_lbs is empty"):
        observed()


def test_the_address_is_that_of_the_wanted_port() -> None:
    two = {**BLUE, "tasks": [{**BLUE["tasks"][0], "ports": [31001, 31999]}]}

    assert addresses(two, two["tasks"], 1) == {"web-blue.31001": "127.0.0.1:31999"}
    with pytest.raises(InvalidInput, match="has 2 ports, so there is none 2"):
        addresses(two, two["tasks"], 2)
