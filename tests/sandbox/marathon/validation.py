# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition of the right types may not say (Marathon 1.8's AppValidation, in its words)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.sandbox.marathon.definitions import DEFAULTS, host_mode
from tests.sandbox.marathon.schema import PATH_ID

NOTHING_TO_RUN = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."
PORT_INDEX = "Health check port indices must address an element of the ports array or container port mappings."
RESERVED = ("restart", "tasks", "versions", ".", "..")
OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "MAX_PER", "UNLIKE", "IS")

Violations = Iterator[tuple[str, str]]


def _what_runs(app: Mapping[str, Any]) -> Violations:
    cmd, args = bool(app.get("cmd")), bool(app.get("args"))
    image = "docker" in (app.get("container") or {})
    if not ((cmd != args) or (not (cmd and args) and image)):
        yield "/", NOTHING_TO_RUN
    if app.get("cmd") is not None and len(app["cmd"]) <= 1:
        yield "/", "must not be an empty string"


def _ports(app: Mapping[str, Any]) -> Violations:
    place = "/portDefinitions" if host_mode(app) else "/container/portMappings"
    ports = app.get("portDefinitions", ()) if host_mode(app) else app["container"].get("portMappings", ())
    names = [one["name"] for one in ports if "name" in one]
    if len(names) != len(set(names)):
        yield place, "Port names must be unique."
    if host_mode(app):
        numbers = [one["port"] for one in ports if one["port"]]
        if len(numbers) != len(set(numbers)):
            yield place, "Ports must be unique."
    for index, check in enumerate(app.get("healthChecks", ())):
        if check["protocol"] not in ("HTTP", "HTTPS", "TCP"):
            continue
        index_known = check.get("portIndex", 0) < len(ports)
        if not (index_known if "portIndex" in check else check.get("port") or len(ports) == 1):
            yield f"/healthChecks({index})", PORT_INDEX
    if len(app.get("readinessChecks", ())) > 1:
        yield "/readinessChecks", f"got {len(app['readinessChecks'])}, expected 1 or less"
    for index, check in enumerate(app.get("readinessChecks", ())):
        if check["portName"] not in names:
            text = f"No port definition reference for portName {check['portName']}"
            yield f"/readinessChecks({index})/portName", text
        if check["timeoutSeconds"] >= check["intervalSeconds"]:
            text = f"got {check['timeoutSeconds']}, expected less than {check['intervalSeconds']}"
            yield f"/readinessChecks({index})/timeoutSeconds", text


def _checks(app: Mapping[str, Any]) -> Violations:
    mesos = [one for one in app.get("healthChecks", ()) if one["protocol"].startswith("MESOS_")]
    if len(mesos) > 1:
        yield "/", "AppDefinition can contain at most one Mesos health check"


def _networks(app: Mapping[str, Any]) -> Violations:
    modes = [one["mode"] for one in app["networks"]]
    if len(set(modes)) > 1:
        yield "/networks", "all networks must use the same mode"
    if len(modes) > 1 and modes[0] != "container":
        yield "/networks", "multiple networks are only allowed in container mode"
    for index, network in enumerate(app["networks"]):
        if network["mode"] == "container" and "name" not in network:
            yield f"/networks({index})", "container networks must specify a name"
        if network["mode"] != "container" and "name" in network:
            yield f"/networks({index})", "only container networks may specify a name"


def _constraint(constraint: list[str]) -> str | None:
    if not 2 <= len(constraint) <= 3:
        return "Each constraint must have either 2 or 3 fields"
    field, operator = constraint[:2]
    value = constraint[2] if len(constraint) == 3 else None
    if not field:
        return "missing field for constraint declaration"
    if operator not in OPERATORS:
        return "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS"
    if operator == "UNIQUE" and value is not None:
        return "UNIQUE does not accept a value"
    if operator == "GROUP_BY" and value is not None and not value.isdecimal():
        return "GROUP BY must define an integer value or else no value at all"
    if operator == "MAX_PER" and not (value or "").isdecimal():
        return "MAX_PER requires an integer value"
    if operator in ("LIKE", "UNLIKE"):
        if value is None:
            return "LIKE and UNLIKE require a non-empty, regular expression value"
        try:
            re.compile(value)
        except re.error:
            return "is not a valid regular expression"
    return None


def _single_instance(app: Mapping[str, Any]) -> Violations:
    if app["labels"].get("MARATHON_SINGLE_INSTANCE_APP") != "true":
        return
    if app["instances"] > 1:
        yield "/", "Single instance app may only have one instance"
    if app["upgradeStrategy"] == DEFAULTS["upgradeStrategy"]:
        return  # not said: Marathon looks at what was sent
    for key, value in app["upgradeStrategy"].items():
        if value != 0:
            yield f"/upgradeStrategy/{key}", f"got {value}, expected 0.0"


def violations(app: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of path and text for what is wrong with a canonical definition."""
    found = [*_what_runs(app), *_ports(app), *_checks(app), *_networks(app), *_single_instance(app)]
    if app["id"] == "/":
        found.append(("/", "must not be root"))
    elif not re.match(PATH_ID, app["id"]):
        found.append(("/id", "error.pattern"))
    elif app["id"].rpartition("/")[2] in RESERVED:
        found.append(("/id", f"must not end with any of the following reserved keywords: {', '.join(RESERVED)}"))
    for index, constraint in enumerate(app.get("constraints", ())):
        text = _constraint(constraint)
        if text:
            found.append((f"/constraints({index})", text))
    strategy = app["unreachableStrategy"]
    if isinstance(strategy, dict) and strategy.get("inactiveAfterSeconds", 0) > strategy.get("expungeAfterSeconds", 0):
        found.append(("/unreachableStrategy/inactiveAfterSeconds", "must be less than expungeAfterSeconds"))
    return found
