# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients: what goes wrong is counted under its cause, once, and nothing is tried again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sandbox.clients import ALL, ROOT, Clients, clients

SERVICE = ROOT / "tests" / "sandbox" / "service.py"
HOST = "127.0.0.1"
GOOD = b"HTTP/1.1 200 OK\r\nX-Version: 1\r\nContent-Length: 16\r\n\r\n" + b'{"version": "1"}'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextmanager
def service(version: str, port: int | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = port or free_port()
    environment = {"PATH": os.environ["PATH"], "HOST": HOST, "PORT0": str(port), "VERSION": version}
    process = subprocess.Popen([sys.executable, "-S", "-E", str(SERVICE)], env=environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((HOST, port)).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "the service does not listen"
                time.sleep(0.02)
        yield process, port
    finally:
        process.kill()
        process.wait()


def url(port: int) -> str:
    return f"http://{HOST}:{port}"


Script = Callable[[socket.socket], None]


@contextmanager
def server(script: Script) -> Iterator[str]:
    """A server that does ``script`` with each connection, then closes it."""
    listener = socket.create_server((HOST, 0), backlog=100)

    def converse(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):  # the client was faster
            script(sock)

    def accept() -> None:
        while True:
            try:
                sock, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield url(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def heard(sock: socket.socket) -> bytes:
    """One request, whole enough."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise ConnectionError("the client has gone")
        data += more
    return data


def answers(answer: bytes) -> Script:
    def script(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(answer)

    return script


def resets(after: bytes = b"") -> Script:
    def script(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(after)
        time.sleep(0.05 if after else 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


def answers_once_then(last: Script) -> Script:
    """A good first answer on a kept connection, then ``last``."""

    def script(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(GOOD)
        last(sock)

    return script


BAD_BODY = b"HTTP/1.1 200 OK\r\nX-Version: 1\r\nContent-Length: 2\r\n\r\n{}"
SHORT_STREAM = b"HTTP/1.1 200 OK\r\nX-Version: 1\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n1 of 2\n\r\n"
CUT_WEBSOCKET = b"HTTP/1.1 101 Switching Protocols\r\nX-Version: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "script", "cause"),
    [
        ("get", answers(b""), "eof"),
        ("get", answers(b"HTTP/1.1 200"), "eof"),
        ("get", resets(), "reset"),
        ("get", answers(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), "status_503"),
        ("get", answers(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), "truncated"),
        ("get", resets(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), "truncated"),
        ("get", answers(BAD_BODY), "wrong_body"),
        ("get", answers(b"SSH-2.0-surprise\r\n\r\n"), "bad_answer"),
        ("post", answers(b""), "eof"),
        ("post", answers(BAD_BODY), "wrong_body"),
        ("sticky", answers_once_then(answers(b"")), "eof_on_kept_connection"),
        ("sticky", answers_once_then(resets()), "eof_on_kept_connection"),
        ("sticky", answers_once_then(answers(b"HTTP/1.1 20")), "eof"),
        ("sticky", answers_once_then(answers(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")), "status_502"),
        ("stream", answers(SHORT_STREAM), "truncated"),
        ("stream", answers(SHORT_STREAM + b"0\r\n\r\n"), "truncated"),
        ("websocket", answers(CUT_WEBSOCKET), "bad_answer"),
        ("websocket", answers(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "status_400"),
    ],
)
def test_a_failure_is_counted_once_under_its_cause(kind: str, script: Script, cause: str) -> None:
    with server(script) as address, clients([address], kinds=[kind], rate=80) as traffic:
        traffic.wait_until(lambda report: report["clients"][kind]["failed"] >= 2)
    counts = traffic.report()["clients"][kind]

    assert set(counts["causes"]) == {cause}
    assert counts["failed"] == counts["causes"][cause]
    assert counts["sent"] == counts["failed"] + counts["answered"]
    assert traffic.failed() == counts["failed"]
    assert traffic.causes() == {kind: counts["causes"]}


def test_nobody_listening_is_a_failure_to_connect() -> None:
    with clients([url(free_port())], rate=20) as traffic:
        traffic.wait_until(lambda report: all(counts["failed"] for counts in report["clients"].values()))

    assert {cause for causes in traffic.causes().values() for cause in causes} == {"connect"}


def test_no_request_is_sent_twice() -> None:
    requests = []

    def script(sock: socket.socket) -> None:
        requests.append(heard(sock))

    with server(script) as address, clients([address], kinds=["get", "post"], rate=20) as traffic:
        traffic.wait_until(lambda report: report["clients"]["post"]["failed"] >= 3)

    assert len(requests) == sum(counts["sent"] for counts in traffic.report()["clients"].values())


def test_a_connection_seen_closed_before_the_request_is_no_failure() -> None:
    """Nothing was sent on it, so nothing was lost."""
    with server(answers(GOOD)) as address, clients([address], kinds=["sticky"], rate=20) as traffic:
        traffic.wait_until(lambda report: report["clients"]["sticky"]["answered"] >= 12)
    report = traffic.report()

    assert report["closed_while_idle"] > 0
    assert traffic.failed() == 0


def test_a_cut_websocket_and_a_cut_stream_are_seen() -> None:
    port = free_port()
    with clients([url(port)], kinds=["stream", "websocket"]) as traffic:
        with service("1", port) as (process, _port):
            traffic.wait_until_flowing()
            before = traffic.report()["clients"]["websocket"]["answered"]
            traffic.wait_until(lambda report: report["clients"]["websocket"]["answered"] > before + 1)
            process.kill()
        traffic.wait_until(lambda report: "truncated" in report["clients"]["stream"]["causes"])
        traffic.wait_until(lambda report: bool({"eof", "reset"} & set(report["clients"]["websocket"]["causes"])))


def test_all_kinds_are_answered_by_a_good_service() -> None:
    with service("1") as started, clients([url(started[1])]) as traffic:
        traffic.wait_until_flowing()
        traffic.wait_until(lambda report: report["clients"]["get"]["answered"] >= 20)
    report = traffic.report()

    assert set(report["clients"]) == set(ALL)
    assert traffic.causes() == {}
    assert all(counts["sent"] == counts["answered"] > 0 for counts in report["clients"].values())
    assert traffic.versions() == {"1"}


def test_cookies_are_kept() -> None:
    seen: list[bytes] = []

    def script(sock: socket.socket) -> None:
        while True:
            seen.append(heard(sock))
            sock.sendall(GOOD.replace(b"X-Version", b"Set-Cookie: mesosphere_server_id=a; path=/\r\nX-Version"))

    with server(script) as address, clients([address], kinds=["sticky"], rate=40) as traffic:
        traffic.wait_until(lambda report: report["clients"]["sticky"]["answered"] >= 12)

    with_cookie = [request for request in seen if b"Cookie: mesosphere_server_id=a\r\n" in request]
    assert len(seen) - len(with_cookie) == 4  # the first request of each client


def test_the_change_of_version_is_seen_with_its_times() -> None:
    with service("1") as (_process, first), service("2") as (_process, second):
        current = [first]

        def pipe(sock: socket.socket) -> None:
            with socket.create_connection((HOST, current[0])) as upstream:
                upstream.sendall(heard(sock))
                while data := upstream.recv(65536):
                    sock.sendall(data)

        with server(pipe) as address, clients([address], kinds=["get"], rate=50) as traffic:
            traffic.wait_until_flowing()
            assert traffic.versions() == {"1"}
            assert traffic.first_met("2") is None
            before = time.time()
            current[0] = second
            traffic.wait_until(lambda report: len(report["versions"]) == 2)
            after = time.time()
        report = traffic.report()

    assert before <= (traffic.first_met("2") or 0) <= after
    assert (traffic.last_sent_to("1") or after) <= after
    assert {(seen["kind"], seen["version"]) for seen in report["versions"]} == {("get", "1"), ("get", "2")}
    assert sum(seen["count"] for seen in report["versions"]) == report["clients"]["get"]["answered"]


def test_an_answer_with_a_bad_status_has_met_its_version_too() -> None:
    bad = b"HTTP/1.1 500 Internal Server Error\r\nX-Version: 2\r\nContent-Length: 0\r\n\r\n"
    with server(answers(bad)) as address, clients([address], kinds=["get"], rate=20) as traffic:
        traffic.wait_until(lambda report: report["clients"]["get"]["failed"] > 0)

    assert traffic.versions() == {"2"}


def test_what_is_open_at_the_end_is_finished() -> None:
    with service("1") as started, clients([url(started[1])], kinds=["stream", "websocket"]) as traffic:
        traffic.wait_until(lambda report: report["clients"]["stream"]["sent"] >= 2)
        report = traffic.stop()

    assert traffic.failed() == 0
    assert report["clients"]["stream"]["answered"] == report["clients"]["stream"]["sent"]


def test_the_rate_is_bounded_for_each_lb() -> None:
    with service("1") as (_process, first), service("1") as (_process, second):
        with clients([url(first), url(second)], kinds=["get", "post", "sticky"], rate=40) as traffic:
            traffic.wait_until_flowing()
            time.sleep(2)
        report = traffic.report()

    took = report["ended"] - report["started"]
    sent = sum(counts["sent"] for counts in report["clients"].values())
    assert sent <= 2 * 40 * took * 1.25 + 2 * 18  # each client's first turn comes early


def test_the_clients_end_with_their_parent() -> None:
    """Also when it is killed and cannot tell them."""
    with service("1") as (_process, port):
        script = (
            "import time\nfrom tests.sandbox.clients import Clients\n"
            f"traffic = Clients(['{url(port)}'])\ntraffic.wait_until_flowing()\n"
            "print(traffic.process.pid, flush=True)\ntime.sleep(600)\n"
        )
        parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.communicate()
        deadline = time.monotonic() + 30
        while alive(child):
            assert time.monotonic() < deadline, "the clients outlive their parent"
            time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_clients_that_died_are_not_a_good_report() -> None:
    with service("1") as (_process, port):
        traffic = Clients([url(port)])
        traffic.wait_until_flowing()
        traffic.process.kill()
        with pytest.raises(RuntimeError, match="ended by themselves"):
            traffic.report()


@pytest.mark.parametrize("ending", ["seconds", "SIGTERM"])
def test_the_command_writes_a_report_and_tells_by_its_exit(tmp_path: Path, ending: str) -> None:
    report = tmp_path / "deep" / "report.json"
    command = [sys.executable, "-m", "tests.sandbox.clients", "--kinds", "get,sticky", "--report", str(report)]
    with service("1") as (_process, port):
        command += ["--url", url(port)]
        if ending == "seconds":
            assert subprocess.run([*command, "--seconds", "1"], cwd=ROOT, check=False, timeout=60).returncode == 0
        else:
            running = subprocess.Popen(command, cwd=ROOT)
            time.sleep(2)
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0
        assert set(json.loads(report.read_text())["clients"]) == {"get", "sticky"}
    assert subprocess.run([*command, "--seconds", "1"], cwd=ROOT, check=False, timeout=60).returncode == 1
    assert json.loads(report.read_text())["clients"]["get"]["causes"].keys() == {"connect"}


def test_an_unknown_kind_is_refused() -> None:
    command = [sys.executable, "-m", "tests.sandbox.clients", "--url", url(1), "--kinds", "get,smtp"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert "smtp" in done.stderr
