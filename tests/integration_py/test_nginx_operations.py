# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operations make of a real nginx, and what they say when it does not do what it should."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import tempfile
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._nginx.shares import BUCKETS
from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    nginx_config,
    nginx_drain,
    nginx_info,
    nginx_split,
)
from tests.integration_py.haproxy_instance import Backend, eventually, free_port, held
from tests.integration_py.nginx_instance import Nginx, Tasks, version_at
from tests.integration_py.operating import operate


@dataclass
class Stage:
    """An nginx with one task of each colour: version 1 is blue, version 2 is green."""

    nginx: Nginx
    blue: Tasks
    green: Tasks

    def content(self, **settings: Any) -> str:
        return self.nginx.content(self.blue.addresses, self.green.addresses, **settings)

    def split(self, colour: str, share: float = 100, **options: Any) -> dict[str, Any]:
        return operate(nginx_split, **self.nginx.at(), colour=colour, share=share, **options)

    def info(self) -> dict[str, Any]:
        result = operate(nginx_info, **self.nginx.at())
        assert not result.get("failed"), result
        return result["proxy"]

    def drain(self, addresses: list[str], **options: Any) -> dict[str, Any]:
        return operate(nginx_drain, **self.nginx.at(), addresses=addresses, **options)


@contextmanager
def staged(extra: str = "", **settings: Any) -> Iterator[Stage]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nginx = stack.enter_context(Nginx(folder, extra=extra, settings=settings))
        stage = Stage(nginx, stack.enter_context(Tasks("1", 1)), stack.enter_context(Tasks("2", 1)))
        done = nginx.configure(stage.content())
        assert not done.get("failed"), done
        yield stage


@pytest.fixture(name="stage")
def _stage() -> Iterator[Stage]:
    with staged() as stage:
        yield stage


def met(url: str, count: int, headers: dict[str, str] | None = None) -> Counter[str]:
    """How often each version answers on one connection that is kept."""
    host, port = url.removeprefix("http://").split(":")
    found: Counter[str] = Counter()
    with closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
        for _request in range(count):
            connection.request("GET", "/", headers=headers or {})
            answer = connection.getresponse()
            answer.read()
            found[answer.headers["X-Version"]] += 1
    return found


# --- nginx_config


def test_the_first_activation_is_seen_and_a_second_one_changes_nothing(stage: Stage) -> None:
    before = stage.nginx.workers()

    again = stage.nginx.configure(stage.content())

    assert (again["changed"], again["reloaded"]) == (False, False)
    assert stage.nginx.workers() == before
    assert again["proxy"]["addresses"] == {"blue": stage.blue.addresses, "green": stage.green.addresses}
    assert again["proxy"]["is_active"]


def test_other_addresses_are_loaded_by_new_workers(stage: Stage) -> None:
    before = set(stage.nginx.workers())

    done = stage.nginx.configure(stage.nginx.content(stage.green.addresses, stage.blue.addresses))

    assert (done["changed"], done["reloaded"]) == (True, True)
    assert not {pid for pid, is_old in stage.nginx.workers().items() if not is_old} & before
    assert version_at(stage.nginx.url) == "2"


def test_check_mode_tells_what_would_be_and_changes_nothing(stage: Stage) -> None:
    before, workers = stage.nginx.config.read_text(), stage.nginx.workers()
    content = stage.nginx.content(stage.blue.addresses, ["10.0.0.1:80"])
    options = {"main_config": str(stage.nginx.main_config), "pid_file": str(stage.nginx.pid_file)}

    foreseen = operate(nginx_config, check_mode=True, **stage.nginx.at(), content=content, **options)

    assert foreseen["changed"] and foreseen["proxy"]["addresses"]["green"] == ["10.0.0.1:80"]
    assert foreseen["proxy"]["connections"]["10.0.0.1:80"] == 0
    assert (stage.nginx.config.read_text(), stage.nginx.workers()) == (before, workers)


def test_a_configuration_that_nginx_refuses_is_put_back_and_nothing_is_reloaded(stage: Stage) -> None:
    before, workers = stage.nginx.config.read_text(), stage.nginx.workers()

    refused = stage.nginx.configure(stage.content(extra_live="no_such_directive on;"))

    assert refused["failure"]["code"] == "invalid_configuration"
    assert '[emerg] unknown directive "no_such_directive"' in refused["msg"]
    assert not refused["changed"]
    assert (stage.nginx.config.read_text(), stage.nginx.workers()) == (before, workers)
    assert version_at(stage.nginx.url) == "1"


def test_a_first_configuration_that_nginx_refuses_leaves_no_file() -> None:
    with tempfile.TemporaryDirectory() as folder, Nginx(Path(folder)) as nginx:
        refused = nginx.configure(nginx.content(extra_live="no_such_directive on;"))

        assert refused["failure"]["code"] == "invalid_configuration"
        assert list(nginx.config.parent.iterdir()) == []


def test_a_reload_that_fails_is_put_back_and_said(stage: Stage) -> None:
    """A port that is taken is no fault of the configuration: ``nginx -t`` is content with it."""
    before = stage.nginx.config.read_text()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        content = stage.content(live_port=f"127.0.0.1:{taken.getsockname()[1]}")
        failed = stage.nginx.configure(content, wait_timeout=5)

    assert failed["failure"]["code"] == "reload_failed"
    assert "is as it was before, and loaded again" in failed["msg"]
    assert stage.nginx.config.read_text() == before
    assert version_at(stage.nginx.url) == "1"
    assert stage.info()["is_active"]


def test_what_was_written_and_not_loaded_is_loaded(stage: Stage) -> None:
    """As after a run that was killed between the two."""
    content = stage.nginx.content(stage.green.addresses, stage.blue.addresses)
    stage.nginx.configure(content)
    written = stage.nginx.config.read_text()
    stage.nginx.configure(stage.content())
    stage.nginx.config.write_text(written)
    assert not stage.info()["is_active"]

    done = stage.nginx.configure(content)

    assert done["reloaded"] and done["proxy"]["is_active"]
    assert version_at(stage.nginx.url) == "2"


def test_an_nginx_that_does_not_run_is_said_and_nothing_is_written(stage: Stage) -> None:
    before = stage.nginx.config.read_text()
    stage.nginx.stop()

    failed = stage.nginx.configure(stage.nginx.content())

    assert failed["failure"]["code"] == "not_running"
    assert "nginx does not run" in failed["msg"]
    assert stage.nginx.config.read_text() == before
    away = operate(nginx_info, **stage.nginx.at())
    assert away["failure"]["code"] == "unreachable" and "Does nginx run?" in away["msg"]


def test_a_file_that_nginx_does_not_include_is_noticed(stage: Stage) -> None:
    elsewhere = stage.nginx.folder / "zdd-other.conf"

    failed = operate(
        nginx_config,
        **{**stage.nginx.at(), "config": str(elsewhere)},
        content=stage.nginx.content(stage.green.addresses),
        main_config=str(stage.nginx.main_config),
        pid_file=str(stage.nginx.pid_file),
        wait_timeout=2,
    )

    assert failed["failure"]["code"] == "reload_failed"
    assert "does not show the new file" in failed["msg"]
    assert not elsewhere.exists()


def test_runs_at_the_same_time_leave_one_whole_file(stage: Stage) -> None:
    contents = [stage.nginx.content(stage.blue.addresses, [f"10.0.0.{number}:80"]) for number in range(1, 5)]
    done: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda text=text: done.append(stage.nginx.configure(text, wait_timeout=10)))
        for text in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(done) == len(contents)
    assert operate(nginx_info, **stage.nginx.at(), only_file=True)["addresses"]["blue"] == stage.blue.addresses
    assert [path.name for path in stage.nginx.config.parent.iterdir()] == [stage.nginx.config.name]
    last = stage.nginx.configure(contents[0])
    assert not last.get("failed") and last["proxy"]["is_active"]


def test_many_tasks_are_no_trouble(stage: Stage) -> None:
    """nginx takes no line of more than 4096 bytes."""
    many = [f"10.1.{number}.255:65535" for number in range(250)]

    done = stage.nginx.configure(stage.nginx.content(stage.blue.addresses, many))

    assert not done.get("failed"), done
    assert done["proxy"]["addresses"]["green"] == sorted(many)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "other"}, "other_group"),
        ({"state_dir": "/var/lib/elsewhere"}, "other_state_dir"),
        ({"config": "/no/such/file.conf"}, "not_found"),
        ({"config": "relative.conf"}, "invalid_option"),
        ({"status": "nowhere"}, "invalid_option"),
    ],
)
def test_options_that_do_not_fit_the_file_are_refused(stage: Stage, change: dict[str, str], code: str) -> None:
    for operation, options in ((nginx_info, {}), (nginx_split, {"colour": "green"})):
        failed = operate(operation, **{**stage.nginx.at(), **change}, **options)
        assert failed["failure"]["code"] == code
    assert version_at(stage.nginx.url) == "1"


# --- nginx_split


def test_a_switch_reaches_the_next_request_on_an_open_connection_without_a_reload(stage: Stage) -> None:
    workers = stage.nginx.workers()
    host, port = stage.nginx.url.removeprefix("http://").split(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
        seen = []
        for colour in ("blue", "green", "blue", "green"):
            assert not stage.split(colour).get("failed")
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            seen.append(answer.headers["X-Version"])

    assert seen == ["1", "2", "1", "2"]
    assert stage.nginx.workers() == workers


def test_the_preview_is_what_is_not_live(stage: Stage) -> None:
    assert (version_at(stage.nginx.url), version_at(stage.nginx.preview_url)) == ("1", "2")
    stage.split("green", 20)
    assert version_at(stage.nginx.preview_url) == "2"
    stage.split("green")
    assert (version_at(stage.nginx.url), version_at(stage.nginx.preview_url)) == ("2", "1")


def test_a_switch_that_is_so_already_changes_nothing(stage: Stage) -> None:
    first, second = stage.split("green"), stage.split("green")
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["proxy"]["share"] == second["proxy"]["share"] == {"blue": 0, "green": 100}


def test_stale_files_are_removed_by_a_switch(stage: Stage) -> None:
    share = stage.nginx.state_dir / "share"
    for path in (share / "blue" / "b7", share / "green" / "b8", share / "blue" / "b8"):
        path.touch()

    assert stage.split("green")["changed"]

    assert [path for colour in share.iterdir() for path in colour.iterdir()] == []
    assert set(met(stage.nginx.url, 50)) == {"2"}


def test_check_mode_of_a_switch_changes_nothing(stage: Stage) -> None:
    foreseen = operate(nginx_split, check_mode=True, **stage.nginx.at(), colour="green", share=30)

    assert foreseen["changed"] and foreseen["proxy"]["share"] == {"blue": 70, "green": 30}
    assert stage.info()["share"] == {"blue": 100, "green": 0}


def test_a_colour_without_tasks_gets_nothing(stage: Stage) -> None:
    stage.nginx.configure(stage.nginx.content(stage.blue.addresses))

    refused = stage.split("green")

    assert refused["failure"]["code"] == "no_tasks"
    assert version_at(stage.nginx.url) == "1"
    assert version_at(stage.nginx.preview_url) == "502"


@pytest.mark.parametrize("share", [-1, 100.5])
def test_a_share_that_is_none_is_refused(stage: Stage, share: float) -> None:
    assert stage.split("green", share)["failure"]["code"] == "invalid_option"


def test_files_that_nginx_cannot_see_are_noticed(stage: Stage) -> None:
    """Here by another folder; a folder that is closed to nginx's user is the same to it."""
    stage.nginx.configure(stage.content())
    text = stage.nginx.config.read_text()
    stage.nginx.config.write_text(text.replace("/state/", "/elsewhere/"))
    os.kill(stage.nginx.master, signal.SIGHUP)
    eventually(lambda: stage.nginx.workers() and not any(stage.nginx.workers().values()))

    def unseen() -> bool:
        result = stage.split("green", 30, wait_timeout=0.5)
        return result.get("failed") and result["failure"]["code"] == "not_seen"

    eventually(unseen)


def test_a_cache_of_open_files_of_the_user_does_not_hold_up_a_switch() -> None:
    with staged(extra="open_file_cache max=1000; open_file_cache_errors on; open_file_cache_valid 60s;") as stage:
        for colour, version in (("green", "2"), ("blue", "1"), ("green", "2")):
            assert not stage.split(colour, wait_timeout=2).get("failed")
            assert set(met(stage.nginx.url, 20)) == {version}


@pytest.mark.serial
def test_a_share_is_one_of_the_requests() -> None:
    with staged() as stage:
        for share in (20, 1):
            assert stage.split("green", share)["proxy"]["share"]["green"] == share
            found = met(stage.nginx.url, 1000) + met(stage.nginx.url, 1000)
            assert found.total() == 2000
            assert abs(100 * found["2"] / 2000 - share) <= 3, found


def test_a_client_with_a_cookie_stays_while_the_share_grows() -> None:
    with staged(sticky="cookie ROLLOUT") as stage:
        stage.split("green", 50)
        seen = {}
        for _client in range(20):
            with urllib.request.urlopen(stage.nginx.url, timeout=10) as answer:
                cookie = answer.headers["Set-Cookie"].partition(";")[0]
                seen[cookie] = answer.headers["X-Version"]
        assert set(seen.values()) == {"1", "2"}
        for cookie, version in seen.items():
            assert met(stage.nginx.url, 5, {"Cookie": cookie}) == {version: 5}
        stage.split("green", 80)
        moved = {cookie: next(iter(met(stage.nginx.url, 1, {"Cookie": cookie}))) for cookie in seen}
        assert all(moved[cookie] == "2" for cookie, version in seen.items() if version == "2")


def test_a_client_of_one_address_stays() -> None:
    with staged(sticky="address") as stage:
        stage.split("green", 50)
        assert len(met(stage.nginx.url, 50)) == 1


# --- nginx_info


def test_requests_in_flight_and_old_workers_are_counted(stage: Stage) -> None:
    with Backend() as backend:
        stage.nginx.configure(stage.nginx.content([backend.address], stage.green.addresses))
        with held(("127.0.0.1", stage.nginx.live_port), [backend]) as statuses:
            stage.nginx.configure(stage.nginx.content([backend.address], ["10.0.0.1:80"]))
            view = stage.info()
            assert view["connections"] == {backend.address: 1, "10.0.0.1:80": 0}
            assert view["old_workers"] == 1
        assert statuses == [200]
        eventually(lambda: stage.info()["old_workers"] == 0)


def test_only_the_file_is_read_where_nginx_does_not_run(stage: Stage) -> None:
    stage.nginx.stop()
    read = operate(nginx_info, **stage.nginx.at(), only_file=True)
    assert read["addresses"] == {"blue": stage.blue.addresses, "green": stage.green.addresses}
    absent = operate(nginx_info, **{**stage.nginx.at(), "config": "/no/such/file.conf"}, only_file=True)
    assert absent["addresses"] == {"blue": [], "green": []}


def test_the_status_server_believes_no_bucket_that_is_none(stage: Stage) -> None:
    (stage.nginx.state_dir / "share" / "green" / "b1").touch()
    address = f"http://127.0.0.1:{stage.nginx.status_port}"
    for asked in ("../green/b1", "b100", "x", ""):
        with urllib.request.urlopen(f"{address}/?bucket={asked}", timeout=5) as answer:
            assert json.loads(answer.read())["group"] == "shop"
    with urllib.request.urlopen(f"{address}/?bucket=b1", timeout=5) as answer:
        assert json.loads(answer.read())["colour"] == "green"
    assert stage.info()["share"] == {"blue": BUCKETS - 1, "green": 1}


# --- nginx_drain


def test_a_drain_waits_for_what_is_in_flight(stage: Stage) -> None:
    with Backend() as backend:
        stage.nginx.configure(stage.nginx.content([backend.address], stage.green.addresses))
        with held(("127.0.0.1", stage.nginx.live_port), [backend]) as statuses:
            stage.split("green")
            held_back = stage.drain([backend.address], wait_timeout=0.5)
            assert held_back["failure"]["code"] == "held"
            assert f"{backend.address}: 1" in held_back["msg"]
            cut = stage.drain([backend.address], wait_timeout=0.5, on_timeout="cut")
            assert (cut["deadline_passed"], cut["sessions_cut"], cut["sessions"]) == (True, 1, 1)
            assert stage.drain([backend.address], wait_timeout=0, on_timeout="fail")["failure"]["code"] == (
                "deadline_passed"
            )
            threading.Timer(0.5, backend.release).start()
            drained = stage.drain([backend.address], wait_timeout=30)
            assert (drained["deadline_passed"], drained["sessions_cut"], drained["sessions"]) == (False, 0, 1)
            assert drained["connections"] == {backend.address: 0}
        assert statuses == [200]


def test_a_drain_counts_what_an_old_worker_still_serves(stage: Stage) -> None:
    with Backend() as backend:
        stage.nginx.configure(stage.nginx.content([backend.address], stage.green.addresses))
        with held(("127.0.0.1", stage.nginx.live_port), [backend]):
            stage.split("green")
            stage.nginx.configure(stage.nginx.content(stage.blue.addresses, stage.green.addresses))
            assert stage.drain([backend.address], wait_timeout=0.5)["failure"]["code"] == "held"


def test_an_upload_that_has_only_begun_is_in_flight(stage: Stage) -> None:
    """nginx would keep its body until it is complete, and choose the task when it came: nothing could be seen."""
    with socket.create_connection(("127.0.0.1", stage.nginx.live_port), timeout=10) as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        eventually(lambda: stage.info()["connections"][stage.blue.addresses[0]] == 1)
        stage.split("green")
        assert stage.drain(stage.blue.addresses, wait_timeout=0.5)["failure"]["code"] == "held"
        client.sendall(b"67890")
        assert b"1234567890" in _read_until(client, b"1234567890")
    assert not stage.drain(stage.blue.addresses, wait_timeout=10).get("failed")


def _read_until(client: socket.socket, text: bytes) -> bytes:
    found = b""
    while text not in found and (part := client.recv(65536)):
        found += part
    return found


def test_a_colour_that_still_gets_requests_is_not_drained(stage: Stage) -> None:
    stage.split("green", 40)
    for on_timeout in ("hold", "cut"):
        refused = stage.drain(stage.blue.addresses, wait_timeout=0.2, on_timeout=on_timeout)
        assert refused["failure"]["code"] == "held"
        assert "still sends 60 % of the new requests to blue" in refused["msg"]


def test_addresses_that_nobody_has_are_drained(stage: Stage) -> None:
    assert stage.drain([f"127.0.0.1:{free_port()}"], wait_timeout=10)["sessions"] == 0
    assert not stage.drain([], wait_timeout=10).get("failed")
    assert stage.drain(["web:80"])["failure"]["code"] == "invalid_option"


# --- what is rendered


def test_a_stream_comes_as_it_is_sent(stage: Stage) -> None:
    """The service writes a line each 0.1 s: each one has to come before the next one is written."""
    with socket.create_connection(("127.0.0.1", stage.nginx.live_port), timeout=10) as client:
        client.sendall(b"GET /slow?seconds=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    assert len(parts) >= 8, parts


def test_a_stream_comes_as_it_is_sent_also_with_gzip() -> None:
    with staged(extra_live="gzip on; gzip_types *; gzip_min_length 1;") as stage:
        with socket.create_connection(("127.0.0.1", stage.nginx.live_port), timeout=10) as client:
            client.sendall(
                b"GET /slow?seconds=1 HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
            )
            parts = []
            while part := client.recv(65536):
                parts.append(part)
        assert b"Content-Encoding: gzip" in b"".join(parts)
        assert len(parts) >= 8, parts


def test_the_host_that_a_client_asks_for_gets_to_the_task(stage: Stage) -> None:
    with Backend() as backend:
        stage.nginx.configure(stage.nginx.content([backend.address]))
        for request in (
            b"GET / HTTP/1.1\r\nHost: web.example:81\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", stage.nginx.live_port), timeout=10) as client:
                client.sendall(request)
                assert b" 200 " in client.recv(65536)
        first, second = (headers for _method, _path, headers in backend.seen)
        assert first["Host"] == "web.example:81" and second["Host"]
        assert first["Connection"] == "close" and "Upgrade" not in first
        assert first["X-Forwarded-For"] == "127.0.0.1"


@pytest.mark.parametrize("group", ["a", "a-b", "a_b", "A--b__1"])
def test_any_name_of_a_service_can_be_the_group(group: str) -> None:
    with tempfile.TemporaryDirectory() as folder, Nginx(Path(folder), group=group) as nginx, Tasks("1", 1) as tasks:
        assert not nginx.configure(nginx.content(tasks.addresses)).get("failed")
        assert version_at(nginx.url) == "1"


def test_two_groups_share_one_nginx(stage: Stage) -> None:
    """Names that differ in - and _ only do not meet."""
    with tempfile.TemporaryDirectory() as folder:
        for group in ("a-b", "a_b"):
            other = Nginx(Path(folder), group=group)
            other.config = stage.nginx.config.with_name(f"zdd-{group}.conf")
            other.main_config, other.pid_file = stage.nginx.main_config, stage.nginx.pid_file
            other.state_dir = stage.nginx.folder / group
            done = other.configure(other.content(stage.green.addresses))
            assert not done.get("failed"), done
            assert version_at(other.url) == "2"
    assert version_at(stage.nginx.url) == "1"
