# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a worker so that nothing of it is left behind, however any of the processes involved ends.

There are three processes. The *front* is the one that the user has started. It forks the *guard*, in a session of its
own, and the guard forks the *worker*, which does the work and starts all others.

* The front is told to end (SIGTERM, SIGINT, SIGHUP, its standard input) or is killed, even with its whole process
  group: the pipe that it holds closes, the guard tells the worker to end (SIGTERM), and kills it when it does not.
* The worker ends or is killed: the guard kills all its descendants, which become the guard's own children
  (``PR_SET_CHILD_SUBREAPER``), and everything that carries the mark in its environment.
* The guard is killed: the worker is sent SIGTERM (``PR_SET_PDEATHSIG``), becomes the front's child, and the front
  sweeps up behind it.

Linux only, like the sandbox as a whole.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

# Everything that the worker executes inherits this from its environment.
MARK = "SANDBOX_MARK"
# Seconds that the worker gets to end by itself before it is killed.
PATIENCE = 10.0

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36


def run(work: Callable[[], int], clean_up: Callable[[], None], *, until_stdin_closes: bool = False) -> int:
    """Run ``work`` in a guarded process and return its exit status; 128 + N when signal N killed it.

    ``work`` is sent SIGTERM when it has to end. When nothing of it runs any more, ``clean_up`` is called, by whichever
    process is still there, and perhaps twice. ``until_stdin_closes`` ends it all when standard input does.
    """
    mark = f"{uuid.uuid4()}"
    read, write = os.pipe()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.fork()
    if guard == 0:
        os.close(write)
        os.setsid()
        _exit_with(lambda: _guard(work, clean_up, mark, read))
    os.close(read)
    return _front(guard, clean_up, mark, write, until_stdin_closes=until_stdin_closes)


def _front(guard: int, clean_up: Callable[[], None], mark: str, hold: int, *, until_stdin_closes: bool) -> int:
    release = _once(lambda: os.close(hold))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: release())
    if until_stdin_closes:
        threading.Thread(target=_call_at_end_of, args=(sys.stdin.fileno(), release), daemon=True).start()
    status = _wait_for(guard)
    if not os.WIFEXITED(status):
        _wait_for_all(PATIENCE)
    sweep(mark)
    clean_up()
    return _exit_status(status)


def _guard(work: Callable[[], int], clean_up: Callable[[], None], mark: str, hold: int) -> int:
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    me = os.getpid()
    worker = os.fork()
    if worker == 0:
        os.close(hold)
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != me:
            return 1
        os.environ[MARK] = mark
        return work()
    # Ctrl-C reaches the front only, and it is the pipe that ends the guard.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: _end(worker))
    threading.Thread(target=_call_at_end_of, args=(hold, lambda: _end(worker)), daemon=True).start()
    status = _wait_for(worker)
    sweep(mark)
    clean_up()
    return _exit_status(status)


def _end(worker: int) -> None:
    """Tell the worker to end, and kill it if it has not after a while."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGTERM)
    killing = threading.Timer(PATIENCE, _kill, args=(worker,))
    killing.daemon = True
    killing.start()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _wait_for(child: int) -> int:
    """Return the child's status when it has ended; orphans that end meanwhile are reaped."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return status


def _wait_for_all(seconds: float) -> None:
    """Wait until there are no children any more, but not for longer than ``seconds``."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)


def sweep(mark: str) -> None:
    """Kill all descendants of this process and all processes with ``mark``, until none is left.

    Several rounds: a process may fork between being seen and being killed.
    """
    while True:
        found = descendants(os.getpid()) | _marked(mark)
        if not found:
            return
        for pid in found:
            _kill(pid)
        _reap()
        time.sleep(0.01)


def descendants(root: int) -> set[int]:
    """Return the pids of all processes below ``root`` that have not ended."""
    children: dict[int, list[int]] = {}
    for pid, parent, state in _processes():
        children.setdefault(parent, [])
        if state not in "ZX":
            children[parent].append(pid)
    found: set[int] = set()
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), []):
            found.add(child)
            todo.append(child)
    return found


def _processes() -> list[tuple[int, int, str]]:
    """Return pid, parent's pid and state of each process."""
    rows = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                # The name in parentheses may hold anything, blanks and parentheses included.
                state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                rows.append((int(entry.name), int(parent), state))
    return rows


def _marked(mark: str) -> set[int]:
    wanted = f"{MARK}={mark}".encode()
    found = set()
    for pid, _parent, state in _processes():
        if state not in "ZX":
            # Other users' processes cannot be read, and cannot carry the mark.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.add(pid)
    return found


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _call_at_end_of(fd: int, then: Callable[[], None]) -> None:
    while os.read(fd, 4096):
        pass
    then()


def _once(action: Callable[[], None]) -> Callable[[], None]:
    """Return a function that does ``action`` on its first call only."""
    chance = threading.Lock()

    def act() -> None:
        if chance.acquire(blocking=False):
            action()

    return act


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _exit_with(work: Callable[[], int]) -> NoReturn:
    """Leave a forked process with the status that ``work`` returns, without running the parent's exit handlers."""
    status = 1
    try:
        status = work()
    except BaseException:  # noqa: BLE001 - there is nobody above a forked process to report it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
