# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in as a whole: what the sandbox starts, stops and disturbs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tests.sandbox.marathon.auth import Basic, Dcos
from tests.sandbox.marathon.core import Marathon
from tests.sandbox.marathon.faults import Fault, Faults, until
from tests.sandbox.marathon.members import Cluster, Request
from tests.sandbox.marathon.model import Agent


class MarathonStandIn:
    """A cluster of Marathon members over one state, started and stopped in a running event loop.

    ``members`` are the addresses they listen on (port 0: a free one), the first is the leader. ``service_command``
    becomes ``SANDBOX_SERVICE`` in each task's environment. ``credentials`` ("user:password") asks for HTTP basic
    authentication, ``dcos_auth`` for a token of DC/OS's login instead. ``offer_interval`` is in seconds.
    """

    def __init__(
        self,
        members: Sequence[tuple[str, int]],
        agents: Sequence[Agent],
        *,
        workdir: Path,
        service_command: str,
        credentials: str | None = None,
        dcos_auth: bool = False,
        offer_interval: float = 0.1,
    ) -> None:
        self._requests: list[Request] = []
        self._faults = Faults()
        self._auth: Basic | Dcos | None = Basic(credentials) if credentials else None
        if dcos_auth:
            self._auth = Dcos(credentials)
        self._marathon = Marathon(agents, Path(workdir), service_command, offer_interval)
        self._marathon.offering = lambda: not self._faults.holds("no_offers")
        self._marathon.health.forced_down = lambda app_id: self._faults.holds_for("task_unhealthy", app_id)
        self._cluster = Cluster(self._marathon, members, self._faults, self._auth, self._requests.append)

    @property
    def urls(self) -> list[str]:
        """``http://HOST:PORT`` of each member."""
        return [member.url for member in self._cluster.members]

    @property
    def requests(self) -> list[Request]:
        """What was asked, oldest first; clear it to start anew."""
        return self._requests

    async def start(self) -> None:
        """Listen on all members' addresses and begin to offer."""
        await self._cluster.start()
        self._marathon.start()

    async def stop(self) -> None:
        """Stop listening and kill the process group of each task."""
        self._marathon.events.cut_all()
        await self._cluster.stop()
        await self._marathon.stop()

    # Faults. Each holds for ``count`` requests or ``seconds``, or until ``clear_faults``. ``path`` limits it to
    # paths that start so, ``agent`` to clients whose User-Agent contains it.

    def marathon_status(
        self,
        status: int,
        *,
        count: int | None = None,
        seconds: float | None = None,
        path: str | None = None,
        agent: str | None = None,
    ) -> None:
        """Answer with ``status`` in place of doing anything."""
        self._faults.add(
            Fault("marathon_status", count=count, until=until(seconds), path=path, agent=agent, status=status)
        )

    def marathon_drop(
        self,
        *,
        count: int | None = None,
        seconds: float | None = None,
        after: bool = False,
        path: str | None = None,
        agent: str | None = None,
    ) -> None:
        """Close the connection without an answer, before the request is applied or ``after`` it."""
        kind = "marathon_drop_after" if after else "marathon_drop"
        self._faults.add(Fault(kind, count=count, until=until(seconds), path=path, agent=agent))

    def marathon_slow(
        self, delay: float, *, seconds: float | None = None, path: str | None = None, agent: str | None = None
    ) -> None:
        """Wait ``delay`` seconds before each request is handled."""
        self._faults.add(Fault("marathon_slow", until=until(seconds), path=path, agent=agent, delay=delay))

    def events_drop(self) -> None:
        """Cut all event streams once."""
        self._marathon.events.cut_all()

    def events_off(self, seconds: float | None = None) -> None:
        """Cut all event streams and refuse new ones with 503."""
        self._faults.add(Fault("events_off", until=until(seconds)))
        self._marathon.events.cut_all()

    def leader_change(self, seconds: float = 1.0) -> None:
        """End the leader's process; after ``seconds`` without a leader the next member leads and the old one is back.

        With one member nobody listens meanwhile. Event streams are cut, deployments begin anew, health results and
        back-off are forgotten, as with the real one; tasks run on.
        """
        self._cluster.change_leader(seconds)

    def no_offers(self, seconds: float | None = None) -> None:
        """Give Marathon no offers, so nothing new is launched."""
        self._faults.add(Fault("no_offers", until=until(seconds)))

    def task_kill(self, *, task: str | None = None, app: str | None = None) -> list[str]:
        """SIGKILL one task, or all of an app; returns the ids of the tasks that were hit."""
        instances = self._marathon.tracker.of(app) if app is not None else []
        if task is not None:
            instances = [one for one in self._marathon.tracker.all() if one.task is not None and one.task.id == task]
        tasks = [one.task for one in instances if one.task is not None]
        return [one.id for one in tasks if self._marathon.agents.crash(one)]

    def task_unhealthy(self, app: str, *, after: float = 0.0) -> None:
        """Let the health checks of an app's tasks fail from ``after`` seconds on, until ``clear_faults``.

        Only Marathon's checks: the tasks themselves, and what asks them directly, notice nothing.
        """
        self._faults.add(Fault("task_unhealthy", app=app, since=time.monotonic() + after))

    def auth_expire(self) -> None:
        """Make all tokens that were issued invalid."""
        if self._auth is not None:
            self._auth.expire()

    def clear_faults(self) -> None:
        """End all faults; an election that is under way ends at once."""
        self._faults.clear()
        self._cluster.elect_now()
