# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment that Marathon gives a task (its TaskBuilder and EnvironmentHelper)."""

from __future__ import annotations

import re

from tests.sandbox.marathon.definitions import host_mode
from tests.sandbox.marathon.model import App, Task

LONGEST_VALUE = 512


def _port_variables(app: App, task: Task) -> dict[str, str]:
    definition = app.definition
    declared = definition["portDefinitions"] if host_mode(definition) else definition["container"]["portMappings"]
    variables: dict[str, str] = {}
    for index, (one, (_host, port)) in enumerate(zip(declared, task.targets, strict=False)):
        requested = one["port"] if host_mode(definition) else one["containerPort"]
        variables[f"PORT{index}"] = str(port)
        variables[f"PORT_{requested or port}"] = str(port)
        if "name" in one:
            variables[f"PORT_{one['name'].upper()}"] = str(port)
    if task.targets:
        variables["PORT"] = str(task.targets[0][1])
        variables["PORTS"] = ",".join(str(port) for _host, port in task.targets)
    return variables


def _label_variables(app: App) -> dict[str, str]:
    names, variables = [], {}
    for key, value in app.definition["labels"].items():
        if len(value) < LONGEST_VALUE:
            name = re.sub(r"[^a-zA-Z0-9_]+", "_", key).upper()
            names.append(name)
            variables[f"MARATHON_APP_LABEL_{name}"] = value
    variables["MARATHON_APP_LABELS"] = " ".join(names)
    return variables


def task_environment(app: App, task: Task, *, container_address: bool) -> dict[str, str]:
    """All variables; the app's own ``env`` wins. With ``container_address`` the task has an address of its own."""
    definition = app.definition
    variables = {
        "MESOS_TASK_ID": task.id,
        "MARATHON_APP_ID": app.id,
        "MARATHON_APP_VERSION": app.version,
        "MARATHON_APP_RESOURCE_CPUS": str(float(definition["cpus"])),
        "MARATHON_APP_RESOURCE_MEM": str(float(definition["mem"])),
        "MARATHON_APP_RESOURCE_DISK": str(float(definition["disk"])),
        "MARATHON_APP_RESOURCE_GPUS": str(definition["gpus"]),
        "HOST": task.agent.host,
        **_label_variables(app),
        **_port_variables(app, task),
    }
    docker = definition.get("container", {}).get("docker")
    if docker:
        variables["MARATHON_APP_DOCKER_IMAGE"] = docker["image"]
    if container_address:
        variables["MESOS_CONTAINER_IP"] = task.addresses[0]
    variables.update({key: value for key, value in definition.get("env", {}).items() if isinstance(value, str)})
    return variables
