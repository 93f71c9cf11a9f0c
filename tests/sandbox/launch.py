# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a sandbox from Python, for tests and for the demo: a process of its own, driven over its control API.

::

    with launch.start(lbs=2) as sandbox:
        requests.post(f"{sandbox.marathon[0]}/v2/apps", json=sandbox.app())
        sandbox.fault("leader_change", seconds=2)
"""

from __future__ import annotations

import copy
import json
import selectors
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent.parent
# Seconds: until the sandbox is ready and until it is gone, on a machine that is busy with other things.
START_LIMIT, STOP_LIMIT = 60.0, 30.0

APP: Mapping[str, Any] = {
    "id": "/web",
    "cmd": "exec $SANDBOX_SERVICE",
    "instances": 4,
    "cpus": 0.1,
    "mem": 32,
    "portDefinitions": [{"port": 10000, "name": "http"}],
    "healthChecks": [
        {
            "protocol": "HTTP",
            "path": "/health",
            "portIndex": 0,
            "intervalSeconds": 1,
            "gracePeriodSeconds": 30,
            "timeoutSeconds": 2,
            "maxConsecutiveFailures": 3,
        }
    ],
    "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_MODE": "http"},
    "env": {"VERSION": "1"},
}


class StartFailed(Exception):
    """The sandbox ended before it was ready; the text is what it said."""


class Started:
    """A sandbox as a process of its own. It ends with the ``with`` statement and with ``stop()``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the sandbox and return when nothing of it is left."""
        self.process.terminate()
        self.process.wait(STOP_LIMIT)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


class Running(Started):
    """A sandbox that runs. The attributes are those of the line of JSON (``python -m tests.sandbox serve --help``)."""

    def __init__(self, process: subprocess.Popen[str], description: Mapping[str, Any]) -> None:
        super().__init__(process)
        self.marathon: list[str] = description["marathon"]
        self.lbs: list[dict[str, Any]] = description["lbs"]
        self.plain_lbs: list[dict[str, Any]] = description["plain_lbs"]
        self.control: str = description["control"]
        self.agents: list[dict[str, Any]] = description["agents"]
        self.service: list[str] = description["service"]
        self.workdir = Path(description["workdir"])

    def app(self, **overrides: Any) -> dict[str, Any]:
        """Return a definition of the test service, usable as it is; ``overrides`` replace whole keys."""
        return copy.deepcopy({**APP, **overrides})

    def fault(self, kind: str, **fields: Any) -> Any:
        """Start a fault and return its result. Raises ``ValueError`` when the sandbox refuses it."""
        return self._ask("POST", "/faults", {"kind": kind, **fields})["result"]

    def clear_faults(self) -> None:
        """End all faults."""
        self._ask("DELETE", "/faults")

    def requests(self) -> dict[str, Any]:
        """Return what Marathon was asked: ``by_agent`` and ``log``."""
        return self._ask("GET", "/requests")

    def forget_requests(self) -> None:
        """Begin the log of requests anew."""
        self._ask("DELETE", "/requests")

    def lb_state(self) -> list[dict[str, Any]]:
        """Return for each LB its ``changes``, ``reloads``, ``up`` and ``pids``."""
        return self._ask("GET", "/lbs")

    def plain_lb_state(self) -> list[dict[str, Any]]:
        """Return for each ordinary HAProxy its ``reloads``, ``up`` and ``pids``."""
        return self._ask("GET", "/plain_lbs")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.control}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["message"]) from error


def start(**options: Any) -> Running:
    """Start a sandbox; the options are those of ``serve``, with ``_`` for ``-``, and a list for one that is repeated.

    It ends with the ``with`` statement, with ``stop()``, and when this process dies. Raises :class:`StartFailed`.
    """
    return Running(*launched("tests.sandbox", "serve", options))


def launched(module: str, command: str, options: Mapping[str, Any]) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Run a command of a module that prints a line of JSON when it is ready; return its process and that line."""
    words = [sys.executable, "-m", module, command, "--until-stdin-closes", *_arguments(options)]
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        )
        line = _first_line(process)
        if line:
            return process, json.loads(line)
        process.wait(STOP_LIMIT)
        complaints.seek(0)
        raise StartFailed(complaints.read().strip() or f"The sandbox ended with status {process.returncode}.")


def _first_line(process: subprocess.Popen[str]) -> str:
    """Return the line of JSON, or nothing when the process ended or said nothing for too long (it is then killed)."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(START_LIMIT):
            process.kill()
            return ""
    return process.stdout.readline()


def _arguments(options: Mapping[str, Any]) -> list[str]:
    """Return the command line: ``{"stock_template": True, "lb": [A, B]}`` gives ``--stock-template --lb A --lb B``."""
    arguments: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(option)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            arguments += [word for each in value for word in (option, str(each))]
        elif value is not None and value is not False:
            arguments += [option, str(value)]
    return arguments
