# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of zdd.py mean here what they mean there."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.zdd_input import (
    Meaning,
    Options,
    growth,
    meaning,
    without_nulls,
)

Json = dict[str, Any]

WEB: Json = {
    "id": "/web",
    "instances": 7,
    "env": {"VERSION": "2"},
    "portDefinitions": [{"port": 10000, "name": "http", "protocol": "tcp"}],
    "labels": {"HAPROXY_DEPLOYMENT_GROUP": "web", "HAPROXY_DEPLOYMENT_ALT_PORT": "10001"},
}


def live(colour: str, version: str, instances: int = 4, port: int = 10000, hybrid: int = 0) -> Json:
    labels = {
        "HAPROXY_DEPLOYMENT_COLOUR": colour,
        "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "4",
        "HAPROXY_DEPLOYMENT_NEW_INSTANCES": str(hybrid),
        "HAPROXY_0_PORT": "10000",
    }
    ports = [{"port": port, "name": "http", "protocol": "tcp"}]
    return {
        **WEB,
        "id": f"/web-{colour}",
        "instances": instances,
        "env": {"VERSION": version},
        "portDefinitions": ports,
        "labels": {**WEB["labels"], **labels},
    }


BLUE = live("blue", "1")


def found(apps: list[Json], **options: Any) -> Meaning:
    return meaning(WEB, apps, Options(**options))


def test_the_first_deployment_has_the_count_of_the_definition() -> None:
    made = found([], new_instances=1)

    assert (made.goal, made.app, made.steps) == ("deploy", WEB, ())


def test_later_ones_keep_the_count_that_is_live_and_say_so() -> None:
    made = found([BLUE])

    assert made.goal == "deploy"
    assert made.app is not None and "instances" not in made.app
    assert "4 are live" in made.notes[0]


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({}, []),
        ({"new_instances": 1}, [1]),
        ({"new_instances": 3, "initial_instances": 1}, [1, 2, 3]),
        ({"initial_instances": 1}, [1, 2, 4]),
        ({"linear_increase": 1}, [1, 2, 3, 4]),
        ({"linear_increase": 3, "initial_instances": 2}, [2, 4]),
        ({"initial_instances": 9}, []),
    ],
)
def test_it_grows_as_it_is_told_to(options: dict[str, int], counts: list[int]) -> None:
    steps = found([BLUE], **options).steps

    assert [step["instances"] for step in steps] == counts
    pauses = [step.get("pause", False) for step in steps]
    assert pauses == [False] * (len(steps) - 1) + ["new_instances" in options] * bool(steps)


@pytest.mark.parametrize(
    ("first", "goal", "linear", "whole", "counts"),
    [
        (1, 4, 0, True, [1, 2, 4]),  # as recorded in tests/recordings/zdd-states
        (1, 10, 0, True, [1, 2, 3, 5, 10]),
        (1, 27, 0, False, [1, 2, 3, 5, 8, 12, 18, 27]),
        (1, 5, 2, True, [1, 3, 5]),
        (3, 2, 0, False, [2]),
    ],
)
def test_growth(first: int, goal: int, linear: int, whole: bool, counts: list[int]) -> None:
    assert growth(first, goal, linear, whole=whole) == counts


def test_a_hybrid_of_all_instances_is_none() -> None:
    made = found([BLUE], new_instances=4)

    assert made.steps == ()
    assert "no hybrid" in made.notes[-1]


def test_completing_looks_at_the_group_only() -> None:
    pair = [BLUE, live("green", "9")]

    assert found(pair, complete_cur=True) == Meaning("promote")
    assert found(pair, complete_prev=True) == Meaning("rollback")


def test_resuming_goes_on_to_the_end_or_to_the_hybrid() -> None:
    blue, green = live("blue", "1", 3), live("green", "9", 1)

    assert found([blue, green], resume=True) == Meaning("promote")
    begun = found([live("blue", "1", 4), live("green", "9", 1, hybrid=2)], resume=True)
    assert (begun.goal, begun.steps) == ("promote", ({"instances": 2, "pause": True},))
    assert found([live("blue", "1", 2), live("green", "9", 2, hybrid=2)], resume=True).goal == "none"
    assert found([blue, green], resume=True, new_instances=1).goal == "none"


def test_the_same_definition_again_goes_on_though_zdd_py_gave_it_another_port() -> None:
    made = found([live("blue", "1", 3), live("green", "2", 1, port=10001)], new_instances=2)

    assert made.goal == "deploy"
    assert made.steps == ({"instances": 2, "pause": True},)


def test_another_definition_has_to_wait_for_a_decision() -> None:
    with pytest.raises(InvalidInput) as refused:
        found([BLUE, live("green", "9")])

    assert "complete_cur" in refused.value.message
    assert "complete_prev" in refused.value.message


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"complete_cur": True, "complete_prev": True}, "complete_cur and complete_prev"),
        ({"new_instances": -1}, "new_instances"),
        ({"initial_instances": 0}, "initial_instances"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        found([BLUE], **options)


def test_a_definition_without_a_group_is_refused() -> None:
    with pytest.raises(InvalidInput, match="HAPROXY_DEPLOYMENT_GROUP"):
        meaning({**WEB, "labels": {}}, [], Options())


def test_nulls_are_left_out_everywhere() -> None:
    assert without_nulls({"a": None, "b": [1, None, {"c": None}]}) == {"b": [1, {}]}
