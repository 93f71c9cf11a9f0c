# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status server of one group: what the running nginx says about itself.

``GET /`` answers JSON with ``group``, ``colour`` (where a new request would go), ``preview``, ``config`` (the hash of
the file that this worker was started with) and ``pid`` (of the worker). ``GET /?bucket=b17`` answers for a request of
bucket 17.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._errors import InvalidInput, Unreachable
from .configuration import COLOURS, checked_address

_LARGEST_ANSWER = 65536


@dataclass(frozen=True)
class Status:
    """One answer."""

    group: str
    colour: str
    preview: str
    config: str
    pid: int


class StatusServer:
    """Asks the status server at ``address`` (``ip:port``). ``system``: how messages call this nginx."""

    def __init__(self, address: str, system: str, timeout: float) -> None:
        host, self._port = checked_address(address)
        self._host = host
        self._address = address
        self._system = system
        self._timeout = timeout

    def status(self) -> Status:
        """What a worker says; each time another one may answer.

        :raises Unreachable: nobody answers.
        """
        connection = self._connection()
        try:
            return self._ask(connection, "/")
        finally:
            connection.close()

    def shares(self, buckets: Iterable[int]) -> dict[str, int]:
        """By colour, how many of the buckets nginx itself sends there.

        :raises Unreachable: nobody answers.
        """
        found = dict.fromkeys(COLOURS, 0)
        connection = self._connection()
        try:
            for bucket in buckets:
                found[self._ask(connection, f"/?bucket=b{bucket}").colour] += 1
        finally:
            connection.close()
        return found

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> Status:
        try:
            connection.request("GET", path, headers={"Host": "status"})
            answer = connection.getresponse()
            status, body = answer.status, answer.read(_LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(
                "unreachable", path, None, f"does not answer ({error or type(error).__name__}). Does nginx run?"
            ) from None
        if status != 200:
            raise self._failed("unreadable_answer", path, status, f"answers with status {status}")
        try:
            return _status(json.loads(body))
        except (ValueError, KeyError, TypeError):
            raise self._failed("unreadable_answer", path, status, f"answers {body[:100]!r}") from None

    def _failed(self, code: str, path: str, status: int | None, what: str) -> Unreachable:
        return Unreachable(
            code,
            f"{self._system}: the status server at {self._address} {what}",
            system=self._address,
            request=f"GET {path}",
            status=status,
        )


def _status(answer: Any) -> Status:
    status = Status(
        str(answer["group"]), answer["colour"], answer["preview"], str(answer["config"]), int(answer["pid"])
    )
    if status.colour not in COLOURS or status.preview not in COLOURS:
        raise ValueError(status.colour)
    return status


def checked_group(status: Status, group: str, address: str, system: str) -> Status:
    """The status, when it is that of the group.

    :raises InvalidInput: another group has this status server.
    """
    if status.group != group:
        raise InvalidInput(
            "other_group", f"{system}: the status server at {address} is that of group {status.group}, not of {group}."
        )
    return status
