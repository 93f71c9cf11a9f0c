# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic that the preflight of a rolling upgrade shows is that of a real Marathon, in all recorded upgrades."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._marathon.rolling import Start, course, limits

RECORDED = json.loads((Path(__file__).resolve().parent.parent / "recordings" / "rolling-upgrades.json").read_text())


def name(case: dict[str, Any]) -> str:
    return f"{case['instances']}-{case['minimumHealthCapacity']}-{case['maximumOverCapacity']}"


@pytest.mark.parametrize("case", RECORDED, ids=name)
def test_an_upgrade_goes_as_recorded(case: dict[str, Any]) -> None:
    """Most running, least healthy, how it ends; and no recorded state lies outside of what is foretold."""
    start = Start(
        case["instances"],
        old=case["instances"],
        minimum=case["minimumHealthCapacity"],
        maximum=case["maximumOverCapacity"],
    )
    foretold = course(start)

    assert foretold.ends == case["finished"]
    assert foretold.most_tasks == case["most_running"]
    assert foretold.least_healthy == case["least_healthy"]
    last = foretold.stages[-1]
    assert [last.old, last.serving, last.healthy] == case["states"][-1]
    most = max(limits(start).most, case["instances"])
    for old, new, healthy in case["states"]:
        assert old + new <= most
        assert healthy >= foretold.least_healthy
