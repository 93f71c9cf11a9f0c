# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The launch queue: back-off, and offers of the agents matched against what waits (reference B10)."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.marathon import constraints
from tests.sandbox.marathon.definitions import host_mode
from tests.sandbox.marathon.environment import task_environment
from tests.sandbox.marathon.model import TERMINAL, Agent, App, Instance, Task
from tests.sandbox.marathon.stamps import stamp
from tests.sandbox.marathon.tracker import Tracker

OFFERED_PORTS = range(1025, 32001)
RANDOM_PORTS = range(31000, 32001)
CONTAINER_HOSTS = range(100, 255)  # last octets of the addresses that container networks give out
PER_OFFER = 5  # instances that one offer may be used for, --max_instances_per_offer
REASONS = (
    "UnfulfilledRole",
    "UnfulfilledConstraint",
    "NoCorrespondingReservationFound",
    "AgentMaintenance",
    "InsufficientCpus",
    "InsufficientMemory",
    "InsufficientDisk",
    "InsufficientGpus",
    "InsufficientPorts",
    "DeclinedScarceResources",
)


@dataclass
class Delay:
    """The back-off of one configuration of an app, in seconds; ``begun`` since the epoch."""

    begun: float
    seconds: float

    @property
    def deadline(self) -> float:
        return self.begun + self.seconds


@dataclass
class Statistics:
    """What became of the offers that an app saw since its first instance was wanted."""

    since: float = field(default_factory=time.time)
    processed: int = 0
    unused: int = 0
    last_unused: float | None = None
    last_used: float | None = None
    rejected: Counter[str] = field(default_factory=Counter)
    last_offers: dict[str, str | None] = field(default_factory=dict)

    def note(self, agent: Agent, reason: str | None) -> None:
        self.processed += 1
        self.last_offers[agent.id] = reason
        if reason is None:
            self.last_used = time.time()
        else:
            self.unused += 1
            self.last_unused = time.time()
            self.rejected[reason] += 1

    @staticmethod
    def _funnel(offers: int, declined: Counter[str]) -> list[dict[str, Any]]:
        steps = []
        for reason in REASONS:
            steps.append({"reason": reason, "declined": declined[reason], "processed": offers})
            offers -= declined[reason]
        return steps

    def shown(self) -> dict[str, Any]:
        last = Counter(reason for reason in self.last_offers.values() if reason)
        result: dict[str, Any] = {
            "processedOffersCount": self.processed,
            "unusedOffersCount": self.unused,
            "rejectSummaryLastOffers": self._funnel(sum(last.values()), last),
            "rejectSummaryLaunchAttempt": self._funnel(self.processed, self.rejected),
        }
        if self.last_unused is not None:
            result["lastUnusedOfferAt"] = stamp(self.last_unused)
        if self.last_used is not None:
            result["lastUsedOfferAt"] = stamp(self.last_used)
        return result


def bindable(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


class Queue:
    """What waits for a launch; ``launch`` is given each instance that found its place."""

    def __init__(self, tracker: Tracker, agents: Sequence[Agent], launch: Callable[[Instance, Task], None]) -> None:
        self._tracker = tracker
        self._agents = list(agents)
        self._launch = launch
        self._delays: dict[tuple[str, str], Delay] = {}
        self._statistics: dict[str, Statistics] = {}
        prefix = self._agents[0].host.rpartition(".")[0]
        taken = {agent.host for agent in self._agents}
        self._addresses = [f"{prefix}.{last}" for last in CONTAINER_HOSTS if f"{prefix}.{last}" not in taken]

    # Back-off

    def failed(self, app: App) -> None:
        """A task of this configuration ended by itself: wait longer before the next."""
        longest = app.definition["maxLaunchDelaySeconds"]
        before = self._delays.get(app.config)
        seconds = before.seconds * app.definition["backoffFactor"] if before else app.definition["backoffSeconds"]
        self._delays[app.config] = Delay(time.time(), min(seconds, longest))

    def reset_delay(self, app: App) -> None:
        self._delays.pop(app.config, None)

    def deadline(self, app: App) -> float:
        delay = self._delays.get(app.config)
        return delay.deadline if delay else 0.0

    def leader_changed(self) -> None:
        """Delays and statistics are only in the leader's memory."""
        self._delays.clear()
        self._statistics.clear()

    # Matching

    def _waiting(self) -> dict[str, list[Instance]]:
        waiting: dict[str, list[Instance]] = {}
        for instance in self._tracker.all():
            if instance.scheduled and instance.wanted:
                waiting.setdefault(instance.app.id, []).append(instance)
        for app_id in list(self._statistics):
            if not self._tracker.knows(app_id):
                del self._statistics[app_id]
        for app_id in waiting:
            self._statistics.setdefault(app_id, Statistics())
        return waiting

    def match(self) -> None:
        """One round of offers: every agent offers what it has left."""
        now = time.time()
        waiting = {
            app_id: [one for one in instances if self.deadline(one.app) <= now]
            for app_id, instances in self._waiting().items()
        }
        agents = random.sample(self._agents, len(self._agents))
        declined: set[tuple[str, str]] = set()
        for _index in range(PER_OFFER):
            for agent in agents:
                for app_id in random.sample(list(waiting), len(waiting)):
                    if not waiting[app_id] or (app_id, agent.id) in declined:
                        continue
                    if self._match_one(waiting[app_id][0], agent):
                        waiting[app_id].pop(0)
                        break
                    declined.add((app_id, agent.id))
            if not any(waiting.values()):
                return

    def _match_one(self, instance: Instance, agent: Agent) -> bool:
        task_or_reason = self._placed(instance, agent)
        found = isinstance(task_or_reason, Task)
        self._statistics[instance.app.id].note(agent, None if found else str(task_or_reason))
        if isinstance(task_or_reason, Task):
            instance.incarnation += 1
            self._tracker.provision(instance, task_or_reason)
            self._launch(instance, task_or_reason)
        return found

    def _live(self, agent: Agent | None = None) -> Iterable[Instance]:
        for instance in self._tracker.all():
            task = instance.task
            if task and task.condition not in TERMINAL and not instance.scheduled and agent in (None, task.agent):
                yield instance

    def _placed(self, instance: Instance, agent: Agent) -> Task | str:
        """A task on this agent, or the reason why not."""
        app = instance.app
        placed = [
            one.task.agent
            for one in self._tracker.of(app.id)
            if one.task is not None and not one.scheduled and one.condition not in TERMINAL
        ]
        if not constraints.allowed(app, placed, agent):
            return "UnfulfilledConstraint"
        here = [one.app.definition for one in self._live(agent)]
        if sum(one["cpus"] for one in here) + app.definition["cpus"] > agent.cpus + 1e-9:
            return "InsufficientCpus"
        if sum(one["mem"] for one in here) + app.definition["mem"] > agent.mem:
            return "InsufficientMemory"
        if app.definition["gpus"] > 0:
            return "InsufficientGpus"
        ports = self._host_ports(app, agent)
        address = self._address(app, agent)
        if ports is None or address is None:
            return "InsufficientPorts"
        return self._task(instance, agent, ports, address)

    def _host_ports(self, app: App, agent: Agent) -> list[int | None] | None:
        """A host port for each port that wants one; ``None`` when the agent cannot give them."""
        definition = app.definition
        wanted: list[int | None]
        if host_mode(definition):
            required = definition["requirePorts"]
            wanted = [one["port"] if required else 0 for one in definition["portDefinitions"]]
        else:
            wanted = [one.get("hostPort") for one in definition["container"].get("portMappings", ())]
        used = {port for one in self._live(agent) if one.task for port in one.task.ports}
        ports: list[int | None] = []
        for fixed in wanted:
            if fixed and (fixed in used or fixed not in OFFERED_PORTS or not bindable(agent.host, fixed)):
                return None
            port = self._random_port(agent, used) if fixed == 0 else fixed
            if port is not None:
                used.add(port)
            ports.append(port)
        return ports

    @staticmethod
    def _random_port(agent: Agent, used: set[int]) -> int:
        while True:
            port = random.choice(RANDOM_PORTS)
            if port not in used and bindable(agent.host, port):
                return port

    def _address(self, app: App, agent: Agent) -> str | None:
        """The agent's, or one of the container network; ``None`` when all of those are taken."""
        if app.definition["networks"][0]["mode"] != "container":
            return agent.host
        used = {address for one in self._live() if one.task for address in one.task.addresses}
        return next((address for address in self._addresses if address not in used), None)

    def _task(self, instance: Instance, agent: Agent, ports: Sequence[int | None], address: str) -> Task:
        definition = instance.app.definition
        mode = definition["networks"][0]["mode"]
        if mode == "container":
            served = [one["containerPort"] or random.choice(RANDOM_PORTS) for one in _mappings(definition)]
            targets = [(address, port) for port in served]
        else:
            targets = [(agent.host, port) for port in ports if port is not None]
        task = Task(
            id=f"{instance.id}._app.{instance.incarnation + 1}",
            agent=agent,
            ports=[port for port in ports if port is not None],
            targets=targets,
            addresses=[address],
            environment={},
        )
        task.environment.update(task_environment(instance.app, task, container_address=mode == "container"))
        return task

    # What the API shows

    def shown(self) -> list[dict[str, Any]]:
        """The entries of ``GET /v2/queue``."""
        waiting: dict[str, list[Instance]] = {}
        for instance in self._tracker.all():
            if instance.wanted and instance.condition in ("Scheduled", "Provisioned"):
                waiting.setdefault(instance.app.id, []).append(instance)
        entries = []
        for app_id, instances in waiting.items():
            app = instances[-1].app
            statistics = self._statistics.setdefault(app_id, Statistics())
            left = self.deadline(app) - time.time()
            entries.append(
                {
                    "count": sum(one.scheduled for one in instances),
                    "delay": {"timeLeftSeconds": max(0, round(left)), "overdue": left <= 0},
                    "since": stamp(statistics.since),
                    "processedOffersSummary": statistics.shown(),
                    "app": app.shown(),
                }
            )
        return entries

    def waits(self, app_id: str) -> bool:
        return any(entry["app"]["id"] == app_id for entry in self.shown())

    def reset_delays_of(self, app_id: str) -> None:
        for config in [one for one in self._delays if one[0] == app_id]:
            del self._delays[config]


def _mappings(definition: Any) -> Sequence[dict[str, Any]]:
    return definition["container"].get("portMappings", ())
