# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing is left running, however the front, the guard or the worker ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

# A worker with a child, a child in a session of its own that ignores SIGTERM, and an orphan with an empty environment.
WORKER = """
import json, os, signal, subprocess, sys, time
from tests.sandbox import guard

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
ORPHAN = '''
import subprocess
orphan = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True, stdout=subprocess.DEVNULL)
print(orphan.pid)
'''

def work():
    if "deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"])
    stubborn = subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=True, stdout=subprocess.PIPE)
    stubborn.stdout.readline()
    pids = {
        "worker": os.getpid(),
        "guard": os.getppid(),
        "child": child.pid,
        "stubborn": stubborn.pid,
        "orphan": int(subprocess.check_output([sys.executable, "-c", ORPHAN])),
    }
    print(json.dumps(pids), flush=True)
    if "ends" in sys.argv:
        return 7
    time.sleep(600)

guard.PATIENCE = 1.0
sys.exit(guard.run(work, lambda: None, until_stdin_closes="stdin" in sys.argv))
"""


class Guarded:
    """A guarded worker that runs; ``pids`` are all processes but the front."""

    def __init__(self, *modes: str) -> None:
        self.front = subprocess.Popen(
            [sys.executable, "-c", WORKER, *modes],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self.front.stdout is not None
        self.pids: dict[str, int] = json.loads(self.front.stdout.readline())

    def left(self) -> dict[str, int]:
        """What runs after a while in which all of it should have ended."""
        deadline = time.monotonic() + 30
        left = dict(self.pids)
        while left and time.monotonic() < deadline:
            left = {name: pid for name, pid in left.items() if runs(pid)}
            time.sleep(0.01)
        return left


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def guarded() -> Iterator[Callable[..., Guarded]]:
    started: list[Guarded] = []

    def start(*modes: str) -> Guarded:
        started.append(Guarded(*modes))
        return started[-1]

    yield start
    for each in started:
        for pid in (each.front.pid, *each.left().values()):
            if runs(pid):
                os.kill(pid, signal.SIGKILL)
        each.front.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_front_ends_all(guarded: Callable[..., Guarded], number: int) -> None:
    running = guarded()
    running.front.send_signal(number)

    running.front.wait(30)
    assert running.left() == {}


def test_a_worker_that_does_not_listen_is_killed(guarded: Callable[..., Guarded]) -> None:
    running = guarded("deaf")
    running.front.terminate()

    assert running.front.wait(30) == 128 + signal.SIGKILL
    assert running.left() == {}


@pytest.mark.parametrize("name", ["worker", "guard"])
def test_the_others_clean_up_behind_one_that_is_killed(guarded: Callable[..., Guarded], name: str) -> None:
    running = guarded()
    os.kill(running.pids[name], signal.SIGKILL)

    assert running.front.wait(30) == 128 + signal.SIGKILL
    assert running.left() == {}


def test_the_guard_cleans_up_behind_the_front(guarded: Callable[..., Guarded]) -> None:
    running = guarded()
    running.front.kill()

    assert running.left() == {}


def test_killing_the_whole_process_group_of_the_front_leaves_nothing(guarded: Callable[..., Guarded]) -> None:
    running = guarded()
    os.killpg(running.front.pid, signal.SIGKILL)

    assert running.left() == {}


def test_killing_guard_and_worker_at_once_leaves_nothing(guarded: Callable[..., Guarded]) -> None:
    running = guarded()
    os.killpg(running.pids["guard"], signal.SIGKILL)

    assert running.front.wait(30) == 128 + signal.SIGKILL
    assert running.left() == {}


def test_the_end_of_standard_input_ends_all_when_asked_for(guarded: Callable[..., Guarded]) -> None:
    running = guarded("stdin")
    stdin: Any = running.front.stdin
    stdin.close()
    running.front.stdin = None

    running.front.wait(30)
    assert running.left() == {}


def test_the_status_of_the_worker_is_passed_on(guarded: Callable[..., Guarded]) -> None:
    running = guarded("ends")

    assert running.front.wait(30) == 7
    assert running.left() == {}
