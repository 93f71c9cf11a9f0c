# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One real HAProxy as marathon-lb's container runs it: a master with workers, reloaded without closing a listener."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import time
from pathlib import Path

from tests.sandbox.marathon_lb.template import Files

# After a reload marathon-lb looks for a new pid this often, and reloads again when there is none for so long.
LOOK = 0.1
RELOAD_INTERVAL = 10.0
MAX_RELOADS = 10
# The kernel's limit is 107; HAProxy binds a temporary name beside the socket during a reload.
LONGEST_SOCKET_PATH = 90


class HaproxyMissing(Exception):
    """There is no HAProxy on this machine."""


def haproxy_path() -> str:
    """Return where HAProxy is. A user's PATH often lacks the folders that distributions put it into."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"]
    found = shutil.which("haproxy", path=os.pathsep.join(folders))
    if found is None:
        raise HaproxyMissing("There is no HAProxy on this machine: install it (apt-get install haproxy).")
    return found


def check_length(socket_path: Path) -> None:
    """Raise ``ValueError`` when HAProxy cannot bind this UNIX socket."""
    if len(str(socket_path)) > LONGEST_SOCKET_PATH:
        raise ValueError(f"{socket_path} is too long a path for a socket: use a shorter work folder.")


def free_port(host: str, preferred: int) -> int:
    """Return ``preferred`` when it is free on ``host``, else another port that is. Raises ``OSError``."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return probe.getsockname()[1]
    raise OSError(f"There is no free port on {host}.")


def logger(file: Path) -> logging.Logger:
    """Return a logger that writes to ``file`` only."""
    log = logging.getLogger(f"sandbox.{file}")
    log.setLevel(logging.INFO)
    log.propagate = False
    if not log.handlers:
        handler = logging.FileHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
    return log


class Haproxy:
    """The master process and its workers. ``log`` gets what happens, HAProxy's own output goes to a file beside it.

    ``master_socket`` is where the master listens (``haproxy -S``), ``None`` for nowhere.
    """

    def __init__(self, place: Files, log: logging.Logger, master_socket: Path | None = None) -> None:
        self.place = place
        self._arguments = ("-S", str(master_socket)) if master_socket else ()
        self.reloads = 0
        self._log = log
        self._path = haproxy_path()
        self._master: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        """Whether the master is there."""
        return self._master is not None and self._master.returncode is None

    def pids(self) -> list[int]:
        """Return the pids of the master and of all its workers, those of old configurations included."""
        if self._master is None or self._master.returncode is not None:
            return []
        pid = self._master.pid
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        return []

    async def valid(self, path: Path) -> bool:
        """Return whether HAProxy accepts the configuration in ``path``; its complaints go to the log."""
        check = await asyncio.create_subprocess_exec(
            self._path,
            *("-f", str(path), "-c"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _errors = await check.communicate()
        if check.returncode != 0:
            self._log.error("haproxy rejects %s: %s", path, output.decode(errors="replace"))
        return check.returncode == 0

    async def reload(self, *, keep_state: bool = True) -> None:
        """Start HAProxy, or have the master start a new worker; return when that one is there.

        With ``keep_state`` the new worker gets the state of the servers; else there is no state file.
        """
        self.reloads += 1
        for _index in range(MAX_RELOADS):
            before = set(self.pids())
            await self._start_or_signal(keep_state)
            deadline = time.monotonic() + RELOAD_INTERVAL
            while time.monotonic() < deadline:
                # The master alone is no sign of life: it is also there while it refuses a configuration.
                if len(set(self.pids()) - before) >= (1 if before else 2):
                    return
                await asyncio.sleep(LOOK)
            self._log.error("no new haproxy pid after %g s, reloading again", RELOAD_INTERVAL)

    async def _start_or_signal(self, keep_state: bool) -> None:
        if not keep_state:
            self.place.state.unlink(missing_ok=True)
        if self._master is not None and self._master.returncode is None:
            if keep_state:
                await self._dump_state()
            self._master.send_signal(signal.SIGUSR2)
            return
        place = self.place
        with (place.folder / "haproxy.log").open("ab") as output:
            self._master = await asyncio.create_subprocess_exec(
                self._path,
                *("-W", *self._arguments, "-f", str(place.config), "-x", str(place.socket)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def _dump_state(self) -> None:
        """Write what the servers are like into the state file, where the next worker reads it."""
        try:
            self.place.state.write_bytes(await self.ask("show servers state"))
        except OSError as error:  # like the real script, which reloads nevertheless
            self._log.error("cannot dump the state of the servers: %s", error)

    async def ask(self, command: str) -> bytes:
        """Return the answer of the runtime socket to one command. Raises ``OSError`` when it does not answer."""
        reader, writer = await asyncio.open_unix_connection(str(self.place.socket))
        try:
            writer.write(f"{command}\n".encode())
            return await asyncio.wait_for(reader.read(), timeout=5)
        finally:
            writer.close()

    async def kill(self) -> None:
        """End the master and all workers at once, with all their connections."""
        if self._master is None:
            return
        if self._master.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._master.pid, signal.SIGKILL)
        await self._master.wait()
        self._master = None
