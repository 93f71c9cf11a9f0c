# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which servers a split of the traffic needs, when not all tasks are well."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import DeadlinePassed
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._operations import bluegreen_split
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import serving

OLD, NEW = "/shop/web-blue", "/shop/web-green"


def task(number: int, alive: bool | None = True, state: str = "TASK_RUNNING") -> dict[str, Any]:
    checks = [] if alive is None else [{"alive": alive}]
    return {
        "id": f"task.{number}",
        "host": "127.0.0.1",
        "ports": [31000 + number],
        "state": state,
        "healthCheckResults": checks,
    }


def app(app_id: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    labels = {
        "HAPROXY_DEPLOYMENT_GROUP": "shop_web",
        "HAPROXY_DEPLOYMENT_STARTED_AT": f"2026-01-0{1 if app_id == OLD else 2}T00:00:00",
    }
    return {"id": app_id, "instances": len(tasks), "labels": labels, "tasks": list(tasks)}


def split(
    *apps: dict[str, Any],
    seen: Callable[[], list[dict[str, Any]]] = list,
    context: Context | None = None,
    **options: Any,
) -> dict[str, Any]:
    """``seen``: more apps, others at each look."""
    defaults = {name: option.get("default") for name, option in bluegreen_split.ARGUMENT_SPEC.items()}
    with serving(lambda _request: (200, {"apps": [*apps, *seen()]})) as marathon:
        given = {"group": "shop_web", "app_id": NEW, "wait_timeout": 0.0, **options}
        return bluegreen_split.run({**defaults, "marathon_url": [marathon.url], **given}, context or Context())


def weights(servers: list[dict[str, Any]]) -> dict[str, int]:
    return {server["name"]: server["weight"] for server in servers}


def test_a_sick_task_of_the_old_version_has_no_part_in_the_split() -> None:
    """It would be waited for, and the canary would never begin."""
    made = split(app(OLD, task(1), task(2), task(3, alive=False)), app(NEW, task(4)), share=50)

    assert list(weights(made["other_servers"])) == ["task.1", "task.2"]
    assert sum(weights(made["servers"]).values()) == sum(weights(made["other_servers"]).values())
    assert made["known_addresses"] == [f"127.0.0.1:3100{number}" for number in (4, 1, 2, 3)]


def test_the_checks_of_the_old_version_are_waited_for_where_both_have_a_part() -> None:
    """A new leader of Marathon knows of none; all that is not known would be the canary's."""
    unknown = app(OLD, task(1, alive=None), task(2, alive=None))
    context = Context()
    looks = iter([[unknown], [app(OLD, task(1), task(2))]])

    made = split(app(NEW, task(4)), seen=lambda: next(looks), context=context, share=50, wait_timeout=30.0)

    assert list(weights(made["other_servers"])) == ["task.1", "task.2"]
    assert context.warnings == []
    made = split(unknown, app(NEW, task(4)), context=context, share=50)
    assert "2 running tasks have no result of a check" in context.warnings[0]
    assert split(unknown, app(NEW, task(4)), share=100)["idle_tasks"] == ["task.1", "task.2"]


def test_going_back_waits_for_the_first_checks_after_a_change_of_the_leader() -> None:
    """But not for a version that is sick, nor for all of its tasks."""
    unknown = app(OLD, task(1, alive=None), task(2, alive=None))
    looks = iter([[unknown]] * 3 + [[app(OLD, task(1), task(2, alive=None))]] * 2)
    back = {"app_id": OLD, "instances": 2, "share": 100, "partial": True}

    made = split(app(NEW, task(4)), seen=lambda: next(looks), **back)

    assert list(weights(made["servers"])) == ["task.1"]
    with pytest.raises(DeadlinePassed, match="0 of 2 tasks"):
        split(app(OLD, task(1, alive=False), task(2, alive=False)), app(NEW, task(4)), **back)


def test_a_sick_task_is_taken_out_with_the_others() -> None:
    """It may still answer what it has begun."""
    made = split(app(OLD, task(1), task(2, alive=False)), app(NEW, task(4)), share=100)

    assert made["idle_tasks"] == ["task.1", "task.2"]
    assert [server["state"] for server in made["other_servers"]] == ["drain", "drain"]
    assert split(app(NEW, task(4, alive=False), task(5)), instances=0)["running_addresses"] == [
        "127.0.0.1:31004",
        "127.0.0.1:31005",
    ]


def test_a_task_that_the_cluster_has_lost_sight_of_is_no_orphan() -> None:
    made = split(app(NEW, task(4), task(5, state="TASK_UNREACHABLE")))

    assert made["known_addresses"] == ["127.0.0.1:31004", "127.0.0.1:31005"]


@pytest.mark.parametrize("app_id", [OLD, NEW])
def test_the_tasks_of_all_colours_are_known_by_their_names(app_id: str) -> None:
    pattern = split(app(app_id, task(1)), app_id=app_id)["name_pattern"]

    for name in ("shop_web-blue.instance-1", "shop_web-green.2", "shop_web.3"):
        assert re.match(pattern, name)
    for name in ("shop_web2.1", "shop_web-blue-2.1", "web1", "other_shop_web.1"):
        assert not re.match(pattern, name)
