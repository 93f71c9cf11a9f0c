# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deadline for a whole HTTP answer.

The timeout of a socket is one for each read: an answer that drips in byte by byte, headers too, never meets it.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from typing import Any


class BoundedSocket:
    """A connected socket whose answers have to be there, whole, until ``deadline()``, in ``time.monotonic`` seconds.

    ``deadline`` is called when an answer begins; ``None`` is none. All else is the socket's own.
    """

    def __init__(self, connected: socket.socket, deadline: Callable[[], float | None]) -> None:
        self._connected = connected
        self._deadline = deadline

    def makefile(self, *args: Any, **kwargs: Any) -> Any:
        """The reader of one answer (``http.client`` makes one for each)."""
        deadline = self._deadline()
        if deadline is None:
            return self._connected.makefile(*args, **kwargs)
        return io.BufferedReader(_Reader(self._connected, deadline))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connected, name)


class _Reader(io.RawIOBase):
    """Reads until the deadline. It is made of the socket's own file, which keeps the socket open while it is read."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        super().__init__()
        self._connected = connected
        self._file = connected.makefile("rb", buffering=0)
        self._deadline = deadline
        self._timeout_before = connected.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """As of any raw file.

        :raises TimeoutError: the deadline has passed.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._connected.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            if self._connected.fileno() != -1:  # a connection that is kept
                self._connected.settimeout(self._timeout_before)
        super().close()
