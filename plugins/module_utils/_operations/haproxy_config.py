# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a text the active configuration of one HAProxy; put the old one back when HAProxy does not take it."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, NotFound, Rejected, Unreachable
from .._files import program, text_of, write
from .._haproxy.runtime import HAPROXY_SPEC, Runtime
from .._invocation.context import Context
from .._wait import Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    "socket": {"type": "str", "required": True},
    "timeout": HAPROXY_SPEC["timeout"],
    "config": {"type": "path", "required": True},
    "content": {"type": "str", "required": True},
    "state_file": {"type": "path"},
    "haproxy": {"type": "str", "default": "haproxy"},
    "pid_file": {"type": "path", "default": "/run/haproxy.pid"},
    "wait_timeout": {"type": "float", "default": 30},
}

TOKEN = "@config@"

_PAUSES = Pauses(0.02, 1.3, 0.2)
_TEST_TIMEOUT = 60
# HAProxy names its process in each line.
_PROCESS = re.compile(r"(?<=\])\s+\(\d+\) :")


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Test, write, reload and see it; see the module's documentation."""
    runtime = Runtime.at(params["socket"], params["timeout"])
    content = params["content"]
    if TOKEN not in content:
        raise InvalidInput(
            "invalid_option", f"Option content: its global section needs a description with {TOKEN}, for its hash."
        )
    digest = hashlib.sha256(content.encode()).hexdigest()
    text = content.replace(TOKEN, digest)
    system = f"lb {runtime.name}"
    before = text_of(params["config"], system)
    changed = before != text or digest not in _worker(runtime).description
    result: dict[str, Any] = {"changed": changed, "reloaded": changed, "pid": _worker(runtime).pid}
    if context.diff_mode:
        path = params["config"]
        result["diff"] = {"before": before or "", "after": text, "before_header": path, "after_header": path}
    if changed and not context.check_mode:
        activation = _Activation(runtime, system, params, context)
        activation.test(text)
        result["pid"] = activation.activate(text, digest, before)
    return result


@dataclass(frozen=True)
class _Worker:
    """The live worker: ``description`` is that of its configuration. Of one that does not answer all is empty."""

    pid: int | None = None
    description: str = ""


def _worker(runtime: Runtime) -> _Worker:
    try:
        info = runtime.info()
    except Unreachable:
        return _Worker()
    return _Worker(int(info["Pid"]), info.get("description", ""))


@dataclass(frozen=True)
class _Activation:
    """The steps, and the way back."""

    runtime: Runtime
    system: str
    params: Mapping[str, Any]
    context: Context

    def test(self, text: str) -> None:
        """Let HAProxy test the text, before anything is changed.

        :raises Rejected: it does not take it.
        """
        folder = os.path.dirname(self.params["config"])
        handle, path = tempfile.mkstemp(dir=folder if os.path.isdir(folder) else None, prefix=".zdd-", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            command = [program(self.params["haproxy"]), "-c", "-f", path]
            # The operation also runs inside the controller, where there is no module whose run_command could be called.
            tested = subprocess.run(  # pylint: disable=ansible-bad-function
                command, capture_output=True, text=True, errors="replace", timeout=_TEST_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotFound(
                "not_found", f"{self.system}: {self.params['haproxy']} cannot be run: {error}", system=self.system
            ) from None
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
        if tested.returncode:
            told = _PROCESS.sub("", tested.stderr.replace(path, self.params["config"]))
            complaint = told.strip().splitlines()
            shown = next((line for line in complaint if "[ALERT]" in line), "it gives no reason")
            raise Rejected(
                "invalid_configuration",
                f"{self.system} refuses the configuration: {shown.rstrip('.')}. Nothing was changed.",
                system=self.system,
                request="haproxy -c",
                detail=complaint[-10:],
            )

    def activate(self, text: str, digest: str, before: str | None) -> int | None:
        """Write and load it, and wait for the new worker; return its pid.

        :raises DeadlinePassed: it did not come; the old file is back, and loaded again.
        """
        self._master()
        write(self.params["config"], text, self.system)
        try:
            return self._load(digest)
        except DeadlinePassed as error:
            write(self.params["config"], before, self.system)
            raise DeadlinePassed(
                "reload_failed",
                f"{error.message}. {self._loaded_again()} HAProxy says why in its log (a port that is taken, say).",
                system=self.system,
                request="SIGUSR2",
            ) from None

    def _load(self, digest: str | None) -> int | None:
        """``digest``: what the new worker's configuration is described with, ``None`` for whatever there was before."""
        master, old = self._master(), _worker(self.runtime)
        self._keep_servers()
        os.kill(master, signal.SIGUSR2)
        self.context.changes.append(f"{self.runtime.name}: reload")

        def pending(worker: _Worker) -> str | None:
            if worker.pid is None:
                return f"{self.system} does not answer"
            if worker.pid == old.pid:
                return f"{self.system} has not loaded its configuration: worker {worker.pid} is the one from before"
            if digest is not None and digest not in worker.description:
                return f"{self.system} does not show the new configuration"
            return None

        return wait_until(
            self.context,
            lambda: _worker(self.runtime),
            pending,
            timeout=self.params["wait_timeout"],
            pauses=_PAUSES,
            look_at_once=False,
        ).pid

    def _keep_servers(self) -> None:
        """Write down what the servers are, for the new worker. One that does not answer has nothing to keep."""
        if self.params["state_file"]:
            try:
                states = self.runtime.all_server_states()
            except Unreachable:
                return
            write(self.params["state_file"], states, self.system)

    def _loaded_again(self) -> str:
        path = self.params["config"]
        try:
            self._load(None)
        except (DeadlinePassed, Unreachable) as error:
            return f"{path} is as it was before; whether it is loaded was not seen: {error.message}."
        return f"{path} is as it was before, and loaded again."

    def _master(self) -> int:
        """The pid of the running master.

        :raises Unreachable: HAProxy does not run.
        """
        path = self.params["pid_file"]
        try:
            with open(path, encoding="ascii") as file:
                pid = int(file.read().split()[0])
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                if file.read().strip() == "haproxy":
                    return pid
        except (OSError, ValueError, IndexError):
            pass
        raise Unreachable(
            "not_running",
            f"{self.system}: HAProxy does not run ({path} names no process of it). Start it first.",
            system=self.system,
        )
