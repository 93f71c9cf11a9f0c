# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of the cluster: they listen, one leads, the others hand everything on to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.sandbox.marathon.api import Api
from tests.sandbox.marathon.auth import Basic, Dcos
from tests.sandbox.marathon.core import Marathon
from tests.sandbox.marathon.exchange import Ask, Reply
from tests.sandbox.marathon.faults import Faults

HELD_FOR = 2.5  # s that a request waits for a leader to be known
ABDICATION_DELAY = 0.5  # s
REOPENED_WITHIN = 30.0  # s
HEARTBEAT = 5.0  # s between line feeds on a quiet event stream, by which a client that is gone is noticed


@dataclass(frozen=True)
class Request:
    """One request that a member got from outside; ``time`` in seconds since the epoch, status 0: no answer."""

    time: float
    agent: str
    method: str
    path: str
    status: int


class _Dropped(Exception):
    """The connection is to be closed without an answer."""


@dataclass(eq=False)
class Member:
    """An address, and the server on it while the member is up."""

    host: str
    port: int
    runner: web.ServerRunner | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"


class Cluster:
    """All members over one Marathon."""

    def __init__(
        self,
        marathon: Marathon,
        addresses: Sequence[tuple[str, int]],
        faults: Faults,
        auth: Basic | Dcos | None,
        heard: Callable[[Request], None],
    ) -> None:
        self.members = [Member(host, port) for host, port in addresses]
        self.leader: Member | None = self.members[0]
        self._marathon = marathon
        self._faults = faults
        self._auth = auth
        self._heard = heard
        self._api = Api(marathon, lambda: self.leader.address if self.leader else None, self._abdicate)
        self._elected = asyncio.Event()
        self._election: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for member in self.members:
            await self._open(member)

    async def stop(self) -> None:
        if self._election is not None:
            self._election.cancel()
        for member in self.members:
            await self._close(member)

    async def _open(self, member: Member) -> None:
        server = web.Server(lambda request: self._handle(member, request))
        # The timeout is for answers under way; event streams have been cut by then.
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, member.host, member.port, reuse_address=True)
        await site.start()
        member.port = runner.addresses[0][1]
        member.runner = runner

    @staticmethod
    async def _close(member: Member) -> None:
        if member.runner is not None:
            runner, member.runner = member.runner, None
            await runner.cleanup()

    # Leadership

    def _abdicate(self) -> None:
        asyncio.get_running_loop().call_later(ABDICATION_DELAY, self.change_leader, 1.0)

    def change_leader(self, seconds: float) -> None:
        """The leader's process ends; after ``seconds`` the next member leads and the old one is back."""
        if self.leader is not None:
            old, self.leader = self.leader, None
            self._elected.clear()
            self._marathon.lose_leader()
            self._election = asyncio.create_task(self._elect(old, seconds))

    def elect_now(self) -> None:
        self._elected.set()

    async def _elect(self, old: Member, seconds: float) -> None:
        await self._close(old)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._elected.wait()
        self.leader = self.members[(self.members.index(old) + 1) % len(self.members)]
        self._marathon.gain_leader()
        await self._reopen(old)

    async def _reopen(self, member: Member) -> None:
        deadline = time.monotonic() + REOPENED_WITHIN
        while member.runner is None:
            try:
                await self._open(member)
            except OSError:  # someone else's connection has the port for a moment
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    async def _known_leader(self) -> Member | None:
        deadline = time.monotonic() + HELD_FOR
        while self.leader is None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return self.leader

    # Requests

    async def _handle(self, member: Member, request: web.BaseRequest) -> web.StreamResponse:
        agent = request.headers.get("User-Agent", "")
        begun, status = time.time(), 0

        def heard(answered: int) -> None:
            self._heard(Request(begun, agent, request.method, request.path_qs, answered))

        try:
            slow = self._faults.take("marathon_slow", request.path, agent)
            if slow is not None:
                await asyncio.sleep(slow.delay)
            if request.path.startswith("/v2/events"):
                response = await self._events(member, request, agent, heard)
                if response is None:
                    raise _Dropped
                return response
            reply = await self._reply(member, request, agent)
            status = reply.status
        except _Dropped:
            if request.transport is not None:
                request.transport.abort()
            reply = Reply(503)
        heard(status)
        return self._response(member, reply)

    def _response(self, member: Member, reply: Reply) -> web.Response:
        headers = {"Cache-Control": "no-cache, no-store, must-revalidate", **reply.headers}
        if self.leader is not None:
            headers["X-Marathon-Leader"] = self.leader.url
            if member is not self.leader:
                headers["X-Marathon-Via"] = f"1.1 {member.address}"
        body: bytes | None = reply.body if isinstance(reply.body, bytes) else None
        if body is None and reply.body is not None:
            body = json.dumps(reply.body, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        return web.Response(status=reply.status, body=body, headers=headers)

    def _faulty(self, request: web.BaseRequest, agent: str) -> Reply | None:
        if self._faults.take("marathon_drop", request.path, agent):
            raise _Dropped
        fault = self._faults.take("marathon_status", request.path, agent)
        if fault is None:
            return None
        return Reply(fault.status, {"message": "The sandbox was told to answer so."})

    def _refusal(self, request: web.BaseRequest) -> Reply | None:
        return self._auth.refusal(request.path, request.headers) if self._auth else None

    @staticmethod
    def _no_leader() -> Reply:
        page = b"<html><body><h2>HTTP ERROR: 502</h2><p>Could not determine the current leader</p></body></html>"
        return Reply(502, page, {"Content-Type": "text/html"})

    async def _reply(self, member: Member, request: web.BaseRequest, agent: str) -> Reply:
        body = await request.read()
        early = self._faulty(request, agent) or self._refusal(request)
        if early is not None:
            return early
        query: dict[str, list[str]] = {}
        for key, value in request.query.items():
            query.setdefault(key, []).append(value)
        ask = Ask(
            method=request.method,
            path=request.path,
            query=query,
            accept=request.headers.get("Accept", ""),
            body=body,
            remote=request.remote or "",
            base=f"http://{request.headers.get('Host', member.address)}",
        )
        if isinstance(self._auth, Dcos) and request.path.startswith("/acs/"):
            return self._auth.answer(ask)
        if await self._known_leader() is None:
            return self._no_leader()
        reply = self._api.answer(ask)
        if self._faults.take("marathon_drop_after", request.path, agent):
            raise _Dropped
        return reply

    async def _events(
        self, member: Member, request: web.BaseRequest, agent: str, heard: Callable[[int], None]
    ) -> web.StreamResponse | None:
        """The event stream; ``None`` when the connection is to be dropped."""
        early = self._early_events(request, agent)
        if early is None:
            leader = await self._known_leader()
            if leader is None:
                early = self._no_leader()
            elif leader is not member:
                early = Reply(302, None, {"Location": f"{leader.url}{request.path_qs}"})
            elif "text/event-stream" not in request.headers.get("Accept", ""):
                early = Reply(405)
        if early is not None:
            heard(early.status)
            return self._response(member, early)
        heard(200)
        return await self._stream(request)

    def _early_events(self, request: web.BaseRequest, agent: str) -> Reply | None:
        early = self._faulty(request, agent) or self._refusal(request)
        if early is None and self._faults.holds("events_off"):
            early = Reply(503, {"message": "The sandbox was told to have no event stream."})
        return early

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse | None:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        stream = self._marathon.events.attach(request.query.getall("event_type", []))
        remote = request.remote or ""
        try:
            await response.prepare(request)
            self._marathon.events.publish("event_stream_attached", remoteAddress=remote)
            await self._feed(response, stream.next)
        except ConnectionError:
            return response  # the reader has gone
        finally:
            self._marathon.events.detach(stream)
            self._marathon.events.publish("event_stream_detached", remoteAddress=remote)
        if request.transport is not None:
            request.transport.abort()
        return response

    @staticmethod
    async def _feed(response: web.StreamResponse, following: Callable[[], Any]) -> None:
        """Until the stream is cut."""
        upcoming = asyncio.ensure_future(following())
        try:
            while True:
                done, _pending = await asyncio.wait({upcoming}, timeout=HEARTBEAT)
                if not done:
                    await response.write(b"\r\n")
                    continue
                frame = upcoming.result()
                if frame is None:
                    return
                await response.write(frame)
                upcoming = asyncio.ensure_future(following())
        finally:
            upcoming.cancel()
