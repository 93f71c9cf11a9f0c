# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what is removed with a group of a swarm, and whether that is confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import NotFound, Rejected
from .._invocation.context import Context
from .._swarm.client import GROUP_LABEL, SWARM_SPEC, Swarm

ARGUMENT_SPEC: dict[str, Any] = {
    **SWARM_SPEC,
    "name": {"type": "str", "required": True},
    "confirm": {"type": "str", "default": ""},
    "networks": {"type": "list", "elements": "str", "default": []},
    "proxies": {"type": "list", "elements": "str", "default": []},
}

_SUFFIXES = ("blue", "green", "preview")
_DIGEST = "@"


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation.

    :raises Rejected: a service is somebody else's, or the confirmation is missing (not asked for in check mode).
    """
    name = params["name"]
    with Swarm.from_params(params, context) as swarm:
        found = {service["Spec"]["Name"]: service for service in swarm.services(name)}
        for suffix in _SUFFIXES:
            try:
                service = swarm.service(f"{name}-{suffix}")
            except NotFound:
                continue
            found[service["Spec"]["Name"]] = service
        url = swarm.url
    _refuse_foreign(name, found, url)
    lines = [
        *(f"service {service}: {_described(found[service])}" for service in sorted(found)),
        *(f"network {network}" for network in params["networks"]),
        *(f"configuration of {name} at {proxy}" for proxy in params["proxies"]),
    ]
    if not context.check_mode and params["confirm"] != name:
        given = (
            f" swarm_dispose_confirm is {params['confirm']!r}, not the name of the group." if params["confirm"] else ""
        )
        raise Rejected(
            "not_confirmed",
            f"Nothing was removed.{given} With swarm_dispose_confirm={name} this would be removed for good: "
            f"{'; '.join(lines) or 'nothing, there is nothing of it'}.",
            system=url,
            detail={"lines": lines},
        )
    return {"changed": False, "docker_host": url, "services": sorted(found), "lines": lines}


def _refuse_foreign(name: str, found: Mapping[str, Any], url: str) -> None:
    foreign = [
        service
        for service, about in sorted(found.items())
        if (about["Spec"].get("Labels") or {}).get(GROUP_LABEL) != name
    ]
    if foreign:
        raise Rejected(
            "foreign_service",
            f"Nothing was removed. {', '.join(foreign)} was made by someone else: the service has no label "
            f"{GROUP_LABEL}={name}. Remove or rename it yourself.",
            system=url,
            detail={"services": foreign},
        )


def _described(service: Mapping[str, Any]) -> str:
    """Count and image, without the digest."""
    spec = service["Spec"]
    replicas = ((spec.get("Mode") or {}).get("Replicated") or {}).get("Replicas")
    image = ((spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}).get("Image") or "unknown"
    count = "a task on each node" if replicas is None else f"{replicas} tasks"
    return f"{count} of {image.partition(_DIGEST)[0]}"
