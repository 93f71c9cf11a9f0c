# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a user's command and read what it prints, within a deadline and a size."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from ._errors import InvalidInput, Unreachable

_LARGEST_OUTPUT = 1024 * 1024
_SHOWN = 200


def output(command: Sequence[str], timeout: float) -> str:
    """What ``command`` prints. It runs without a shell, as a process group that does not outlive this call.

    :raises InvalidInput: there is no such command. :raises Unreachable: it failed, took longer than ``timeout`` seconds
        or printed without end.
    """
    try:
        # An operation also runs inside the controller, where there is no module whose run_command could be called.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidInput("invalid_option", f"Option command: {command[0]!r} cannot be run ({why}).") from None
    try:
        printed, complained = _read(process, time.monotonic() + timeout)
        if printed is None:
            raise _failed(command, complained)
        if process.returncode:
            raise _failed(command, f"ended with {process.returncode}: {_short(complained)}")
        return printed
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[str | None, str]:
    """Output and error output of a process that has ended; ``None`` and the reason when it was not waited for."""
    streams = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return None, "took too long"
            for key, _events in ready:
                part = os.read(key.fd, 65536)
                if not part:
                    selector.unregister(key.fileobj)
                streams[key.fileobj] += part
                if len(streams[key.fileobj]) > _LARGEST_OUTPUT:
                    return None, f"printed more than {_LARGEST_OUTPUT >> 20} MiB"
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None, "took too long"
    return streams[process.stdout].decode("utf-8", "replace"), streams[process.stderr].decode("utf-8", "replace")


def _failed(command: Sequence[str], why: str) -> Unreachable:
    return Unreachable("command_failed", f"The command {command[0]} {why}", system=command[0])


def _short(text: str) -> str:
    return repr(" ".join(text.split())[-_SHOWN:])
