# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Marathon keeps in mind: app versions, instances, tasks, health."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from tests.sandbox.marathon.definitions import Definition, config_differs
from tests.sandbox.marathon.stamps import stamp

RUNNING, DECOMMISSIONED = "Running", "Decommissioned"
TERMINAL = frozenset({"Error", "Failed", "Finished", "Killed", "Gone", "Dropped", "Unknown"})
ACTIVE = frozenset({"Provisioned", "Staging", "Starting", "Running", "Killing"})
TASK_STATES = {
    "Scheduled": "TASK_STAGING",
    "Provisioned": "TASK_STAGING",
    "Starting": "TASK_STARTING",
    "Running": "TASK_RUNNING",
    "Failed": "TASK_FAILED",
    "Finished": "TASK_FINISHED",
    "Killed": "TASK_KILLED",
}


@dataclass(frozen=True)
class Agent:
    """A machine that offers resources: ``host`` is its address, ``cpus`` in cores, ``mem`` in MiB."""

    id: str
    host: str
    cpus: float
    mem: float


@dataclass(frozen=True)
class App:
    """One version of an app; the three stamps are its ``versionInfo``."""

    definition: Definition
    version: str
    last_scaling_at: str
    last_config_change_at: str

    @property
    def id(self) -> str:
        return str(self.definition["id"])

    @property
    def instances(self) -> int:
        return int(self.definition["instances"])

    @property
    def config(self) -> tuple[str, str]:
        """What the back-off belongs to: an app and its last change of configuration."""
        return self.id, self.last_config_change_at

    @classmethod
    def new(cls, definition: Definition, version: str) -> App:
        return cls(definition, version, version, version)

    def changed(self, definition: Definition, version: str) -> App:
        """The next version with this definition: itself when nothing differs (reference B7, versionInfo)."""
        if config_differs(self.definition, definition):
            return App.new(definition, version)
        if self.instances != definition["instances"]:
            return replace(self, definition=definition, version=version, last_scaling_at=version)
        return self

    def restarted(self, version: str) -> App:
        return replace(self, version=version, last_config_change_at=version)

    def shown(self) -> dict[str, Any]:
        """The definition as the API shows a stored version."""
        return {
            **self.definition,
            "version": self.version,
            "versionInfo": {"lastScalingAt": self.last_scaling_at, "lastConfigChangeAt": self.last_config_change_at},
        }


@dataclass
class Health:
    """What one health check knows of one instance; times in seconds since the epoch."""

    first_success: float | None = None
    last_success: float | None = None
    last_failure: float | None = None
    last_failure_cause: str | None = None
    consecutive_failures: int = 0

    @property
    def alive(self) -> bool:
        if self.last_success is None:
            return False
        return self.last_failure is None or self.last_success > self.last_failure

    def succeeded(self) -> None:
        self.last_success = time.time()
        self.first_success = self.first_success or self.last_success
        self.consecutive_failures = 0

    def failed(self, cause: str) -> None:
        self.last_failure = time.time()
        self.last_failure_cause = cause
        self.consecutive_failures += 1

    def shown(self, instance_id: str) -> dict[str, Any]:
        result: dict[str, Any] = {
            "alive": self.alive,
            "consecutiveFailures": self.consecutive_failures,
            "instanceId": f"instance [{instance_id}]",
        }
        for key, moment in (
            ("firstSuccess", self.first_success),
            ("lastSuccess", self.last_success),
            ("lastFailure", self.last_failure),
        ):
            if moment is not None:
                result[key] = stamp(moment)
        if self.last_failure_cause is not None:
            result["lastFailureCause"] = self.last_failure_cause
        return result


@dataclass(eq=False)
class Task:
    """A launch of an instance. ``ports`` are host ports; ``targets`` the (address, port) each port is served on."""

    id: str
    agent: Agent
    ports: list[int]
    targets: list[tuple[str, int]]
    addresses: list[str]
    environment: dict[str, str]
    staged_at: float = field(default_factory=time.time)
    started_at: float | None = None
    condition: str = "Provisioned"


@dataclass(eq=False)
class Instance:
    """A wanted copy of an app. ``app`` is the version that it was made for, ``since`` when its condition began."""

    id: str
    app: App
    goal: str = RUNNING
    condition: str = "Scheduled"
    since: float = field(default_factory=time.time)
    active_since: float | None = None
    incarnation: int = 0
    task: Task | None = None
    healthy: bool | None = None

    @classmethod
    def new(cls, app: App) -> Instance:
        return cls(f"{app.id[1:].replace('/', '_')}.instance-{uuid.uuid4()}", app)

    @property
    def active(self) -> bool:
        return self.condition in ACTIVE

    @property
    def scheduled(self) -> bool:
        return self.condition == "Scheduled"

    @property
    def wanted(self) -> bool:
        return self.goal == RUNNING


@dataclass(frozen=True)
class TaskFailure:
    """The last failure of an app's tasks."""

    app_id: str
    host: str
    message: str
    agent_id: str
    state: str
    task_id: str
    timestamp: str
    version: str

    def shown(self) -> dict[str, Any]:
        return {
            "appId": self.app_id,
            "host": self.host,
            "message": self.message,
            "slaveId": self.agent_id,
            "state": self.state,
            "taskId": self.task_id,
            "timestamp": self.timestamp,
            "version": self.version,
        }
