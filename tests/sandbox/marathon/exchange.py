# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API's functions take and give, free of any HTTP library."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.marathon.errors import ApiError, refused
from tests.sandbox.marathon.plans import Plan


@dataclass(frozen=True)
class Ask:
    """A request. ``query`` has all values of each key, ``base`` is the URL that the client used for this member."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    accept: str
    body: bytes
    remote: str
    base: str

    def flag(self, name: str, default: bool = False) -> bool:
        values = self.query.get(name)
        return values[0].lower() == "true" if values else default

    def value(self, name: str) -> str | None:
        values = self.query.get(name)
        return values[0] if values else None

    def json(self) -> Any:
        """The body. Raises the 400 of what is no JSON."""
        return parsed(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer; ``body`` is sent as JSON unless it is bytes, ``None`` is an empty body."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def deployment_reply(plan: Plan, status: int = 200, **headers: str) -> Reply:
    """What every change of state is answered with."""
    body = {"version": plan.version, "deploymentId": plan.id}
    return Reply(status, body, {"Marathon-Deployment-Id": plan.id, **headers})


def _open_brackets(text: str) -> str:
    """The brackets that are not closed at the end of a JSON text."""
    stack: list[str] = []
    for token in re.findall(r'"(?:\\.|[^"\\])*"?|[\[\]{}]', text):
        if token in "[{":
            stack.append(token)
        elif token in "]}" and stack:
            stack.pop()
    return "".join(stack)


def _parser_text(text: str, error: json.JSONDecodeError) -> str:
    """The error as the Java parser words it."""
    if not text.strip():
        return "No content to map due to end-of-input"
    rest = text[error.pos :].strip()
    if not rest:
        kind = "Array" if _open_brackets(text).endswith("[") else "Object"
        return f"Unexpected end-of-input within/between {kind} entries"
    return f"Unexpected character ('{rest[0]}' (code {ord(rest[0])})): {error.msg}"


def parsed(body: bytes) -> Any:
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ApiError(400, {"message": "Invalid JSON", "details": _parser_text(text, error)}) from error


TASK_ID = re.compile(r"^(.+)\.(instance-|marathon-)([^_.]+)([._].+)?$")
OLD_TASK_ID = re.compile(r"^(.+)[._]([^_.]+)$")
UUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")


def check_task_id(task_id: str) -> None:
    """Raises 400 for what is no task id, 422 for one with something else in place of its UUID."""
    match = TASK_ID.match(task_id)
    uuid = match.group(3) if match else None
    if uuid is None:
        old = OLD_TASK_ID.match(task_id)
        if old is None:
            text = f"[taskId {task_id} no valid identifier (of class java.lang.String)]"
            raise refused(400, f"Invalid task id '{task_id}'. {text}")
        uuid = old.group(2)
    if not UUID.match(uuid):
        raise refused(422, f"Invalid UUID string: {uuid}")
