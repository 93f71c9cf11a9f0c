# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marathon's event stream, used to wake somebody who polls.

Nothing is decided by an event: it only makes the next look come sooner. Marathon replays nothing and guarantees no
order (reference B12), so subscribe before a change, and look again after a stream was lost.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._wait import Pauses
from .client import Marathon

# While events come, looks are the exception; without them they are all there is.
LISTENING = Pauses(first=2, factor=4, longest=600)
DEAF = Pauses(first=1, factor=1.5, longest=30)

_FIRST_GAP = 0.1
_LONGEST_GAP = 30.0
_FIRST_RETRY = 1.0
_LONGEST_RETRY = 60.0
_CONNECT_WAIT = 2.0


def _always(_event: Mapping[str, Any]) -> bool:
    return True


class Events:
    """A subscription, held by a background thread; a context manager. No method raises because of the stream.

    ``types``: which events Marathon shall send. ``matters(event)``: which of them wake (it runs in the thread; an
    event is its data, with the type in ``eventType``). A burst wakes once: between two wake-ups lies a gap that
    doubles each time, from 0.1 s to 30 s, so there are few of them however many events come. Each is followed by a
    second one after the gap, since Marathon may show a thing a moment after it has told of it. A stream that was lost
    or came back wakes too, since events may have been missed.
    """

    def __init__(
        self, marathon: Marathon, types: Sequence[str], matters: Callable[[Mapping[str, Any]], bool] = _always
    ) -> None:
        self._marathon = marathon
        self._types = list(types)
        self._matters = matters
        self._changed = threading.Condition()
        self._awake = False
        self._echo = False
        self._connected = False
        self._tried = False
        self._closed = False
        self._response: Any = None
        self._gap = 0.0
        self._woke_at = -_LONGEST_GAP
        self._thread = threading.Thread(target=self._listen, name="marathon-events", daemon=True)

    def __enter__(self) -> Events:
        """Subscribe; come back when that is done, was refused, or takes long."""
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._tried, timeout=_CONNECT_WAIT)
            self._awake = False
        return self

    def __exit__(self, *_exception: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            response = self._response
        if response is not None:
            _cut(response)

    @property
    def connected(self) -> bool:
        """Whether events come at the moment."""
        return self._connected

    @property
    def pauses(self) -> Pauses:
        """How often to look: seldom while events come, so that requests do not grow with the time waited."""
        return _PausesByStream(self)

    def rest(self, seconds: float) -> bool:
        """Rest until something that matters has happened since the last rest (then ``True``), ``seconds`` at most."""
        deadline = time.monotonic() + seconds
        with self._changed:
            earliest = self._woke_at + self._gap
            while True:
                now = time.monotonic()
                if (self._awake or self._echo) and now >= earliest:
                    self._awake, self._echo = False, self._awake
                    self._woke_at = now
                    self._gap = min(max(_FIRST_GAP, self._gap * 2), _LONGEST_GAP)
                    return True
                if now >= deadline:
                    return False
                until = min(earliest, deadline) if self._awake or self._echo else deadline
                self._changed.wait(until - now)

    def _listen(self) -> None:
        pause = _FIRST_RETRY
        while not self._closed:
            try:
                self._read_stream()
                pause = _FIRST_RETRY
            except Exception:  # noqa: BLE001
                # Whatever broke the stream (also our own closing it), the poll goes on without it: only slower.
                if self._connected:
                    pause = _FIRST_RETRY
            with self._changed:
                self._tried = True
                self._awake = self._awake or self._connected
                self._connected = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed, timeout=pause)
            pause = min(pause * 3, _LONGEST_RETRY)

    def _read_stream(self) -> None:
        response = self._marathon.open_events(self._types)
        try:
            with self._changed:
                if self._closed:
                    return
                self._response = response
                self._awake = self._awake or self._tried
                self._tried = self._connected = True
                self._changed.notify_all()
            for event in parse(_lines(response)):
                if self._matters(event):
                    with self._changed:
                        self._awake = True
                        self._changed.notify_all()
        finally:
            self._response = None
            response.close()


class _PausesByStream(Pauses):
    """``LISTENING`` or ``DEAF``, as things stand."""

    def __init__(self, events: Events) -> None:
        super().__init__(DEAF.first, DEAF.factor, DEAF.longest)
        object.__setattr__(self, "_events", events)

    def after(self, pause: float | None) -> float:
        return (LISTENING if self._events.connected else DEAF).after(pause)


def parse(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the data of each server-sent event, with the type of its ``event:`` line where the data lacks one."""
    kind, data = None, []
    for line in lines:
        name, _colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif not line:
            if data:
                event = json.loads("\n".join(data))
                yield event if event.get("eventType") else {**event, "eventType": kind}
            kind, data = None, []


def _lines(response: Any) -> Iterator[str]:
    # A chunk is given on as it comes. Without chunks only reading byte by byte does not wait for a full buffer.
    chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    rest = b""
    for piece in response.iter_content(chunk_size=None if chunked else 1):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode(errors="replace")


def _cut(response: Any) -> None:
    """Wake a thread that reads the stream. Where urllib3 is too old to, it ends with the process."""
    shutdown = getattr(response.raw, "shutdown", None)
    if shutdown is None:
        return
    try:
        shutdown()
    except (OSError, ValueError):
        return  # closed by its reader in the meantime
