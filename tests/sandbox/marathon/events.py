# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event stream: what happens is published once and goes to every stream that asked for its type."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from tests.sandbox.marathon.stamps import stamp

OUTSTANDING = 1024  # a reader that lags behind further is cut off (Marathon 1.8 and newer)


class Stream:
    """One reader: an endless iterator over encoded events that ends when the reader is cut off."""

    def __init__(self, types: Iterable[str]) -> None:
        self._types = frozenset(types)
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def offer(self, kind: str, frame: bytes) -> None:
        if self._types and kind not in self._types:
            return
        if self._queue.qsize() >= OUTSTANDING:
            while not self._queue.empty():
                self._queue.get_nowait()
            self.cut()
        else:
            self._queue.put_nowait(frame)

    def cut(self) -> None:
        self._queue.put_nowait(None)

    async def next(self) -> bytes | None:
        """The next event as it goes over the wire, ``None`` when the stream ends."""
        return await self._queue.get()


class Events:
    """All streams."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()

    def attach(self, types: Iterable[str]) -> Stream:
        stream = Stream(types)
        self._streams.add(stream)
        return stream

    def detach(self, stream: Stream) -> None:
        self._streams.discard(stream)

    def cut_all(self) -> None:
        for stream in list(self._streams):
            stream.cut()

    def publish(self, kind: str, **data: Any) -> None:
        if not self._streams:
            return
        text = json.dumps({**data, "eventType": kind, "timestamp": stamp()}, separators=(",", ":"))
        frame = f"event: {kind}\r\ndata: {text}\r\n\r\n".encode()
        for stream in list(self._streams):
            stream.offer(kind, frame)
