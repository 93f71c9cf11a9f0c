# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events wake somebody who rests, seldom, and their loss only makes things slower."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from queue import Queue
from typing import Any

from ansible_collections.zdd.rollout.plugins.module_utils._http import Http
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.client import Marathon
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.events import DEAF, LISTENING, Events, parse
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import Reply, Request, serving


def frame(**data: Any) -> bytes:
    return f"event: {data['eventType']}\r\ndata: {json.dumps(data)}\r\n\r\n".encode()


class Source:
    """Streams whatever is put into ``frames``; ``None`` ends the stream."""

    def __init__(self) -> None:
        self.frames: Queue[bytes | None] = Queue()
        self.opened = threading.Semaphore(0)

    def __call__(self, _request: Request) -> Reply:
        self.opened.release()
        return 200, self._stream(), {"Content-Type": "text/event-stream"}

    def _stream(self) -> Iterator[bytes]:
        while (chunk := self.frames.get()) is not None:
            yield chunk


def subscribed(url: str, matters: Any = lambda _event: True) -> Events:
    return Events(Marathon(Http("Marathon", [url], Context()), Context()), ["a", "b"], matters)


def test_an_event_that_matters_ends_the_rest() -> None:
    source = Source()
    with serving(source) as server, subscribed(server.url, lambda event: event["n"] == 2) as events:
        assert events.connected
        assert server.got[0].query["event_type"] == ["a", "b"]
        source.frames.put(frame(eventType="a", n=1))
        assert not events.rest(0.3)
        source.frames.put(frame(eventType="a", n=2))

        started = time.monotonic()
        assert events.rest(30)
        assert time.monotonic() - started < 15
        source.frames.put(None)


def test_a_burst_wakes_a_few_times_not_each_time() -> None:
    source = Source()
    with serving(source) as server, subscribed(server.url) as events:
        for number in range(200):
            source.frames.put(frame(eventType="a", n=number))
        woken = 0
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            woken += events.rest(end - time.monotonic())

        assert 1 <= woken <= 5
        source.frames.put(None)


def test_a_stream_that_ends_wakes_and_is_opened_again() -> None:
    source = Source()
    with serving(source) as server, subscribed(server.url) as events:
        source.opened.acquire()
        source.frames.put(None)

        assert events.rest(30), "events may have been missed"
        assert source.opened.acquire(timeout=30), "subscribed again"
        source.frames.put(None)


def test_without_a_stream_looks_are_frequent_and_nothing_is_raised() -> None:
    with serving(lambda _request: (503, "")) as server, subscribed(server.url) as events:
        assert not events.connected
        assert not events.rest(0.05)
        assert [events.pauses.after(pause) for pause in (None, 20.0)] == [DEAF.first, 30]


def test_with_a_stream_few_looks_do_for_any_time() -> None:
    source = Source()
    with serving(source) as server, subscribed(server.url) as events:
        elapsed, looks, pause = 0.0, 0, None
        while elapsed < 300:
            pause = events.pauses.after(pause)
            elapsed, looks = elapsed + pause, looks + 1
        source.frames.put(None)

    assert looks <= 5
    assert LISTENING.longest > 300


def test_garbage_in_the_stream_is_survived() -> None:
    source = Source()
    with serving(source) as server, subscribed(server.url) as events:
        source.frames.put(b"data: {no json\n\n")

        assert events.rest(30), "the stream is taken for lost"
        source.frames.put(None)


def test_events_are_read_over_any_number_of_lines_and_comments_are_not_events() -> None:
    lines = [": hello", "event: a", 'data: {"n":', "data: 1}", "", "", 'data: {"eventType": "b"}', ""]

    assert list(parse(lines)) == [{"n": 1, "eventType": "a"}, {"eventType": "b"}]
