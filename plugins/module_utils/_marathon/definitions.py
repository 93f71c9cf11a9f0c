# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""App definitions: one normal form for what a user writes and for what Marathon shows, and what differs.

Defaults and forms are those of Marathon's RAML types (reference B7), checked against the answers of a real one in
``tests/recordings``. Pure: JSON in, JSON out, nothing given is changed.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._errors import InvalidInput

READ_ONLY = frozenset(
    {
        "version",
        "versionInfo",
        "tasks",
        "tasksStaged",
        "tasksRunning",
        "tasksHealthy",
        "tasksUnhealthy",
        "deployments",
        "lastTaskFailure",
        "readinessCheckResults",
        "taskStats",
        "tasksStats",
        "storeUrls",
    }
)

_DEFAULTS: dict[str, Any] = {
    "cpus": 1,
    "mem": 128,
    "disk": 0,
    "gpus": 0,
    "executor": "",
    "backoffSeconds": 1,
    "backoffFactor": 1.15,
    "maxLaunchDelaySeconds": 300,
    "requirePorts": False,
    "killSelection": "YOUNGEST_FIRST",
    "labels": {},
}
_CHECK_DEFAULTS: dict[str, Any] = {
    "protocol": "HTTP",
    "gracePeriodSeconds": 300,
    "intervalSeconds": 60,
    "timeoutSeconds": 20,
    "maxConsecutiveFailures": 3,
    "delaySeconds": 15,
    "ipProtocol": "IPv4",
}
_READINESS_DEFAULTS: dict[str, Any] = {
    "name": "readinessCheck",
    "protocol": "HTTP",
    "path": "/",
    "portName": "http-api",
    "intervalSeconds": 30,
    "timeoutSeconds": 10,
    "httpStatusCodesForReady": [200],
    "preserveLastResponse": False,
}
_DOCKER_DEFAULTS: dict[str, Any] = {"forcePullImage": False, "privileged": False, "parameters": []}
_FETCH_DEFAULTS: dict[str, Any] = {"executable": False, "extract": True, "cache": False}
_RESIDENCY_DEFAULTS = {"relaunchEscalationTimeoutSeconds": 3600, "taskLostBehavior": "WAIT_FOREVER"}

# What Marathon leaves out when it is empty.
_OMITTED_WHEN_EMPTY = frozenset(
    {
        "acceptedResourceRoles",
        "args",
        "constraints",
        "dependencies",
        "env",
        "fetch",
        "healthChecks",
        "readinessChecks",
        "secrets",
    }
)
# Lists whose order means nothing.
_SETS = frozenset({"acceptedResourceRoles", "constraints", "dependencies", "healthChecks"})

# Defaults that differ from one Marathon to the next: when a definition leaves the key out, any of them is "as it is".
_DEFAULTS_BY_VERSION: dict[str, tuple[Any, ...]] = {
    "maxLaunchDelaySeconds": (300, 3600),
    "unreachableStrategy": (
        {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
        {"inactiveAfterSeconds": 300, "expungeAfterSeconds": 600},
        {"inactiveAfterSeconds": 900, "expungeAfterSeconds": 604800},
        "disabled",
    ),
}
# Keys that a server may add by its own configuration; a definition that is silent about them accepts what is there.
_SET_BY_SERVER = frozenset({"role", "tty"})

_LABEL_OF_PORT = re.compile(r"HAPROXY_(\d+)_PORT")


def app_path(app_id: str) -> str:
    """Return an app id as Marathon shows it: absolute, without needless slashes, ``.`` and ``..`` resolved."""
    segments: list[str] = []
    for segment in app_id.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return "/" + "/".join(segments)


def editable(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition without what Marathon adds and without nulls, so that it can be sent.

    The ``ports`` and ``uris`` that Marathon 1.4 and older shows beside their successors are dropped with them.
    """
    kept = _without_nulls({key: value for key, value in definition.items() if key not in READ_ONLY})
    if "portDefinitions" in kept:
        kept.pop("ports", None)
    if kept.get("fetch"):
        kept.pop("uris", None)
    if "id" in kept:
        kept["id"] = app_path(kept["id"])
    return kept


def normalise(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one form of a definition: defaults filled in, read-only keys dropped, sets sorted, the networking of
    Marathon 1.5 and newer. ``normalise(normalise(d)) == normalise(d)``. ``instances`` is 1 when it is left out.
    """
    app = editable(definition)
    for key, default in _DEFAULTS.items():
        app.setdefault(key, copy.deepcopy(default))
    app.setdefault("instances", 1)
    _normalise_networks(app)
    _normalise_container(app)
    _normalise_ports(app)
    _normalise_fetch(app)
    _normalise_checks(app)
    _normalise_strategies(app)
    if "dependencies" in app:
        app["dependencies"] = [app_path(dependency) for dependency in app["dependencies"]]
    if app.get("residency") == _RESIDENCY_DEFAULTS:
        del app["residency"]
    for key in _SETS & app.keys():
        app[key] = sorted(app[key], key=_sortable)
    for key in _OMITTED_WHEN_EMPTY & app.keys():
        if not app[key]:
            del app[key]
    return _plain_numbers(app)


def wanted(definition: Mapping[str, Any], live: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the normal form that a live app will have once ``definition`` replaces its own.

    What the definition leaves to Marathon stays as it is: the count, assigned service ports, and defaults that depend
    on Marathon's version or configuration. ``live``: as Marathon shows it, or ``None``.
    """
    after = normalise(definition)
    if live is None:
        return after
    before = normalise(live)
    given = _without_nulls(definition)
    if "instances" not in given:
        after["instances"] = before["instances"]
    for key, defaults in _DEFAULTS_BY_VERSION.items():
        if key not in given and before.get(key) in defaults:
            after[key] = before[key]
    for key in _SET_BY_SERVER & before.keys():
        if key not in given:
            after[key] = before[key]
    for port, assigned in zip(_port_items(after), _port_items(before), strict=False):
        if not port["value"]:
            port["set"](assigned["value"])
    for network, present in zip(after["networks"], before["networks"], strict=False):
        if network["mode"] == present["mode"] and "name" not in network and "name" in present:
            network["name"] = present["name"]
    return after


def replacement(definition: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to send as a full replacement (``partialUpdate=false``) so that :func:`wanted` comes true.

    It keeps the form in which the user wrote the definition, which is the one that this Marathon understands.
    """
    body = editable(definition)
    body.setdefault("instances", live["instances"])
    for key in _SET_BY_SERVER & live.keys():
        body.setdefault(key, live[key])
    return body


def differences(definition: Mapping[str, Any], live: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return ``{key: {"before", "after"}}`` for each top-level key that ``definition`` would change in the live app."""
    after = wanted(definition, live)
    before = normalise(live) if live is not None else {}
    return {
        key: {"before": before.get(key), "after": after.get(key)}
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }


def is_scale_only(definition: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Whether only the count would change, so that no running task is restarted."""
    return differences(definition, live).keys() == {"instances"}


def service_ports(app: Mapping[str, Any]) -> list[int]:
    """The ports on which marathon-lb listens for an app, by port index; 0 for one that is not assigned yet.

    Those of the definition, each overridden by its label ``HAPROXY_{n}_PORT`` (reference A9, pass 2).
    """
    normal = normalise(app)
    ports = [item["value"] for item in _port_items(normal)]
    for label, value in normal["labels"].items():
        match = _LABEL_OF_PORT.fullmatch(label)
        if match and int(match[1]) < len(ports) and str(value).isdecimal():
            ports[int(match[1])] = int(value)
    return ports


def check_definition(definition: Any) -> None:
    """Refuse a definition that Marathon could not read, before anything is sent.

    Only what is wrong for every Marathon is checked here; the rest is Marathon's to say.

    :raises InvalidInput: with one line per error, each with its path.
    """
    if not isinstance(definition, Mapping):
        raise InvalidInput("invalid_definition", f"An app definition is a mapping, not {_kind(definition)}.")
    errors = list(_type_errors(definition))
    if errors:
        lines = [f"{path}: {error}" for path, error in errors]
        raise InvalidInput(
            "invalid_definition",
            "\n".join(["The app definition cannot be used:", *lines]),
            detail=[{"path": path, "errors": [error]} for path, error in errors],
        )


def _type_errors(definition: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    app_id = definition.get("id")
    if not isinstance(app_id, str) or app_path(app_id) == "/":
        yield "/id", f"must be the id of an app, such as /shop/web, not {_shown(app_id)}"
    for key, expected, fits in _TYPES:
        value = definition.get(key)
        if value is not None and not fits(value):
            yield f"/{key}", f"must be {expected}, not {_shown(value)}"
    for holder, expected, fits in (("labels", "a string", _is_text), ("env", "a string or a secret", _is_env)):
        values = definition.get(holder)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if not fits(value):
                yield f"/{holder}/{name}", f"must be {expected}, not {_shown(value)}"
    for holder in ("healthChecks", "readinessChecks", "portDefinitions", "networks", "fetch"):
        values = definition.get(holder)
        for index, value in enumerate(values if isinstance(values, list) else ()):
            if not isinstance(value, Mapping):
                yield f"/{holder}({index})", f"must be a mapping, not {_shown(value)}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_env(value: Any) -> bool:
    return isinstance(value, (str, Mapping))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


_TYPES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("cmd", "a string", _is_text),
    ("args", "a list", _is_list),
    ("instances", "a whole number, 0 or more", _is_count),
    ("cpus", "a number, 0 or more", _is_number),
    ("mem", "a number, 0 or more", _is_number),
    ("disk", "a number, 0 or more", _is_number),
    ("labels", "a mapping", _is_mapping),
    ("env", "a mapping", _is_mapping),
    ("container", "a mapping", _is_mapping),
    ("upgradeStrategy", "a mapping", _is_mapping),
    ("ipAddress", "a mapping", _is_mapping),
    ("constraints", "a list", _is_list),
    ("dependencies", "a list", _is_list),
    ("fetch", "a list", _is_list),
    ("uris", "a list", _is_list),
    ("ports", "a list", _is_list),
    ("healthChecks", "a list", _is_list),
    ("readinessChecks", "a list", _is_list),
    ("portDefinitions", "a list", _is_list),
    ("networks", "a list", _is_list),
    ("acceptedResourceRoles", "a list", _is_list),
)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{json.dumps(value, default=str)[:60]} ({_kind(value)[2:]})"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _plain_numbers(value: Any) -> Any:
    """Whole numbers without a decimal point, so that 128 and 128.0 read alike in a diff."""
    if isinstance(value, Mapping):
        return {key: _plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _sortable(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _normalise_networks(app: dict[str, Any]) -> None:
    """Turn ``ipAddress`` and ``container.docker.network`` (up to Marathon 1.4) into ``networks``."""
    address = app.pop("ipAddress", None)
    container = app.get("container") or {}
    docker = container.get("docker") or {}
    old_mode = docker.pop("network", None)
    old_mappings = docker.pop("portMappings", None)
    if old_mappings and not container.get("portMappings"):
        container["portMappings"] = old_mappings
    if "networks" not in app:
        app["networks"] = [_network_of(old_mode, address)]
    if address and not old_mode:
        discovered = (address.get("discovery") or {}).get("ports")
        if discovered and not container.get("portMappings"):
            mappings = [{**port, "containerPort": port["number"]} for port in discovered]
            for mapping in mappings:
                del mapping["number"]
            app["container"] = {"type": "MESOS", **container, "portMappings": mappings}
    networks = app["networks"] or [{"mode": "host"}]
    app["networks"] = [
        {key: value for key, value in network.items() if key != "labels" or value}
        for network in ({"mode": "container", **network} for network in networks)
    ]


def _network_of(old_mode: str | None, address: Mapping[str, Any] | None) -> dict[str, Any]:
    if old_mode == "BRIDGE":
        return {"mode": "container/bridge"}
    if old_mode == "USER" or (old_mode is None and address is not None):
        address = address or {}
        named = {"name": address["networkName"]} if address.get("networkName") else {}
        return {"mode": "container", **named, "labels": address.get("labels") or {}}
    return {"mode": "host"}


def _normalise_container(app: dict[str, Any]) -> None:
    container = app.get("container")
    if container is None:
        return
    container.setdefault("type", "DOCKER")
    container.setdefault("volumes", [])
    if "docker" in container:
        container["docker"] = {**copy.deepcopy(_DOCKER_DEFAULTS), **container["docker"]}


def _normalise_ports(app: dict[str, Any]) -> None:
    ports = app.pop("ports", None)
    mode = app["networks"][0]["mode"]
    if mode == "host":
        container = app.get("container")
        if container is not None and not container.get("portMappings"):
            container.pop("portMappings", None)
        if "portDefinitions" not in app:
            app["portDefinitions"] = (
                [{"port": 0, "name": "default"}] if ports is None else [{"port": port} for port in ports]
            )
        app["portDefinitions"] = [_normal_port(port, {"port": 0}) for port in app["portDefinitions"]]
        return
    app.pop("portDefinitions", None)
    container = app.get("container")
    if container is None:
        return
    defaults = {"containerPort": 0, "servicePort": 0, "labels": {}}
    if mode == "container/bridge":
        defaults["hostPort"] = 0
    mappings = container.get("portMappings")
    if mappings is None:
        mappings = [{"name": "default"}]
    container["portMappings"] = [_normal_mapping(mapping, defaults) for mapping in mappings]


def _normal_port(port: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    full = {"protocol": "tcp", **defaults, **port}
    if not full.get("labels"):
        full.pop("labels", None)
    return full


def _normal_mapping(mapping: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    full = {"protocol": "tcp", **copy.deepcopy(dict(defaults)), **mapping}
    if not full.get("networkNames"):
        full.pop("networkNames", None)
    return full


def _normalise_fetch(app: dict[str, Any]) -> None:
    uris = app.pop("uris", None)
    fetch = app.get("fetch") or [{"uri": uri} for uri in uris or []]
    app["fetch"] = [{**_FETCH_DEFAULTS, **item} for item in fetch]


def _normalise_checks(app: dict[str, Any]) -> None:
    has_ports = bool(_port_items(app))
    app["healthChecks"] = [_normal_check(check, has_ports) for check in app.get("healthChecks", [])]
    app["readinessChecks"] = [_normal_readiness_check(check) for check in app.get("readinessChecks", [])]


def _normal_check(check: Mapping[str, Any], has_ports: bool) -> dict[str, Any]:
    full = {**_CHECK_DEFAULTS, **check}
    if full["protocol"] in ("HTTP", "HTTPS"):
        full.setdefault("ignoreHttp1xx", False)
    if has_ports and full["protocol"] != "COMMAND" and "port" not in full:
        full.setdefault("portIndex", 0)
    return full


def _normal_readiness_check(check: Mapping[str, Any]) -> dict[str, Any]:
    full = {**_READINESS_DEFAULTS, **check}
    full["httpStatusCodesForReady"] = sorted(full["httpStatusCodesForReady"])
    return full


def _normalise_strategies(app: dict[str, Any]) -> None:
    volumes = (app.get("container") or {}).get("volumes") or []
    resident = any("persistent" in volume for volume in volumes)
    stateful = resident or any("external" in volume for volume in volumes)
    minimum, maximum = (0.5, 0) if stateful else (1, 1)
    app["upgradeStrategy"] = {
        "minimumHealthCapacity": minimum,
        "maximumOverCapacity": maximum,
        **app.get("upgradeStrategy", {}),
    }
    strategy = app.get("unreachableStrategy", "disabled" if resident else {})
    if isinstance(strategy, Mapping):
        strategy = {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0, **strategy}
    app["unreachableStrategy"] = strategy


def _port_items(normal: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The service ports of a definition in normal form, each with its ``value`` and how to ``set`` it."""
    if normal["networks"][0]["mode"] == "host":
        holders, key = normal.get("portDefinitions", []), "port"
    else:
        holders, key = (normal.get("container") or {}).get("portMappings") or [], "servicePort"

    def setter(holder: dict[str, Any]) -> Callable[[int], None]:
        return lambda port: holder.update({key: port})

    return [{"value": holder[key], "set": setter(holder)} for holder in holders]
