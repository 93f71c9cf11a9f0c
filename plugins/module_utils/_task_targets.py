# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of tasks, for those who ask the tasks themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ._errors import InvalidInput, NotFound
from ._http import Http, Tls
from ._invocation.context import Context
from ._marathon.client import MARATHON_SPEC, Marathon
from ._marathon.definitions import normalise

Json = Mapping[str, Any]

TARGET_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "marathon_url": {**MARATHON_SPEC["marathon_url"], "required": False},
    "app_id": {"type": "str"},
    "tasks": {"type": "list", "elements": "str"},
    "urls": {"type": "list", "elements": "str"},
}

TARGET_RULES: dict[str, Any] = {
    "required_one_of": [("app_id", "urls")],
    "mutually_exclusive": [("app_id", "urls"), ("tasks", "urls")],
    "required_by": {"app_id": ["marathon_url"], "tasks": ["app_id"]},
}

_RUNNING = "TASK_RUNNING"


@dataclass(frozen=True)
class Target:
    """One task, or one address that the user named; ``task`` is ``None`` for the latter."""

    url: str
    task: str | None = None
    app: Json | None = None
    data: Json | None = None

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.url if self.task is None else f"task {self.task}"

    def address(self, scheme: str, port_index: int) -> str:
        """The base address of a task at one of its ports; the user's own address is taken as it is.

        :raises InvalidInput: the task has no such port.
        """
        if self.task is None or self.app is None or self.data is None:
            return self.url
        host, port = port_address(self.app, self.data, port_index)
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def port_address(app: Json, task: Json, port_index: int) -> tuple[str, int]:
    """Host and port at which the port ``port_index`` of a task is reached.

    In host and bridge mode that is the agent's host and the task's own port; in a container network it is the task's
    address and the container's port (reference A9, pass 2).

    :raises InvalidInput: the app has no such port, or the task has no address (yet).
    """
    normal = normalise(app)
    if normal["networks"][0]["mode"] == "container":
        mappings = (normal.get("container") or {}).get("portMappings") or []
        ports = [mapping["containerPort"] for mapping in mappings]
        addresses = task.get("ipAddresses") or []
        host = addresses[0].get("ipAddress") if addresses else None
    else:
        ports = task.get("ports") or []
        host = task.get("host")
    if not host:
        raise InvalidInput("no_address", f"Task {task.get('id')} of {app.get('id')} has no address.")
    if not 0 <= port_index < len(ports):
        raise InvalidInput(
            "invalid_option",
            f"Option port_index: {app.get('id')} has {len(ports)} ports, so there is none {port_index}.",
        )
    return host, ports[port_index]


def tasks_of(app: Json, wanted: Sequence[str] | None, gone: list[str] | None = None) -> list[Json]:
    """The running tasks of ``app``, or those with the ids ``wanted``.

    Ids that the app does not have are added to ``gone``.

    :raises NotFound: there is such an id, and no list for it.
    """
    tasks = app.get("tasks") or []
    if wanted is None:
        return [task for task in tasks if task.get("state", _RUNNING) == _RUNNING]
    by_id = {task["id"]: task for task in tasks}
    unknown = [task for task in dict.fromkeys(wanted) if task not in by_id]
    if unknown and gone is None:
        raise NotFound("unknown_tasks", f"{app['id']} has no task {', '.join(unknown)}.", detail=unknown)
    if gone is not None:
        gone.extend(unknown)
    return [by_id[task] for task in dict.fromkeys(wanted) if task in by_id]


def targets(params: Json, marathon: Marathon | None, gone: list[str] | None = None) -> list[Target]:
    """What the options of ``TARGET_SPEC`` name; ``marathon`` is asked once, when ``app_id`` is given.

    :raises InvalidInput: an address that is none, an app without running tasks, or nothing named at all.
    :raises NotFound: as :func:`tasks_of`.
    """
    if params["urls"] is not None or marathon is None:
        if not params["urls"]:
            raise InvalidInput("invalid_option", "Option urls is empty.")
        return [Target(checked_url(url)) for url in dict.fromkeys(params["urls"])]
    app = marathon.app(params["app_id"])
    tasks = tasks_of(app, params["tasks"], gone)
    if not tasks and not gone and params["tasks"] is None:
        raise InvalidInput("no_tasks", f"{app['id']} has no running task.")
    return [Target("", task["id"], app, task) for task in tasks]


def checked_url(url: str) -> str:
    """Return ``url`` without a slash at its end.

    :raises InvalidInput: it is no address of HTTP, or has credentials in it.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:  # not shown: it holds a password
        raise InvalidInput("invalid_option", "Option urls has credentials in an address; give them as a header.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput("invalid_option", f"Option urls: {url!r} is no address of the form http://host:port.")
    return url.rstrip("/")


def session(url: str, context: Context, *, timeout: float, tls: Tls) -> tuple[Http, str]:
    """A session for one address, which asks once over a new connection each time, and the path in the address."""
    parts = urlsplit(url)
    http = Http(
        "Task",
        [f"{parts.scheme}://{parts.netloc}"],
        context,
        timeout=timeout,
        retry_timeout=0,
        tls=tls,
        keep_alive=False,
    )
    return http, parts.path + (f"?{parts.query}" if parts.query else "")
