# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specs of the role let through what surveys and command lines send, and refuse what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from tests.static.tools import ROOT

ROLE = ROOT / "roles" / "bluegreen"
SPECS = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]


def refusals(entry_point: str, **variables: Any) -> list[str]:
    """What is wrong with these variables; numbers and booleans are checked where vars/main.yml collects them."""
    typed = SPECS[entry_point]["options"]["__bluegreen_given"]["options"]
    given = {name: value for name, value in variables.items() if name in typed and value != ""}
    variables = {**variables, "__bluegreen_given": given}
    return ArgumentSpecValidator(SPECS[entry_point]["options"]).validate(variables).error_messages


@pytest.mark.parametrize("entry_point", SPECS)
def test_texts_of_a_command_line_are_as_good_as_values(entry_point: str) -> None:
    assert (
        refusals(
            entry_point,
            bluegreen_app='{"id": "/web"}',
            bluegreen_marathon_url="http://a:8080,http://b:8080",
            bluegreen_batch_size=2,
            bluegreen_keep_old="true",
            bluegreen_drain_timeout="600",
            bluegreen_pending_operations={"path": "/pending", "jmespath": "pending"},
        )
        == []
    )


@pytest.mark.parametrize(
    "name",
    [
        "bluegreen_app",
        "bluegreen_app_src",
        "bluegreen_group",
        "bluegreen_batch_size",
        "bluegreen_bake_seconds",
        "bluegreen_drain_timeout",
        "bluegreen_keep_old",
        "bluegreen_fresh_state",
        "bluegreen_on_drain_timeout",
        "bluegreen_report_file",
        "bluegreen_url_password",
        "bluegreen_dcos_service_account",
    ],
)
def test_no_answer_in_a_survey_is_no_wrong_one(name: str) -> None:
    """AWX sends an empty text."""
    assert refusals("main", **{name: ""}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bluegreen_drain_timeout", "soon"),
        ("bluegreen_keep_old", "perhaps"),
        ("bluegreen_validate_certs", "sometimes"),
        ("bluegreen_on_drain_timeout", "kill"),
        ("bluegreen_hooks", ["a.yml"]),
        ("bluegreen_checks", [{"pth": "/"}]),
        ("bluegreen_pending_operations", {"expression": "pending"}),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    [refusal] = refusals("main", **{name: value})

    assert name in refusal


def test_all_numbers_and_booleans_are_collected_for_the_check() -> None:
    typed = set(SPECS["main"]["options"]["__bluegreen_given"]["options"])
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    collected = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__bluegreen_numbers_and_booleans"]

    assert collected == {name: f"{{{{ {name} }}}}" for name in typed}
    assert typed == {name for name, value in defaults.items() if isinstance(value, int | float)}
