# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may change a deployment group: a lease with an owner, decided purely.

A run holds the lock of its group. It says who holds it, since when, and until when it is believed without being
renewed. A holder that is known to be dead (its process on this very host is gone) or whose lease is over loses it to
the next run; anybody else is refused unless the user takes it over.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_PREFIX = "ZDD_LOCK_"


@dataclass(frozen=True)
class Lease:
    """``owner`` is ``user@host``, ``process`` the process id with its start time there; times are aware, in UTC."""

    group: str
    owner: str
    process: str
    since: datetime
    until: datetime

    def labels(self) -> dict[str, str]:
        """The lease as labels of an app, or of a config of Docker."""
        return {
            f"{_PREFIX}GROUP": self.group,
            f"{_PREFIX}OWNER": self.owner,
            f"{_PREFIX}PROCESS": self.process,
            f"{_PREFIX}SINCE": self.since.isoformat(timespec="seconds"),
            f"{_PREFIX}UNTIL": self.until.isoformat(timespec="seconds"),
        }

    def as_dict(self) -> dict[str, str]:
        """Plain data for a result."""
        return {name.removeprefix(_PREFIX).lower(): value for name, value in self.labels().items()}

    def is_of(self, other: Lease) -> bool:
        """Whether both are held by the same run."""
        return (self.owner, self.process) == (other.owner, other.process)

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> Lease | None:
        """Read such labels; ``None`` when they are no lease."""
        try:
            return cls(
                group=labels[f"{_PREFIX}GROUP"],
                owner=labels[f"{_PREFIX}OWNER"],
                process=labels[f"{_PREFIX}PROCESS"],
                since=datetime.fromisoformat(labels[f"{_PREFIX}SINCE"]).astimezone(UTC),
                until=datetime.fromisoformat(labels[f"{_PREFIX}UNTIL"]).astimezone(UTC),
            )
        except (KeyError, ValueError):
            return None


def refusal(
    held: Lease,
    mine: Lease,
    now: datetime,
    is_gone: Callable[[str], bool],
    takeover: str = "bluegreen_lock_takeover",
) -> str | None:
    """Why ``mine`` may not replace ``held``; ``None`` when it may. ``is_gone(process)`` looks at this host only.

    ``takeover``: the variable of the role with which a user takes it over.
    """
    if held.is_of(mine) or now >= held.until:
        return None
    if held.owner == mine.owner and is_gone(held.process):
        return None
    left = int((held.until - now).total_seconds())
    pid, since = held.process.partition("/")[0], held.since.isoformat(timespec="seconds")
    return (
        f"The deployment group {held.group} is being changed by {held.owner} (process {pid}) since {since}. Wait for "
        f"its end; if it is dead, its lock ends by itself in {left} s, or take it over now with takeover "
        f"({takeover}=true)."
    )


def owner_name() -> str:
    """``USER@HOST`` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def process_name(pid: int) -> str:
    """``PID/START``: the start time (clock ticks since boot) tells a process from a later one with the same id."""
    return f"{pid}/{_start_time(pid) or 0}"


def process_is_gone(name: str) -> bool:
    """Whether the process of that name on this host has ended."""
    pid, _slash, start = name.partition("/")
    if not pid.isdecimal():
        return False
    found = _start_time(int(pid))
    if found is None:
        return not _exists(int(pid))
    return start != str(found)


def _start_time(pid: int) -> int | None:
    """Field 22 of ``/proc/PID/stat`` (proc(5)); ``None`` where there is no such file, as on systems without it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not Path("/proc/self").exists() or _start_time(pid) is not None
