# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What marathon-lb asks of Marathon: the list of apps, and the stream of events. Over real HTTP, like the real one."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

AGENT = "marathon-lb"
EVENTS = ("api_post_event", "health_status_changed_event", "status_update_event")
FETCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=3.05, sock_read=46)
# A stream in which nothing comes for so long is taken for dead.
STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)


class Unavailable(Exception):
    """No member of the cluster answered."""


class MarathonApi:
    """A client of a cluster's members.

    ``credentials`` is ``user:password``, for HTTP basic or, with ``dcos_login``, for the login that gives a token.
    """

    def __init__(
        self, urls: Sequence[str], log: logging.Logger, *, credentials: str | None = None, dcos_login: bool = False
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._next_stream = 0
        self._log = log
        self._user, _separator, self._password = (credentials or f"{AGENT}:{AGENT}").partition(":")
        self._dcos_login = dcos_login
        self._authorization: dict[str, str] = {}
        if credentials and not dcos_login:
            self._authorization = {"Authorization": aiohttp.BasicAuth(self._user, self._password).encode()}
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Open the connections' session; needs a running loop."""
        # The real one opens a new connection for each request.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), headers={"User-Agent": AGENT}
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def apps(self) -> list[dict[str, Any]]:
        """Return all apps with their tasks, from the first member that answers in JSON; it is then asked first.

        Raises :class:`Unavailable` when none does, ``KeyError`` when the answer has no apps (an error of Marathon).
        """
        assert self._session is not None
        for position, url in enumerate(self._urls):
            try:
                await self._log_in(url)
                async with self._session.get(
                    f"{url}/v2/apps",
                    params={"embed": "apps.tasks"},
                    headers=self._authorization,
                    timeout=FETCH_TIMEOUT,
                ) as response:
                    self._forget_refused_token(response)
                    body = json.loads(await response.read())
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                self._log.info("cannot get the apps from %s, trying the next: %r", url, error)
                continue
            if response.ok and position:
                self._urls = [*self._urls[position:], *self._urls[:position]]
            return body["apps"]
        raise Unavailable(f"None of {', '.join(self._urls)} answers.")

    async def events(self) -> AsyncIterator[str]:
        """Yield the types of the events as they come, from one member; the next call asks the next member.

        Raises ``aiohttp.ClientError``, ``OSError`` or ``TimeoutError`` when the stream breaks or cannot be had.
        """
        assert self._session is not None
        member = self._urls[self._next_stream % len(self._urls)]
        self._next_stream += 1
        await self._log_in(member)
        query = "&".join(["plan-format=light", *(f"event_type={name}" for name in EVENTS)])
        url = f"{member}/v2/events?{query}"
        for redirects_left in (1, 0):
            async with self._session.get(
                url,
                headers={"Accept": "text/event-stream", "Cache-Control": "no-cache", **self._authorization},
                timeout=STREAM_TIMEOUT,
                allow_redirects=False,  # aiohttp would drop the credentials on the way to the leader
            ) as response:
                if response.status in (301, 302, 303, 307, 308) and redirects_left:
                    url = response.headers["Location"]
                    continue
                self._forget_refused_token(response)
                response.raise_for_status()
                self._log.info("following events of %s", url)
                async for line in response.content:
                    if line.startswith(b"data:"):
                        yield json.loads(line.removeprefix(b"data:"))["eventType"]
                return

    async def _log_in(self, url: str) -> None:
        """Get a token from DC/OS's login at ``url``, unless there is one or none is needed."""
        if not self._dcos_login or self._authorization:
            return
        assert self._session is not None
        async with self._session.post(
            f"{url}/acs/api/v1/auth/login", json={"uid": self._user, "password": self._password}, timeout=FETCH_TIMEOUT
        ) as response:
            response.raise_for_status()
            self._authorization = {"Authorization": f"token={(await response.json())['token']}"}

    def _forget_refused_token(self, response: aiohttp.ClientResponse) -> None:
        """Have the next request log in anew when the token has expired."""
        if self._dcos_login and response.status == 401:
            self._authorization = {}
