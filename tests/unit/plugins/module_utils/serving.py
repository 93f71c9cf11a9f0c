# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HTTP server whose answers are a plain function, and a clock that only moves when somebody sleeps."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context


@dataclass(frozen=True)
class Request:
    """What the server got; ``query`` maps each name to the list of its values."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Serving:
    """A server that runs: its address and what it got so far."""

    url: str
    got: list[Request] = field(default_factory=list)

    def paths(self) -> list[str]:
        """``METHOD /path`` of all requests, oldest first."""
        return [f"{request.method} {request.path}" for request in self.got]


# A status and a body (with headers, if wanted); None cuts the connection; an iterator of bytes is streamed in chunks.
Reply: TypeAlias = "tuple[Any, ...] | None"


@contextmanager
def serving(answer: Callable[[Request], Reply], tls: ssl.SSLContext | None = None) -> Iterator[Serving]:
    """Serve on a free port of 127.0.0.1 until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body of an answer are two packets

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(raw) if raw else None
            request = Request(self.command, parts.path, parse_qs(parts.query), dict(self.headers), body)
            running.got.append(request)
            reply = answer(request)
            if reply is None:
                self.close_connection = True
                return
            status, content, *more = reply
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            if isinstance(content, Iterator):
                self.stream(content)
                return
            encoded = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def stream(self, chunks: Iterator[bytes]) -> None:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.close_connection = True
            try:
                for chunk in chunks:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                return  # the client has gone

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, format: str, *args: object) -> None:
            """A test run has no use for an access log."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # clients that come at once are not left waiting for their next try

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that breaks off its TLS handshake is part of some tests."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    running = Serving(f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """A server that sends ``head`` and then a byte every 0.1 s, for two minutes at most."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            try:
                self.request.sendall(head)
                for _byte in range(1200):
                    self.request.sendall(b"H")
                    time.sleep(0.1)
            except OSError:
                return  # the client has gone

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


class Clock:
    """Time that passes by sleeping only; ``lines`` are what was shown to a person."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []
        self.lines: list[str] = []

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass at once."""
        self.slept.append(seconds)
        self.time += seconds

    def context(self, **fields: Any) -> Context:
        """A context that runs on this clock."""
        return Context(now=lambda: self.time, sleep=self.sleep, progress=self.lines.append, **fields)
