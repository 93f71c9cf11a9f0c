# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zdd.py left behind on the real Marathon and marathon-lb, and what the sandbox makes of the same apps."""

from __future__ import annotations

from collections import Counter

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.marathon_lb_decision import decide
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.deployment_group import by_age
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.left_by_zdd import left_by_zdd
from tests.sandbox import launch, zdd_states

PLACES = {name: zdd_states.Place(f"/zdd-{number}", 10000 + 10 * number) for number, name in enumerate(zdd_states.NAMES)}


def test_there_are_the_eight_states() -> None:
    assert len(zdd_states.NAMES) == 8


@pytest.mark.parametrize("name", zdd_states.NAMES)
def test_the_decision_drains_the_servers_that_the_real_one_drained(name: str) -> None:
    """By name: the tasks with the first ids of the app that gives the traffic away."""
    recorded = zdd_states.recording(name)
    decided = decide(recorded["apps"])["servers"]

    assert {row["server"]: row["disabled"] for row in decided} == {
        row["svname"]: row["status"] == "MAINT" for row in recorded["haproxy"]
    }


PHASES = {
    "hybrid-reached": "as a hybrid (--new-instances)",
    "killed-after-first-kill": "half-way",
    "killed-after-second-scale": "half-way",
    "killed-green-at-target": "just before its end",
    "killed-in-complete-cur": "just before its end (--complete-cur)",
    "killed-in-complete-prev": "on its way back (--complete-prev)",
    "killed-right-after-create": "half-way",
    "old-scaled-last-drains-new": "in a state that it cannot leave",
}


@pytest.mark.parametrize("name", zdd_states.NAMES)
def test_each_state_is_recognised(name: str) -> None:
    recorded = zdd_states.recording(name)
    shown = zdd_states.recorded_servers(name)
    left = left_by_zdd(by_age(recorded["apps"]), {f"/web-{colour}": shown[colour]["MAINT"] for colour in shown})

    assert left is not None
    assert left.phase == PHASES[name]
    for app in recorded["apps"]:
        assert app["id"] in " ".join(left.lines)


@pytest.mark.serial
def test_a_sandbox_shows_the_states_as_they_were_recorded() -> None:
    with launch.start(lbs=2) as sandbox:
        zdd_states.load_all(sandbox, PLACES)

        for name, place in PLACES.items():
            for lb in range(2):
                assert zdd_states.servers(sandbox, lb, place) == zdd_states.recorded_servers(name), name
            live = zdd_states.apps(sandbox, place)
            assert [app["labels"] for app in live] == [app["labels"] for app in zdd_states.definitions(name, place)]
            assert order(live) == order(zdd_states.recording(name)["apps"]), name
            assert counts(live) == counts(zdd_states.recording(name)["apps"]), name


def order(apps: list[zdd_states.Json]) -> list[str]:
    """The colours by the time at which they were scaled last."""
    aged = sorted(apps, key=lambda app: app["versionInfo"]["lastScalingAt"])
    return [app["labels"]["HAPROXY_DEPLOYMENT_COLOUR"] for app in aged]


def counts(apps: list[zdd_states.Json]) -> Counter[str]:
    return Counter({app["labels"]["HAPROXY_DEPLOYMENT_COLOUR"]: app["tasksHealthy"] for app in apps})
