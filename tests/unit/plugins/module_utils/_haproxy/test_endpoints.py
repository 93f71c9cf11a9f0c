# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One instance for each address of a name, asked over a new connection each time."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import (
    InvalidInput,
    OperationError,
    Rejected,
    Unreachable,
)
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy import endpoints
from ansible_collections.zdd.rollout.plugins.module_utils._http import Tls
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import dripping

STATS = "# pxname,svname,scur,status,\nweb,a,1,UP,\n"


@contextmanager
def instance(answers: dict[str, tuple[int, str]], context: ssl.SSLContext | None = None) -> Iterator[Any]:
    """A server on 127.0.0.1; ``seen`` collects (connection, path, headers)."""
    seen: list[tuple[int, str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append((self.client_address[1], self.path, dict(self.headers)))
            status, text = answers.get(self.path, (404, "?"))
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + (5 if text.endswith("CUT") else 0)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_arguments: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_arguments: None  # a client that does not trust us breaks off
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    server.seen = seen
    server.port = server.server_address[1]
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def names(monkeypatch: pytest.MonkeyPatch, **hosts: list[str]) -> None:
    """Give host names addresses."""
    real = endpoints.socket.getaddrinfo

    def getaddrinfo(host: str, port: int, family: int = 0, type: int = 0) -> list[Any]:
        if host not in hosts:
            return real(host, port, family, type)
        found = [ip for ip in hosts[host] if family == 0 or (":" in ip) == (family == endpoints.socket.AF_INET6)]
        if not found:
            raise endpoints.socket.gaierror(-2, "Name or service not known")
        return [(0, type, 0, "", (ip, port)) for ip in found]

    monkeypatch.setattr(endpoints.socket, "getaddrinfo", getaddrinfo)


def test_each_address_of_a_name_is_an_instance_and_each_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, lb=["10.0.0.1", "10.0.0.2", "fd00::1"], other=["10.0.0.2"])
    found = endpoints.resolve(["http://lb:9090", "http://other:9090/", "http://10.0.0.1:9090"])
    assert [lb.name for lb in found] == ["10.0.0.1:9090", "10.0.0.2:9090", "[fd00::1]:9090"]


def test_one_kind_of_addresses_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, lb=["10.0.0.1", "fd00::1"])
    assert [lb.ip for lb in endpoints.resolve(["http://lb"], addresses="ipv4")] == ["10.0.0.1"]
    assert [lb.ip for lb in endpoints.resolve(["http://lb"], addresses="ipv6")] == ["fd00::1"]


def test_the_port_of_marathon_lb_is_the_default() -> None:
    assert endpoints.resolve(["http://127.0.0.1"])[0].name == "127.0.0.1:9090"


def test_a_name_without_address_is_named() -> None:
    with pytest.raises(Unreachable, match=r"no-such-host\.invalid"):
        endpoints.resolve(["http://no-such-host.invalid:9090"])


@pytest.mark.parametrize("url", ["lb:9090", "http://", "ftp://lb", "http://lb:port", "http://lb/haproxy?stats", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        endpoints.resolve([url])


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidInput) as failure:
        endpoints.resolve(["http://user:geheim@lb:9090"])
    assert "geheim" not in failure.value.message


def test_each_question_has_a_connection_of_its_own_and_says_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with instance({endpoints.STATS: (200, STATS), endpoints.PIDS: (200, "12 7\n")}) as server:
        names(monkeypatch, lb=["127.0.0.1"])
        (lb,) = endpoints.resolve([f"http://lb:{server.port}"], username="me", password="secret")
        assert lb.stats()["web", "a"].scur == 1
        assert lb.pids() == (7, 12)
    assert len({connection for connection, _path, _headers in server.seen}) == 2
    assert {headers["Host"] for *_rest, headers in server.seen} == {f"lb:{server.port}"}
    assert {headers["Authorization"] for *_rest, headers in server.seen} == {"Basic bWU6c2VjcmV0"}
    assert "secret" not in repr(lb) and "bWU6c2VjcmV0" not in repr(lb)


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ((200, "<html>"), Unreachable, "unreadable_answer"),
        ((200, ""), Unreachable, "unreadable_answer"),
        ((200, STATS + "CUT"), Unreachable, "unreachable"),
        ((503, "no server"), Unreachable, "unavailable"),
        ((401, "who?"), Rejected, "refused"),
        ((404, "?"), Rejected, "refused"),
        ((302, ""), Rejected, "refused"),
    ],
)
@pytest.mark.parametrize("question", ["stats", "config", "pids", "process_id"])
def test_an_answer_that_is_none_is_an_error_that_names_the_instance(
    question: str, answer: tuple[int, str], kind: type[OperationError], code: str
) -> None:
    answers = dict.fromkeys((endpoints.STATS, endpoints.CONFIG, endpoints.PIDS, endpoints.PAGE), answer)
    with instance(answers) as server:
        (lb,) = endpoints.resolve([f"http://127.0.0.1:{server.port}"])
        with pytest.raises(kind) as failure:
            getattr(lb, question)()
    assert failure.value.code == code
    assert lb.name in failure.value.message


def test_the_live_worker_is_read_from_the_statistics_page() -> None:
    with instance({endpoints.PAGE: (200, "<h2>Statistics Report for pid 4711</h2>")}) as server:
        assert endpoints.resolve([f"http://127.0.0.1:{server.port}"])[0].process_id() == 4711


def test_one_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(Unreachable) as failure:
        endpoints.resolve(["http://127.0.0.1:1"])[0].stats()
    assert failure.value.message == "lb 127.0.0.1:1: no answer to GET /haproxy?stats;csv (connection refused)"


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_is_cut_off_at_the_timeout(head: bytes) -> None:
    """Each read is in time, the headers too; the whole would take two minutes."""
    with dripping(head) as url:
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"nothing within 0\.5 s"):
            endpoints.resolve([url], timeout=0.5)[0].stats()

        assert time.monotonic() - began < 30


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``lb.example.com``, with its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lb -addext subjectAltName=DNS:lb.example.com"
    subprocess.run(
        [*command.split(), "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
    )
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return folder


def ask_over_tls(monkeypatch: pytest.MonkeyPatch, certificate: Path, name: str, tls: Tls) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "both.pem")
    with instance({endpoints.STATS: (200, STATS)}, context) as server:
        names(monkeypatch, **{name: ["127.0.0.1"]})
        return len(endpoints.resolve([f"https://{name}:{server.port}"], tls=tls)[0].stats())


def test_the_certificate_is_checked_against_the_name_although_an_address_is_asked(
    monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    trusting = Tls(ca_path=str(certificate / "cert.pem"))
    assert ask_over_tls(monkeypatch, certificate, "lb.example.com", trusting) == 1
    with pytest.raises(Rejected, match=r"not trusted .*not valid for 'other\.example\.com'"):
        ask_over_tls(monkeypatch, certificate, "other.example.com", trusting)


def test_an_authority_that_is_not_trusted_is_refused_unless_told(
    monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    with pytest.raises(Rejected, match="self-signed"):
        ask_over_tls(monkeypatch, certificate, "lb.example.com", Tls())
    assert ask_over_tls(monkeypatch, certificate, "lb.example.com", Tls(validate_certs=False)) == 1


def test_a_file_that_is_no_certificate_is_refused_at_the_begin(certificate: Path, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("nothing")
    with pytest.raises(InvalidInput, match="ca_path"):
        endpoints.resolve(["https://127.0.0.1"], tls=Tls(ca_path=str(tmp_path / "none.pem")))
