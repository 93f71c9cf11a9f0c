# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says to people."""

from __future__ import annotations

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._report.course import course
from ansible_collections.zdd.rollout.plugins.module_utils._report.text import lines_of


@pytest.mark.parametrize(
    ("marathon", "playbooks"),
    [
        (["http://m:8080"], "zdd.rollout.promote, or zdd.rollout.rollback"),
        ([], "zdd.rollout.swarm_promote, or zdd.rollout.swarm_rollback"),
    ],
)
def test_whoever_is_to_decide_is_told_the_playbooks_of_the_platform(marathon: list[str], playbooks: str) -> None:
    plan = {"goal": "deploy", "group": "web", "from": "1", "to": "2", "instances": 4, "target": 4, "old": None}
    plan |= {"new_id": "web-green", "new_colour": "green", "steps": [], "notes": []}
    given = {"plan": plan, "journal": [], "started": 100.0, "ended": 110.0, "result": "paused", "failure": None}
    report = course(
        {**given, "failed_at": None, "cluster": "c", "marathon": marathon, "load_balancers": [], "owner": "me"}
    )

    assert any(playbooks in line for line in lines_of(report))
