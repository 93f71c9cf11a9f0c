# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test service, as a real process."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVICE = Path(__file__).resolve().parent.parent / "sandbox" / "service.py"
HOST = "127.0.0.1"
PATIENCE = 30.0  # seconds; the machine may be busy


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.02)


def listens(port: int, host: str = HOST) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def service(wait: bool = True, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start it with this environment; ``PORT0`` and ``HOST`` are added unless given."""
    environment.setdefault("PORT0", str(free_port()))
    port = int(environment["PORT0"])
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", str(SERVICE)],
        env={"PATH": os.environ["PATH"], "HOST": HOST, **environment},
        stderr=subprocess.DEVNULL,
    )
    try:
        if wait:
            until(lambda: listens(port, environment.get("MESOS_CONTAINER_IP", HOST)), "it listens")
        yield process, port
    finally:
        process.kill()
        process.wait()


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def pending(port: int) -> dict[str, object]:
    return json.loads(ask(port, "/pending")[2])


def test_it_says_which_version_and_task_answers() -> None:
    with service(VERSION="2", MESOS_TASK_ID="app.instance-1._app.1") as (_process, port):
        status, headers, body = ask(port, "/")

    assert status == 200
    assert headers["X-Version"] == "2"
    assert json.loads(body) == {"version": "2", "task": "app.instance-1._app.1", "host": HOST, "port": port}


def test_it_listens_on_all_ports_of_the_container_address() -> None:
    ports = [free_port(), free_port()]
    with service(MESOS_CONTAINER_IP="127.0.0.9", PORT0=str(ports[0]), PORT1=str(ports[1])):
        until(lambda: all(listens(port, "127.0.0.9") for port in ports), "both ports listen")
        assert not listens(ports[0], HOST)


def test_requests_of_a_kept_connection_are_answered_in_turn() -> None:
    with service() as (_process, port):
        connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
        for number in range(3):
            sent = str(number).encode() * 70_000
            connection.request("POST", "/echo", sent)
            first = connection.sock
            assert connection.getresponse().read() == sent
            assert connection.sock is first is not None
        connection.request("POST", "/echo", iter([b"in ", b"chunks"]), encode_chunked=True)
        assert connection.getresponse().read() == b"in chunks"
        connection.close()


def test_a_stream_starts_at_once_and_comes_whole() -> None:
    with service() as (_process, port):
        connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
        started = time.monotonic()
        connection.request("GET", "/slow?seconds=1")
        answer = connection.getresponse()
        head_after = time.monotonic() - started
        lines = answer.read().splitlines()
        whole_after = time.monotonic() - started
        connection.close()

    assert lines == [f"{number} of 10".encode() for number in range(1, 11)]
    assert whole_after >= 1 > head_after / 2
    assert head_after < whole_after / 2


def test_what_is_being_worked_on_is_pending_and_looking_is_not() -> None:
    with service() as (_process, port):
        assert pending(port)["pending"] == 0
        working = threading.Thread(target=ask, args=(port, "/work?seconds=1"))
        working.start()
        until(lambda: pending(port)["pending"] == 1, "the work is pending")
        text = ask(port, "/metrics")[2].decode().splitlines()
        assert "pending_operations 1" in text
        assert 'pending_operations_by_queue{queue="work"} 1' in text
        working.join()
        until(lambda: pending(port)["pending"] == 0, "nothing is pending")


def test_a_client_that_leaves_in_the_middle_is_no_longer_pending() -> None:
    with service() as (_process, port):
        with socket.create_connection((HOST, port)) as client:
            client.sendall(b"GET /slow?seconds=60 HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: pending(port)["pending"] == 1, "the stream is pending")
        until(lambda: pending(port)["pending"] == 0, "nothing is pending")


def test_health_and_readiness_come_and_health_goes() -> None:
    with service(HEALTHY_AFTER="0.5", READY_AFTER="0.5", UNHEALTHY_AFTER="2") as (_process, port):
        assert ask(port, "/")[0] == 200
        until(lambda: ask(port, "/health")[0] == 200, "it gets healthy")
        until(lambda: ask(port, "/ready")[0] == 200, "it gets ready")
        until(lambda: ask(port, "/health")[0] == 503, "it gets unhealthy")
        assert ask(port, "/ready")[0] == 200


def test_health_is_bad_before_its_time() -> None:
    with service(HEALTHY_AFTER="600", READY_AFTER="600") as (_process, port):
        assert [ask(port, path)[0] for path in ("/health", "/ready", "/")] == [503, 503, 200]


def test_errors_come_at_the_rate_asked_for() -> None:
    with service(ERROR_RATE="0.25") as (_process, port):
        statuses = [ask(port, "/")[0] for _index in range(40)]
        assert ask(port, "/health")[0] == 200

    assert statuses.count(500) == 10
    assert statuses.count(200) == 30


def test_a_status_can_be_asked_for() -> None:
    with service() as (_process, port):
        assert ask(port, "/fail?status=418")[0] == 418
        assert ask(port, "/nowhere")[0] == 404


def test_what_is_no_request_is_refused_and_the_service_goes_on() -> None:
    with service() as (_process, port):
        with socket.create_connection((HOST, port)) as client:
            client.sendall(b"what?\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
        assert ask(port, "/slow?seconds=soon")[0] == 400
        assert ask(port, "/")[0] == 200


def test_it_crashes_when_told_to() -> None:
    with service(CRASH_AFTER="0.5") as (process, _port):
        assert process.wait(PATIENCE) == 1


def test_it_does_not_listen_before_its_delay_is_over() -> None:
    with service(wait=False, START_DELAY="1.5") as (process, port):
        started = time.monotonic()
        until(lambda: listens(port), "it listens")
        assert time.monotonic() - started >= 1
        assert process.poll() is None


def test_sigterm_cuts_what_is_open() -> None:
    """The worst case on purpose: whoever kills a task that still works is to see it."""
    with service() as (process, port):
        with socket.create_connection((HOST, port), timeout=PATIENCE) as client:
            client.sendall(b"GET /slow?seconds=60 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(10)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == -signal.SIGTERM
            received = b"".join(iter(lambda: client.recv(4096), b""))
        assert b"\r\n0\r\n\r\n" not in received


def masked(opcode: int, payload: bytes) -> bytes:
    key = os.urandom(4)
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


@pytest.mark.parametrize("length", [0, 125, 126, 5000])
def test_a_websocket_echoes_and_closes_clean(length: int) -> None:
    message = os.urandom(length)
    key = base64.b64encode(os.urandom(16))
    with service() as started, socket.create_connection((HOST, started[1]), timeout=PATIENCE) as client:
        port = started[1]
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        stream = client.makefile("rb")
        assert stream.readline().startswith(b"HTTP/1.1 101 ")
        headers = dict(line.split(b":", 1) for line in iter(lambda: stream.readline().strip(), b""))
        expected = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        assert headers[b"Sec-WebSocket-Accept"].strip() == expected
        assert pending(port)["queues"]["websockets"] == 1  # type: ignore[index]

        client.sendall(masked(2, message))
        head = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
        assert stream.read(1 + len(head) + length) == b"\x82" + head + message
        client.sendall(masked(8, (1000).to_bytes(2, "big")))
        assert stream.read() == b"\x88\x02" + (1000).to_bytes(2, "big")
        until(lambda: pending(port)["pending"] == 0, "the websocket is not pending any more")
