# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A blocking client of the stand-in: short calls, and waits that end."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests

# A server that takes a fraction of the test service's and of http.server's start-up time.
SERVER = (
    f'exec {shlex.quote(sys.executable)} -S -E -c "import socket,sys;'
    "s=socket.create_server((sys.argv[1],int(sys.argv[2])));\n"
    "while 1:\n c,_=s.accept();c.recv(4096);c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n');c.close()\" "
    "${MESOS_CONTAINER_IP:-$HOST} $PORT0"
)
CHECK = {"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 1, "gracePeriodSeconds": 30}


def definition(app_id: str, **fields: Any) -> dict[str, Any]:
    """An app with a health check that gets healthy at once."""
    return {
        "id": app_id,
        "cmd": SERVER,
        "instances": 1,
        "cpus": 0.1,
        "mem": 32,
        "portDefinitions": [{"port": 0, "name": "http"}],
        "healthChecks": [CHECK],
        **fields,
    }


class Client:
    """Asks one member."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers.update(headers)

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> requests.Response:
        return self.session.request(
            method, f"{self.url}{path}", json=body, params=query, timeout=30, allow_redirects=False
        )

    def json(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = self.ask(method, path, body, **query)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def app(self, app_id: str) -> dict[str, Any]:
        return dict(self.json("GET", f"/v2/apps{app_id}")["app"])

    def running(self, app_id: str) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in self.app(app_id)["tasks"] if one["state"] == "TASK_RUNNING"}

    def until(self, look: Callable[[], Any], true: Callable[[Any], object], seconds: float = 30) -> Any:
        """Look until it is true; the last look is in the failure."""
        deadline = time.monotonic() + seconds
        while True:
            seen = look()
            if true(seen):
                return seen
            assert time.monotonic() < deadline, f"never came true; last: {seen}"
            time.sleep(0.05)

    def deployed(self, app_id: str) -> dict[str, Any]:
        """The app once no deployment holds it."""
        return dict(self.until(lambda: self.app(app_id), lambda app: not app["deployments"]))

    def create(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The app, deployed."""
        self.json("POST", "/v2/apps", fields)
        return self.deployed(str(fields["id"]))
