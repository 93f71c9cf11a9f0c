# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""App definitions in canonical form: old keys converted, defaults filled in, as Marathon 1.8 shows them.

A definition is a plain dict as in ``GET /v2/apps/{id}``, without ``version``, ``versionInfo`` and what only tells
a state. Definitions are never changed in place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.sandbox.marathon.errors import invalid_object
from tests.sandbox.marathon.schema import FIELDS

Definition = Mapping[str, Any]

SERVICE_PORTS = range(10000, 20001)
OMITTED_WHEN_EMPTY = (
    "args",
    "constraints",
    "dependencies",
    "env",
    "fetch",
    "healthChecks",
    "readinessChecks",
    "secrets",
)
DEFAULTS: dict[str, Any] = {
    "backoffFactor": 1.15,
    "backoffSeconds": 1,
    "cpus": 1,
    "disk": 0,
    "executor": "",
    "gpus": 0,
    "instances": 1,
    "killSelection": "YOUNGEST_FIRST",
    "labels": {},
    "maxLaunchDelaySeconds": 300,
    "mem": 128,
    "requirePorts": False,
    "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
    "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
}
STRATEGY_WITH_VOLUMES = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}
HEALTH_CHECK_DEFAULTS: dict[str, Any] = {
    "delaySeconds": 15,
    "gracePeriodSeconds": 300,
    "intervalSeconds": 60,
    "ipProtocol": "IPv4",
    "maxConsecutiveFailures": 3,
    "protocol": "HTTP",
    "timeoutSeconds": 20,
}
READINESS_CHECK_DEFAULTS: dict[str, Any] = {
    "httpStatusCodesForReady": [200],
    "intervalSeconds": 30,
    "name": "readinessCheck",
    "path": "/",
    "portName": "http-api",
    "preserveLastResponse": False,
    "protocol": "HTTP",
    "timeoutSeconds": 10,
}
EXTRACTED = re.compile(r"\.(tgz|tar\.gz|tbz2|tar\.bz2|txz|tar\.xz|zip)$")


def absolute(app_id: str, base: str = "/") -> str:
    """The id from the root: one slash at the start, none doubled, ``.`` and ``..`` resolved."""
    segments = [] if app_id.startswith("/") else [part for part in base.split("/") if part]
    for part in app_id.split("/"):
        if part == "..":
            segments = segments[:-1]
        elif part and part != ".":
            segments.append(part)
    return "/" + "/".join(segments)


def without_nulls(value: Any) -> Any:
    """Null is as good as absent, at any depth."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    return value


def _networks(raw: Definition) -> list[dict[str, Any]] | None:
    """Networks in the new form, from whichever form was given; ``None`` when nothing was said."""
    address = raw.get("ipAddress")
    docker = (raw.get("container") or {}).get("docker") or {}
    kind = docker.get("network")
    networks = raw.get("networks")
    if networks and (address is not None or kind):
        raise invalid_object([("/", "must not specify both networks and ipAddress or container.docker.network")])
    if address is None and kind is None:
        return networks
    labels = (address or {}).get("labels") or {}
    name = (address or {}).get("networkName")
    if kind == "NONE":
        raise invalid_object([("/", "unsupported docker network type NONE")])
    mode = {"HOST": "host", "BRIDGE": "container/bridge", "USER": "container", None: "container"}[kind]
    network: dict[str, Any] = {"mode": mode}
    if mode == "container" and name:
        network["name"] = name
    if labels and mode != "host":
        network["labels"] = labels
    return [network]


def _migrated_container(raw: Definition) -> dict[str, Any] | None:
    """The container with the port mappings where they belong since 1.5."""
    container = raw.get("container")
    discovery = ((raw.get("ipAddress") or {}).get("discovery") or {}).get("ports") or []
    if container is None:
        if raw.get("ipAddress") is None:
            return None
        container = {"type": "MESOS"}
    container = dict(container)
    docker = container.get("docker")
    if docker is not None:
        docker = dict(docker)
        docker.pop("network", None)
        old = docker.pop("portMappings", None)
        container["docker"] = docker
        if old is not None:
            if container.get("portMappings") and old:
                raise invalid_object([("/container", "cannot specify both portMappings and docker.portMappings")])
            container["portMappings"] = container.get("portMappings") or old
    if discovery:
        container["portMappings"] = [
            {
                "containerPort": port.get("number", 0),
                "name": port["name"],
                "protocol": port.get("protocol", "tcp"),
                "labels": port.get("labels", {}),
            }
            for port in discovery
        ]
    return container


def modern(raw: Definition) -> dict[str, Any]:
    """``raw`` with the keys of Marathon up to 1.4 converted, unknown keys dropped and nothing filled in.

    Raises the 422 of mixed old and new forms.
    """
    given = {key: value for key, value in without_nulls(raw).items() if key in FIELDS}
    if given.get("uris") and given.get("fetch"):
        raise invalid_object([("/", "cannot specify both uris and fetch fields")])
    ports, definitions = given.get("ports"), given.get("portDefinitions")
    if ports is not None and definitions is not None and ports != [one.get("port", 0) for one in definitions]:
        raise invalid_object([("/", "cannot specify both ports and port definitions")])
    networks, container = _networks(given), _migrated_container(given)
    if networks is not None:
        given["networks"] = networks
    if container is not None:
        given["container"] = container
    if definitions is None and ports is not None:
        given["portDefinitions"] = [{"port": port} for port in ports]
    if given.get("uris"):
        given["fetch"] = [{"uri": uri, "extract": bool(EXTRACTED.search(uri))} for uri in given["uris"]]
    for old in ("uris", "ports", "ipAddress"):
        given.pop(old, None)
    return given


def host_mode(definition: Definition) -> bool:
    networks = definition.get("networks")
    return not networks or networks[0].get("mode", "container") == "host"


def _port_definition(given: Definition) -> dict[str, Any]:
    port = {"port": 0, "protocol": "tcp", **given}
    if not port.get("labels"):
        port.pop("labels", None)
    return port


def _port_mapping(given: Definition, bridge: bool) -> dict[str, Any]:
    port = {"containerPort": 0, "labels": {}, "protocol": "tcp", "servicePort": 0, **given}
    if bridge:
        port.setdefault("hostPort", 0)
    if not port.get("networkNames"):
        port.pop("networkNames", None)
    return port


def _container(given: Definition, networks: Sequence[Definition], wanted_ports: int) -> dict[str, Any]:
    container: dict[str, Any] = {"type": "DOCKER", "volumes": [], **given}
    if "docker" in container:
        container["docker"] = {"forcePullImage": False, "parameters": [], "privileged": False, **container["docker"]}
    if networks[0]["mode"] == "host":
        container.pop("portMappings", None)
        return container
    bridge = networks[0]["mode"] == "container/bridge"
    mappings = container.get("portMappings")
    if mappings is None:
        mappings = [{"name": "default"}]
    mappings = list(mappings) + [{}] * (wanted_ports - len(mappings))
    container["portMappings"] = [_port_mapping(one, bridge) for one in mappings]
    return container


def _health_check(given: Definition) -> dict[str, Any]:
    check = {**HEALTH_CHECK_DEFAULTS, **given}
    if "command" in check and "protocol" not in given:
        check["protocol"] = "COMMAND"
    if check["protocol"] in ("HTTP", "HTTPS"):
        check.setdefault("ignoreHttp1xx", False)
    return check


def _distinct(items: Iterable[Any]) -> list[Any]:
    """Without repetitions, in order: sets are arrays in the API."""
    seen: dict[str, Any] = {}
    for one in items:
        seen.setdefault(json.dumps(one, sort_keys=True), one)
    return list(seen.values())


def canonical(raw: Definition, *, update: bool = False) -> dict[str, Any]:
    """The definition that Marathon makes of ``raw`` (types already checked), service ports not yet assigned.

    ``update`` says that ``raw`` is a change laid over an app that exists: a health check that names no port then
    always gets ``portIndex`` 0, in a new app only where it declares ports.
    """
    given = modern(raw)
    definition: dict[str, Any] = {**DEFAULTS, **{key: value for key, value in given.items() if key != "version"}}
    definition["id"] = absolute(str(given.get("id", "/")))
    volumes = [one for one in given.get("container", {}).get("volumes", ()) if isinstance(one, dict)]
    if any("persistent" in one or "external" in one for one in volumes):
        definition["upgradeStrategy"] = given.get("upgradeStrategy", STRATEGY_WITH_VOLUMES)
    if any("persistent" in one for one in volumes):
        definition["unreachableStrategy"] = given.get("unreachableStrategy", "disabled")
    networks = [{"mode": "container", **one} for one in given.get("networks") or [{"mode": "host"}]]
    for one in networks:
        if not one.get("labels"):
            one.pop("labels", None)
    definition["networks"] = networks
    ports = given.get("portDefinitions")
    has_mappings = False
    if networks[0]["mode"] == "host":
        definition["portDefinitions"] = [
            _port_definition(one) for one in (ports if ports is not None else [{"name": "default"}])
        ]
        if "container" in given:
            definition["container"] = _container(given["container"], networks, 0)
    else:
        definition.pop("portDefinitions", None)
        definition["requirePorts"] = False
        definition["container"] = _container(given.get("container") or {"type": "MESOS"}, networks, len(ports or ()))
        has_mappings = bool(definition["container"]["portMappings"])
    checks = [_health_check(one) for one in given.get("healthChecks", ())]
    if update or ports or has_mappings:
        for check in checks:
            if check["protocol"] != "COMMAND" and "port" not in check:
                check.setdefault("portIndex", 0)
    definition["healthChecks"] = _distinct(checks)
    definition["readinessChecks"] = [{**READINESS_CHECK_DEFAULTS, **one} for one in given.get("readinessChecks", ())]
    definition["constraints"] = _distinct(
        [one[0], one[1].upper(), *one[2:]] if len(one) > 1 else one for one in given.get("constraints", ())
    )
    definition["dependencies"] = _distinct(
        absolute(one, definition["id"].rpartition("/")[0]) for one in given.get("dependencies", ())
    )
    definition["fetch"] = [
        {"cache": False, "executable": False, "extract": True, **one} for one in given.get("fetch", ())
    ]
    for key in OMITTED_WHEN_EMPTY:
        if not definition.get(key):
            definition.pop(key, None)
    return definition


def merged(existing: Definition, raw: Definition) -> dict[str, Any]:
    """``existing`` with the top-level fields of ``raw`` in place of its own: a partial update.

    Marathon forgets ``executorResources`` where the update does not repeat them (reference B3).
    """
    kept = {key: value for key, value in existing.items() if key != "executorResources"}
    return canonical({**kept, **modern(raw), "id": existing["id"]}, update=True)


def _comparable(definition: Definition) -> dict[str, Any]:
    plain = {key: value for key, value in definition.items() if key not in ("instances", "executorResources")}
    for key in ("constraints", "healthChecks", "dependencies"):
        plain[key] = sorted(json.dumps(one, sort_keys=True) for one in plain.get(key, ()))
    return plain


def config_differs(one: Definition, other: Definition) -> bool:
    """Whether going from one to the other replaces the tasks: anything but the count differs."""
    return _comparable(one) != _comparable(other)


def service_ports(definition: Definition) -> list[int]:
    if host_mode(definition):
        return [one["port"] for one in definition.get("portDefinitions", ())]
    return [one["servicePort"] for one in definition["container"].get("portMappings", ())]


def with_service_ports(definition: Definition, old: Definition | None, used: set[int]) -> dict[str, Any]:
    """The definition with a port of its own for each service port 0; those that ``old`` had come first.

    ``used`` are the service ports of all apps; what is assigned is added to it. (Reference B9.)
    """
    wanted = service_ports(definition)
    if 0 not in wanted:
        return dict(definition)
    kept = [port for port in (service_ports(old) if old else ()) if port in SERVICE_PORTS and port not in wanted]
    fresh = (port for port in SERVICE_PORTS if port not in used)
    assigned = [port or (kept.pop(0) if kept else next(fresh)) for port in wanted]
    used.update(assigned)
    result = dict(definition)
    if host_mode(definition):
        result["portDefinitions"] = [
            {**one, "port": port} for one, port in zip(definition["portDefinitions"], assigned, strict=True)
        ]
    else:
        mappings = zip(definition["container"]["portMappings"], assigned, strict=True)
        result["container"] = {
            **definition["container"],
            "portMappings": [{**one, "servicePort": port} for one, port in mappings],
        }
    return result
