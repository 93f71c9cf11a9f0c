# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zdd.py left half done is recognised, and told in a way that a person can check."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._marathon.left_by_zdd import Left, left_by_zdd

Json = dict[str, Any]

CREATED, LATER, LAST = "2026-01-02T12:00:00.000Z", "2026-01-02T12:05:00.000Z", "2026-01-02T12:06:00.000Z"


def app(colour: str, instances: int, *, scaled: str = CREATED, grown: bool = False, hybrid: int = 0) -> Json:
    """An app as zdd.py deploys it; blue was there before, green is the new one of ``CREATED``."""
    return {
        "id": f"/web-{colour}",
        "instances": instances,
        "env": {"VERSION": "1" if colour == "blue" else "2"},
        "labels": {
            "HAPROXY_DEPLOYMENT_ALT_PORT": "10001",
            "HAPROXY_DEPLOYMENT_COLOUR": colour,
            "HAPROXY_DEPLOYMENT_STARTED_AT": f"2026-01-02T{11 if colour == 'blue' else 12}:00:00.000001",
            "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "4",
            "HAPROXY_DEPLOYMENT_NEW_INSTANCES": str(hybrid),
        },
        "versionInfo": {"lastScalingAt": scaled, "lastConfigChangeAt": CREATED if colour == "green" else "2026-01-01"},
        "tasks": [{"stagedAt": scaled if grown else "2026-01-01T00:00:00.000Z"}],
    }


def left(blue: Json, green: Json, blue_drained: int = 0, green_drained: int = 0) -> Left:
    found = left_by_zdd([blue, green], {"/web-blue": blue_drained, "/web-green": green_drained})
    assert found is not None
    return found


def test_right_after_the_creation_nothing_is_drained() -> None:
    found = left(app("blue", 4, scaled="2026-01-01T00:00:00.000Z"), app("green", 1))

    assert found.phase == "half-way"
    assert "/web-green (2) has 1 of 4 instances, /web-blue (1) has 4; nothing is drained" in " ".join(found.lines)
    assert "going to scale /web-green up to 4" in " ".join(found.lines)


def test_what_was_drained_was_going_to_be_killed() -> None:
    found = left(app("blue", 3, scaled=LATER), app("green", 2, scaled=LAST), blue_drained=1)

    assert found.phase == "half-way"
    assert "kill the 1 task of /web-blue that is drained" in " ".join(found.lines)


def test_at_the_target_only_the_old_app_is_left_to_remove() -> None:
    assert left(app("blue", 2, scaled=LATER), app("green", 4, scaled=LAST), 2).phase == "just before its end"
    assert left(app("blue", 2, scaled=LATER), app("green", 4, scaled=LAST), 1).phase == "near its end"


def test_the_endless_loop_is_told_from_the_way_back() -> None:
    """In both the old app was scaled last and the new one is drained; only on the way back the old one has grown."""
    green = app("green", 4, scaled=LATER)

    assert left(app("blue", 1, scaled=LAST), green, 0, 1).phase == "in a state that it cannot leave"
    back = left(app("blue", 3, scaled=LAST, grown=True), green, 0, 3)
    assert back.phase == "on its way back (--complete-prev)"
    assert "scale /web-blue up to 4" in " ".join(back.lines)


def test_an_app_that_grew_before_the_deployment_is_not_on_its_way_back() -> None:
    blue = app("blue", 4, scaled="2026-01-01T10:00:00.000Z", grown=True)

    assert left(blue, app("green", 1), 1).phase == "half-way"


@pytest.mark.parametrize(
    ("blue", "green", "phase"),
    [
        (4, 1, "on its way to a hybrid (--new-instances)"),
        (2, 2, "as a hybrid (--new-instances)"),
        (2, 3, "half-way (--complete-cur)"),
        (1, 4, "near its end (--complete-cur)"),
    ],
)
def test_a_hybrid_has_an_end_of_its_own(blue: int, green: int, phase: str) -> None:
    assert left(app("blue", blue, scaled=LATER), app("green", green, scaled=LAST, hybrid=2)).phase == phase


def test_a_deployment_that_marathon_is_busy_with_is_told() -> None:
    green = {**app("green", 1), "deployments": [{"id": "d"}]}

    assert "Marathon is still busy" in left(app("blue", 4), green).lines[0]


def test_other_groups_are_none_of_zdd() -> None:
    blue, green = app("blue", 4), app("green", 4)
    ours = copy.deepcopy(green)
    ours["labels"]["ZDD_VERSION"] = "2"

    assert left_by_zdd([blue, ours], {}) is None
    assert left_by_zdd([green], {}) is None
    assert left_by_zdd([], {}) is None
