# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service of one colour has the definition of the other one, so that the same version can move there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .._errors import InvalidInput, NotFound, Rejected
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._rollout.state import COLOURS
from .._swarm.client import SWARM_SPEC, Swarm
from .._swarm.service_specs import colour_in, copied, group_of, shown

ARGUMENT_SPEC: dict[str, Any] = {
    **SWARM_SPEC,
    "name": {"type": "str", "required": True},
    "to": {"type": "str", "required": True},
    "colour": {"type": "str", "choices": list(COLOURS)},
    "replicas": {"type": "int"},
    "deployed_at": {"type": "str"},
    "published_ports": {"type": "dict", "default": {}},
}

_ATTEMPTS = 20  # how often it is worked out anew because somebody else was faster


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    if params["name"] == params["to"]:
        raise InvalidInput("invalid_option", "Options name and to: they are the same service.")
    colour = params["colour"] or colour_in(params["to"])
    if colour is None:
        raise InvalidInput(
            "invalid_option",
            f"Option colour is needed: {params['to']} does not end with -{' or -'.join(COLOURS)}.",
        )
    if params["replicas"] is not None and params["replicas"] < 0:
        raise InvalidInput("invalid_option", f"Option replicas: {params['replicas']} is less than 0.")
    ports = _ports(params["published_ports"])
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    with Swarm.from_params(params, context) as swarm:
        attempt = 1
        while True:
            source, target = swarm.service(params["name"]), _target(swarm, params["to"])
            _check(swarm, source, target, params["to"])
            with swarm.blamed(changed=False):
                spec = copied(
                    source,
                    target,
                    name=params["to"],
                    colour=colour,
                    replicas=params["replicas"],
                    deployed_at=params["deployed_at"],
                    published_ports=ports,
                    now=now,
                )
            before = target["Spec"] if target else None
            try:
                if spec != before and not context.check_mode:
                    _write(swarm, target, spec)
            except Rejected as error:
                if error.code not in ("version_conflict", "already_exists") or attempt == _ATTEMPTS:
                    raise
            else:
                return _result(context, before, spec)
            context.sleep(0.05 * attempt)
            attempt += 1


def _result(context: Context, before: Mapping[str, Any] | None, spec: Mapping[str, Any]) -> dict[str, Any]:
    """``changed`` and diff come from the whole definitions; the result has what people ask for."""
    compared = outcome(
        context, "service", shown(before, spec, "before") if before else None, shown(spec, before, "after")
    )
    labels = spec["Labels"]
    facts = {
        "name": spec["Name"],
        "image": spec["TaskTemplate"]["ContainerSpec"]["Image"],
        "replicas": spec["Mode"]["Replicated"]["Replicas"],
        "labels": labels,
    }
    return {**compared, "changed": spec != before, "service": facts}


def _target(swarm: Swarm, name: str) -> dict[str, Any] | None:
    try:
        return swarm.service(name)
    except NotFound:
        return None


def _write(swarm: Swarm, target: Mapping[str, Any] | None, spec: Mapping[str, Any]) -> None:
    if target is None:
        swarm.create_service(spec)
    else:
        swarm.update_service(target, spec)


def _check(swarm: Swarm, source: Mapping[str, Any], target: Mapping[str, Any] | None, name: str) -> None:
    """Only a service of a group is copied, and only over one of the same group."""
    group = group_of(source)
    if group is None:
        raise Rejected("not_ours", f"The service {source['Spec']['Name']} is of no deployment group.", system=swarm.url)
    if target is not None and group_of(target) != group:
        raise Rejected(
            "not_ours",
            f"The service {name} was made by someone else: it is not of the deployment group {group}. Remove or rename "
            "it.",
            system=swarm.url,
        )


def _ports(given: Mapping[str, Any]) -> dict[int, int]:
    try:
        return {int(target): int(published) for target, published in given.items()}
    except (TypeError, ValueError):
        raise InvalidInput(
            "invalid_option", f"Option published_ports: {dict(given)} is no mapping of port to port, as {{8000: 8001}}."
        ) from None
