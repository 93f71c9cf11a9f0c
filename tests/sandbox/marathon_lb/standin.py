# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in itself: events set a flag, one worker turns the list of apps into a configuration and reloads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any

import aiohttp

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.marathon_lb_decision import (
    Service,
    Undecidable,
    services,
)
from tests.sandbox.marathon_lb.haproxy import Haproxy, check_length, free_port, logger
from tests.sandbox.marathon_lb.marathon_api import EVENTS, MarathonApi, Unavailable
from tests.sandbox.marathon_lb.template import Place, configuration

# Seconds, as in the real one: a full look without any event; the first longest pause before a reconnect, by what it
# grows, its end, and after how long a stream it starts anew.
IDLE_LOOK = 300.0
FIRST_BACKOFF, BACKOFF_FACTOR, MAX_BACKOFF, BACKOFF_RESET = 3.0, 1.5, 300.0, 600.0
# From an event to the answer of a real Marathon. With the real one a task that is healthy shows up after 0.2 to 1 s;
# an instant answer would make a stand-in that is faster than that, and that reloads for each of several tasks at once.
REACTION = 0.05
REMEMBERED_TASKS = 1000
APP_ID_PORT = 9091


class MarathonLbStandIn:
    """One marathon-lb with ``--health-check``, and its HAProxy, on one address.

    ``marathon_urls`` are the members of the cluster. HAProxy's statistics are at ``host:port`` (the port 9090 of the
    real one), the service ports are bound on ``host``; files go to ``workdir``. ``groups`` are marathon-lb's
    ``--group``. ``stock_template`` leaves ``option idle-close-on-response`` out. ``credentials`` is ``user:password``
    at Marathon, for HTTP basic or, with ``dcos_login``, for DC/OS's login.

    ``changes`` counts the configurations that were written, ``reloads`` those of HAProxy, its first start included.
    """

    def __init__(
        self,
        marathon_urls: Sequence[str],
        host: str,
        port: int,
        workdir: Path,
        *,
        groups: Sequence[str] = ("external",),
        stock_template: bool = False,
        nbthread: int = 1,
        credentials: str | None = None,
        dcos_login: bool = False,
    ) -> None:
        workdir.mkdir(parents=True, exist_ok=True)
        self._place = Place(
            host=host,
            stats_port=port,
            app_id_port=free_port(host, 0 if port == APP_ID_PORT else APP_ID_PORT),
            runtime_port=free_port(host, 0),
            folder=workdir.resolve(),
        )
        check_length(self._place.socket)
        self.changes = 0
        self.delay = 0.0
        self._groups = tuple(groups)
        self._stock_template = stock_template
        self._nbthread = nbthread
        self._log = logger(self._place.folder / "marathon-lb.log")
        self._haproxy = Haproxy(self._place, self._log)
        self._marathon = MarathonApi(marathon_urls, self._log, credentials=credentials, dcos_login=dcos_login)
        self._alive: OrderedDict[str, bool] = OrderedDict()
        self._addresses: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._live = asyncio.Event()
        self._pending_reset = False
        self._pending_reload = False
        self._certain_reload = False
        self._tasks: list[asyncio.Task[None]] = []
        self._fifo: int | None = None

    @property
    def host(self) -> str:
        """The address of all ports."""
        return self._place.host

    @property
    def url(self) -> str:
        """Where the statistics, the configuration and the pids are."""
        return f"http://{self._place.host}:{self._place.stats_port}"

    @property
    def socket(self) -> Path:
        """The UNIX runtime socket."""
        return self._place.socket

    @property
    def tcp_socket(self) -> str:
        """The TCP runtime socket, ``HOST:PORT``."""
        return f"{self._place.host}:{self._place.runtime_port}"

    @property
    def config(self) -> Path:
        """HAProxy's configuration file."""
        return self._place.config

    @property
    def reloads(self) -> int:
        """How often HAProxy was started or reloaded."""
        return self._haproxy.reloads

    @property
    def up(self) -> bool:
        """Whether HAProxy runs."""
        return self._haproxy.running

    def pids(self) -> list[int]:
        """Return the pids of HAProxy's master and workers."""
        return self._haproxy.pids()

    async def start(self) -> None:
        """Follow Marathon; return when the first configuration is live.

        Raises ``TimeoutError`` when that takes longer than 30 s; the log in the work folder says why.
        """
        self._place.state.unlink(missing_ok=True)
        self._place.config.unlink(missing_ok=True)
        self._place.socket.unlink(missing_ok=True)
        self._marathon.open()
        self._listen_to_signals()
        self._live.clear()
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._work())]
        try:
            await asyncio.wait_for(self._live.wait(), timeout=30)
        except TimeoutError as error:
            await self.stop()
            raise TimeoutError(f"HAProxy did not start: see the logs in {self._place.folder}.") from error

    async def stop(self) -> None:
        """End everything at once: HAProxy with all its connections, and following Marathon."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._haproxy.kill()
        await self._marathon.close()
        if self._fifo is not None:
            asyncio.get_running_loop().remove_reader(self._fifo)
            os.close(self._fifo)
            self._fifo = None

    def reset(self) -> None:
        """Fetch the apps and make the configuration anew, as after an event or SIGHUP."""
        self._pending_reset = True
        self._wake.set()

    def reload(self, *, certainly: bool = False) -> None:
        """Reload HAProxy with the configuration that is there, as after SIGUSR1.

        As in the real one, a reset that is pending too takes precedence and the reload is forgotten, but not when it
        is to be done ``certainly``.
        """
        self._pending_reload = True
        self._certain_reload = self._certain_reload or certainly
        self._wake.set()

    def getpids(self, answered: bool) -> None:
        """Have ``/_haproxy_getpids`` answer, or give 503."""
        if answered:
            self._place.getpids_off.unlink(missing_ok=True)
        else:
            self._place.getpids_off.touch()

    async def _follow(self) -> None:
        """Follow the events of one member after the other; each connect brings a full look."""
        longest = FIRST_BACKOFF
        while True:
            started = time.monotonic()
            pause = random.random() * longest
            self.reset()
            try:
                async for event in self._marathon.events():
                    if event in EVENTS:
                        self.reset()
                self._log.info("the event stream ended")
            except TimeoutError:  # silence, not an error: at once, so that as few events as possible are missed
                self._log.info("nothing came through the event stream, connecting again")
                continue
            except (aiohttp.ClientError, OSError, ValueError) as error:
                self._log.error("event stream: %r, connecting again in %.1f s", error, pause)
            longest = min(longest * BACKOFF_FACTOR, MAX_BACKOFF)
            if time.monotonic() - started > BACKOFF_RESET:
                longest = FIRST_BACKOFF
            await asyncio.sleep(pause)

    async def _work(self) -> None:
        """Do what is pending, one after the other; events that come meanwhile are one more reset, however many."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout=IDLE_LOOK)
            if self.delay:
                await asyncio.sleep(self.delay)
            reset = self._pending_reset or not self._pending_reload
            reload = self._certain_reload or not reset
            self._wake.clear()
            self._pending_reset = self._pending_reload = self._certain_reload = False
            try:
                if reset:
                    await self._regenerate()
                if reload:
                    await self._reload_existing()
            except (Unavailable, Undecidable, KeyError, OSError) as error:
                # Like the real one: write nothing, for no app, and wait for the next event.
                self._log.error("no configuration is written: %s", error)

    async def _reload_existing(self) -> None:
        if await self._haproxy.valid(self._place.config):
            await self._haproxy.reload()

    async def _regenerate(self) -> None:
        await asyncio.sleep(REACTION)
        apps = await self._marathon.apps()
        text = self._text(self._services(apps))
        if text == self._written():
            self._live.set()
            return
        if not await self._write_and_reload(text):
            await self._without_invalid_apps(apps)

    async def _write_and_reload(self, text: str) -> bool:
        """Make ``text`` the live configuration; return ``False`` when HAProxy rejects it."""
        draft = await self._draft(text)
        if draft is None:
            return False
        before = self._written() or ""
        self._log.info("\n".join(["new configuration", *unified_diff(before.splitlines(), text.splitlines(), n=0)]))
        draft.replace(self._place.config)
        self.changes += 1
        await self._haproxy.reload()
        self._live.set()
        return True

    async def _without_invalid_apps(self, apps: Sequence[Mapping[str, Any]]) -> None:
        """Add one app after the other, leave out those with which HAProxy rejects the configuration."""
        accepted: list[Mapping[str, Any]] = []
        for app in apps:
            if await self._draft(self._text(self._services([*accepted, app]))) is None:
                self._log.warning("invalid configuration caused by app %s; it will be excluded", app["id"])
            else:
                accepted.append(app)
        text = self._text(self._services(accepted))
        if accepted and text != self._written():
            await self._write_and_reload(text)

    async def _draft(self, text: str) -> Path | None:
        """Write ``text`` beside the configuration; ``None`` when HAProxy rejects it."""
        draft = self._place.config.with_suffix(".tmp")
        draft.write_text(text)
        return draft if await self._haproxy.valid(draft) else None

    def _written(self) -> str | None:
        return self._place.config.read_text() if self._place.config.exists() else None

    def _text(self, decided: Sequence[Service]) -> str:
        return configuration(decided, self._place, stock_template=self._stock_template, nbthread=self._nbthread)

    def _services(self, apps: Sequence[Mapping[str, Any]]) -> list[Service]:
        self._remember(apps)
        return services(apps, self._groups, True, self._resolve, self._alive)

    def _remember(self, apps: Sequence[Mapping[str, Any]]) -> None:
        """Keep the health of tasks for when Marathon lists them without."""
        for task in (task for app in apps for task in app.get("tasks", ())):
            if task.get("healthCheckResults") is not None:
                self._alive.pop(task["id"], None)
                self._alive[task["id"]] = any(result.get("alive") for result in task["healthCheckResults"])
                if len(self._alive) > REMEMBERED_TASKS:
                    self._alive.popitem(last=False)

    def _resolve(self, host: str) -> str:
        if host not in self._addresses:
            try:
                self._addresses[host] = socket.gethostbyname(host)
            except socket.gaierror:
                return ""
        return self._addresses[host]

    def _listen_to_signals(self) -> None:
        """Read the FIFO of ``/_mlb_signal``."""
        self._place.signals.unlink(missing_ok=True)
        os.mkfifo(self._place.signals)
        # Opened for writing too, so that it never reads as ended and writers never wait.
        self._fifo = os.open(self._place.signals, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._fifo, self._on_signal, self._fifo)

    def _on_signal(self, fifo: int) -> None:
        for name in os.read(fifo, 4096).decode().split():
            self._log.info("received SIG%s", name)
            if name == "HUP":
                self.reset()
            else:
                self.reload()
