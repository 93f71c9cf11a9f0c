# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every task of a service's present definition is ready, no other one runs, and for a while nothing fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import NotFound
from .._invocation.context import Context
from .._swarm.client import SWARM_SPEC, Swarm
from .._swarm.waiting import (
    CONVERGENCE_SPEC,
    ENDPOINT_RULES,
    ENDPOINT_SPEC,
    Convergence,
    Look,
    Watch,
    converge,
    task_facts,
)

ARGUMENT_SPEC: dict[str, Any] = {
    **SWARM_SPEC,
    **CONVERGENCE_SPEC,
    **ENDPOINT_SPEC,
    "name": {"type": "str", "required": True},
    "replicas": {"type": "int"},
}

ARGUMENT_RULES: dict[str, Any] = {**ENDPOINT_RULES}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Wait; see the module's documentation. Nothing is changed."""
    convergence = Convergence.from_params(params)
    convergence.replicas = params["replicas"]
    began = context.now()
    with Swarm.from_params(params, context) as swarm:
        if params["wait"] and not context.check_mode:
            look = converge(
                swarm,
                context,
                params["name"],
                convergence,
                timeout=params["wait_timeout"],
                pause=params["wait_sleep"],
            )
            return _result(look, convergence, None, context.now() - began)
        convergence.monitor = 0  # what one look can see
        try:
            look = Watch(swarm, params["name"]).look()
        except NotFound as error:
            if not context.check_mode:
                raise
            return _result(None, convergence, error.message, 0.0)  # an earlier task would have created it
        with swarm.blamed(changed=False):
            missing = convergence.missing(look)
        return _result(look, convergence, missing, 0.0)


def _result(look: Look | None, convergence: Convergence, missing: str | None, seconds: float) -> dict[str, Any]:
    tasks = task_facts(look, convergence) if look else []
    return {
        "changed": False,
        "fulfilled": missing is None,
        "missing": missing,
        "tasks": tasks,
        "addresses": sorted(task["address"] for task in tasks if task["address"] is not None),
        "seconds": round(seconds, 3),
    }
