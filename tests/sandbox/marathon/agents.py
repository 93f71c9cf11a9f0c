# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agents: tasks as real processes, each in a session and process group of its own."""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tests.sandbox.marathon.model import App, Instance, Task

# s until an agent notices that a process has ended: Mesos looks every 0.1 to 1 s. Marathon lists the dead task as
# running meanwhile, and of several that were killed together one goes after the other.
REAPED_AFTER = (0.1, 0.4)
LAUNCHED_AFTER = (0.05, 0.15)  # s from the accepted offer to the start of the process
GRACE = 3.0  # s between SIGTERM and SIGKILL where the app says nothing, as Mesos has it
SIGNAL_NAMES = {signal.SIGTERM: "Terminated", signal.SIGKILL: "Killed"}
Report = Callable[[Instance, Task, str, str], None]


def command_line(app: App, service_command: str) -> list[str]:
    """What is executed: ``cmd`` by a shell, ``args`` as they are, the test service for a bare image."""
    if app.definition.get("cmd"):
        return ["/bin/sh", "-c", app.definition["cmd"]]
    if app.definition.get("args") and "docker" not in app.definition.get("container", {}):
        return list(app.definition["args"])
    return shlex.split(service_command)


def ending(code: int, killed: bool) -> tuple[str, str]:
    """The condition and Mesos' message for a process that ended with ``code`` (negative: by a signal)."""
    if code < 0:
        try:
            name = SIGNAL_NAMES.get(signal.Signals(-code), signal.strsignal(-code))
        except ValueError:
            name = str(-code)
        return ("Killed" if killed else "Failed"), f"Command terminated with signal {name}"
    if killed:
        return "Killed", f"Command exited with status {code}"
    return ("Finished" if code == 0 else "Failed"), f"Command exited with status {code}"


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return  # it has ended by itself, which is what the signal was for


class Agents:
    """Launches and kills; ``report`` is told each task's way: Starting, Running, and how it ended."""

    def __init__(self, workdir: Path, service_command: str, report: Report) -> None:
        self._folder = workdir / "tasks"
        self._service_command = service_command
        self._report = report
        self._waiting: asyncio.Queue[tuple[Instance, Task]] = asyncio.Queue()
        self._processes: dict[Task, subprocess.Popen[bytes]] = {}
        self._watched: dict[Task, int] = {}
        self._killed: set[Task] = set()
        self._escalations: dict[Task, asyncio.TimerHandle] = {}
        self._reaping: dict[Task, asyncio.TimerHandle] = {}
        self._launcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._launcher = asyncio.create_task(self._launch_all())

    async def stop(self) -> None:
        """Kill everything and return when nothing is left."""
        if self._launcher is not None:
            self._launcher.cancel()
            await asyncio.wait([self._launcher])
        for handle in (*self._escalations.values(), *self._reaping.values()):
            handle.cancel()
        loop = asyncio.get_running_loop()
        for descriptor in self._watched.values():
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._watched.clear()
        for process in self._processes.values():
            _signal_group(process.pid, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()
        self._processes.clear()

    def launch(self, instance: Instance, task: Task) -> None:
        """Start the task's process, after the time that Mesos takes to bring it to its agent."""
        delay = random.uniform(*LAUNCHED_AFTER)
        asyncio.get_running_loop().call_later(delay, self._waiting.put_nowait, (instance, task))

    async def _launch_all(self) -> None:
        while True:
            instance, task = await self._waiting.get()
            if task in self._killed:
                self._killed.discard(task)
                self._report(instance, task, "Killed", "Killed before delivery to the executor")
                continue
            self._launch(instance, task)
            await asyncio.sleep(0)  # one at a time, so that fifty launches do not hold everything else up

    def _launch(self, instance: Instance, task: Task) -> None:
        folder = self._folder / task.id
        folder.mkdir(parents=True, exist_ok=True)
        self._report(instance, task, "Starting", "")
        try:
            with open(folder / "stdout", "ab") as stdout, open(folder / "stderr", "ab") as stderr:
                process = self._spawn(instance.app, task, folder, stdout, stderr)
        except OSError as error:
            self._report(instance, task, "Failed", f"Failed to launch command: {error}")
            return
        self._processes[task] = process
        descriptor = os.pidfd_open(process.pid)
        self._watched[task] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._ended, instance, task)
        self._report(instance, task, "Running", "")

    def _spawn(
        self, app: App, task: Task, folder: Path, stdout: IO[bytes], stderr: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "MESOS_SANDBOX": str(folder),
            "SANDBOX_SERVICE": self._service_command,
            **task.environment,
        }
        return subprocess.Popen(
            command_line(app, self._service_command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    def _ended(self, instance: Instance, task: Task) -> None:
        loop = asyncio.get_running_loop()
        descriptor = self._watched.pop(task)
        loop.remove_reader(descriptor)
        os.close(descriptor)
        _signal_group(self._processes[task].pid, signal.SIGKILL)  # what it has left behind
        escalation = self._escalations.pop(task, None)
        if escalation is not None:
            escalation.cancel()
        self._reaping[task] = loop.call_later(random.uniform(*REAPED_AFTER), self._reap, instance, task)

    def _reap(self, instance: Instance, task: Task) -> None:
        del self._reaping[task]
        code = self._processes.pop(task).wait()
        killed = task in self._killed
        self._killed.discard(task)
        condition, message = ending(code, killed)
        self._report(instance, task, condition, message)

    def kill(self, instance: Instance) -> None:
        """SIGTERM now, SIGKILL when the grace period is over."""
        task = instance.task
        if task is None or task in self._killed:
            return
        self._killed.add(task)
        process = self._processes.get(task)
        if process is None or task in self._reaping:
            return  # not launched yet: the launcher sees that it is not wanted any more; or dead already
        grace = instance.app.definition.get("taskKillGracePeriodSeconds", GRACE)
        loop = asyncio.get_running_loop()
        self._escalations[task] = loop.call_later(grace, _signal_group, process.pid, signal.SIGKILL)
        _signal_group(process.pid, signal.SIGTERM)

    def crash(self, task: Task) -> bool:
        """SIGKILL from outside, as the kernel does it when memory runs out; whether there was a process."""
        process = self._processes.get(task)
        if process is None or task in self._reaping:
            return False
        _signal_group(process.pid, signal.SIGKILL)
        return True
