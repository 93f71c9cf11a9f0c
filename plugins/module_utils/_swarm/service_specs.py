# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of services as the API has them (Docker Engine API, object ``ServiceSpec``), changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from .._errors import InvalidInput, Rejected
from .._rollout.state import COLOURS
from .group import COLOUR_LABEL, DEPLOYED_LABEL, GROUP_LABEL
from .tasks import replicas_of

Json = dict[str, Any]


def colour_of(service: Mapping[str, Any]) -> str | None:
    """The colour of a service of a group; ``None`` for any other service."""
    spec = service["Spec"]
    colour = (spec.get("Labels") or {}).get(COLOUR_LABEL)
    return colour if colour in COLOURS else colour_in(spec["Name"])


def colour_in(name: str) -> str | None:
    """The colour with which the name of a service ends."""
    return next((colour for colour in COLOURS if name.endswith(f"-{colour}")), None)


def group_of(service: Mapping[str, Any]) -> str | None:
    """The deployment group that the service says it belongs to."""
    return (service["Spec"].get("Labels") or {}).get(GROUP_LABEL)


def replicas_wanted(service: Mapping[str, Any]) -> int:
    """How many tasks a service wants that can be scaled.

    :raises Rejected: it has one on each node, or is a job.
    """
    count = replicas_of(service)
    if count is None:
        raise Rejected(
            "not_replicated",
            f"The service {service['Spec']['Name']} is not replicated: it has one task on each node, or is a job, so "
            "it cannot be scaled.",
        )
    return count


def with_replicas(spec: Mapping[str, Any], replicas: int) -> Json:
    """The definition with another count, and nothing else."""
    changed = deepcopy(dict(spec))
    changed["Mode"]["Replicated"]["Replicas"] = replicas
    return changed


def copied(
    source: Mapping[str, Any],
    target: Mapping[str, Any] | None,
    *,
    name: str,
    colour: str,
    replicas: int | None = None,
    deployed_at: str | None = None,
    published_ports: Mapping[int, int] | None = None,
    now: str,
) -> Json:
    """The definition that makes ``name`` run what the service ``source`` runs.

    ``target`` is ``name`` as it is, if there is one. ``replicas``: those of the source by default. ``published_ports``:
    the fixed ports by target port; a port that the source has fixed is left to Docker otherwise, as one node cannot
    give it to both. ``deployed_at``: as it is by default, or ``now`` where anything else changes.

    :raises InvalidInput: a port is given that the service does not publish.
    :raises Rejected: the source is not replicated.
    """
    count = replicas_wanted(source)
    spec: Json = deepcopy(source["Spec"])
    before = deepcopy(target["Spec"]) if target else None
    spec["Name"] = name
    spec["Mode"]["Replicated"]["Replicas"] = count if replicas is None else replicas
    spec["Labels"] = {**(spec.get("Labels") or {}), COLOUR_LABEL: colour}
    # All at once: while a part of the tasks is of another definition, no load balancer could tell which is which.
    spec["UpdateConfig"] = {**(spec.get("UpdateConfig") or {}), "Parallelism": 0}
    ports = (spec.get("EndpointSpec") or {}).get("Ports") or []
    given = dict(published_ports or {})
    unknown = set(given) - {port.get("TargetPort") for port in ports}
    if unknown:
        raise InvalidInput(
            "invalid_option",
            f"Option published_ports: {source['Spec']['Name']} does not publish "
            f"{', '.join(str(port) for port in sorted(unknown))}.",
        )
    for port in ports:
        port.pop("PublishedPort", None)
        if port.get("TargetPort") in given:
            port["PublishedPort"] = given[port["TargetPort"]]
    if before is not None:
        # A counter: another value restarts every task.
        _keep(spec["TaskTemplate"], before["TaskTemplate"], "ForceUpdate")
        if deployed_at is None:
            _keep(spec["Labels"], before.get("Labels") or {}, DEPLOYED_LABEL)
            deployed_at = spec["Labels"].get(DEPLOYED_LABEL) if spec == before else now
    spec["Labels"][DEPLOYED_LABEL] = deployed_at or now
    return spec


def shown(spec: Mapping[str, Any], other: Mapping[str, Any] | None, word: str) -> Json:
    """The definition for a diff against ``other``, without the values of environment variables: they may be secrets.

    ``word`` stands for those that ``other`` has not.
    """
    seen = deepcopy(dict(spec))
    container = (seen.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    elsewhere = set((((other or {}).get("TaskTemplate") or {}).get("ContainerSpec") or {}).get("Env") or [])
    if container.get("Env"):
        container["Env"] = [
            f"{item.partition('=')[0]}={'(as it is)' if item in elsewhere else f'({word})'}"
            for item in container["Env"]
        ]
    return seen


def _keep(spec: Json, before: Mapping[str, Any], key: str) -> None:
    if key in before:
        spec[key] = before[key]
    else:
        spec.pop(key, None)
