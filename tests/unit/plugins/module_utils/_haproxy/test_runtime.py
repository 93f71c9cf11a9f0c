# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each answer of a runtime socket is read: an error is just text."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import (
    InvalidInput,
    NotFound,
    OperationError,
    Rejected,
    Unreachable,
)
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.runtime import Command, Runtime, WorkerProcess

STATES = """\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight
4 web 1 ready 127.0.0.1 2 0 1
4 web 2 maint 127.0.0.1 0 1 1
4 web 3 disabled 127.0.0.1 0 5 1
4 web 4 drain 127.0.0.1 2 8 1
4 web 5 tracks 127.0.0.1 2 2 1
4 web 6 unresolved - 0 32 1
4 web 7 put_back 127.0.0.1 2 4 1

"""
PROC = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
24655           master          1 [failed: 0]   0d00h00m01s     2.6.12
# workers
24663           worker          0               0d00h00m00s     2.6.12
# old workers
24657           worker          1               0d00h00m01s     2.6.12
# programs

"""


@contextmanager
def socket_that_answers(folder: Path, answer: Callable[[str], bytes | None]) -> Iterator[Runtime]:
    """A UNIX socket; ``answer`` gets the line, ``None`` never answers."""
    path = str(folder / "s")
    stop = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            said = answer(self.rfile.readline().decode().strip())
            if said is None:
                stop.wait(20)
            else:
                self.wfile.write(said)

    with socketserver.ThreadingUnixStreamServer(path, Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield Runtime.at(path, 5)
        finally:
            stop.set()
            server.shutdown()


def test_states_are_what_was_decided_whoever_decided_it(tmp_path: Path) -> None:
    with socket_that_answers(tmp_path, lambda _line: STATES.encode()) as runtime:
        assert runtime.server_states("web") == {
            "ready": "ready",
            "maint": "maint",
            "disabled": "maint",
            "drain": "drain",
            "tracks": "maint",
            "unresolved": "maint",
            "put_back": "ready",
        }


def test_the_master_lists_workers_old_and_new(tmp_path: Path) -> None:
    with socket_that_answers(tmp_path, lambda _line: PROC.encode()) as master:
        assert master.workers() == [WorkerProcess(24663, False), WorkerProcess(24657, True)]


def test_commands_for_a_worker_carry_its_prefix_each(tmp_path: Path) -> None:
    lines: list[str] = []
    with socket_that_answers(tmp_path, lambda line: lines.append(line) or b"\n\n") as master:
        master.of_worker(7).set_states("web", {"a": "maint", "b": "maint"})
    assert lines == ["@!7 set server web/a state maint; @!7 set server web/b state maint"]


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ("No such server.\n\n\n", NotFound, "not_found"),
        ("\nNo such backend.\n\n", NotFound, "not_found"),
        ("Permission denied\n\nPermission denied\n\n", Rejected, "permission_denied"),
        ("\n'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n", Rejected, "refused"),
        ("\nProxy is disabled.\n\n", Rejected, "refused"),
        ("", Unreachable, "unreadable_answer"),
        ("\n", Unreachable, "unreadable_answer"),
        ("\n\n\n\n", Unreachable, "unreadable_answer"),
    ],
)
def test_of_several_answers_each_is_read(tmp_path: Path, answer: str, kind: type[OperationError], code: str) -> None:
    with socket_that_answers(tmp_path, lambda _line: answer.encode()) as runtime, pytest.raises(kind) as failure:
        runtime.set_states("web", {"a": "maint", "b": "maint"})
    assert failure.value.code == code
    assert runtime.address in failure.value.message
    assert failure.value.system == runtime.address


def test_a_set_that_worked_answers_nothing(tmp_path: Path) -> None:
    with socket_that_answers(tmp_path, lambda _line: b"\n\n") as runtime:
        runtime.set_states("web", {"a": "maint", "b": "drain"})


def questions() -> list[Any]:
    return [
        pytest.param(lambda runtime: runtime.table(), id="show stat"),
        pytest.param(lambda runtime: runtime.info(), id="show info"),
        pytest.param(lambda runtime: runtime.server_states("web"), id="show servers state"),
        pytest.param(lambda runtime: runtime.workers(), id="show proc"),
    ]


@pytest.mark.parametrize("ask", questions())
@pytest.mark.parametrize("answer", ["Permission denied\n\n", "Unknown command: 'x'.\n\n", "garbage\n\n", ""])
def test_an_answer_that_is_not_what_was_asked_for_is_an_error(
    tmp_path: Path, ask: Callable[[Runtime], Any], answer: str
) -> None:
    with socket_that_answers(tmp_path, lambda _line: answer.encode()) as runtime, pytest.raises(OperationError):
        ask(runtime)


def test_a_socket_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket_that_answers(tmp_path, lambda _line: None) as runtime, pytest.raises(Unreachable) as failure:
        Runtime.at(runtime.address, 0.2).info()
    assert failure.value.message == f"lb {runtime.address}: no answer (nothing within 0.2 s)"
    assert failure.value.request == "show info"


def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no such file"):
        Runtime.at(str(tmp_path / "none")).info()
    with pytest.raises(Unreachable, match="refused"):
        Runtime.at("127.0.0.1:1").info()


@pytest.mark.parametrize("address", ["", "relative/path", "host", "host:", "host:port", "a b:1", "http://h:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput):
        Runtime.at(address)


@pytest.mark.parametrize("name", ["a;disable server web/b", "a b", "a\nshow stat", "", "a/b"])
def test_a_name_cannot_bring_a_command_along(name: str) -> None:
    with pytest.raises(InvalidInput):
        Runtime.at("/nowhere").set_states("web", {name: "maint"})
    with pytest.raises(InvalidInput):
        Runtime.at("/nowhere").server_states(name)


def test_commands_are_judged_one_by_one_although_some_answers_have_no_empty_line(tmp_path: Path) -> None:
    """As HAProxy 2.6 answers ``del server``, and ``add server`` to a name that is taken."""
    said = b"Server deleted.\nadmin\n\n\nadmin\n\nServer still has connections attached to it.\nadmin\n\n"
    deletion = re.compile(r"Server deleted\.")
    commands = [
        Command("del server web/a", deletion),
        Command("set server web/b weight 1"),
        Command("del server web/c", deletion, re.compile("still has connections")),
    ]
    lines = []
    with socket_that_answers(tmp_path, lambda line: lines.append(line) or said) as runtime:
        assert runtime.carry_out(commands) == [True, True, False]
        assert runtime.carry_out([]) == []
    assert lines[0].split("; ")[::2] == [command.text for command in commands]

    other = tmp_path / "o"
    other.mkdir()
    with socket_that_answers(other, lambda _line: said.replace(b"admin\n\nServer", b"Server")) as runtime:
        with pytest.raises(Unreachable) as unreadable:
            runtime.carry_out(commands)
        assert unreadable.value.code == "unreadable_answer"


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ("No such server.", NotFound, "not_found"),
        ("Permission denied", Rejected, "permission_denied"),
        ("Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.", Rejected, "refused"),
        ("Already exists a server with the same name in backend.", Rejected, "refused"),
    ],
)
def test_a_command_that_is_refused_says_so(tmp_path: Path, answer: str, kind: type[OperationError], code: str) -> None:
    with socket_that_answers(tmp_path, lambda _line: f"{answer}\nadmin\n\n".encode()) as runtime:
        with pytest.raises(kind, match=re.escape(answer)) as failure:
            runtime.carry_out([Command("set server web/a weight 1")])
        assert failure.value.code == code
        assert failure.value.request == "set server web/a weight 1"


def test_many_commands_go_in_several_lines_each_with_leave_for_experiments(tmp_path: Path) -> None:
    lines = []

    def answer(line: str) -> bytes:
        lines.append(line.split("; ")[::2])
        return b"\nadmin\n\n" * len(lines[-1])

    commands = [Command(f"set server web/a weight {number}") for number in range(70)]
    with socket_that_answers(tmp_path, answer) as runtime:
        assert runtime.carry_out(commands, experimental=True) == [True] * 70
    assert [line[0] for line in lines] == ["experimental-mode on"] * 3
    assert [text for line in lines for text in line[1:]] == [command.text for command in commands]
