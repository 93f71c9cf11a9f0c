# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a deployment has ended, told from what it left behind."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._marathon.ending import judge, unended

BEFORE, ITS_OWN, AFTER = (f"2026-01-0{day}T00:00:00.000Z" for day in (1, 2, 3))


def deployment(*actions: str) -> dict[str, Any]:
    steps = [{"actions": [{"action": action, "app": "/web"}]} for action in actions]
    return {"id": "d1", "version": ITS_OWN, "affectedApps": ["/web"], "steps": steps}


def app(version: str, configured: str) -> dict[str, Any]:
    return {
        "id": "/web",
        "version": version,
        "versionInfo": {"lastConfigChangeAt": configured, "lastScalingAt": version},
    }


@pytest.mark.parametrize(
    ("actions", "left", "settled", "success"),
    [
        (["RestartApplication"], app(ITS_OWN, ITS_OWN), True, True),
        (["RestartApplication"], app(ITS_OWN, ITS_OWN), False, False),
        (["RestartApplication"], app(AFTER, AFTER), True, False),
        (["RestartApplication"], app(AFTER, ITS_OWN), True, True),
        (["ScaleApplication"], app(ITS_OWN, BEFORE), True, True),
        (["StartApplication", "ScaleApplication"], None, False, False),
        (["StopApplication"], None, False, True),
        (["StopApplication"], app(BEFORE, BEFORE), True, False),
    ],
    ids=[
        "it is as it was to be",
        "cancelled where it was",
        "rolled back",
        "scaled since",
        "scaled",
        "the creation was undone",
        "removed",
        "the removal was undone",
    ],
)
def test_success_is_seen_by_the_apps(actions: list[str], left: Any, settled: bool, success: bool) -> None:
    assert judge(deployment(*actions), {"/web": left}, {"/web": settled}) is success


def test_what_runs_is_said_with_its_step() -> None:
    running = {**deployment(), "currentStep": 1, "totalSteps": 2}
    running["currentActions"] = [{"action": "ScaleApplication", "app": "/web"}]

    assert unended([running]) == "deployment d1 is at step 1 of 2: ScaleApplication /web"
    assert unended([running, running]).endswith(", and 1 more")
    assert unended([]) is None
