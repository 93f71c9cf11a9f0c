# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group on Docker Swarm: two services, what their tasks are in, and what every proxy sends them. Pure.

The labels are on the services and not on the containers, so that writing them restarts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import InvalidInput
from .._rollout.state import COLOURS, Colour, Traffic, other_colour
from .tasks import HOST, OVERLAY, address_of, ready, replicas_of
from .views import View

GROUP_LABEL = "zdd.rollout.group"
COLOUR_LABEL = "zdd.rollout.colour"
VERSION_LABEL = "zdd.rollout.version"
DEFINITION_LABEL = "zdd.rollout.definition"
DEPLOYED_LABEL = "zdd.rollout.deployed_at"

_WHOLE = 99.5  # percent: all, but for what integer weights may be off
_HALF = 50.0
_SAME_SHARE = 1.0  # percentage points by which proxies that agree may differ

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """Where a proxy reaches a task: the container's port ``target_port``, through the node or in a ``network``."""

    kind: str = HOST
    target_port: int | None = None
    network: str | None = None

    def of(self, service: Json) -> Endpoint:
        """With the port of ``service`` where none was given: the only TCP port that it publishes on its nodes.

        :raises InvalidInput: there is none, or more than one.
        """
        if self.target_port is not None:
            return self
        ports = (service["Spec"].get("EndpointSpec") or {}).get("Ports") or []
        found = {
            port["TargetPort"]
            for port in ports
            if port.get("Protocol", "tcp") == "tcp" and port.get("PublishMode") == "host"
        }
        if len(found) != 1 or self.kind == OVERLAY:
            raise InvalidInput(
                "invalid_option",
                f"Option target_port is not given, and {service['Spec']['Name']} does not tell which port the proxies "
                f"send requests to: it publishes {', '.join(map(str, sorted(found))) or 'none'} on its nodes. Give "
                "the container's port.",
            )
        return Endpoint(self.kind, found.pop(), self.network)

    def addresses(self, tasks: Sequence[Json], nodes: Mapping[str, Json], service: Json) -> dict[str, str]:
        """Task id to address, without the tasks that have none (yet)."""
        if not tasks:
            return {}
        found = self.of(service)
        known = {
            task["ID"]: address_of(task, nodes, found.target_port or 0, found.kind, found.network) for task in tasks
        }
        return {task: address for task, address in known.items() if address is not None}


@dataclass(frozen=True)
class ServiceColour:
    """One service of a group. ``ready`` counts the tasks of its present definition that are ready.

    ``definition`` is the hash of what was wanted, ``deployed_at`` a text in ISO 8601 that sorts by time.
    ``published_port``: the fixed port on the nodes, ``None`` where Docker chooses. ``addresses``: of the ready tasks.
    """

    service: str
    colour: str
    version: str
    image: str
    replicas: int
    ready: int
    definition: str | None
    deployed_at: str
    addresses: frozenset[str]
    published_port: int | None = None

    def runs(self, definition: str | None) -> bool:
        """Whether it is this very definition that runs here."""
        return definition is not None and self.definition == definition


@dataclass(frozen=True)
class SwarmGroup:
    """The services that are there, by colour, and what the proxies show."""

    name: str
    colours: Mapping[str, ServiceColour]
    views: tuple[View, ...]

    def shares(self, colour: str) -> list[float]:
        """Percent of the requests that each proxy sends to a colour."""
        return [view.served(colour) for view in self.views]

    def has_traffic(self, colour: str) -> bool:
        """Whether any proxy sends requests there."""
        return any(self.shares(colour))

    def traffic(self, colour: str) -> Traffic:
        """All of it only where every proxy knows every ready task, and sends nothing elsewhere."""
        if not self.has_traffic(colour):
            return Traffic.NONE
        there = self.colours.get(colour)
        whole = (
            there is not None
            and min(self.shares(colour)) >= _WHOLE
            and all(there.addresses <= view.addresses[colour] for view in self.views)
        )
        return Traffic.ALL if whole else Traffic.SOME

    @property
    def live(self) -> str | None:
        """The colour that has all requests of every proxy that serves any; ``None``: none has, or it has no service."""
        serving = [view for view in self.views if view.serves]
        for colour in self.colours:
            if serving and all(view.served(colour) >= _WHOLE for view in serving):
                return colour
        return None

    @property
    def idle(self) -> str | None:
        """The colour that a deployment goes to; ``None`` while both have traffic."""
        if self.live is not None:
            return other_colour(self.live)
        return None

    @property
    def agreed(self) -> bool:
        """Whether all proxies that serve anything split the requests in the same way."""
        serving = [view for view in self.views if view.serves]
        return all(
            max(shares) - min(shares) <= _SAME_SHARE
            for colour in COLOURS
            if (shares := [view.served(colour) for view in serving])
        )

    @property
    def leading(self) -> str | None:
        """The colour that gets most requests of every proxy that serves anything."""
        serving = [view for view in self.views if view.serves]
        return next(
            (colour for colour in COLOURS if serving and all(view.served(colour) > _HALF for view in serving)), None
        )

    @property
    def split(self) -> bool:
        """Whether both colours have traffic: a canary, or proxies that disagree."""
        return all(colour in self.colours and self.has_traffic(colour) for colour in COLOURS)

    def by_age(self) -> list[str]:
        """The colours that are there, the one that was deployed first being the first."""
        return sorted(self.colours, key=lambda colour: (self.colours[colour].deployed_at, colour))

    def meant(self) -> int:
        """How many replicas the group is meant to have: those of what has the traffic, whole."""
        if self.live is not None:
            return self.colours[self.live].replicas
        return max((self.colours[colour].replicas for colour in self.colours if self.has_traffic(colour)), default=0)

    def as_colour(self, colour: str, target: int | None = None) -> Colour:
        """The colour in the planner's words; ``target``: the count that it is meant to have."""
        there, shares = self.colours[colour], self.shares(colour)
        return Colour(
            app_id=there.service,
            colour=colour,
            version=there.version,
            instances=there.replicas,
            healthy=there.ready,
            target=target,
            traffic=self.traffic(colour),
            turnable=True,
            share=max(shares, default=0.0),
            lowest_share=min(shares, default=0.0),
        )

    def who_serves_what(self) -> str:
        """One line for people: what each proxy sends where."""
        return "; ".join(
            f"{view.name}: " + ", ".join(f"{view.served(colour):g} % to {colour}" for colour in COLOURS)
            for view in self.views
        )


def service_name(group: str, colour: str) -> str:
    """The name of the service of a colour."""
    return f"{group}-{colour}"


def observe(
    name: str,
    services: Mapping[str, Json],
    tasks: Mapping[str, Sequence[Json]],
    nodes: Mapping[str, Json],
    views: Sequence[View],
    endpoint: Endpoint,
) -> SwarmGroup:
    """The group ``name`` from the API's own data: ``services`` and the ``tasks`` of their present definition by colour.

    :raises InvalidInput: a service has a name of the group and was made by somebody else, or is not replicated.
    """
    colours = {
        colour: _observed(name, colour, services[colour], tasks.get(colour, ()), nodes, endpoint)
        for colour in COLOURS
        if colour in services
    }
    return SwarmGroup(name, colours, tuple(views))


def _observed(
    name: str, colour: str, service: Json, tasks: Sequence[Json], nodes: Mapping[str, Json], endpoint: Endpoint
) -> ServiceColour:
    check_ours(name, service)
    spec = service["Spec"]
    labels = spec.get("Labels") or {}
    replicas = replicas_of(service)
    if replicas is None:
        raise InvalidInput(
            "invalid_definition",
            f"The service {spec['Name']} is not replicated ({', '.join(spec.get('Mode') or {})}): a colour has a count "
            "of replicas.",
        )
    healthy = ready(tasks)
    image = ((spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}).get("Image", "")
    return ServiceColour(
        service=spec["Name"],
        colour=colour,
        version=labels.get(VERSION_LABEL) or version_of(image),
        image=image,
        replicas=replicas,
        ready=len(healthy),
        definition=labels.get(DEFINITION_LABEL),
        deployed_at=labels.get(DEPLOYED_LABEL) or service.get("CreatedAt", ""),
        addresses=frozenset(endpoint.addresses(healthy, nodes, service).values()),
        published_port=_published_port(service, endpoint),
    )


def check_ours(name: str, service: Json) -> None:
    """Refuse a service that was made by somebody else, or for another group.

    :raises InvalidInput: names the service and the label that it lacks.
    """
    spec = service["Spec"]
    found = (spec.get("Labels") or {}).get(GROUP_LABEL)
    if found != name:
        raise InvalidInput(
            "foreign_service",
            f"There is a service {spec['Name']} already, which was made by someone else: its label {GROUP_LABEL} is "
            f"{found!r}, not {name!r}. Rename or remove it, or choose another name for the group.",
        )


def version_of(image: str) -> str:
    """What people call the version of an image: its tag, or the start of its digest."""
    bare, _separator, digest = image.partition("@")
    tag = bare.rpartition("/")[2].partition(":")[2]
    return tag or digest.removeprefix("sha256:")[:12] or "latest"


def _published_port(service: Json, endpoint: Endpoint) -> int | None:
    ports = (service["Spec"].get("EndpointSpec") or {}).get("Ports") or []
    fixed = [
        port["PublishedPort"]
        for port in ports
        if port.get("PublishedPort") and endpoint.target_port in (None, port["TargetPort"])
    ]
    return fixed[0] if fixed else None
