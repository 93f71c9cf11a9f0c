# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a group out of one nginx: its configuration, and the files of its shares."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, OperationError, Unreachable
from .._files import text_of, write
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._nginx import configuration, processes
from .._nginx.proxy import NGINX_SPEC, Proxy
from .._wait import Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **NGINX_SPEC,
    "pid_file": {"type": "path", "default": "/run/nginx.pid"},
    "wait_timeout": {"type": "float", "default": 30},
}

_PAUSES = Pauses(0.02, 1.3, 0.2)
_OURS = ("live", "share")  # below the folder of the state; a folder that was named by mistake loses nothing else


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Remove the file, reload, see it, and remove the state; see the module's documentation."""
    proxy = Proxy.from_params(params)
    text = text_of(proxy.config, proxy.system)
    if text is not None:
        proxy.checked(configuration.parsed(text, f"{proxy.system}: {proxy.config}"))
    master = _master(params, proxy)
    serves = master is not None and _serves(proxy)
    state = [path for name in _OURS if os.path.isdir(path := os.path.join(proxy.state_dir, name))]
    before = {"config": text is not None, "serves": serves, "state": bool(state)}
    result = outcome(context, "group", before, dict.fromkeys(before, False))
    result["reloaded"] = master is not None and (serves or text is not None)
    if context.check_mode:
        return result
    write(proxy.config, None, proxy.system)
    if result["reloaded"]:
        _reload(proxy, params, context, text)
    elif text is not None:
        context.warn(f"{proxy.system} does not run, so it was not reloaded.")
    _remove(state, proxy)
    return result


def _master(params: Mapping[str, Any], proxy: Proxy) -> int | None:
    """The master's pid, ``None`` when nginx does not run."""
    try:
        return processes.master(params["pid_file"], proxy.system)
    except Unreachable:
        return None


def _serves(proxy: Proxy) -> bool:
    """Whether the status server is there and the group's; one that has the address of another group's is not."""
    try:
        proxy.status()
    except (Unreachable, InvalidInput):
        return False
    return True


def _reload(proxy: Proxy, params: Mapping[str, Any], context: Context, text: str | None) -> None:
    """Let nginx load what is left.

    :raises DeadlinePassed: it does not; the file is back. nginx goes on with its old configuration by itself then.
    """
    master = processes.master(params["pid_file"], proxy.system)
    old = {pid for pid, is_old in processes.workers(master).items() if not is_old}
    os.kill(master, signal.SIGHUP)
    context.changes.append(f"{proxy.name}: reload")

    def look() -> str | None:
        now = processes.workers(processes.master(params["pid_file"], proxy.system))
        busy = [pid for pid in sorted(old) if pid in now and not now[pid]]
        if busy:
            return f"{proxy.system} has not loaded its configuration: worker {busy[0]} is still the one from before"
        return f"{proxy.system} has no worker" if all(now.values()) else None

    try:
        wait_until(context, look, lambda missing: missing, timeout=params["wait_timeout"], pauses=_PAUSES)
    except DeadlinePassed as error:
        write(proxy.config, text, proxy.system)
        raise DeadlinePassed(
            "reload_failed",
            f"{error.message}. {proxy.config} is as it was before. nginx says why in its error log (a configuration of "
            "yours that names the group, say).",
            system=proxy.system,
            request="SIGHUP",
        ) from None


def _remove(state: list[str], proxy: Proxy) -> None:
    try:
        for path in state:
            shutil.rmtree(path)
    except OSError as error:
        raise OperationError(
            "unwritable_file",
            f"{proxy.system}: {error.filename} cannot be removed: {error.strerror}",
            system=proxy.system,
        ) from None
    with suppress(OSError):  # it is not there, or has files of somebody else
        os.rmdir(proxy.state_dir)
