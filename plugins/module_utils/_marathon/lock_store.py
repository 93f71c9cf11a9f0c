# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a deployment group as an app without instances: Marathon creates an app for one of two callers only."""

from __future__ import annotations

from .._errors import Locked, NotFound
from .._rollout.lock import Lease
from .client import Marathon
from .definitions import app_path

_REMOVAL = 10.0  # seconds that Marathon may take to remove an app without instances


class MarathonLockStore:
    """The lock of one group in one Marathon; the methods are those of the operation's ``LockStore``."""

    takeover = "bluegreen_lock_takeover"

    def __init__(self, marathon: Marathon, folder: str, group: str) -> None:
        self._marathon = marathon
        self._app_id = app_path(f"{folder}/{_segment(group)}")

    @property
    def url(self) -> str:
        """The address of the Marathon that is asked first."""
        return self._marathon.url

    def held(self) -> Lease | None:
        """Read the app's labels.

        :raises Locked: there is an app of that name which is no lock.
        """
        try:
            app = self._marathon.app(self._app_id, embed=())
        except NotFound:
            return None
        lease = Lease.from_labels(app.get("labels") or {})
        if lease is None:
            raise Locked(
                "group_locked",
                f"The app {self._app_id} is no lock of this collection; remove it, or choose another folder for locks.",
                system=self.url,
            )
        return lease

    def create(self, mine: Lease) -> None:
        """Create the app; that Marathon is still removing the one before is waited for."""
        definition = {
            "id": self._app_id,
            "cmd": "sleep 1",
            "instances": 0,
            "cpus": 0.01,
            "mem": 16,
            "portDefinitions": [],  # or Marathon gives it a service port, which a user's app may need
            "labels": mine.labels(),
        }
        context = self._marathon.context
        deadline = context.now() + _REMOVAL
        while True:
            try:
                self._marathon.create_app(definition)
            except Locked:
                if context.now() >= deadline:
                    raise
                context.sleep(0.1)
            else:
                return

    def renew(self, lease: Lease) -> None:
        """Replace the app's labels."""
        self._marathon.update_app(self._app_id, {"labels": lease.labels()}, force=True)

    def remove(self) -> None:
        """Remove the app; that somebody else has removed it is what was wanted."""
        try:
            self._marathon.delete_app(self._app_id)
        except NotFound:
            return


def _segment(group: str) -> str:
    """A group as one segment of an app id: lower case letters, digits, ``-`` and ``.`` (reference B2).

    Anything else is written as its code, so that two groups never share a lock.
    """
    return "".join(
        char if char.isascii() and (char.islower() or char.isdigit()) else f"-{ord(char):x}-" for char in group
    ).strip("-")
