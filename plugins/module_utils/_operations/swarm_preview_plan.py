# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work out the service in which a new image can be looked at, beside the two colours of a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import InvalidInput, NotFound
from .._invocation.context import Context
from .._swarm.client import GROUP_LABEL, SWARM_SPEC, Swarm
from .._swarm.group import VERSION_LABEL, version_of

PREVIEW_LABEL = "zdd.rollout.preview"

ARGUMENT_SPEC: dict[str, Any] = {
    **SWARM_SPEC,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str"},
    "service": {"type": "dict"},
    "image": {"type": "str"},
    "version": {"type": "str"},
    "resolve_image": {"type": "bool", "default": True},
    "replicas": {"type": "int", "default": 1},
    "target_port": {"type": "int"},
    "published_port": {"type": "int"},
    "networks": {"type": "list", "elements": "raw"},
    "labels": {"type": "dict", "default": {}},
    "override": {"type": "dict", "default": {}},
}

ARGUMENT_RULES: dict[str, Any] = {
    "required_one_of": [("name", "service")],
    "required_if": [("state", "present", ["service", "image"])],
}

Json = Mapping[str, Any]


def run(params: Json, context: Context) -> dict[str, Any]:
    """Define the preview and look at the one that is there; see the module's documentation. Nothing is changed.

    :raises InvalidInput: the definition cannot be used, or a service of that name is somebody else's.
    """
    group = params["name"] or (params["service"] or {}).get("name")
    if not group:
        raise InvalidInput("invalid_option", "Neither option name is given nor has option service a name.")
    wanted = definition(params, group) if params["state"] == "present" else None
    with Swarm.from_params(params, context) as swarm:
        before = _before(swarm, group)
        if wanted is not None and params["resolve_image"]:
            wanted["image"] = _pinned(swarm, wanted["image"], context)
        return {
            "changed": False,
            "group": group,
            "name": f"{group}-preview",
            "service": wanted,
            "target_port": None if wanted is None else _target_port(params, wanted["publish"]),
            "before": before,
            "docker_host": swarm.url,
        }


def definition(params: Json, group: str) -> dict[str, Any]:
    """The service as ``community.docker.docker_swarm_service`` takes it. Pure.

    Nothing may lead a request of live or idle to it: it has no label of the service (load balancers follow labels), no
    alias in a network, and no port that a colour may have.
    """
    service = params["service"]
    _check(params)
    ports = [_free(port) for port in service.get("publish") or []]
    target_port = _target_port(params, ports)
    fixed = params["published_port"]
    asked = next(
        (port for port in ports if port["target_port"] == target_port and port.get("protocol", "tcp") == "tcp"), None
    )
    if asked is None:
        asked = {"target_port": target_port, "protocol": "tcp"}
        ports.append(asked)
    asked |= {"mode": "host", **({} if fixed is None else {"published_port": fixed})}
    networks = service.get("networks") if params["networks"] is None else params["networks"]
    labels = {PREVIEW_LABEL: group, VERSION_LABEL: params["version"] or version_of(params["image"])}
    return {
        **service,
        **({} if networks is None else {"networks": [_without_aliases(network) for network in networks]}),
        "mode": "replicated",
        "replicas": params["replicas"],
        "publish": ports,
        **params["override"],
        "name": f"{group}-preview",
        "image": params["image"],
        "labels": {**{name: str(value) for name, value in params["labels"].items()}, **labels},
        # Two tasks cannot have one fixed port on one node: the old one has to go first then.
        "update_config": {
            **(service.get("update_config") or {}),
            "order": "start-first" if fixed is None else "stop-first",
            "failure_action": "pause",
        },
        "resolve_image": False,
        "state": "present",
    }


def _check(params: Json) -> None:
    taken = {GROUP_LABEL, PREVIEW_LABEL, VERSION_LABEL} & set(params["labels"])
    if taken:
        raise InvalidInput("invalid_option", f"Option labels: {', '.join(sorted(taken))} is set by the role itself.")
    unusable = {"name", "image", "labels", "publish", "update_config", "state"} & set(params["override"])
    if unusable:
        raise InvalidInput(
            "invalid_option", f"Option override: {', '.join(sorted(unusable))} cannot be replaced; see the options."
        )
    if params["replicas"] < 1:
        raise InvalidInput("invalid_option", "Option replicas has to be 1 or more.")
    for option in ("target_port", "published_port"):
        if params[option] is not None and not 1 <= params[option] <= 65535:
            raise InvalidInput("invalid_option", f"Option {option} has to be a port from 1 to 65535.")


def _free(port: Any) -> dict[str, Any]:
    """A port of the service, at whatever port of the node is free."""
    if not isinstance(port, Mapping) or "target_port" not in port:
        raise InvalidInput("invalid_definition", f"Option service: {port!r} in publish is no port with a target_port.")
    return {
        **{key: value for key, value in port.items() if key != "published_port"},
        "target_port": int(port["target_port"]),
    }


def _target_port(params: Json, ports: list[dict[str, Any]]) -> int:
    """The container's port at which the preview is looked at.

    :raises InvalidInput: it is not given, and the service does not tell.
    """
    if params["target_port"] is not None:
        return params["target_port"]
    found = sorted({port["target_port"] for port in ports if port.get("protocol", "tcp") == "tcp"})
    if len(found) != 1:
        raise InvalidInput(
            "invalid_option",
            f"Option target_port is not given, and the service publishes {', '.join(map(str, found)) or 'no port'}. "
            "Give the container's port.",
        )
    return found[0]


def _without_aliases(network: Any) -> Any:
    """A network without the names by which other services in it may already ask for a colour."""
    if not isinstance(network, Mapping):
        return network
    return {key: value for key, value in network.items() if key != "aliases"}


def _before(swarm: Swarm, group: str) -> dict[str, Any] | None:
    """The preview that is there: ``image``, ``version``; ``None``: there is none.

    :raises InvalidInput: a service of its name was made by somebody else.
    """
    try:
        spec = swarm.service(f"{group}-preview")["Spec"]
    except NotFound:
        return None
    labels = spec.get("Labels") or {}
    if labels.get(PREVIEW_LABEL) != group:
        raise InvalidInput(
            "foreign_service",
            f"There is a service {group}-preview already, which was made by someone else: its label {PREVIEW_LABEL} is "
            f"{labels.get(PREVIEW_LABEL)!r}, not {group!r}. Rename or remove it.",
            system=swarm.url,
        )
    return {"image": spec["TaskTemplate"]["ContainerSpec"]["Image"], "version": labels.get(VERSION_LABEL)}


def _pinned(swarm: Swarm, image: str, context: Context) -> str:
    """The image with the digest that its registry has for it, so that each node runs the same one."""
    if "@" in image:
        return image
    digest = swarm.image_digest(image)
    if digest is None:
        context.warn(
            f"No registry told the digest of {image}: each node takes what it has under this name. Set resolve_image "
            "to false where that is wanted."
        )
        return image
    return f"{image}@{digest}"
