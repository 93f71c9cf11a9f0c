# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in in a thread of its own, for callers that have no event loop."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.sandbox.marathon.model import Agent
from tests.sandbox.marathon.standin import MarathonStandIn

T = TypeVar("T")


class Threaded:
    """A running stand-in; ``call`` runs something of it where it lives."""

    def __init__(self, standin: MarathonStandIn, loop: asyncio.AbstractEventLoop) -> None:
        self.standin = standin
        self._loop = loop

    @property
    def urls(self) -> list[str]:
        return self.standin.urls

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """``function(*args, **kwargs)`` in the stand-in's thread."""

        async def called() -> T:
            return function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(30)


def network() -> str:
    """The first three octets of a loopback network that is most likely nobody's."""
    return f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"


@contextmanager
def running(
    workdir: Path, *, members: int = 1, agents: int = 4, cpus: float = 8.0, mem: float = 8192.0, **options: Any
) -> Iterator[Threaded]:
    """A stand-in on free addresses; ``options`` go to ``MarathonStandIn``."""
    prefix = network()
    standin = MarathonStandIn(
        [(f"{prefix}.{1 + number}", 0) for number in range(members)],
        [Agent(f"agent-{number}", f"{prefix}.{11 + number}", cpus, mem) for number in range(agents)],
        workdir=workdir,
        **{"service_command": "exec python3 -m http.server", **options},
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="marathon", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(standin.start(), loop).result(30)
        yield Threaded(standin, loop)
    finally:
        asyncio.run_coroutine_threadsafe(standin.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
