# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a task is, and what is waited for after its kill."""

from __future__ import annotations

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._operations.marathon_tasks_delete import (
    Sight,
    owner_of,
    remaining,
)

UUID = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("task_id", "app_id"),
    [
        (f"web.instance-{UUID}._app.1", "/web"),
        (f"shop_web-blue.instance-{UUID}._app.17", "/shop/web-blue"),
        (f"shop_my.web.instance-{UUID}._app.1", "/shop/my.web"),
        (f"shop_web.marathon-{UUID}", "/shop/web"),
        (f"shop_web.{UUID}", "/shop/web"),
        ("not a task", None),
        ("web", None),
        (f"Web.{UUID}", None),
    ],
)
def test_a_task_id_names_its_app(task_id: str, app_id: str | None) -> None:
    assert owner_of(task_id) == app_id


def test_tasks_that_live_and_the_deployment_of_the_scaling_are_waited_for() -> None:
    sight = Sight({}, {"a": {}, "c": {}}, ("d1",))

    assert remaining(sight, ["a", "b"], scale=True) == "1 tasks are not gone yet: a; deployment d1 runs"
    assert remaining(sight, ["b"], scale=True) == "deployment d1 runs"
    assert remaining(sight, ["b"], scale=False) is None, "a deployment of somebody else"
    assert remaining(Sight({}, {}, ()), ["a", "b"], scale=True) is None
