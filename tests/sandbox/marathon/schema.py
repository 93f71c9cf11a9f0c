# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of an app definition, and the words with which a wrong one is refused (Marathon's RAML types)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Violations = Iterator[tuple[str, str]]
Check = Callable[[Any, str], Violations]

PATH_ID = r"^(\/?((\.\.)|(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9]))?($|\/))+$"
NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
NETWORK_NAME = r"^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$"
INT32 = 2**31 - 1


def string(pattern: str | None = None, least: int = 0, values: Sequence[str] = ()) -> Check:
    def check(value: Any, path: str) -> Violations:
        if not isinstance(value, str):
            yield path, "error.expected.jsstring"
        elif len(value) < least:
            yield path, "error.minLength"
        elif pattern and not re.match(pattern, value):
            yield path, "error.pattern"
        elif values and value not in values:
            yield path, "error.unknown.enum.literal"

    return check


def number(least: float | None = None, most: float | None = None, whole: bool = False) -> Check:
    def check(value: Any, path: str) -> Violations:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield path, "error.expected.jsnumber"
        elif whole and (value != int(value) or abs(value) > INT32):
            yield path, "error.expected.int"
        elif least is not None and value < least:
            yield path, "error.min"
        elif most is not None and value > most:
            yield path, "error.max"

    return check


def whole(least: int | None = 0, most: int | None = None) -> Check:
    return number(least, most, whole=True)


def boolean(value: Any, path: str) -> Violations:
    if not isinstance(value, bool):
        yield path, "error.expected.jsboolean"


def anything(_value: Any, _path: str) -> Violations:
    yield from ()


def array(item: Check) -> Check:
    def check(value: Any, path: str) -> Violations:
        if not isinstance(value, list):
            yield path, "error.expected.jsarray"
            return
        for index, one in enumerate(value):
            yield from item(one, f"{path}({index})")

    return check


def mapping(item: Check) -> Check:
    def check(value: Any, path: str) -> Violations:
        if not isinstance(value, dict):
            yield path, "error.expected.jsobject"
            return
        for key, one in value.items():
            yield from item(one, f"{path}/{key}")

    return check


def record(fields: Mapping[str, Check], required: Sequence[str] = ()) -> Check:
    """Unknown keys are ignored; null is as good as absent."""

    def check(value: Any, path: str) -> Violations:
        if not isinstance(value, dict):
            yield path or "/", "error.expected.jsobject"
            return
        for key in required:
            if value.get(key) is None:
                text = json.dumps(value, separators=(",", ":"))
                yield f"{path}/{key}", f"'{key}' is undefined on object: {text}"
        for key, one in fields.items():
            if value.get(key) is not None:
                yield from one(value[key], f"{path}/{key}")

    return check


def either(*checks: Check) -> Check:
    """At least one of the checks has to pass; the first one's words are used otherwise."""

    def check(value: Any, path: str) -> Violations:
        found = [list(one(value, path)) for one in checks]
        if all(found):
            yield from found[0]

    return check


ANY_PORT = whole(0, 65535)
LABELS = mapping(string())
PORT_MAPPING = record(
    {
        "containerPort": ANY_PORT,
        "hostPort": ANY_PORT,
        "labels": LABELS,
        "name": string(NAME, 1),
        "protocol": string(values=("tcp", "udp", "udp,tcp")),
        "servicePort": ANY_PORT,
        "networkNames": array(string(NAME, 1)),
    }
)
HEALTH_CHECK = record(
    {
        "command": record({"value": string()}, required=("value",)),
        "gracePeriodSeconds": whole(),
        "ignoreHttp1xx": boolean,
        "intervalSeconds": whole(),
        "maxConsecutiveFailures": whole(),
        "path": string(),
        "port": ANY_PORT,
        "portIndex": ANY_PORT,
        "protocol": string(values=("HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_TCP", "MESOS_HTTP", "MESOS_HTTPS")),
        "ipProtocol": string(values=("IPv4", "IPv6")),
        "timeoutSeconds": whole(),
        "delaySeconds": whole(),
    }
)
READINESS_CHECK = record(
    {
        "name": string(least=1),
        "protocol": string(values=("HTTP", "HTTPS")),
        "path": string(least=1),
        "portName": string(NAME, 1),
        "intervalSeconds": whole(),
        "timeoutSeconds": whole(1),
        "httpStatusCodesForReady": array(whole(100, 999)),
        "preserveLastResponse": boolean,
    }
)
CONTAINER = record(
    {
        "type": string(values=("DOCKER", "MESOS")),
        "docker": record(
            {
                "image": string(least=1),
                "forcePullImage": boolean,
                "network": string(values=("BRIDGE", "HOST", "NONE", "USER")),
                "parameters": array(record({"key": string(least=1), "value": string()}, required=("key", "value"))),
                "portMappings": array(PORT_MAPPING),
                "privileged": boolean,
            },
            required=("image",),
        ),
        "portMappings": array(PORT_MAPPING),
        "volumes": array(anything),
    }
)
UPGRADE_STRATEGY = record(
    {"maximumOverCapacity": number(0, 1), "minimumHealthCapacity": number(0, 1)},
    required=("maximumOverCapacity", "minimumHealthCapacity"),
)
FIELDS: dict[str, Check] = {
    "id": string(PATH_ID, 1),
    "acceptedResourceRoles": array(string()),
    "args": array(string()),
    "backoffFactor": number(1),
    "backoffSeconds": whole(),
    "cmd": string(least=1),
    "constraints": array(array(string())),
    "container": CONTAINER,
    "cpus": number(0.001),
    "dependencies": array(string(PATH_ID, 1)),
    "disk": number(0),
    "env": mapping(either(string(), record({"secret": string()}, required=("secret",)))),
    "check": anything,
    "executorResources": mapping(number(0)),
    "residency": anything,
    "executor": string(r"^(//cmd)|(/?[^/]+(/[^/]+)*)|$"),
    "fetch": array(
        record(
            {
                "uri": string(least=1),
                "extract": boolean,
                "executable": boolean,
                "cache": boolean,
                "destPath": string(),
            },
            required=("uri",),
        )
    ),
    "gpus": whole(),
    "healthChecks": array(HEALTH_CHECK),
    "instances": whole(),
    "ipAddress": record(
        {
            "discovery": record({"ports": array(record({"number": ANY_PORT, "name": string(NAME, 1)}, ("name",)))}),
            "labels": LABELS,
            "networkName": string(least=1),
        }
    ),
    "killSelection": string(values=("YOUNGEST_FIRST", "OLDEST_FIRST")),
    "labels": LABELS,
    "maxLaunchDelaySeconds": whole(),
    "mem": number(0),
    "networks": array(
        record(
            {
                "name": string(NETWORK_NAME, 1),
                "mode": string(values=("container", "container/bridge", "host")),
                "labels": LABELS,
            }
        )
    ),
    "portDefinitions": array(
        record(
            {
                "port": ANY_PORT,
                "labels": LABELS,
                "name": string(NAME, 1),
                "protocol": string(values=("tcp", "udp", "udp,tcp")),
            }
        )
    ),
    "ports": array(ANY_PORT),
    "readinessChecks": array(READINESS_CHECK),
    "requirePorts": boolean,
    "secrets": mapping(record({"source": string()}, required=("source",))),
    "taskKillGracePeriodSeconds": whole(),
    "tty": boolean,
    "unreachableStrategy": either(
        record({"inactiveAfterSeconds": whole(), "expungeAfterSeconds": whole()}), string(values=("disabled",))
    ),
    "upgradeStrategy": UPGRADE_STRATEGY,
    "uris": array(string(least=1)),
    "user": string(),
    "version": string(),
}
APP = record(FIELDS, required=("id",))
APP_UPDATE = record(FIELDS)


def violations(raw: Any, *, update: bool = False) -> list[tuple[str, str]]:
    """Pairs of path and text for each wrong type in ``raw``; in an update nothing is required."""
    return list((APP_UPDATE if update else APP)(raw, ""))
