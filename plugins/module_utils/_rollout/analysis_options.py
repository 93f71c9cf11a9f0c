# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a canary's analysis, checked before anything is changed: the analysis itself comes much later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._errors import InvalidInput
from .._operations import canary_analysis
from .canary import Stage

OPTION = "canary_analysis"
# What the rollout says itself, and where else a user says it.
_OWN = {
    "seconds": "a step's bake",
    "app_id": "the rollout",
    "canary_addresses": "the rollout",
    "baseline_addresses": "the rollout",
    "canary_name": "the rollout",
    "baseline_name": "the rollout",
}
# Stands for what is known when the new version has been created.
_LATER = {"marathon_url": ["later"], "app_id": "later"}
_LATER_AT_LBS = {"socket": ["later"], "canary_addresses": ["later"], "baseline_addresses": ["later"]}


def check_analysis(given: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """Refuse what ``canary_analysis`` would refuse at one of the stages.

    :raises InvalidInput: names the option, what was found and what is accepted.
    """
    for key, teller in _OWN.items():
        if key in given:
            raise InvalidInput("invalid_option", f"Option {OPTION} has {key}, which is told by {teller}: leave it out.")
    later = {**_LATER, **(_LATER_AT_LBS if given.get("source", "haproxy") == "haproxy" else {})}
    options = {**later, **given, "seconds": max((stage.bake_seconds for stage in stages), default=0)}
    validator = ArgumentSpecValidator(canary_analysis.ARGUMENT_SPEC, **canary_analysis.ARGUMENT_RULES)
    validation = validator.validate(options)
    if validation.error_messages:
        raise InvalidInput("invalid_option", f"Option {OPTION}: {validation.errors.msg}")
    try:
        canary_analysis.limits(validation.validated_parameters)
    except InvalidInput as error:
        raise InvalidInput("invalid_option", f"In {OPTION}: {error.message}") from None
