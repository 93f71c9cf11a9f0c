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

ROLES = ROOT / "roles"


def specs(role: str) -> dict[str, Any]:
    return yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]


SPECS = specs("bluegreen")


def refusals(entry_point: str, role: str = "bluegreen", **variables: Any) -> list[str]:
    """What is wrong with these variables; numbers and booleans are checked where vars/main.yml collects them."""
    options = specs(role)[entry_point]["options"]
    typed = options[f"__{role}_given"]["options"]
    given = {name: value for name, value in variables.items() if name in typed and value != ""}
    variables = {**variables, f"__{role}_given": given}
    return ArgumentSpecValidator(options).validate(variables).error_messages


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


def test_texts_are_as_good_as_values_for_a_rolling_upgrade_too() -> None:
    assert (
        refusals(
            "main",
            role="rolling",
            rolling_app='{"id": "/web"}',
            rolling_marathon_url="http://a:8080,http://b:8080",
            rolling_agents="5",
            rolling_drain="true",
            rolling_batch_size=2,
            rolling_watch_seconds="30",
        )
        == []
    )


@pytest.mark.parametrize("name", sorted(set(specs("rolling")["main"]["options"]) - {"__rolling_given"}))
def test_no_answer_about_a_rolling_upgrade_is_no_wrong_one(name: str) -> None:
    assert refusals("main", role="rolling", **{name: ""}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rolling_agents", "some"),
        ("rolling_drain", "perhaps"),
        ("rolling_watch_seconds", "long"),
        ("rolling_rollback", "later"),
    ],
)
def test_a_wrong_value_for_a_rolling_upgrade_is_refused_by_name(name: str, value: Any) -> None:
    [refusal] = refusals("main", role="rolling", **{name: value})

    assert name in refusal


@pytest.mark.parametrize(
    ("role", "others"), [("bluegreen", {"bluegreen_sticky"}), ("rolling", {"rolling_watch_seconds"})]
)
def test_all_numbers_and_booleans_are_collected_for_the_check(role: str, others: set[str]) -> None:
    """``others``: their defaults are another variable, or empty since the role chooses."""
    typed = set(specs(role)["main"]["options"][f"__{role}_given"]["options"])
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    collected = yaml.safe_load((ROLES / role / "vars" / "main.yml").read_text())[f"__{role}_numbers_and_booleans"]

    assert collected == {name: f"{{{{ {name} }}}}" for name in typed}
    assert typed == {name for name, value in defaults.items() if isinstance(value, int | float)} | others
