# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's runtime API, over a UNIX or a TCP socket, and the master's socket, which reaches each worker.

One connection takes one line with commands divided by ``;`` and gives one answer after the other, each ended by an
empty line. There is no status: an error is just text ("No such server.", "Permission denied"), and a ``set`` that
worked answers nothing. So every answer is read and judged. A worker's socket closes after the line; the master's one
waits for the client to close its half first, and wants its prefix ``@!PID`` before each command.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from .._errors import InvalidInput, NotFound, Rejected, Unreachable
from . import stats

# Bits of srv_admin_state in "show servers state" (HAProxy's management guide, section 9.3): by command, inherited, and
# by name resolution. The bit 0x04 only remembers that the configuration had the server disabled: it stays when a
# command puts the server back.
_MAINT_BITS = 0x01 | 0x02 | 0x20
_DRAIN_BITS = 0x08 | 0x10

_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_ABSENT = re.compile(r"No such (server|backend)|Can't find (backend|the target PID)", re.IGNORECASE)
_LARGEST_ANSWER = 64 * 1024 * 1024

HAPROXY_SPEC: dict[str, Any] = {
    "socket": {"type": "list", "elements": "str"},
    "timeout": {"type": "float", "default": 10},
}


@dataclass(frozen=True)
class WorkerProcess:
    """A worker as the master lists it; ``is_old``: a reload replaced it and it lives on for its connections."""

    pid: int
    is_old: bool


@dataclass(frozen=True)
class Runtime:
    """One runtime socket: ``address`` is the path of a UNIX socket or ``host:port``. ``timeout``: s, whole answer.

    ``worker`` is the process id of the worker that the master of this socket passes the commands to.
    """

    address: str
    timeout: float = 10
    worker: int | None = None

    @classmethod
    def at(cls, address: str, timeout: float = 10) -> Runtime:
        """Check the form of ``address``.

        :raises InvalidInput: it is neither a path nor ``host:port``.
        """
        if not address.startswith("/") and not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):\d{1,5}", address):
            raise InvalidInput(
                "invalid_option", f"Option socket: {address!r} is neither the path of a UNIX socket nor host:port."
            )
        return cls(address, timeout)

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.address if self.worker is None else f"{self.address} pid {self.worker}"

    def of_worker(self, pid: int) -> Runtime:
        """The runtime API of one worker, through this master socket."""
        return Runtime(self.address, self.timeout, pid)

    def table(self) -> list[dict[str, str]]:
        """The statistics, one dict by column name for each frontend, backend and server."""
        return stats.parse(self._answer("show stat"), f"lb {self.name}", "show stat")

    def info(self) -> dict[str, str]:
        """``show info``: name to value, all of them text. ``Pid`` and ``Uptime_sec`` are among them."""
        text = self._answer("show info")
        found = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        if "Pid" not in found or not found["Pid"].isdecimal():
            self._refuse("show info", text)
        return found

    def server_states(self, backend: str) -> dict[str, str]:
        """``ready``, ``drain`` or ``maint`` for each server of a backend: what was decided, not what checks find.

        :raises NotFound: there is no such backend.
        """
        command = f"show servers state {checked_name(backend)}"
        text = self._answer(command)
        lines = [line.split() for line in text.splitlines() if line]
        if len(lines) < 2 or lines[0] != ["1"] or lines[1][:1] != ["#"]:
            self._refuse(command, text)
        header = lines[1][1:]
        try:
            name, state = header.index("srv_name"), header.index("srv_admin_state")
            return {line[name]: _state(int(line[state])) for line in lines[2:]}
        except (ValueError, IndexError):
            self._unreadable(command, text)

    def set_states(self, backend: str, states: Mapping[str, str]) -> None:
        """Set servers of a backend to ``ready``, ``drain`` or ``maint``, in one connection.

        :raises NotFound: no such backend or server. :raises Rejected: the socket refuses ("Permission denied").
        """
        commands = [
            f"set server {checked_name(backend)}/{checked_name(server)} state {state}"
            for server, state in states.items()
        ]
        if not commands:
            return
        text = self._exchange("; ".join(self._prefixed(command) for command in commands))
        answers = _answers(text)
        if len(answers) != len(commands):
            self._unreadable("; ".join(commands), text)
        for command, answer in zip(commands, answers, strict=True):
            if answer:
                self._refuse(command, answer)

    def workers(self) -> list[WorkerProcess]:
        """The workers that the master of this socket has (``show proc``).

        :raises Rejected: this is no master socket.
        """
        text = self._answer("show proc")
        if "# workers" not in text:
            self._refuse("show proc", text)
        found, is_old, in_workers = [], False, False
        for line in text.splitlines():
            if line.startswith("#"):
                in_workers = line.strip() in ("# workers", "# old workers")
                is_old = line.strip() == "# old workers"
            elif in_workers and line.strip():
                words = line.split()
                if len(words) < 2 or not words[0].isdecimal():
                    self._unreadable("show proc", text)
                found.append(WorkerProcess(int(words[0]), is_old))
        return found

    def _answer(self, command: str) -> str:
        text = self._exchange(self._prefixed(command)).strip("\n")
        if not text:
            self._unreadable(command, text)
        if _ABSENT.match(text) or text.startswith(("Permission denied", "Unknown command")):
            self._refuse(command, text)
        return text

    def _prefixed(self, command: str) -> str:
        return command if self.worker is None else f"@!{self.worker} {command}"

    def _exchange(self, line: str) -> str:
        deadline = time.monotonic() + self.timeout
        parts: list[bytes] = []
        try:
            with self._connected() as connection:
                connection.sendall(line.encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    parts.append(part)
                    if time.monotonic() > deadline:
                        raise TimeoutError
                    if sum(map(len, parts)) > _LARGEST_ANSWER:
                        raise OSError("an endless answer")
        except TimeoutError:
            raise self._silent(line, f"nothing within {self.timeout:g} s") from None
        except OSError as error:
            raise self._silent(line, error.strerror or str(error)) from None
        return b"".join(parts).decode("utf-8", "replace")

    def _connected(self) -> socket.socket:
        if not self.address.startswith("/"):
            host, _colon, port = self.address.rpartition(":")
            return socket.create_connection((host.strip("[]"), int(port)), timeout=self.timeout)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self.timeout)
        try:
            connection.connect(self.address)
        except OSError:
            connection.close()
            raise
        return connection

    def _silent(self, line: str, why: str) -> Unreachable:
        return Unreachable(
            "unreachable",
            f"lb {self.name}: no answer ({why[:1].lower() + why[1:]})",
            system=self.address,
            request=line,
        )

    def _unreadable(self, command: str, text: str) -> NoReturn:
        shown = " ".join(text.split())[:120]
        raise Unreachable(
            "unreadable_answer",
            f"lb {self.name} answered {command!r} with something unreadable: {shown!r}",
            system=self.address,
            request=command,
        )

    def _refuse(self, command: str, text: str) -> NoReturn:
        shown = " ".join(text.split())[:200]
        message = f"lb {self.name} answered {command!r}: {shown}"
        if _ABSENT.match(text):
            raise NotFound("not_found", message, system=self.address, request=command, detail=shown)
        if text.startswith("Permission denied"):
            message += ". The socket needs 'level admin' in HAProxy's configuration."
            raise Rejected("permission_denied", message, system=self.address, request=command, detail=shown)
        raise Rejected("refused", message, system=self.address, request=command, detail=shown)


def checked_name(name: str) -> str:
    """Return ``name`` if it can be one of a backend or server: anything else could end the command and begin another.

    :raises InvalidInput: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput("invalid_option", f"{name!r} cannot be the name of a HAProxy backend or server.")
    return name


def _answers(text: str) -> list[str]:
    """Divide at the empty lines that end each answer."""
    answers: list[str] = []
    lines: list[str] = []
    for line in text.split("\n")[:-1]:
        if line:
            lines.append(line)
        else:
            answers.append("\n".join(lines))
            lines = []
    return [*answers, "\n".join(lines)] if lines else answers


def _state(bits: int) -> str:
    if bits & _MAINT_BITS:
        return "maint"
    return "drain" if bits & _DRAIN_BITS else "ready"
