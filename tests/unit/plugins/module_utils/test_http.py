# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One session: who is asked, what is sent again, and what an error says."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import time
from pathlib import Path

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput, Unreachable
from ansible_collections.zdd.rollout.plugins.module_utils._http import TLS_SPEC, Http, Tls
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import (
    Clock,
    Reply,
    Request,
    dripping,
    serving,
)

x509 = pytest.importorskip("cryptography.x509")


def connection_of(http: Http) -> object:
    """The one connection that lies in the pool."""
    manager = http._session.get_adapter("http://").poolmanager
    (key,) = manager.pools.keys()
    pool = manager.pools[key].pool
    connection = pool.get_nowait()
    pool.put_nowait(connection)
    return connection


def closed_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return holder.getsockname()[1]


def test_the_next_member_is_asked_when_one_is_away_and_stays_the_first() -> None:
    with serving(lambda _request: (200, {})) as member:
        http = Http("Marathon", [f"http://127.0.0.1:{closed_port()}", member.url], Clock().context())

        assert http.send("POST", "/x", body={"a": 1}, repeatable=False).system == member.url
        assert http.urls[0] == member.url
        assert member.got[0].body == {"a": 1}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_ailing_system_is_asked_again(status: int) -> None:
    answers = iter([(status, "no leader"), (status, "no leader"), (200, {"ok": True})])
    clock = Clock()
    with serving(lambda _request: next(answers)) as member:
        http = Http("Marathon", [member.url], clock.context())

        answer = http.send("GET", "/x")

    assert answer.json() == {"ok": True}
    assert answer.uncertain
    assert http.sent == 3
    assert "no leader" in clock.lines[0]


@pytest.mark.parametrize("reply", [(503, "busy"), None])
def test_what_must_not_happen_twice_is_not_sent_twice(reply: Reply) -> None:
    with serving(lambda _request: reply) as member:
        http = Http("Marathon", [member.url], Clock().context())
        with pytest.raises(Unreachable):
            http.send("POST", "/restart", repeatable=False)

        assert len(member.got) == 1


def test_a_5xx_that_is_an_answer_is_not_repeated() -> None:
    with serving(lambda _request: (500, {"message": "URI not found"})) as member:
        http = Http("Marathon", [member.url], Clock().context())

        assert http.send("GET", "/x", answers_itself=lambda answer: "URI not found" in answer.text).status == 500
        assert len(member.got) == 1


def test_asking_ends_after_the_retry_time_and_names_system_and_request() -> None:
    clock, url = Clock(), f"http://127.0.0.1:{closed_port()}"
    http = Http("Marathon", [url], clock.context(), retry_timeout=5)

    with pytest.raises(Unreachable) as refused:
        http.send("GET", "/v2/apps")

    assert clock.time == 1005
    assert refused.value.failure() == {
        "code": "unreachable",
        "system": url,
        "request": "GET /v2/apps",
        "status": None,
        "detail": None,
    }
    assert refused.value.message == f"Marathon at {url} did not answer GET /v2/apps: Connection refused"


def test_an_answer_that_cannot_be_read_says_nothing() -> None:
    with serving(lambda _request: (200, "<html>")) as member:
        answer = Http("Marathon", [member.url], Clock().context()).send("GET", "/x")

    with pytest.raises(Unreachable, match="no JSON: '<html>'"):
        answer.json()


def test_a_stream_follows_a_member_to_the_leader_with_the_credentials() -> None:
    def leads(request: Request) -> Reply:
        return (200, iter([b"data: 1\n\n"])) if "Authorization" in request.headers else (401, "who are you")

    with (
        serving(leads) as leader,
        serving(lambda _request: (302, "", {"Location": f"{leader.url}/v2/events"})) as standby,
    ):
        http = Http("Marathon", [standby.url], Clock().context(), headers={"Authorization": "token=t"})
        response = http.stream("/v2/events")

        assert response.content == b"data: 1\n\n"
        assert http.sent == 2


def test_a_stream_that_nobody_gives_is_an_error_at_once() -> None:
    clock = Clock()
    with serving(lambda _request: (503, "")) as member, pytest.raises(Unreachable, match="status 503"):
        Http("Marathon", [member.url], clock.context()).stream("/v2/events")

    assert clock.slept == []


@pytest.fixture(name="certificate")
def _certificate(tmp_path: Path) -> Path:
    """A file with a key and a certificate of 127.0.0.1 that signs itself."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_side(certificate: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    return tls


def test_a_certificate_that_is_not_trusted_ends_it_at_once(certificate: Path) -> None:
    clock = Clock()
    with (
        serving(lambda _request: (200, {}), server_side(certificate)) as member,
        pytest.raises(Unreachable, match=r"TLS: .*self.signed"),
    ):
        Http("Marathon", [member.url], clock.context()).send("GET", "/x")

    assert clock.slept == []


def test_certificates_are_trusted_by_file_or_not_checked_at_all(certificate: Path) -> None:
    with serving(lambda _request: (200, {}), server_side(certificate)) as member:
        for tls in (Tls(ca_path=str(certificate)), Tls(validate_certs=False)):
            assert Http("Marathon", [member.url], Clock().context(), tls=tls).send("GET", "/x").status == 200


def test_a_client_shows_its_certificate(certificate: Path) -> None:
    server = server_side(certificate)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certificate)
    with serving(lambda _request: (200, {}), server) as member:
        tls = Tls(ca_path=str(certificate), client_cert=str(certificate))

        assert Http("Marathon", [member.url], Clock().context(), tls=tls).send("GET", "/x").status == 200


@pytest.mark.parametrize("option", ["ca_path", "client_cert", "client_key"])
def test_a_file_that_is_not_there_is_named(option: str) -> None:
    params = {**dict.fromkeys(TLS_SPEC), option: "/no/such/file"}

    with pytest.raises(InvalidInput, match=f"Option {option}: there is no file /no/such/file"):
        Tls.from_params(params)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_is_cut_off_at_the_timeout(head: bytes) -> None:
    """Each read is in time, the headers too; the whole would take two minutes."""
    with dripping(head) as url:
        http = Http("Marathon", [url], Clock().context(), timeout=0.5, retry_timeout=0)
        began = time.monotonic()
        with pytest.raises(Unreachable, match="timed out"):
            http.send("GET", "/x")

        assert time.monotonic() - began < 30


def test_a_connection_is_kept_and_its_next_answer_has_a_time_of_its_own() -> None:
    sources = []

    def slow(request: Request) -> Reply:
        sources.append(request.headers.get("Connection"))
        time.sleep(0.3)
        return 200, {"text": "ü" * 100_000}

    with serving(slow) as member:
        http = Http("Marathon", [member.url], Clock().context(), timeout=20)
        texts, connections = [], set()
        for _request in range(3):
            texts.append(http.send("GET", "/x").json()["text"][-1])
            connections.add(id(connection_of(http)))

    assert len(connections) == 1
    assert texts == ["ü"] * 3
    assert sources == ["keep-alive"] * 3


def test_without_keep_alive_no_connection_is_left_whatever_the_server_does() -> None:
    with (
        serving(lambda _request: (200, {})) as member,
        Http("LB", [member.url], Clock().context(), keep_alive=False) as http,
    ):
        http.send("GET", "/x")

        assert len(http._session.get_adapter("http://").poolmanager.pools) == 0
        assert http.send("GET", "/x").status == 200


def test_a_connection_that_is_cut_is_named_in_plain_words() -> None:
    with serving(lambda _request: None) as member:
        http = Http("Marathon", [member.url], Clock().context(), retry_timeout=0)
        with pytest.raises(Unreachable) as cut:
            http.send("GET", "/x")

    assert cut.value.message == (
        f"Marathon at {member.url} did not answer GET /x: Remote end closed connection without response"
    )
