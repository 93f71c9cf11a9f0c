# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy for tests: master and worker, runtime API on UNIX and TCP sockets, the endpoints of marathon-lb.

``_haproxy_getpids`` lists the master and its children (marathon-lb lists all HAProxy processes of its PID namespace,
of which there would be several in a test run); ``_haproxy_getconfig`` answers the text with which the worker started.
"""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LUA = """
local config = io.open("{config}"):read("*a")
local function answer(applet, text)
  applet:set_status(200)
  applet:add_header("content-length", string.len(text))
  applet:add_header("content-type", "text/plain")
  applet:start_response()
  applet:send(text)
end
core.register_service("getconfig", "http", function(applet) answer(applet, config) end)
core.register_service("getpids", "http", function(applet)
  local master = io.open("{pid_file}"):read("*l")
  local children = io.open("/proc/" .. master .. "/task/" .. master .. "/children"):read("*a")
  answer(applet, children .. master)
end)
"""

HEAD = """
global
  stats socket {folder}/admin.sock level admin expose-fd listeners
  stats socket {folder}/operator.sock level operator
  stats socket {host}:{tcp_port} level admin
  lua-load {folder}/marathon_lb.lua
defaults
  mode http
  timeout connect 3s
  timeout client 30s
  timeout server 30s
  timeout http-keep-alive 1s
  option redispatch
  option idle-close-on-response
  {defaults}
listen stats
  bind {host}:{stats_port}
  stats enable
  acl getpids path /_haproxy_getpids
  http-request use-service lua.getpids if getpids
  acl getconfig path /_haproxy_getconfig
  http-request use-service lua.getconfig if getconfig
"""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def eventually(condition: Any, timeout: float = 20) -> None:
    """Wait until ``condition()`` is true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.01)


@dataclass
class Balancer:
    """A running HAProxy. ``reload(body)`` gives it new frontends and backends."""

    folder: Path
    host: str = "127.0.0.1"
    defaults: str = ""
    stats_port: int = 0
    tcp_port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.stats_port = self.stats_port or free_port(self.host)
        self.tcp_port = self.tcp_port or free_port(self.host)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.stats_port}"

    @property
    def socket(self) -> str:
        return str(self.folder / "admin.sock")

    @property
    def operator_socket(self) -> str:
        return str(self.folder / "operator.sock")

    @property
    def master_socket(self) -> str:
        return str(self.folder / "master.sock")

    @property
    def tcp_socket(self) -> str:
        return f"{self.host}:{self.tcp_port}"

    def write(self, body: str) -> None:
        head = HEAD.format(
            folder=self.folder,
            host=self.host,
            stats_port=self.stats_port,
            tcp_port=self.tcp_port,
            defaults=self.defaults,
        )
        (self.folder / "haproxy.cfg").write_text(head + body, encoding="utf-8")

    def start(self, body: str) -> None:
        self.write(body)
        pid_file = self.folder / "pid"
        (self.folder / "marathon_lb.lua").write_text(
            LUA.format(config=self.folder / "haproxy.cfg", pid_file=pid_file), encoding="utf-8"
        )
        command = ["haproxy", "-W", "-f", "haproxy.cfg", "-p", "pid", "-S", self.master_socket, "-x", self.socket]
        if not Path(self.socket).exists():
            command = command[:-2]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        eventually(lambda: len(self.pids()) == 2)
        eventually(self.is_settled)

    def is_settled(self) -> bool:
        """Whether the master listens to its socket, which it does last when it (re)starts: a signal before is lost."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.master_socket) == 0

    def reload(self, body: str) -> None:
        """Replace the worker; returns when the new one answers."""
        eventually(self.is_settled)
        before = self.pids()
        self.write(body)
        self.process.send_signal(signal.SIGUSR2)  # re-execute the master, start a new worker, let the old one finish
        eventually(lambda: self.live() not in (None, *before))

    def live(self) -> int | None:
        text = self.get("/haproxy?stats")
        return int(text.split("Statistics Report for pid ")[1].split("<")[0]) if text else None

    def pids(self) -> list[int]:
        return [int(pid) for pid in self.get("/_haproxy_getpids").split()]

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection(self.host, self.stats_port, timeout=5)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.read().decode() if response.status == 200 else ""
        except OSError:
            return ""
        finally:
            connection.close()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Balancer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


class Backend:
    """A small service: ``/hold`` answers when ``release()`` is called, ``/text`` answers what ``answers`` has."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        backend = self
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.answers: dict[str, tuple[int, str, str]] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                backend.seen.append((self.command, self.path, dict(self.headers)))
                if self.path.startswith("/hold"):
                    backend.entered.set()
                    backend.gate.wait(60)
                status, kind, text = backend.answers.get(self.path, (200, "text/plain", "ok"))
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_POST = do_GET

            def log_message(self, *_arguments: Any) -> None:
                """Keep quiet."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # many clients may come at once

        self.server = Server((host, 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_arguments: None  # HAProxy's checks reset their connections
        self.host, self.port = host, self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def release(self) -> None:
        self.gate.set()

    def stop(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


@contextmanager
def held(balancer_address: tuple[str, int], backends: Iterable[Backend]) -> Any:
    """One request through the balancer that stays in flight; yields the list that gets its status at the end."""
    statuses: list[int] = []

    def ask() -> None:
        connection = http.client.HTTPConnection(*balancer_address, timeout=60)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/hold")
            statuses.append(connection.getresponse().status)
        connection.close()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    backends = list(backends)
    eventually(lambda: any(backend.entered.is_set() for backend in backends))
    try:
        yield statuses
    finally:
        for backend in backends:
            backend.release()
        thread.join(20)
