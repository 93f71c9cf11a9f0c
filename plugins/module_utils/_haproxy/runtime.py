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
from collections.abc import Mapping, Sequence
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
# Bits of srv_check_state there.
_CHECK_CONFIGURED = 0x02
_CHECK_ENABLED = 0x04
_LARGEST_ANSWER = 64 * 1024 * 1024
_FENCE, _FENCE_ANSWERS = "show cli level", frozenset({"admin", "operator", "user"})
# HAProxy reads a line of commands into one buffer (tune.bufsize, 16 KiB).
_COMMANDS_AT_ONCE = 30

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
class ServerState:
    """A server of a backend as ``show servers state`` has it.

    ``address`` is ``ip:port`` (an IPv6 address in brackets), ``""`` while it has none. ``state`` is ``ready``,
    ``drain`` or ``maint``: what was decided, not what checks find. ``weight`` is the absolute one. ``host_name`` is the
    one in the configuration, if it has one.
    """

    name: str
    id: int
    address: str
    state: str
    weight: int
    host_name: str | None
    check_configured: bool
    check_enabled: bool


@dataclass(frozen=True)
class Sight:
    """What one worker shows of one backend at one moment; ``table`` has all rows of the statistics.

    ``version`` is ``(2, 6)`` for 2.6.12; ``level`` is that of the socket: ``user``, ``operator`` or ``admin``.
    """

    pid: int
    version: tuple[int, ...]
    level: str
    states: Mapping[str, ServerState]
    table: list[dict[str, str]]


@dataclass(frozen=True)
class Command:
    """A command that changes something. ``done`` matches the whole answer when it did.

    ``busy`` matches a part of the answer that only means: not yet.
    """

    text: str
    done: re.Pattern[str] = re.compile("")
    busy: re.Pattern[str] | None = None


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
        return {name: server.state for name, server in self._states(command, self._answer(command)).items()}

    def sight(self, backend: str) -> Sight:
        """Read what there is to know about a backend, in one connection.

        :raises NotFound: there is no such backend.
        """
        commands = ["show info", "show cli level", f"show servers state {checked_name(backend)}", "show stat"]
        info, level, states, table = self._answers_to(commands)
        for command, answer in zip(commands, (info, level, states, table), strict=True):
            self._judge(command, answer)
        found = dict(line.split(": ", 1) for line in info.splitlines() if ": " in line)
        version = re.match(r"(\d+)\.(\d+)", found.get("Version", ""))
        if not found.get("Pid", "").isdecimal() or version is None:
            self._unreadable("show info", info)
        return Sight(
            pid=int(found["Pid"]),
            version=tuple(map(int, version.groups())),
            level=level,
            states=self._states(commands[2], states),
            table=stats.parse(f"{table}\n", f"lb {self.name}", "show stat"),
        )

    def carry_out(self, commands: Sequence[Command], *, experimental: bool = False) -> list[bool]:
        """Give commands, in as few connections as possible; return for each whether it was done.

        ``False`` means that it was too early for it. ``experimental`` allows what this version has as an experiment.

        :raises NotFound: no such backend or server. :raises Rejected: the socket refuses one of them; the others may
            have been done.
        """
        done = []
        for number in range(0, len(commands), _COMMANDS_AT_ONCE):
            some = commands[number : number + _COMMANDS_AT_ONCE]
            if experimental:
                some = [Command("experimental-mode on"), *some]
            for command, answer in zip(some, self._fenced_answers([command.text for command in some]), strict=True):
                shown = " ".join(answer.split())
                if command.done.fullmatch(shown):
                    done.append(True)
                elif command.busy and command.busy.search(shown):
                    done.append(False)
                else:
                    self._refuse(command.text, answer or "nothing")
            if experimental:
                done.pop(number)
        return done

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
        for command, answer in zip(commands, self._answers_to(commands), strict=True):
            if answer:
                self._refuse(command, answer)

    def all_server_states(self) -> str:
        """``show servers state`` of all backends, as a ``server-state-file`` has it."""
        return self._answer("show servers state") + "\n"

    def sockets(self) -> str:
        """``show cli sockets``: a table of all sockets of the worker."""
        return self._answer("show cli sockets")

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

    def _states(self, command: str, text: str) -> dict[str, ServerState]:
        lines = [line.split() for line in text.splitlines() if line]
        if len(lines) < 2 or lines[0] != ["1"] or lines[1][:1] != ["#"]:
            self._refuse(command, text)
        try:
            rows = [dict(zip(lines[1][1:], line, strict=True)) for line in lines[2:]]
            return {row["srv_name"]: _server_state(row) for row in rows}
        except (ValueError, KeyError):
            self._unreadable(command, text)

    def _answers_to(self, commands: Sequence[str]) -> list[str]:
        text = self._exchange("; ".join(self._prefixed(command) for command in commands))
        answers = _answers(text)
        if len(answers) != len(commands):
            self._unreadable("; ".join(commands), text)
        return answers

    def _fenced_answers(self, commands: Sequence[str]) -> list[str]:
        """The answers to commands that change something: some of these have no empty line at their end.

        So a question with a known answer stands behind each.
        """
        fence = f"; {_FENCE}; "
        lines = self._exchange(f"{fence.join(commands)}; {_FENCE}").splitlines()
        answers: list[str] = []
        answer: list[str] = []
        for line in lines:
            if line in _FENCE_ANSWERS:
                answers.append("\n".join(answer).strip("\n"))
                answer = []
            else:
                answer.append(line)
        if len(answers) != len(commands):
            self._unreadable("; ".join(commands), "\n".join(lines))
        return answers

    def _answer(self, command: str) -> str:
        text = self._exchange(self._prefixed(command)).strip("\n")
        self._judge(command, text)
        return text

    def _judge(self, command: str, text: str) -> None:
        """Raise what the answer to a question means, if it is none."""
        if not text:
            self._unreadable(command, text)
        if _ABSENT.match(text) or text.startswith(("Permission denied", "Unknown command")):
            self._refuse(command, text)

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


def _server_state(row: Mapping[str, str]) -> ServerState:
    checks = int(row.get("srv_check_state", "0"))
    host = row.get("srv_fqdn", "-")
    return ServerState(
        name=row["srv_name"],
        id=int(row["srv_id"]),
        address="" if row["srv_addr"] == "-" else joined(row["srv_addr"], int(row.get("srv_port", "0"))),
        state=_state(int(row["srv_admin_state"])),
        weight=int(row["srv_uweight"]),
        host_name=None if host == "-" else host,
        check_configured=bool(checks & _CHECK_CONFIGURED),
        check_enabled=bool(checks & _CHECK_ENABLED),
    )


def joined(host: str, port: int) -> str:
    """Return ``ip:port``, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _state(bits: int) -> str:
    if bits & _MAINT_BITS:
        return "maint"
    return "drain" if bits & _DRAIN_BITS else "ready"
