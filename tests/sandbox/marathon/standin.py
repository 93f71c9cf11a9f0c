# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in as a whole: what the sandbox starts, stops and disturbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Agent:
    """A machine that offers resources: ``host`` is its address, ``cpus`` in cores, ``mem`` in MiB."""

    id: str
    host: str
    cpus: float
    mem: float


@dataclass(frozen=True)
class Request:
    """One request that a member got from outside; ``time`` in seconds since the epoch."""

    time: float
    agent: str
    method: str
    path: str
    status: int


class MarathonStandIn:
    """A cluster of Marathon members over one state, started and stopped in a running event loop.

    ``members`` are the addresses they listen on, the first is the leader. ``service_command`` becomes
    ``SANDBOX_SERVICE`` in each task's environment. ``credentials`` ("user:password") asks for HTTP basic
    authentication, ``dcos_auth`` for a token of DC/OS's login. ``offer_interval`` is in seconds.
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
        raise NotImplementedError

    @property
    def urls(self) -> list[str]:
        """``http://HOST:PORT`` of each member."""
        raise NotImplementedError

    @property
    def requests(self) -> list[Request]:
        """What was asked, oldest first; clear it to start anew."""
        raise NotImplementedError

    async def start(self) -> None:
        """Listen on all members' addresses (port 0: a free one)."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop listening and kill the process group of each task."""
        raise NotImplementedError

    # Faults. Each holds for ``seconds``, or for ``count`` requests, or until ``clear_faults``.

    def marathon_status(
        self, status: int, *, count: int | None = None, seconds: float | None = None, path: str | None = None
    ) -> None:
        """Answer with ``status`` in place of doing anything; only paths that start with ``path``, if given."""
        raise NotImplementedError

    def marathon_drop(
        self, *, count: int | None = None, seconds: float | None = None, after: bool = False, path: str | None = None
    ) -> None:
        """Close the connection without an answer, before the request is applied or ``after`` it."""
        raise NotImplementedError

    def marathon_slow(self, delay: float, *, seconds: float | None = None) -> None:
        """Wait ``delay`` seconds before each request is handled."""
        raise NotImplementedError

    def events_drop(self) -> None:
        """Cut all event streams once."""
        raise NotImplementedError

    def events_off(self, seconds: float | None = None) -> None:
        """Cut all event streams and refuse new ones with 503."""
        raise NotImplementedError

    def leader_change(self, seconds: float = 1.0) -> None:
        """Take leadership from the leader; after ``seconds`` without one the next member leads."""
        raise NotImplementedError

    def no_offers(self, seconds: float | None = None) -> None:
        """Give Marathon no offers, so nothing new is launched."""
        raise NotImplementedError

    def task_kill(self, *, task: str | None = None, app: str | None = None) -> list[str]:
        """SIGKILL one task, or all of an app; returns the ids of the tasks that were hit."""
        raise NotImplementedError

    def task_unhealthy(self, app: str, *, after: float = 0.0) -> None:
        """Let the health checks of an app's tasks fail from ``after`` seconds on, until ``clear_faults``."""
        raise NotImplementedError

    def auth_expire(self) -> None:
        """Make all tokens that were issued invalid."""
        raise NotImplementedError

    def clear_faults(self) -> None:
        """End all faults."""
        raise NotImplementedError
