# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control API of a sandbox: what was asked of Marathon, how the LBs are, and faults on demand."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aiohttp import web

from tests.sandbox.marathon import MarathonStandIn
from tests.sandbox.marathon_lb import MarathonLbStandIn
from tests.sandbox.plain_lb import PlainLb

Balancer = TypeVar("Balancer", MarathonLbStandIn, PlainLb)

MARATHON_FAULTS = (
    "marathon_status",
    "marathon_drop",
    "marathon_slow",
    "events_drop",
    "events_off",
    "leader_change",
    "no_offers",
    "task_kill",
    "task_unhealthy",
    "auth_expire",
)


class Control:
    """Serves the control API; ``lbs`` and ``plain_lbs`` may still grow until ``start``."""

    def __init__(
        self, marathon: MarathonStandIn, lbs: Sequence[MarathonLbStandIn], plain_lbs: Sequence[PlainLb]
    ) -> None:
        self.url = ""
        self._marathon = marathon
        self._lbs = lbs
        self._plain_lbs = plain_lbs
        self._runner: web.AppRunner | None = None
        self._returning: dict[MarathonLbStandIn | PlainLb, asyncio.Task[None]] = {}
        self._down: list[MarathonLbStandIn | PlainLb] = []
        self._faults: dict[str, Callable[..., Any]] = {
            **{name: getattr(marathon, name) for name in MARATHON_FAULTS},
            "lb_down": self._lb_down,
            "lb_reload": self._lb_reload,
            "lb_slow": self._lb_slow,
            "getpids_off": self._getpids_off,
            "plain_lb_reload": self._plain_lb_reload,
            "plain_lb_down": self._plain_lb_down,
        }

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 means a free one. Raises ``OSError``."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/requests", self._get_requests),
                web.delete("/requests", self._delete_requests),
                web.get("/lbs", self._get_lbs),
                web.get("/plain_lbs", self._get_plain_lbs),
                web.post("/faults", self._post_faults),
                web.delete("/faults", self._delete_faults),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, shutdown_timeout=0.1)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening; LBs that are down stay down."""
        for task in self._returning.values():
            task.cancel()
        await asyncio.gather(*self._returning.values(), return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _get_requests(self, request: web.Request) -> web.Response:
        log = [
            {
                "t": entry.time,
                "method": entry.method,
                "path": entry.path,
                "agent": entry.agent,
                "status": entry.status,
            }
            for entry in self._marathon.requests
        ]
        return web.json_response({"by_agent": Counter(entry["agent"] for entry in log), "log": log})

    async def _delete_requests(self, request: web.Request) -> web.Response:
        self._marathon.requests.clear()
        return web.json_response({})

    async def _get_lbs(self, request: web.Request) -> web.Response:
        return web.json_response(
            [{"changes": lb.changes, "reloads": lb.reloads, "up": lb.up, "pids": lb.pids()} for lb in self._lbs]
        )

    async def _get_plain_lbs(self, request: web.Request) -> web.Response:
        return web.json_response([{"reloads": lb.reloads, "up": lb.up, "pids": lb.pids()} for lb in self._plain_lbs])

    async def _post_faults(self, request: web.Request) -> web.Response:
        """Start a fault. 400 with a message for unknown kinds and fields."""
        try:
            fields = dict(await request.json())
            kind = fields.pop("kind")
            start = self._faults[kind]
            inspect.signature(start).bind(**fields)
        except KeyError as error:
            return _refused(f"There is no fault of the kind {error}: {', '.join(self._faults)}.")
        except (TypeError, ValueError) as error:
            return _refused(f"The fault cannot be read: {error}.")
        try:
            result = start(**fields)
            if inspect.isawaitable(result):
                result = await result
        except (ValueError, LookupError) as error:
            return _refused(f"The fault cannot be started: {error}.")
        return web.json_response({"kind": kind, "result": result})

    async def _delete_faults(self, request: web.Request) -> web.Response:
        self._marathon.clear_faults()
        for lb in self._lbs:
            lb.delay = 0.0
            lb.getpids(answered=True)
        for task in self._returning.values():
            task.cancel()
        await asyncio.gather(*self._returning.values(), return_exceptions=True)
        self._returning.clear()
        for lb in list(self._down):
            await self._return(lb)
        return web.json_response({})

    async def _lb_down(self, lb: int = 0, seconds: float | None = None) -> None:
        """Kill an LB, HAProxy and all; it is started again after ``seconds``, else when all faults are ended."""
        await self._take_down(self._lb(lb), seconds)

    async def _plain_lb_down(self, lb: int = 0, seconds: float | None = None) -> None:
        """The same for an ordinary HAProxy."""
        await self._take_down(self._plain_lb(lb), seconds)

    async def _take_down(self, lb: MarathonLbStandIn | PlainLb, seconds: float | None) -> None:
        if lb not in self._down:
            self._down.append(lb)
            await lb.stop()
        if seconds is not None:
            self._returning[lb] = asyncio.create_task(self._return_after(lb, seconds))

    async def _return_after(self, lb: MarathonLbStandIn | PlainLb, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._return(lb)

    async def _return(self, lb: MarathonLbStandIn | PlainLb) -> None:
        await lb.start()
        self._down.remove(lb)

    def _lb_reload(self, lb: int = 0) -> None:
        self._lb(lb).reload(certainly=True)

    async def _plain_lb_reload(self, lb: int = 0, keep_state: bool = False) -> None:
        await self._plain_lb(lb).reload(keep_state=keep_state)

    def _lb_slow(self, delay: float, lb: int = 0) -> None:
        self._lb(lb).delay = delay

    def _getpids_off(self, lb: int | None = None) -> None:
        for each in self._lbs if lb is None else [self._lb(lb)]:
            each.getpids(answered=False)

    def _lb(self, number: int) -> MarathonLbStandIn:
        return _numbered(self._lbs, number, "load balancers")

    def _plain_lb(self, number: int) -> PlainLb:
        return _numbered(self._plain_lbs, number, "ordinary HAProxy")


def _numbered(lbs: Sequence[Balancer], number: int, kind: str) -> Balancer:
    if not 0 <= number < len(lbs):
        raise LookupError(f"there are {len(lbs)} {kind}, counted from 0, and no number {number}")
    return lbs[number]


def _refused(text: str) -> web.Response:
    return web.json_response({"message": text}, status=400)
