# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test service: what a task of the sandbox runs when its app says ``exec $SANDBOX_SERVICE``.

Meant to be started as ``python -S -E service.py``. It takes no arguments; everything comes from the environment,
as in a Marathon task (times in seconds, all optional but one port):

* ``MESOS_CONTAINER_IP`` or else ``HOST``: the address it binds; ``PORT0``, ``PORT1``, … (or ``PORT``): its ports.
* ``VERSION``: answered in the header ``X-Version`` and in the JSON of ``/``; ``MESOS_TASK_ID`` is answered beside it.
* ``START_DELAY``: before it listens. ``CRASH_AFTER``: it exits with 1. Both count from the start.
* ``HEALTHY_AFTER``, ``UNHEALTHY_AFTER``: ``/health`` answers 503 before and after. ``READY_AFTER``: so does ``/ready``.
* ``LATENCY``: added to each app request. ``ERROR_RATE``: share (0 to 1) of the app requests that get a 500.

App requests: ``/`` (JSON: version, task, host, port), ``/slow?seconds=S`` (head at once, then a numbered line
each 0.1 s), ``/work?seconds=S`` (answers after S), ``POST /echo``, ``/fail?status=N``, ``/ws`` (websocket echo).
About itself, never counted as pending: ``/health``, ``/ready``, ``/pending`` (JSON: pending, queues) and ``/metrics``
(Prometheus text: the gauge ``pending_operations``, and ``pending_operations_by_queue`` split by the label ``queue``).

On SIGTERM it ends at once and cuts everything, as the worst real service does. Fifty of these start together on two
cores, so nothing is imported that the start can do without.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

STARTED = time.monotonic()
TICK = 0.1  # seconds between two lines of /slow
QUEUES = ("requests", "streams", "work", "websockets")
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}
ABOUT_ITSELF = ("/health", "/ready", "/pending", "/metrics")
LONGEST_HEAD = 65536
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10  # opcodes, RFC 6455, section 5.2


class Gone(Exception):
    """The client has closed its connection."""


class Malformed(Exception):
    """What came is no HTTP request."""


def seconds(name: str) -> float | None:
    """The environment variable as seconds, ``None`` when it is not set or empty."""
    value = os.environ.get(name)
    return float(value) if value else None


VERSION = os.environ.get("VERSION", "")
TASK = os.environ.get("MESOS_TASK_ID", "")
HEALTHY_AFTER = seconds("HEALTHY_AFTER")
UNHEALTHY_AFTER = seconds("UNHEALTHY_AFTER")
READY_AFTER = seconds("READY_AFTER")
LATENCY = seconds("LATENCY")
ERROR_RATE = float(os.environ.get("ERROR_RATE") or 0)


class Errors:
    """Spreads the errors evenly, so that a rate is a rate with few requests too."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.due = 0.0
        self.lock = threading.Lock()

    def next(self) -> bool:
        """Whether this request is one that fails."""
        with self.lock:
            self.due += self.rate
            if self.due < 1:
                return False
            self.due -= 1
            return True


class Pending:
    """Counts what is being worked on, by queue."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = dict.fromkeys(QUEUES, 0)

    def change(self, queue: str, by: int) -> None:
        with self.lock:
            self.count[queue] += by

    def queues(self) -> dict[str, int]:
        with self.lock:
            return dict(self.count)


PENDING = Pending()
ERRORS = Errors(ERROR_RATE)


class Request:
    """One request: method, path without query, query and headers (lower-case names), whole body."""

    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise Malformed(lines[0])
        self.method, target, protocol = words
        self.path, _separator, query = target.partition("?")
        self.query = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise Malformed(line)
            self.headers[name.strip().lower()] = value.strip()
        self.chunks_allowed = protocol != "HTTP/1.0"
        asked = self.headers.get("connection", "").lower()
        self.keeps = "close" not in asked if self.chunks_allowed else "keep-alive" in asked
        self.body = b""


class Connection:
    """One client's connection: reads requests, writes answers."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def fill(self) -> None:
        """Read more; raises ``Gone`` when the client has closed or cut the connection."""
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.buffer += data

    def take(self, length: int) -> bytes:
        while len(self.buffer) < length:
            self.fill()
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    def take_until(self, end: bytes) -> bytes:
        while end not in self.buffer:
            if len(self.buffer) > LONGEST_HEAD:
                raise Malformed("too long")
            self.fill()
        taken, _separator, self.buffer = self.buffer.partition(end)
        return taken

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def request(self) -> Request:
        """The next request with its whole body."""
        request = Request(self.take_until(b"\r\n\r\n"))
        if request.headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            if "chunked" in request.headers.get("transfer-encoding", "").lower():
                request.body = b"".join(self.chunks())
            else:
                request.body = self.take(int(request.headers.get("content-length", "0")))
        except ValueError as error:
            raise Malformed("length") from error
        return request

    def chunks(self) -> Iterator[bytes]:
        while size := int(self.take_until(b"\r\n").partition(b";")[0], 16):
            yield self.take(size)
            self.take(2)
        while self.take_until(b"\r\n"):  # trailers
            pass

    def answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8", keep: bool = True) -> None:
        self.send(head(status, [f"Content-Type: {kind}", f"Content-Length: {len(body)}"], keep) + body)


def head(status: int, fields: list[str], keep: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}",
        f"X-Version: {VERSION}",
        f"X-Task: {TASK}",
        *fields,
        *([] if keep else ["Connection: close"]),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def as_json(value: object) -> bytes:
    import json  # not needed to start

    return json.dumps(value).encode() + b"\n"


def uptime() -> float:
    return time.monotonic() - STARTED


def healthy() -> bool:
    now = uptime()
    early = HEALTHY_AFTER is not None and now < HEALTHY_AFTER
    late = UNHEALTHY_AFTER is not None and now >= UNHEALTHY_AFTER
    return not early and not late


def ready() -> bool:
    return READY_AFTER is None or uptime() >= READY_AFTER


def metrics() -> bytes:
    queues = PENDING.queues()
    lines = [
        "# HELP pending_operations Requests that are being worked on.",
        "# TYPE pending_operations gauge",
        f"pending_operations {sum(queues.values())}",
        "# HELP pending_operations_by_queue The same, by kind of work.",
        "# TYPE pending_operations_by_queue gauge",
        *(f'pending_operations_by_queue{{queue="{name}"}} {count}' for name, count in queues.items()),
    ]
    return ("\n".join(lines) + "\n").encode()


def about_itself(connection: Connection, request: Request) -> None:
    if request.path == "/pending":
        queues = PENDING.queues()
        body = as_json({"pending": sum(queues.values()), "queues": queues})
        connection.answer(200, body, "application/json", keep=request.keeps)
    elif request.path == "/metrics":
        connection.answer(200, metrics(), "text/plain; version=0.0.4; charset=utf-8", keep=request.keeps)
    else:
        good = healthy() if request.path == "/health" else ready()
        connection.answer(200 if good else 503, b"ok\n" if good else b"not yet, or no longer\n", keep=request.keeps)


def slow(connection: Connection, request: Request) -> None:
    """``/slow``: the head at once, then a numbered line each tick, the last one says so."""
    count = max(1, round(float(request.query.get("seconds", "1")) / TICK))
    chunked = request.chunks_allowed
    request.keeps = request.keeps and chunked
    fields = ["Content-Type: text/plain; charset=utf-8", *(["Transfer-Encoding: chunked"] if chunked else [])]
    connection.send(head(200, fields, request.keeps))
    for number in range(1, count + 1):
        time.sleep(TICK)
        line = f"{number} of {count}\n".encode()
        connection.send(b"%x\r\n%s\r\n" % (len(line), line) if chunked else line)
    if chunked:
        connection.send(b"0\r\n\r\n")


def websocket(connection: Connection, request: Request) -> None:
    """``/ws``: answers each message with the same message until the client closes (RFC 6455)."""
    import base64  # not needed to start
    import hashlib

    key = request.headers.get("sec-websocket-key", "").encode()
    if request.headers.get("upgrade", "").lower() != "websocket" or not key:
        connection.answer(400, b"a websocket handshake is needed here\n", keep=request.keeps)
        return
    accepted = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()).decode()
    fields = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accepted}"]
    connection.send(head(101, fields, keep=True))
    request.keeps = False
    while True:
        first, second = connection.take(2)
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(connection.take(2 if length == 126 else 8), "big")
        mask = connection.take(4) if second & 0x80 else bytes(4)
        payload = connection.take(length)
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        opcode = first & 0x0F
        if opcode == CLOSE:
            connection.send(frame(CLOSE, payload[:2]))
            return
        if opcode in (TEXT, BINARY, PING):
            connection.send(frame(PONG if opcode == PING else opcode, payload))


def frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked frame, as a server sends it."""
    length = len(payload)
    if length < 126:
        size = bytes([length])
    else:
        size = b"\x7e" + length.to_bytes(2, "big") if length < 65536 else b"\x7f" + length.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + size + payload


def application(connection: Connection, request: Request) -> None:
    if LATENCY:
        time.sleep(LATENCY)
    if ERRORS.next():
        connection.answer(500, b"one of the errors that ERROR_RATE asks for\n", keep=request.keeps)
    elif request.path == "/":
        host, port = connection.sock.getsockname()[:2]
        about = {"version": VERSION, "task": TASK, "host": host, "port": port}
        connection.answer(200, as_json(about), "application/json", keep=request.keeps)
    elif request.path == "/echo" and request.method in ("POST", "PUT"):
        kind = request.headers.get("content-type", "application/octet-stream")
        connection.answer(200, request.body, kind, keep=request.keeps)
    elif request.path == "/slow":
        slow(connection, request)
    elif request.path == "/work":
        time.sleep(float(request.query.get("seconds", "1")))
        connection.answer(200, as_json({"version": VERSION, "task": TASK}), "application/json", keep=request.keeps)
    elif request.path == "/fail":
        connection.answer(int(request.query.get("status", "500")), b"as asked for\n", keep=request.keeps)
    elif request.path == "/ws":
        websocket(connection, request)
    else:
        connection.answer(404, b"no such path\n", keep=request.keeps)


def queue_of(path: str) -> str:
    return {"/slow": "streams", "/work": "work", "/ws": "websockets"}.get(path, "requests")


def converse(sock: socket.socket) -> None:
    """Serve one connection until either side ends it."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = Connection(sock)
    keeps = True
    with sock:
        try:
            while keeps:
                request = connection.request()
                if request.path in ABOUT_ITSELF:
                    about_itself(connection, request)
                else:
                    queue = queue_of(request.path)
                    PENDING.change(queue, 1)
                    try:
                        application(connection, request)
                    finally:
                        PENDING.change(queue, -1)
                keeps = request.keeps
        except Gone:
            return
        except (Malformed, ValueError) as error:  # ValueError: a query that is no number
            try:
                connection.answer(400, f"bad request: {error}\n".encode(), keep=False)
            except Gone:
                return


def ports() -> list[int]:
    """All of ``PORT0``, ``PORT1``, … in order, or ``PORT`` alone."""
    found = []
    while value := os.environ.get(f"PORT{len(found)}"):
        found.append(int(value))
    if not found:
        found.append(int(os.environ["PORT"]))
    return found


def listen(host: str) -> selectors.BaseSelector:
    selector = selectors.DefaultSelector()
    for port in ports():
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # A port that an earlier task used is free again although its connections are in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
        selector.register(listener, selectors.EVENT_READ)
    return selector


def crash() -> None:
    print("ends with 1, as CRASH_AFTER asks for", file=sys.stderr, flush=True)
    os._exit(1)


def main() -> None:
    # At once, whatever was inherited. The kernel spares a container's first process what it has no handler for.
    signal.signal(
        signal.SIGTERM, signal.SIG_DFL if os.getpid() != 1 else lambda *_given: os._exit(128 + signal.SIGTERM)
    )
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.stack_size(256 * 1024)
    crash_after = seconds("CRASH_AFTER")
    if crash_after is not None:
        timer = threading.Timer(max(0.0, crash_after - uptime()), crash)
        timer.daemon = True
        timer.start()
    start_delay = seconds("START_DELAY")
    if start_delay:
        time.sleep(start_delay)
    selector = listen(os.environ.get("MESOS_CONTAINER_IP") or os.environ.get("HOST") or "127.0.0.1")
    while True:
        for key, _events in selector.select():
            sock, _address = key.fileobj.accept()  # type: ignore[union-attr]
            threading.Thread(target=converse, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main()
