# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ordinary HAProxy, as a user has it: nobody writes its configuration, its servers come through the runtime API."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from pathlib import Path

from tests.sandbox.marathon_lb.haproxy import Haproxy, check_length, free_port, logger
from tests.sandbox.marathon_lb.template import Files

BACKEND = "web"
PORT = 8080
# Seconds. A signal is lost while the master starts, so its socket is waited for, which it binds last.
START_LIMIT, LOOK = 30.0, 0.02

CONFIGURATION = """\
global
  nbthread {nbthread}
  no strict-limits
  maxconn 8000
  stats socket "{files.socket}" level admin expose-fd listeners
  stats socket ipv4@{host}:{runtime_port} level admin
  server-state-base "{files.folder}/"
  server-state-file {files.state.name}

defaults
  mode http
  load-server-state-from-file global
  retries 3
  timeout connect 3s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
  timeout http-keep-alive 1s
  timeout http-request 15s
  timeout queue 30s
  option dontlognull
  option http-server-close
  option idle-close-on-response
  option redispatch

frontend {backend}
  bind {host}:{port}
  default_backend {backend}

backend {backend}
  balance roundrobin
  option httpchk GET /health
  default-server weight 100 check inter 500ms rise 2 fall 3
{slots}"""

# The name that nobody resolves is what lets a slot keep its address over a reload: HAProxy takes the one in the state
# file for servers that have a name, and for those only. The cookie is made of the address, as all slots share one line.
SLOTS = """\
  dynamic-cookie-key sandbox
  cookie SERVER insert indirect nocache dynamic
  server-template slot 1-{count} unused.invalid:80 init-addr last,0.0.0.0 disabled
"""


class PlainLb:
    """One HAProxy on ``host``, with its files in ``folder``. ``slots``: how many its backend has."""

    def __init__(self, host: str, folder: Path, *, slots: int, nbthread: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        self._files = Files(folder.resolve())
        check_length(self._files.socket)
        self._port = free_port(host, PORT)
        self._runtime_port = free_port(host, 0)
        self._slots = slots
        self._nbthread = nbthread
        self._haproxy = Haproxy(self._files, logger(self._files.folder / "plain-lb.log"), self.master_socket)

    @property
    def url(self) -> str:
        """Where clients get to the service."""
        return f"http://{self.host}:{self._port}"

    @property
    def socket(self) -> Path:
        """The UNIX runtime socket."""
        return self._files.socket

    @property
    def tcp_socket(self) -> str:
        """The TCP runtime socket, ``HOST:PORT``."""
        return f"{self.host}:{self._runtime_port}"

    @property
    def master_socket(self) -> Path:
        """The master's socket."""
        return self._files.folder / "master"

    @property
    def config(self) -> Path:
        """HAProxy's configuration file."""
        return self._files.config

    @property
    def reloads(self) -> int:
        """How often HAProxy was started or reloaded."""
        return self._haproxy.reloads

    @property
    def up(self) -> bool:
        """Whether HAProxy runs."""
        return self._haproxy.running

    def pids(self) -> list[int]:
        """Return the pids of HAProxy's master and workers."""
        return self._haproxy.pids()

    async def start(self) -> None:
        """Start HAProxy without any server state; return when it answers. Raises ``TimeoutError``."""
        slots = SLOTS.format(count=self._slots) if self._slots else ""
        self.config.write_text(
            CONFIGURATION.format(
                files=self._files,
                host=self.host,
                port=self._port,
                runtime_port=self._runtime_port,
                backend=BACKEND,
                nbthread=self._nbthread,
                slots=slots,
            )
        )
        self.socket.unlink(missing_ok=True)
        self.master_socket.unlink(missing_ok=True)
        await self._replace_worker(keep_state=False)

    async def reload(self, *, keep_state: bool) -> None:
        """Replace the worker; return when the new one answers.

        Dynamic servers are lost. So are the states, weights and addresses of the others, unless with ``keep_state``.
        """
        if not self.up:
            raise ValueError(f"HAProxy at {self.host} is down")
        await self._replace_worker(keep_state=keep_state)

    async def stop(self) -> None:
        """End HAProxy at once, with all its connections."""
        await self._haproxy.kill()

    async def _replace_worker(self, *, keep_state: bool) -> None:
        before = set(self.pids())
        await self._haproxy.reload(keep_state=keep_state)
        deadline = time.monotonic() + START_LIMIT
        while not await self._settled(before):
            if time.monotonic() > deadline:
                raise TimeoutError(f"HAProxy did not start: see the logs in {self._files.folder}.")
            await asyncio.sleep(LOOK)

    async def _settled(self, before: set[int]) -> bool:
        """Whether a worker that is not among ``before`` answers, and the master listens."""
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.master_socket)) != 0:
                return False
        with contextlib.suppress(OSError):
            for line in (await self._haproxy.ask("show info")).decode().splitlines():
                if line.startswith("Pid: "):
                    return int(line.removeprefix("Pid: ")) not in before
        return False
