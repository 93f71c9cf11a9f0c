# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a deployment group as a config of the swarm: its managers create a name for one of two callers only.

The lease stands in the config's labels, the only part of a config that can be changed.
"""

from __future__ import annotations

import hashlib
import string
from typing import Any

from .._errors import Locked
from .._rollout.lock import Lease
from .client import Swarm
from .group import GROUP_LABEL

_PREFIX = "zdd-rollout-lock-"
_LONGEST = 64  # characters of a config's name (swarmkit: manager/controlapi/config.go)
_PLAIN = frozenset(string.ascii_lowercase + string.digits)
_HASH = 32  # hexadecimal digits
_TEXT = b"The labels of this config are the lock of a deployment group. It goes when the rollout ends.\n"


class SwarmLockStore:
    """The lock of one group in one swarm; the methods are those of the operation's ``LockStore``."""

    takeover = "swarm_bluegreen_lock_takeover"

    def __init__(self, swarm: Swarm, group: str) -> None:
        self._swarm = swarm
        self._group = group
        self._name = config_name(group)
        self._seen: dict[str, Any] | None = None

    @property
    def url(self) -> str:
        """The address of the manager that answered last."""
        return self._swarm.url

    def held(self) -> Lease | None:
        """Read the config's labels, and remember which config it is.

        :raises Locked: there is a config of that name which is no lock.
        """
        self._seen = next(iter(self._swarm.configs(name=self._name)), None)
        if self._seen is None:
            return None
        lease = Lease.from_labels(self._seen["Spec"].get("Labels") or {})
        if lease is None:
            raise Locked(
                "group_locked",
                f"The config {self._name} is no lock of this collection; remove it.",
                system=self.url,
            )
        return lease

    def create(self, mine: Lease) -> None:
        """Create the config."""
        self._swarm.create_config(self._name, self._labels(mine), _TEXT)

    def renew(self, lease: Lease) -> None:
        """Replace the labels of the config that :meth:`held` has seen, as it was then."""
        if self._seen is not None:
            self._swarm.label_config(self._seen, self._labels(lease))

    def remove(self) -> None:
        """Remove the config that :meth:`held` has seen: by its id, so never one that another run has made since."""
        if self._seen is not None:
            self._swarm.remove_config(self._seen["ID"])

    def _labels(self, lease: Lease) -> dict[str, str]:
        return {**lease.labels(), GROUP_LABEL: self._group}


def config_name(group: str) -> str:
    """The name of a group's config: letters, digits, ``-``, ``.`` and ``_``, a letter or a digit at the end.

    A swarm takes names that differ in case only for the same, so capitals and anything else are written as ``_CODEz``.
    ``_`` begins nothing else, so that two groups never share a lock. Of a name that is too long, the beginning and a
    hash are left; ``_h`` tells them from a name that is written out.
    """
    written = "".join(
        char if char in _PLAIN or (char in "-." and place < len(group)) else f"_{ord(char):x}z"
        for place, char in enumerate(group, 1)
    )
    room = _LONGEST - len(_PREFIX)
    if len(written) > room:
        digest = hashlib.sha256(group.encode()).hexdigest()[:_HASH]
        written = f"{written[: room - _HASH - 2]}_h{digest}"
    return _PREFIX + (written or "_z")
