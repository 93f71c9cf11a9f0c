# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preview of a group, as the tests handle it: by the playbook, and by Docker's own API to see what came of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import docker

from tests.rehearsal.playbook import Run
from tests.sandbox.swarm import launch

LIMIT = 30.0  # seconds for Docker to end a task


class Preview:
    """The service ``GROUP-preview`` on a swarm."""

    def __init__(self, swarm: launch.Swarm, group: str, folder: Path) -> None:
        self._swarm = swarm
        self._group = group
        self._folder = folder
        self.name = f"{group}-preview"

    def show(
        self,
        image: str,
        *,
        port: int | None = None,
        checks: list[dict[str, Any]] | None = None,
        check: bool = False,
        VERSION: str = "1",
        **variables: Any,
    ) -> Run:
        """Run the playbook with an image; its answers say ``VERSION``."""
        given = {
            "swarm_bluegreen_service": self._swarm.definition(self._group, VERSION),
            "swarm_preview_image": image,
            "swarm_preview_resolve_image": "false",
            "swarm_preview_published_port": "" if port is None else str(port),
            "swarm_preview_checks": checks or [],
            "swarm_preview_monitor_seconds": "1",
            "swarm_preview_max_failures": "1",
            **variables,
        }
        return self._swarm.playbook("swarm_preview", given, *(["--check"] if check else []), folder=self._folder)

    def absent(self) -> Run:
        """Run the playbook so that there is none."""
        given = {"swarm_bluegreen_name": self._group, "swarm_preview_state": "absent"}
        return self._swarm.playbook("swarm_preview", given, folder=self._folder)

    def spec(self) -> dict[str, Any] | None:
        """The service's definition, ``None`` where there is no such service."""
        with self._swarm.docker() as engine:
            found = [one["Spec"] for one in engine.services({"name": self.name}) if one["Spec"]["Name"] == self.name]
        return found[0] if found else None

    def image(self) -> str:
        """The image of the definition."""
        spec = self.spec()
        assert spec is not None
        return spec["TaskTemplate"]["ContainerSpec"]["Image"]

    def addresses(self) -> list[str]:
        """``ip:port`` of the tasks that run."""
        with self._swarm.docker() as engine:
            tasks = engine.tasks({"service": self.name, "desired-state": "running"})
            nodes = {node["ID"]: node["Status"]["Addr"] for node in engine.nodes()}
        found = {  # a port is told once for each family of addresses
            f"{nodes[task['NodeID']]}:{port['PublishedPort']}"
            for task in tasks
            if task["Status"]["State"] == "running"
            for port in task["Status"]["PortStatus"]["Ports"]
        }
        return sorted(found)

    def make(self, image: str, labels: dict[str, str]) -> None:
        """Create a service of that name, as somebody else would."""
        template = docker.types.TaskTemplate(docker.types.ContainerSpec(image, command=["/bin/sleep", "3600"]))
        with self._swarm.docker() as engine:
            engine.create_service(template, name=self.name, labels=labels)

    def remove(self) -> None:
        """Remove the service, and wait until its tasks have left their ports."""
        with self._swarm.docker() as engine:
            if self.spec() is not None:
                engine.remove_service(self.name)
            deadline = time.monotonic() + LIMIT
            while time.monotonic() < deadline and self._containers():
                time.sleep(0.2)

    def _containers(self) -> list[Any]:
        found = []
        for node in range(len(self._swarm.nodes)):
            with self._swarm.docker(node) as engine:
                found += engine.containers(filters={"label": f"com.docker.swarm.service.name={self.name}"})
        return found
