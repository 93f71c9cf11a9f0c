# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a canary: what is made of what a user gives, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.canary import Stage, stages


def test_the_steps_of_the_documentation() -> None:
    given = [{"instances": 1}, {"weight": 5, "bake": 120}, {"weight": 25, "bake": 300}, {"weight": 50}, {"weight": 100}]

    assert stages(given, 8, weighted=True) == (
        Stage(1, 0.0),
        Stage(1, 5.0, 120),
        Stage(2, 25.0, 300),
        Stage(4, 50.0),
        Stage(8, 100.0),
    )


def test_everything_follows_the_last_step_by_itself() -> None:
    assert stages([{"instances": 1, "pause": True}], 4, weighted=False) == (
        Stage(1, None, 0, pause=True),
        Stage(4, None),
    )


def test_texts_of_a_survey_are_numbers_and_booleans() -> None:
    given = [{"instances": "25%", "weight": "5", "bake": "0.5", "pause": "no"}, {"weight": "10%", "bake": ""}]

    assert stages(given, 10, weighted=True)[:2] == (Stage(3, 5.0, 0.5), Stage(3, 10.0))


@pytest.mark.parametrize(
    ("steps", "weighted", "said"),
    [
        ([{"weight": 25}, {"weight": 5}], True, "step 2: weight goes back from 25 to 5"),
        ([{"instances": 2}, {"instances": 1}], False, "step 2: instances goes back from 2 to 1"),
        ([{"weight": 120}], True, "weight is 120; it is a percentage from 0 to 100"),
        ([{"weight": -1}], True, "weight is -1; it is a percentage"),
        ([{"weight": "nan"}], True, "weight is 'nan'; it is a percentage"),
        ([{"weight": True}], True, "weight is True; it is a percentage"),
        ([{"weight": 5}], False, "marathon-lb does not know"),
        ([{"instances": 5}], False, "instances is 5, and the app has 4"),
        ([{"instances": 0}], False, "instances is 0; it is a count of at least 1"),
        ([{"instances": True}], False, "instances is True; it is a count"),
        ([{"instances": 1.5}], False, "instances is 1.5; it is a count"),
        ([{"instances": 1, "weight": 100}], True, "all traffic is to go to 1 instances"),
        ([{"bake": 10}], False, "it has no instances"),
        ([{"instances": 1}, {"pause": True}], False, "it changes neither instances nor weight"),
        ([{"instances": 1, "bake": -1}], False, "bake is -1; it is a number of seconds"),
        ([{"instances": 1, "bake": "soon"}], False, "bake is 'soon'; it is a number of seconds"),
        ([{"instances": 1, "pause": "maybe"}], False, "pause is 'maybe'; it is true or false"),
        ([{"instances": 1, "weigth": 5}], True, "it has weigth; a step has some of instances, weight, bake, pause"),
        (["5%"], True, "it is '5%', not a dictionary"),
    ],
)
def test_what_cannot_be_is_refused_by_step_and_field(steps: list[Any], weighted: bool, said: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        stages(steps, 4, weighted=weighted)

    assert "canary_steps" in refusal.value.message
    assert said in refusal.value.message
