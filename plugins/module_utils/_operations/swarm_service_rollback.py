# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the definition back that a Swarm service had before its last change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import Rejected
from .._invocation.context import Context
from .._swarm.client import SWARM_SPEC, Swarm

ARGUMENT_SPEC: dict[str, Any] = {**SWARM_SPEC, "name": {"type": "str", "required": True}}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Go back by one change; see the module's documentation.

    :raises NotFound: there is no such service.
    :raises Rejected: code ``no_previous``: it was never changed; ``version_conflict``: somebody changes it right now.
    """
    name = params["name"]
    with Swarm.from_params(params, context) as swarm:
        service = swarm.service(name)
        # The swarm keeps one definition before the present one, and takes that as a new one (API: PreviousSpec).
        previous = service.get("PreviousSpec")
        if not previous:
            raise Rejected(
                "no_previous",
                f"There is no definition of {name} before the present one: it was never changed.",
                system=swarm.url,
                request="GET /services",
            )
        images = {"before": _image(service["Spec"]), "after": _image(previous)}
        result: dict[str, Any] = {"changed": True, "name": name, "image": images["after"], "left": images["before"]}
        if context.diff_mode:
            result["diff"] = {moment: f"{image}\n" for moment, image in images.items()}
        if not context.check_mode:
            swarm.update_service(service, previous)
        return result


def _image(spec: Mapping[str, Any]) -> str:
    return spec["TaskTemplate"]["ContainerSpec"]["Image"]
