# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a canary by the counters of real HAProxy processes, with reloads, dead servers and silent sockets."""

from __future__ import annotations

import http.client
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._analysis.evidence import Counts
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.counters import counted
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.runtime import Runtime
from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    canary_analysis,
    haproxy_backend,
    marathon_app,
    marathon_app_info,
    marathon_lb_wait,
)
from tests.integration_py.haproxy_instance import Backend, Balancer, eventually, free_port
from tests.integration_py.operating import operate
from tests.sandbox import launch

# What has to end early ends long before this (s).
PATIENCE = 60.0
BAD = {"/": (500, "text/plain", "no")}


@dataclass
class Site:
    """Some HAProxy with the servers ``old`` and ``new``; clients get to them at ``ports``."""

    lbs: list[Balancer]
    ports: list[int]
    old: Backend
    new: Backend
    weight: int = 20
    statuses: list[int] = field(default_factory=list)

    def body(self, number: int = 0, *, new: bool = True) -> str:
        weight = (self.weight, 100 - self.weight)[number]
        configured = (
            f"frontend web\n  bind 127.0.0.1:{self.ports[number]}\n  use_backend web\n"
            "backend web\n  balance roundrobin\n"
            f"  server old {self.old.address} weight {100 - weight} check inter 200 rise 1 fall 2\n"
        )
        server = f"  server new {self.new.address} weight {weight} check inter 200 rise 1 fall 2\n"
        return configured + server if new else configured

    def analysed(self, **options: Any) -> dict[str, Any]:
        defaults: dict[str, Any] = {
            "socket": [lb.socket for lb in self.lbs],
            "backend": "web",
            "canary_addresses": [self.new.address],
            "baseline_addresses": [self.old.address],
            "interval": 0.1,
            "wait_timeout": PATIENCE,
        }
        return operate(canary_analysis, **{**defaults, **options})

    def load(self, number: int = 0) -> AbstractContextManager[None]:
        return clients(("127.0.0.1", self.ports[number]), self.statuses)


@contextmanager
def clients(address: tuple[str, int], statuses: list[int]) -> Iterator[None]:
    """One client that asks again and again, each time over a new connection."""
    end = threading.Event()

    def ask() -> None:
        while not end.is_set():
            connection = http.client.HTTPConnection(*address, timeout=20)
            with suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/", headers={"Connection": "close"})
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
            connection.close()

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield
    finally:
        end.set()
        client.join(PATIENCE)


@contextmanager
def start(balancers: int = 1, weight: int = 20) -> Iterator[Site]:
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="ca")))
        lbs = [running.enter_context(Balancer(folder / str(number))) for number in range(balancers)]
        backends = [running.enter_context(Backend()) for _side in range(2)]
        site = Site(lbs, [free_port() for _lb in lbs], *backends, weight=weight)
        for number, lb in enumerate(lbs):
            lb.start(site.body(number))
            eventually(lambda lb=lb: lb.get("/haproxy?stats;csv").count(",UP,") >= 3)
        yield site


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    with start() as site:
        yield site


@contextmanager
def happening(condition: Callable[[], bool], then: Callable[[], object]) -> Iterator[None]:
    """``then()`` as soon as the condition is true, while the block runs."""
    over = threading.Event()

    def wait() -> None:
        while not over.is_set():
            if condition():
                then()
                return
            time.sleep(0.01)

    waiter = threading.Thread(target=wait)
    waiter.start()
    try:
        yield
    finally:
        over.set()
        waiter.join(PATIENCE)


def reason(result: dict[str, Any], code: str) -> str:
    assert result.get("failed"), result
    assert result["failure"]["code"] == code, result
    return result["failure"]["detail"]["reason"]


# Verdicts


@pytest.mark.serial
@pytest.mark.parametrize("by_page", [False, True], ids=["socket", "statistics page"])
def test_a_good_canary_is_promoted(site: Site, by_page: bool) -> None:
    """A statistics page does not tell the servers' addresses: the live configuration does, as with marathon-lb."""
    options = {"socket": None, "stats_url": [site.lbs[0].url], "backend": None} if by_page else {}
    with site.load():
        result = site.analysed(**options)
    analysis = result["analysis"]
    assert analysis["verdict"] == "promote"
    assert analysis["canary"]["requests"] >= 299 and analysis["canary"]["errors"] == 0
    assert analysis["canary"]["requests"] * 4 == pytest.approx(analysis["baseline"]["requests"], rel=0.1)
    assert analysis["canary"]["requests"] + analysis["baseline"]["requests"] <= len(site.statuses)


@pytest.mark.serial
def test_a_canary_that_turns_bad_is_aborted_with_few_failed_requests(site: Site) -> None:
    site.statuses.clear()
    with (
        happening(lambda: len(site.statuses) > 200, lambda: site.new.answers.update(BAD)),
        site.load(),
    ):
        result = site.analysed(seconds=PATIENCE)
    assert "failed" in reason(result, "canary_aborted")
    detail = result["failure"]["detail"]
    assert detail["cause"] == "errors" and detail["seconds"] < PATIENCE / 2
    assert detail["canary"]["errors"] <= site.statuses.count(500)


@pytest.mark.serial
def test_a_reload_in_the_middle_loses_and_invents_nothing(site: Site) -> None:
    def reload() -> None:
        site.new.answers.update(BAD)
        site.lbs[0].reload(site.body())

    # The analysis counts from its first look, which may be late on a busy machine.
    with (
        happening(lambda: len(site.statuses) > 900, reload),
        site.load(),
    ):
        result = site.analysed(seconds=PATIENCE, hard_error_rate=0)
    assert result["failure"]["code"] == "canary_aborted"
    seen = result["failure"]["detail"]
    everybody = seen["canary"]["requests"] + seen["baseline"]["requests"]
    assert 300 < everybody <= len(site.statuses)
    assert 0 < seen["canary"]["errors"] <= site.statuses.count(500)


@pytest.mark.serial
def test_after_a_reload_it_goes_on_to_its_end(site: Site) -> None:
    with (
        happening(lambda: len(site.statuses) > 300, lambda: site.lbs[0].reload(site.body())),
        site.load(),
    ):
        result = site.analysed(seconds=3)
    assert result["analysis"]["verdict"] == "promote"
    assert result["analysis"]["canary"]["requests"] <= 0.25 * len(site.statuses)
    assert result["analysis"]["baseline"]["errors"] == 0


def test_a_server_that_is_down_ends_it_although_no_request_has_failed(site: Site) -> None:
    with happening(lambda: True, site.new.stop):
        result = site.analysed(seconds=PATIENCE)
    assert "web/new is DOWN" in reason(result, "canary_aborted")
    assert result["failure"]["detail"]["cause"] == "lb_down"


@pytest.mark.serial
def test_two_balancers_with_different_shares_are_counted_together() -> None:
    with start(balancers=2) as site, site.load(0), site.load(1):
        result = site.analysed()
    assert result["analysis"]["verdict"] == "promote"
    assert sum(result["analysis"][side]["requests"] for side in ("canary", "baseline")) <= len(site.statuses)


@pytest.mark.serial
def test_behind_marathon_lb_a_task_of_the_canary_that_crashes_ends_it() -> None:
    """One task of three stands for the canary."""
    with launch.start() as sandbox:
        (lb,) = sandbox.lbs
        there = {"marathon_url": sandbox.marathon, "app_id": "/live"}
        operate(marathon_app, marathon_url=sandbox.marathon, app=sandbox.app(id="/live", instances=3))
        assert operate(marathon_lb_wait, **there, marathon_lb_url=[lb["url"]], state="admitted")["fulfilled"]
        tasks = operate(marathon_app_info, **there)["apps"][0]["tasks"]
        addresses = [f"{task['host']}:{task['ports'][0]}" for task in tasks]
        sides = {"canary_addresses": addresses[:1], "baseline_addresses": addresses[1:]}
        statuses: list[int] = []
        with clients((lb["host"], 10000), statuses):
            good = operate(canary_analysis, **there, **sides, stats_url=[lb["url"]], wait_timeout=PATIENCE)
            enough = len(statuses) + 100
            with happening(lambda: len(statuses) > enough, lambda: sandbox.fault("task_kill", app="/live")):
                bad = operate(canary_analysis, **there, **sides, stats_url=[lb["url"]], seconds=PATIENCE)
    assert good["analysis"]["verdict"] == "promote"
    assert 2 * good["analysis"]["canary"]["requests"] == pytest.approx(
        good["analysis"]["baseline"]["requests"], rel=0.1
    )
    assert "a task of /live ended" in reason(bad, "canary_aborted")


@pytest.mark.serial
def test_a_crash_between_two_looks_is_not_overslept_where_servers_are_kept() -> None:
    with launch.start(lbs=0, plain_lbs=1) as sandbox:
        (lb,) = sandbox.plain_lbs
        there = {"marathon_url": sandbox.marathon, "app_id": "/live"}
        operate(marathon_app, marathon_url=sandbox.marathon, app=sandbox.app(id="/live", instances=2))
        tasks = operate(marathon_app_info, **there)["apps"][0]["tasks"]
        addresses = [f"{task['host']}:{task['ports'][0]}" for task in tasks]
        at = {
            "socket": [lb["socket"]],
            "backend": "web",
            "servers": [{"name": f"live-{number}", "address": address} for number, address in enumerate(addresses)],
        }
        assert not operate(haproxy_backend, **at, check_interval=0.1, wait_timeout=PATIENCE).get("failed")
        sides = {"canary_addresses": addresses[:1], "baseline_addresses": addresses[1:]}
        killer = threading.Timer(1, lambda: sandbox.fault("task_kill", app="/live"))
        killer.start()
        bad = operate(canary_analysis, **there, **at, **sides, interval=PATIENCE, wait_timeout=2 * PATIENCE)
        killer.join()
    assert "a task of /live ended" in reason(bad, "canary_aborted")
    assert bad["failure"]["detail"]["seconds"] < PATIENCE / 2


# What is not good enough to promote


def test_a_canary_without_traffic_holds(site: Site) -> None:
    assert "the canary has got no request yet" in reason(site.analysed(wait_timeout=0.5), "held")


@pytest.mark.serial
def test_a_balancer_that_falls_silent_holds_with_its_name() -> None:
    """What the other one tells is not all."""
    with start(balancers=2) as site, site.load(0):
        with happening(lambda: len(site.statuses) > 100, site.lbs[1].stop):
            result = site.analysed(seconds=4, wait_timeout=5, on_inconclusive="promote")
        assert site.lbs[1].socket in reason(result, "held")
        assert result["failure"]["detail"]["canary"]["requests"] >= 299


def test_a_balancer_that_does_not_know_the_canary_holds_with_its_name(site: Site) -> None:
    absent = f"127.0.0.1:{free_port()}"
    text = reason(site.analysed(canary_addresses=[absent], wait_timeout=0.5), "held")
    assert site.lbs[0].socket in text and absent in text


@pytest.mark.serial
def test_a_balancer_that_forgets_the_canary_by_a_reload_holds_with_its_name(site: Site) -> None:
    """As it forgets servers that were added at run time."""
    with (
        happening(lambda: len(site.statuses) > 300, lambda: site.lbs[0].reload(site.body(new=False))),
        site.load(),
    ):
        result = site.analysed(seconds=3, wait_timeout=4, on_inconclusive="promote")
    assert "has no server with the canary's address" in reason(result, "held")


def test_a_backend_that_is_not_the_one_is_not_counted(site: Site) -> None:
    text = reason(site.analysed(backend="other", wait_timeout=0.5), "held")
    assert "has no server with the canary's address" in text


def test_a_page_that_shows_no_addresses_holds_with_what_it_needs(site: Site) -> None:
    """An ordinary HAProxy does not tell its configuration."""
    page = f"frontend page\n  bind 127.0.0.1:{site.ports[0]}\n  stats enable\n  stats uri /haproxy?stats\n"
    site.lbs[0].reload(page + f"backend web\n  server new {site.new.address}\n")
    result = site.analysed(socket=None, stats_url=[f"http://127.0.0.1:{site.ports[0]}"], wait_timeout=0)
    assert "stats show-legends" in reason(result, "held")


def test_a_socket_that_nobody_listens_on_holds(site: Site) -> None:
    result = site.analysed(socket=[f"127.0.0.1:{free_port()}"], wait_timeout=0.5)
    assert "no answer" in reason(result, "held")


# What HAProxy counts


def ill(kind: str) -> tuple[str, Callable[[], None]]:
    """A server that fails in its own way: its address, and what ends it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _address = listener.accept()
                with connection:
                    connection.recv(65536)
                    if kind == "hints":
                        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
                    if kind in ("good", "hints"):
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    if kind == "5xx":
                        connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    if kind == "4xx":
                        connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    if kind == "broken off":
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nbegin")
                        time.sleep(0.05)
                    if kind == "silent":
                        time.sleep(0.6)

    if kind == "refused":
        listener.close()
        return f"127.0.0.1:{free_port()}", lambda: None
    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{listener.getsockname()[1]}", listener.close


KINDS = {
    "good": Counts(3, 0),
    "hints": Counts(3, 0),
    "4xx": Counts(3, 0),
    "5xx": Counts(3, 3),
    "closed": Counts(3, 3),
    "broken off": Counts(3, 3),
    "silent": Counts(3, 3),
    "refused": Counts(3, 3),
}


def test_every_way_to_fail_is_one_request_and_one_error_of_the_server() -> None:
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="ca")))
        lb = running.enter_context(Balancer(folder))
        good, end = ill("good")
        running.callback(end)
        ports, body = {}, ""
        for number, kind in enumerate(KINDS):
            address, end = ill(kind)
            running.callback(end)
            ports[kind] = free_port()
            body += (
                f"listen k{number}\n  bind 127.0.0.1:{ports[kind]}\n  timeout server 300ms\n  retries 1\n"
                f"  no option redispatch\n  server s {address}\n"
            )
        address, end = ill("refused")
        ports["taken over"] = free_port()
        body += (
            f"listen over\n  bind 127.0.0.1:{ports['taken over']}\n  retries 1\n  option redispatch 1\n"
            f"  server s {address} weight 256\n  server other {good} weight 1\n"
        )
        lb.start(body)
        for port in ports.values():
            for _request in range(3):
                ask_once(port)
        rows = {row["pxname"]: row for row in Runtime.at(lb.socket).table() if row["svname"] == "s"}
        found = {kind: counted(rows[f"k{number}"]) for number, kind in enumerate(KINDS)}
        assert found == KINDS
        assert counted(rows["over"]) == Counts(3, 3)


def ask_once(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/", headers={"Connection": "close"})
        connection.getresponse().read()
    connection.close()
