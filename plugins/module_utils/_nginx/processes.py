# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of one nginx, as /proc shows them.

A worker that has to end after a reload says so in its title and lives until its connections are done
(``nginx: worker process is shutting down``).
"""

from __future__ import annotations

import os

from .._errors import Unreachable

_MASTER = "nginx: master process"
_WORKER = "nginx: worker process"
_SHUTTING_DOWN = "is shutting down"


def master(pid_file: str, system: str) -> int:
    """The pid of the running master.

    :raises Unreachable: nginx does not run.
    """
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read().strip())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no number in it"
        raise _not_running(f"pid file {pid_file}: {why}", system) from None
    if not _title(pid).startswith(_MASTER):
        raise _not_running(f"process {pid} of {pid_file} is no nginx master", system)
    return pid


def master_of(worker: int) -> int | None:
    """The pid of a worker's master; ``None`` when the worker is gone."""
    return _parent(worker)


def workers(master_pid: int) -> dict[int, bool]:
    """The workers of a master by pid, and whether each one is shutting down."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and _parent(int(name)) == master_pid:
            title = _title(int(name))
            if title.startswith(_WORKER):
                found[int(name)] = _SHUTTING_DOWN in title
    return found


def old_workers(master_pid: int) -> int:
    """How many workers from before a reload still serve."""
    return sum(workers(master_pid).values())


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name of the program, in parentheses, may have spaces; after it come the state and the parent.
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):  # it has just ended
        return None


def _title(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read().replace("\0", " ")
    except OSError:  # it has just ended
        return ""


def _not_running(why: str, system: str) -> Unreachable:
    return Unreachable("not_running", f"{system}: nginx does not run ({why}). Start it first.", system=system)
