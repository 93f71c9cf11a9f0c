# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a service behind one or more load balancers, that count every failure by its cause.

None of them tries anything twice, and each looks at the socket itself, so that nothing is hidden:

* ``get``: a new connection for each GET.
* ``post``: POST on kept connections; the body has to come back as it was sent.
* ``sticky``: GET on kept connections, replaced now and then, with the cookies that the answers set.
* ``stream``: ``/slow`` read to its end, which has to be whole.
* ``websocket``: messages for some seconds, then a clean close, then again.

Causes: ``connect``, ``eof_on_kept_connection`` (closed or cut before one byte of the answer to a request on a
connection that was used before: the race with an LB that closes idle connections; real clients that do not retry see it
too), ``eof``, ``reset``, ``timeout``, ``status_503`` and so on, ``wrong_body``, ``truncated``, ``bad_answer`` (no HTTP,
no websocket). A connection that is seen closed before the next request is written is replaced, as any client does.

In a test::

    with clients([f"http://{lb['host']}:10000" for lb in sandbox.lbs]) as traffic:
        traffic.wait_until_flowing()
        ...
    assert traffic.failed() == 0

The work is done by a process of its own (``python -m tests.sandbox.clients``), so that the caller cannot slow it down.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent.parent
ALL = ("get", "post", "sticky", "stream", "websocket")
RATE = 100.0  # requests/s altogether for each LB
STREAM_SECONDS = 3.0
REQUEST_TIMEOUT = 10.0
USES_OF_A_STICKY_CONNECTION = 20
FAILURES_KEPT = 1000  # in full; all are counted
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
TEXT, CLOSE = 1, 8

# How many clients of a kind each LB gets, and their share of the rate. Streams and websockets begin again when they
# have ended. They are so many, and spread over their length, that one has just begun whenever the traffic turns: a
# drain takes their whole length each time, not one that depends on luck. Each websocket message counts as a request.
WORKERS = {"get": 8, "post": 6, "sticky": 4, "stream": 6, "websocket": 3}
SHARES = {"get": 0.45, "post": 0.35, "sticky": 0.2}
SHORTEST_INTERVAL = 0.1  # seconds; so that a stream that is refused is not asked for in a busy loop


class Failure(Exception):
    """A request that did not get what it is owed, with the cause that it is counted under."""

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True)
class Target:
    """Where one LB serves the service."""

    url: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Target:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"not an http URL: {url}")
        return cls(url.rstrip("/"), parts.hostname, parts.port or 80)


@dataclass
class Answer:
    """Status, headers (lower-case names) and set cookies of an answer whose body is still to be read."""

    status: int
    headers: dict[str, str]
    cookies: dict[str, str]

    @property
    def version(self) -> str:
        return self.headers.get("x-version", "")

    @property
    def closes(self) -> bool:
        return "close" in self.headers.get("connection", "").lower()


@dataclass
class Seen:
    """When one kind met one version at one LB; epoch seconds. ``sent`` is the request, the others its answer's head."""

    kind: str
    url: str
    version: str
    count: int
    first_sent: float
    last_sent: float
    first: float
    last: float


class Record:
    """What happened so far."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.started = time.time()
        self.sent = dict.fromkeys(kinds, 0)
        self.answered = dict.fromkeys(kinds, 0)
        self.causes: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
        self.failures: list[dict[str, Any]] = []
        self.seen: dict[tuple[str, str, str], Seen] = {}
        self.idle_closes = 0

    def met(self, kind: str, target: Target, version: str, sent: float) -> None:
        """An answer's head with this version has come."""
        now = time.time()
        seen = self.seen.get((kind, target.url, version))
        if seen is None:
            self.seen[kind, target.url, version] = Seen(kind, target.url, version, 1, sent, sent, now, now)
            return
        seen.count += 1
        seen.first_sent = min(seen.first_sent, sent)
        seen.last_sent = max(seen.last_sent, sent)
        seen.last = now

    def failed(self, kind: str, target: Target, sent: float, failure: Failure) -> None:
        self.causes[kind][failure.cause] += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(
                {
                    "t": sent,
                    "after": round(time.time() - sent, 4),
                    "kind": kind,
                    "url": target.url,
                    "cause": failure.cause,
                    "detail": failure.detail,
                }
            )

    def report(self) -> dict[str, Any]:
        return {
            "clients": {
                kind: {
                    "sent": self.sent[kind],
                    "answered": self.answered[kind],
                    "failed": self.causes[kind].total(),
                    "causes": dict(self.causes[kind]),
                }
                for kind in self.sent
            },
            "versions": [asdict(seen) for seen in self.seen.values()],
            "failures": list(self.failures),
            "closed_while_idle": self.idle_closes,
            "started": self.started,
            "ended": time.time(),
        }


class Connection:
    """One connection to an LB. Raises ``Failure`` for whatever goes wrong on it."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.target = target
        self.reader = reader
        self.writer = writer
        self.uses = 0

    @classmethod
    async def open(cls, target: Target) -> Connection:
        try:
            return cls(target, *await asyncio.open_connection(target.host, target.port))
        except OSError as error:
            raise Failure("connect", str(error)) from error

    @property
    def seen_closed(self) -> bool:
        return self.reader.at_eof() or self.reader.exception() is not None or self.writer.is_closing()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):  # it is given up; how the other side takes it does not matter any more
            await self.writer.wait_closed()

    async def write(self, data: bytes) -> None:
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError as error:
            raise self.broken(error) from error

    def broken(self, error: Exception, answered: bool = False) -> Failure:
        """What an EOF or a reset means: on a used connection, before the answer has begun, the keep-alive race."""
        if self.uses > 0 and not answered:
            return Failure("eof_on_kept_connection", repr(error))
        return Failure("eof" if isinstance(error, asyncio.IncompleteReadError) else "reset", repr(error))

    async def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Write a request whole, read the head of its answer."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.target.host}:{self.target.port}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        await self.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise self.broken(error, answered=bool(error.partial)) from error
        except OSError as error:
            raise self.broken(error) from error
        except asyncio.LimitOverrunError as error:
            raise Failure("bad_answer", "endless head") from error
        finally:
            self.uses += 1
        return parsed(head)

    async def body(self, answer: Answer) -> bytes:
        """The body to its end; ``truncated`` when there is no proper end."""
        try:
            if "chunked" in answer.headers.get("transfer-encoding", "").lower():
                return b"".join([chunk async for chunk in self.chunks()])
            if "content-length" in answer.headers:
                return await self.reader.readexactly(int(answer.headers["content-length"]))
            return await self.reader.read()
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Failure("truncated", repr(error)) from error
        except (ValueError, asyncio.LimitOverrunError) as error:
            raise Failure("bad_answer", f"body: {error}") from error

    async def chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self.reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        while await self.reader.readuntil(b"\r\n") != b"\r\n":  # trailers
            pass

    async def frame(self) -> tuple[int, bytes]:
        """One unmasked websocket frame: opcode, payload."""
        try:
            first, second = await self.reader.readexactly(2)
            length = second & 0x7F
            if length > 125:
                length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
            return first & 0x0F, await self.reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise Failure("eof", repr(error)) from error
        except OSError as error:
            raise Failure("reset", repr(error)) from error


def parsed(head: bytes) -> Answer:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise Failure("bad_answer", lines[0])
    headers: dict[str, str] = {}
    cookies: dict[str, str] = {}
    for line in lines[1:]:
        name, _separator, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "set-cookie":
            cookie, _separator, content = value.partition(";")[0].partition("=")
            cookies[cookie.strip()] = content.strip()
        elif name:
            headers[name] = value
    return Answer(int(words[1]), headers, cookies)


class Pace:
    """Turns for one client, ``interval`` seconds apart; a turn that was missed is not made up for."""

    def __init__(self, interval: float, stop: asyncio.Event, offset: float) -> None:
        self.interval = interval
        self.stop = stop
        self.due = time.monotonic() + offset

    async def turns(self) -> AsyncIterator[int]:
        for number in itertools.count():
            wait = self.due - time.monotonic()
            if wait > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), wait)
            if self.stop.is_set():
                return
            yield number
            self.due = max(self.due + self.interval, time.monotonic())


class Client:
    """One client of one LB. A kind says in ``act`` what it does at its turn."""

    kind = ""
    timeout = REQUEST_TIMEOUT

    def __init__(self, target: Target, record: Record, number: int) -> None:
        self.target = target
        self.record = record
        self.number = number
        self.kept: Connection | None = None
        self.sent = 0.0

    async def act(self, turn: int) -> None:
        raise NotImplementedError

    async def run(self, pace: Pace) -> None:
        async for turn in pace.turns():
            await self.attempt(turn)
        await self.drop()

    async def attempt(self, turn: int) -> None:
        self.begin()
        try:
            async with asyncio.timeout(self.timeout):
                await self.act(turn)
        except Failure as failure:
            self.record.failed(self.kind, self.target, self.sent, failure)
            await self.drop()
        except TimeoutError:
            self.record.failed(self.kind, self.target, self.sent, Failure("timeout", f"after {self.timeout:g} s"))
            await self.drop()
        else:
            self.record.answered[self.kind] += 1

    def begin(self) -> None:
        self.record.sent[self.kind] += 1
        self.sent = time.time()

    async def drop(self) -> None:
        kept, self.kept = self.kept, None
        if kept is not None:
            await kept.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A new connection for this use only."""
        opened = await Connection.open(self.target)
        try:
            yield opened
        finally:
            await opened.close()

    async def kept_connection(self) -> Connection:
        """The connection of before, or a new one when there is none or it was closed meanwhile."""
        if self.kept is not None and self.kept.seen_closed:
            self.record.idle_closes += 1
            await self.drop()
        if self.kept is None:
            self.kept = await Connection.open(self.target)
        return self.kept

    def accept(self, answer: Answer, status: int = 200) -> None:
        """Note which version answered; any other status is a failure."""
        if "x-version" in answer.headers:  # also with a bad status: the version was met
            self.record.met(self.kind, self.target, answer.version, self.sent)
        if answer.status != status:
            raise Failure(f"status_{answer.status}", answer.version and f"from version {answer.version}")

    def verify_about(self, answer: Answer, body: bytes) -> None:
        """The JSON of ``/`` has to be of the version that the head named."""
        try:
            version = json.loads(body)["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise Failure("wrong_body", repr(body[:200])) from error
        if version != answer.version:
            raise Failure("wrong_body", f"head of {answer.version}, body of {version}")


class Get(Client):
    kind = "get"

    async def act(self, turn: int) -> None:
        async with self.connection() as connection:
            answer = await connection.request("GET", "/", {"Connection": "close"})
            self.accept(answer)
            body = await connection.body(answer)
        self.verify_about(answer, body)


class Post(Client):
    kind = "post"

    async def act(self, turn: int) -> None:
        connection = await self.kept_connection()
        sent = f"{self.number} {turn} ".encode() * 20
        answer = await connection.request("POST", "/echo", {"Content-Type": "text/plain"}, sent)
        self.accept(answer)
        body = await connection.body(answer)
        if answer.closes:
            await self.drop()
        if body != sent:
            raise Failure("wrong_body", f"sent {sent[:40]!r}, came {body[:40]!r}")


class Sticky(Client):
    kind = "sticky"

    def __init__(self, target: Target, record: Record, number: int) -> None:
        super().__init__(target, record, number)
        self.cookies: dict[str, str] = {}

    async def act(self, turn: int) -> None:
        connection = await self.kept_connection()
        headers = {}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await connection.request("GET", "/", headers)
        self.accept(answer)
        body = await connection.body(answer)
        if answer.closes or connection.uses >= USES_OF_A_STICKY_CONNECTION:
            await self.drop()
        self.cookies.update(answer.cookies)
        self.verify_about(answer, body)


class Stream(Client):
    kind = "stream"
    timeout = REQUEST_TIMEOUT + STREAM_SECONDS

    async def act(self, turn: int) -> None:
        async with self.connection() as connection:
            path = f"/slow?seconds={STREAM_SECONDS:g}"
            answer = await connection.request("GET", path, {"Connection": "close"})
            self.accept(answer)
            body = await connection.body(answer)
        lines = body.decode("utf-8", "replace").splitlines()
        expected = [f"{number} of {len(lines)}" for number in range(1, len(lines) + 1)]
        if not lines or lines != expected:
            raise Failure("truncated", f"ends with {lines[-1:]}")


class Websocket(Client):
    kind = "websocket"
    timeout = REQUEST_TIMEOUT + STREAM_SECONDS
    interval = 0.2  # seconds between two messages

    async def act(self, turn: int) -> None:
        async with self.connection() as connection:
            await self.shake_hands(connection)
            ends = time.monotonic() + STREAM_SECONDS
            for number in itertools.count():
                if number:
                    self.begin()  # the handshake counts as the first message's request
                await self.exchange(connection, TEXT, f"{self.number} {turn} {number}".encode())
                if time.monotonic() >= ends:
                    break
                self.record.answered[self.kind] += 1
                await asyncio.sleep(self.interval)
            await self.exchange(connection, CLOSE, (1000).to_bytes(2, "big"))

    async def shake_hands(self, connection: Connection) -> None:
        key = base64.b64encode(os.urandom(16))
        answer = await connection.request(
            "GET",
            "/ws",
            {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": key.decode(),
            },
        )
        self.accept(answer, status=101)
        accepted = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()).decode()
        if answer.headers.get("sec-websocket-accept") != accepted:
            raise Failure("bad_answer", "wrong Sec-WebSocket-Accept")

    async def exchange(self, connection: Connection, opcode: int, payload: bytes) -> None:
        """Send one masked frame; the same has to come back."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        await connection.write(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)
        came = await connection.frame()
        if came != (opcode, payload):
            raise Failure("wrong_body", f"sent {(opcode, payload)!r}, came {came!r}")


KINDS: dict[str, type[Client]] = {kind.kind: kind for kind in (Get, Post, Sticky, Stream, Websocket)}


def interval_of(kind: str, rate: float) -> float:
    """Seconds from one turn of a client to its next. ``rate``: requests/s for one LB."""
    share = SHARES.get(kind)
    return SHORTEST_INTERVAL if share is None else WORKERS[kind] / (rate * share)


async def run_clients(
    urls: Sequence[str], kinds: Sequence[str], rate: float, record: Record, stop: asyncio.Event
) -> None:
    """Put the clients on all LBs until ``stop`` is set; what is open then may finish (each has a deadline)."""
    async with asyncio.TaskGroup() as group:
        for target in map(Target.of, urls):
            for kind in kinds:
                for number in range(WORKERS[kind]):
                    client = KINDS[kind](target, record, number)
                    interval = interval_of(kind, rate)
                    # Spread over the time of one turn: bursts would measure the bursts.
                    span = interval if kind in SHARES else STREAM_SECONDS
                    group.create_task(client.run(Pace(interval, stop, span * number / WORKERS[kind])))


class Clients:
    """The clients as a process of their own. Use as a context manager, or through ``clients(…)``.

    ``report()`` gives ``{"clients": {kind: {"sent", "answered", "failed", "causes": {cause: n}}},
    "versions": [{"kind", "url", "version", "count", "first_sent", "last_sent", "first", "last"}],
    "failures": [{"t", "after", "kind", "url", "cause", "detail"}], "closed_while_idle", "started", "ended"}``, times in
    epoch seconds, while they run and after they have ended.
    """

    def __init__(self, urls: Sequence[str], kinds: Sequence[str] = ALL, rate: float = RATE) -> None:
        self.urls = list(urls)
        self.kinds = tuple(kinds)
        command = [sys.executable, "-m", "tests.sandbox.clients", "--driven", "--rate", str(rate)]
        command += ["--kinds", ",".join(kinds)]
        for url in urls:
            command += ["--url", url]
        self.lock = threading.Lock()
        self.last: dict[str, Any] | None = None
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()

    def ask(self, word: str) -> dict[str, Any]:
        """One line in, one line out."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with self.lock:
            if self.last is not None:
                return self.last
            try:
                self.process.stdin.write(word + "\n")
                self.process.stdin.flush()
                line = self.process.stdout.readline()
            except BrokenPipeError:
                line = ""
            if not line:
                raise RuntimeError(f"the clients have ended by themselves with {self.process.wait()}")
            report = json.loads(line)
            if word == "stop":
                self.last = report
            return report

    def report(self) -> dict[str, Any]:
        return self.ask("report")

    def stop(self) -> dict[str, Any]:
        """No new requests, those that are open finish; the last report."""
        report = self.ask("stop")
        self.process.communicate()
        return report

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def failed(self) -> int:
        """Failed requests of all kinds."""
        return sum(counts["failed"] for counts in self.report()["clients"].values())

    def causes(self) -> dict[str, dict[str, int]]:
        """Failures by kind and cause, only the kinds that have any; for messages of asserts."""
        found = self.report()["clients"]
        return {kind: counts["causes"] for kind, counts in found.items() if counts["causes"]}

    def versions(self) -> set[str]:
        """All versions that any client has met."""
        return {seen["version"] for seen in self.report()["versions"]}

    def first_met(self, version: str) -> float | None:
        """When the first answer of a version came (epoch seconds), ``None`` when none did."""
        return min((seen["first"] for seen in self.report()["versions"] if seen["version"] == version), default=None)

    def last_sent_to(self, version: str) -> float | None:
        """When the last request that this version answered was sent (epoch seconds)."""
        return max(
            (seen["last_sent"] for seen in self.report()["versions"] if seen["version"] == version), default=None
        )

    def wait_until(self, condition: Callable[[dict[str, Any]], bool], timeout: float = 30.0) -> dict[str, Any]:
        """Ask for reports until one fulfils the condition; that one. ``TimeoutError`` after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not condition(report := self.report()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the clients still say {report['clients']}")
            time.sleep(0.05)
        return report

    def wait_until_flowing(self, timeout: float = 30.0) -> dict[str, Any]:
        """Until each kind has been answered by each LB."""
        wanted = {(kind, url.rstrip("/")) for kind in self.kinds for url in self.urls}
        return self.wait_until(lambda report: wanted <= {(s["kind"], s["url"]) for s in report["versions"]}, timeout)


@contextmanager
def clients(urls: Sequence[str], kinds: Sequence[str] = ALL, rate: float = RATE) -> Iterator[Clients]:
    """Clients on these URLs (one for each LB) for the time of the ``with``; asked gently to stop at its end."""
    with Clients(urls, kinds, rate) as traffic:
        yield traffic


def positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def listed_kinds(text: str) -> list[str]:
    kinds = [kind for kind in text.split(",") if kind]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise argparse.ArgumentTypeError(f"unknown kind {', '.join(unknown)!r}; there are {', '.join(ALL)}")
    return kinds


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tests.sandbox clients",
        description="Put clients on the load balancers and count every failure by its cause. Without --seconds they"
        " run until SIGTERM or Ctrl-C; what is open then is allowed to finish. Exits with 1 when a request failed.",
    )
    made.add_argument("--url", action="append", required=True, metavar="URL", help="the service at one LB; repeatable")
    made.add_argument("--kinds", type=listed_kinds, default=list(ALL), metavar="KIND,…", help=f"of {','.join(ALL)}")
    made.add_argument("--seconds", type=positive, metavar="S", help="how long")
    made.add_argument("--rate", type=positive, default=RATE, metavar="N", help="requests/s for each LB (%(default)g)")
    made.add_argument("--report", type=Path, metavar="FILE", help="write the report there, not to standard output")
    # One report on standard output for each line "report" on standard input, "stop" ends; so does the end of the input.
    made.add_argument("--driven", action="store_true", help=argparse.SUPPRESS)
    return made


async def drive(record: Record, stop: asyncio.Event, done: asyncio.Event) -> None:
    """Answer the lines that the parent writes; its end, however it comes, is ours."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line.strip() == b"stop":
            stop.set()
            await done.wait()
            print(json.dumps(record.report()), flush=True)
            return
        print(json.dumps(record.report()), flush=True)
    os._exit(1)  # nobody is left who could want what is still open


async def serve(arguments: argparse.Namespace) -> Record:
    record = Record(arguments.kinds)
    stop, done = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    if not arguments.driven:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    if arguments.seconds is not None:
        loop.call_later(arguments.seconds, stop.set)
    driver = asyncio.create_task(drive(record, stop, done)) if arguments.driven else None
    await run_clients(arguments.url, arguments.kinds, arguments.rate, record, stop)
    done.set()
    if driver is not None:
        await driver
    return record


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    report = asyncio.run(serve(arguments)).report()
    if arguments.driven:
        return 0
    text = json.dumps(report, indent=2) + "\n"
    if arguments.report:
        arguments.report.parent.mkdir(parents=True, exist_ok=True)
        arguments.report.write_text(text)
    else:
        print(text, end="")
    return 1 if any(counts["failed"] for counts in report["clients"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
