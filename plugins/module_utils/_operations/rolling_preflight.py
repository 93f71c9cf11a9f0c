# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell how Marathon's rolling upgrade of an app would go, and refuse one that can never end. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._invocation.context import Context
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.upgrade import (
    UPGRADE_RULES,
    UPGRADE_SPEC,
    described,
    observe_upgrade,
    refuse_unfinishable,
    wanted_definition,
)

ARGUMENT_SPEC: dict[str, Any] = {**MARATHON_SPEC, **UPGRADE_SPEC}
ARGUMENT_RULES: dict[str, Any] = UPGRADE_RULES


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return ``{changed: False, upgrade, requests}``."""
    definition = wanted_definition(params)
    with Marathon.from_params(params, context) as marathon:
        seen = observe_upgrade(marathon, definition, agents=params["agents"], force=params["force"])
        plan = described(seen)
        for warning in plan["warnings"]:
            context.warn(warning)
        with marathon.blamed(changed=False):
            refuse_unfinishable(seen, plan, accept=params["accept_unfinishable"])
        return {"changed": False, "upgrade": plan, "requests": marathon.requests}
