# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused because marathon-lb's model says that its outcome would not be the wanted one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput, Rejected
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.deployment_group import colour_definition
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.prediction import (
    check_prediction,
    imagined,
    unwanted_outcome,
)
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.planner import Policy, Wanted, plan
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.state import Colour, Group, Traffic

CHECK = {"protocol": "HTTP", "path": "/health", "portIndex": 0}


def definition(**fields: Any) -> dict[str, Any]:
    return {
        "id": "/web",
        "instances": 3,
        "portDefinitions": [{"port": 10000}],
        "healthChecks": [CHECK],
        "labels": {"HAPROXY_GROUP": "external"},
        **fields,
    }


def colour(name: str, started_at: str, **fields: Any) -> dict[str, Any]:
    return colour_definition(
        definition(**fields),
        colour=name,
        group="web",
        version="1",
        started_at=started_at,
        target=3,
        instances=3,
        turnable=True,
        fresh_state=True,
    )


def running(app: dict[str, Any], host: str) -> dict[str, Any]:
    """The app with its tasks alive, on hosts of its own."""
    full = imagined(app)
    return {**full, "tasks": [{**task, "host": f"{host}.{number}"} for number, task in enumerate(full["tasks"])]}


OLD = running(colour("blue", "2026-01-01T00:00:00"), "10.0.0")


@dataclass
class Observed:
    apps: list[dict[str, Any]]

    def app(self, app_id: str) -> dict[str, Any] | None:
        return next((app for app in self.apps if app["id"] == app_id), None)


def check(new: dict[str, Any], *, accept_check_change: bool = False) -> None:
    old = Colour("/web-blue", "blue", "1", 3, 3, 3, Traffic.ALL, turnable=True)
    made = plan(Group("web", old, None), "deploy", Policy(), Wanted("/web", "2", None), lambda _new, old, _target: old)
    check_prediction(Observed([OLD]), made, new, accept_check_change=accept_check_change)


def test_a_version_that_differs_in_nothing_but_itself_is_accepted() -> None:
    check(colour("green", "2026-01-02T00:00:00", env={"VERSION": "2"}))


@pytest.mark.parametrize("ports", [[{"port": 10001}], [{"port": 10000}, {"port": 10001}], []])
def test_other_service_ports_would_take_the_live_one_off_the_balancers(ports: list[dict[str, int]]) -> None:
    with pytest.raises(InvalidInput, match="10000") as refused:
        check(colour("green", "2026-01-02T00:00:00", portDefinitions=ports))

    assert refused.value.code == "ports_changed"


def test_another_check_would_be_asked_of_the_old_tasks_and_has_to_be_accepted() -> None:
    new = colour("green", "2026-01-02T00:00:00", healthChecks=[{**CHECK, "path": "/ready"}])

    with pytest.raises(InvalidInput, match=r"/health.*/ready") as refused:
        check(new)

    assert refused.value.code == "health_check_changed"
    check(new, accept_check_change=True)


def test_another_mode_is_refused() -> None:
    labels = {"HAPROXY_GROUP": "external", "HAPROXY_0_MODE": "tcp"}

    with pytest.raises(InvalidInput, match="mode"):
        check(colour("green", "2026-01-02T00:00:00", labels=labels), accept_check_change=True)


def test_touching_an_app_without_a_target_would_stop_all_configurations() -> None:
    """Reference A13: a KeyError in marathon-lb, for no app a configuration is written any more."""
    bare = {**OLD, "labels": {key: text for key, text in OLD["labels"].items() if "TARGET" not in key}}
    new = running(colour("green", "2026-01-02T00:00:00"), "10.0.1")

    with pytest.raises(Rejected, match="stop writing configurations"):
        unwanted_outcome([bare, new], "/web-blue", "/web-green", everything=True)


def test_a_target_above_the_count_would_leave_old_tasks_with_traffic() -> None:
    new = running(colour("green", "2026-01-02T00:00:00"), "10.0.1")
    new["labels"]["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"] = "5"

    unwanted = unwanted_outcome([OLD, new], "/web-green", "/web-blue", everything=True)

    assert unwanted is not None
    assert "2 of 3 tasks of /web-blue" in unwanted
