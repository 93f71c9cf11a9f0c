# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of ordinary HAProxy processes: added, weighed, drained, taken away, set again after a reload, or refused."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from ansible_collections.zdd.rollout.plugins.module_utils._errors import Unreachable
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.runtime import Runtime
from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    haproxy_backend,
    haproxy_drain,
    haproxy_preflight,
    haproxy_server,
)
from tests import collection_path
from tests.integration_py.haproxy_instance import Backend, Balancer, eventually, free_port, held
from tests.integration_py.operating import operate
from tests.sandbox import launch

NOBODY = "127.0.0.1:9"
PATIENCE = 60.0


@dataclass
class Site:
    """Ordinary HAProxy processes with an empty backend, and two services."""

    sandbox: launch.Running
    old: Backend
    new: Backend
    at: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        lbs = self.sandbox.plain_lbs
        self.at = {
            "socket": [lb["socket"] for lb in lbs],
            "master_socket": [lb["master_socket"] for lb in lbs],
            "backend": "web",
        }

    @property
    def frontend(self) -> tuple[str, int]:
        parts = urlsplit(self.sandbox.plain_lbs[0]["url"])
        return parts.hostname, parts.port

    def operate(self, operation: ModuleType, **options: Any) -> dict[str, Any]:
        return operate(operation, **{**self.at, "wait_timeout": PATIENCE, **options})

    def bring(self, *servers: dict[str, Any], **options: Any) -> dict[str, Any]:
        return self.operate(haproxy_backend, **{"check_interval": 0.1, "servers": list(servers), **options})

    def preflight(self, **options: Any) -> dict[str, Any]:
        return operate(haproxy_preflight, **{**self.at, **options})

    def servers(self, number: int = 0) -> dict[str, tuple[str, int, str]]:
        """Address, weight and state of all servers in use, as HAProxy number ``number`` has them."""
        states = Runtime.at(self.sandbox.plain_lbs[number]["socket"]).sight("web").states
        return {
            name: (one.address, one.weight, one.state)
            for name, one in states.items()
            if not one.address.startswith("0.0.0.0")
        }

    def ask(self) -> int:
        connection = http.client.HTTPConnection(*self.frontend, timeout=20)
        try:
            connection.request("GET", "/", headers={"Connection": "close"})
            return connection.getresponse().status
        finally:
            connection.close()


def requests_to(backend: Backend) -> int:
    return sum(path == "/" for _method, path, _headers in backend.seen)


def wanted(name: str, backend: Backend | str, weight: int = 100, state: str = "ready") -> dict[str, Any]:
    address = backend if isinstance(backend, str) else backend.address
    return {"name": name, "address": address, "weight": weight, "state": state}


@contextmanager
def start(**options: Any) -> Iterator[Site]:
    with launch.start(lbs=0, **options) as sandbox, Backend() as old, Backend() as new:
        yield Site(sandbox, old, new)


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    with start(plain_lbs=2) as site:
        yield site


@pytest.fixture(name="slots")
def _slots() -> Iterator[Site]:
    with start(plain_lbs=1, plain_slots=2) as site:
        yield site


def test_servers_are_added_at_every_balancer_and_a_second_run_changes_nothing(site: Site) -> None:
    servers = wanted("old", site.old, 95), wanted("new", site.new, 5), wanted("idle", NOBODY, 5, "maint")
    there = {
        "old": (site.old.address, 95, "ready"),
        "new": (site.new.address, 5, "ready"),
        "idle": (NOBODY, 5, "maint"),
    }

    predicted = site.bring(*servers, check_mode=True)
    assert predicted["changed"] and site.servers() == {}
    first = site.bring(*servers)
    second = site.bring(*servers)

    assert (first["changed"], second["changed"], second["repaired"]) == (True, False, 0)
    assert first["backend"] == second["backend"] == predicted["backend"]
    assert site.servers(0) == site.servers(1) == there
    for lb in second["lbs"]:
        assert {name: one["effective_share_percent"] for name, one in lb["servers"].items()} == {
            "old": 95.0,
            "new": 5.0,
            "idle": 0.0,
        }
        assert (lb["servers"]["new"]["status"], lb["servers"]["new"]["check_status"]) == ("UP", "L7OK")
        assert {one["kind"] for one in lb["servers"].values()} == {"dynamic"}
    assert not site.bring()["changed"]
    assert site.bring()["lbs"][0]["servers"].keys() == there.keys()


def test_a_server_whose_check_fails_gets_no_traffic_and_the_old_one_keeps_it(site: Site) -> None:
    site.bring(wanted("old", site.old))
    site.new.answers["/health"] = (503, "text/plain", "no")
    turned = wanted("old", site.old, 0), wanted("new", site.new)

    failed = site.bring(*turned, wait_timeout=1)
    assert failed["failure"]["code"] == "deadline_passed"
    assert f"web/new ({site.new.address}) waits for its check (DOWN L7STS)" in failed["msg"]
    assert site.servers()["old"] == (site.old.address, 100, "ready")
    assert [site.ask() for _index in range(5)] == [200] * 5
    assert (requests_to(site.old), requests_to(site.new)) == (5, 0)

    del site.new.answers["/health"]
    assert site.bring(*turned)["changed"]
    assert [site.ask() for _index in range(5)] == [200] * 5
    assert (requests_to(site.old), requests_to(site.new)) == (5, 5)


def test_without_waiting_each_run_makes_a_step(site: Site) -> None:
    servers = wanted("old", site.old), wanted("new", site.new)
    assert site.bring(*servers, wait=False)["changed"]
    assert {state for _address, _weight, state in site.servers().values()} == {"drain"}
    eventually(lambda: site.bring(*servers, wait=False)["lbs"][0]["servers"]["new"]["state"] == "ready")
    eventually(lambda: not site.bring(*servers, wait=False)["changed"])
    assert {state for _address, _weight, state in site.servers(1).values()} == {"ready"}


def test_servers_are_taken_away_when_they_are_drained(site: Site) -> None:
    site.bring(wanted("old", site.old), wanted("new", site.new))
    refused = site.bring(absent=[site.old.address])
    assert (refused["failure"]["code"], refused["changed"]) == ("held", False)
    assert "Drain it first" in refused["msg"]

    site.bring(wanted("new", site.new, state="maint"))
    with held(site.frontend, [site.old]) as statuses:
        site.bring(wanted("new", site.new), wanted("old", site.old, state="maint"))
        refused = site.bring(absent=[site.old.address], wait_timeout=0.5)
        assert refused["failure"]["code"] == "held"
        assert "1 open" in refused["msg"]
        assert "old" in site.servers()
    assert statuses == [200]

    gone = site.bring(absent=[site.old.address, NOBODY])
    assert gone["changed"] and site.servers(0).keys() == site.servers(1).keys() == {"new"}
    assert not site.bring(absent=[site.old.address, NOBODY])["changed"]


def test_what_an_old_worker_still_serves_is_not_taken_away(site: Site) -> None:
    site.bring(wanted("old", site.old))
    with held(site.frontend, [site.old]) as statuses:
        site.sandbox.fault("plain_lb_reload")
        site.bring(wanted("old", site.old, state="maint"))
        refused = site.bring(absent=[site.old.address], wait_timeout=0.5)
        assert refused["failure"]["code"] == "held" and "1 in old workers" in refused["msg"]
        assert [worker["sessions"] for worker in refused["failure"]["detail"][0]["old_workers"]] == [1]
    assert statuses == [200]
    assert site.bring(absent=[site.old.address])["changed"]


def test_servers_that_a_reload_forgets_during_a_drain_elsewhere_serve_on(site: Site) -> None:
    site.bring(wanted("old", site.old))
    results: list[dict[str, Any]] = []
    drain = {"address": [site.old.address], "drain_timeout": 0, "servers": [wanted("new", site.new, 70)]}
    with held(site.frontend, [site.old]) as statuses:
        site.bring(wanted("new", site.new, 70), wanted("old", site.old, state="drain"))
        thread = threading.Thread(target=lambda: results.append(site.operate(haproxy_drain, **drain)))
        thread.start()
        eventually(lambda: site.servers()["old"][2] == "maint")
        site.sandbox.fault("plain_lb_reload", lb=1)
        eventually(lambda: site.servers(1) == {"new": (site.new.address, 70, "ready")})
        assert not results
    thread.join(PATIENCE)
    assert statuses == [200] and results[0]["changed"] and not results[0].get("failed")
    assert site.servers(0) == {"new": (site.new.address, 70, "ready"), "old": (site.old.address, 100, "maint")}


def test_a_server_is_not_drained_and_kept_at_once(site: Site) -> None:
    site.bring(wanted("old", site.old))
    for chosen in ({"server": ["old"]}, {"address": [site.old.address]}):
        refused = site.operate(haproxy_drain, **chosen, servers=[wanted("old", site.old)])
        assert (refused["failure"]["code"], refused["changed"]) == ("invalid_option", False)


def test_slots_are_taken_and_given_back_and_outlive_a_reload_with_the_state_file(slots: Site) -> None:
    slots.bring(wanted("old", slots.old, 60), wanted("new", slots.new, 40))
    there = {"slot1": (slots.old.address, 60, "ready"), "slot2": (slots.new.address, 40, "ready")}
    assert slots.servers() == there
    assert slots.preflight()["lbs"][0]["free_slots"] == 0

    slots.sandbox.fault("plain_lb_reload", keep_state=True)
    assert slots.servers() == there
    assert not slots.bring(wanted("a", slots.old, 60), wanted("b", slots.new, 40))["changed"]
    refused = slots.bring(wanted("c", NOBODY), placement="template")
    assert refused["failure"]["code"] == "no_free_slot"

    slots.sandbox.fault("plain_lb_reload")
    assert slots.servers() == {}
    slots.bring(wanted("b", slots.new, 40), wanted("a", slots.old, 60))
    assert sorted(slots.servers().values()) == sorted(there.values())
    slots.bring(wanted("a", slots.old), wanted("b", slots.new, state="maint"))
    assert slots.bring(absent=[slots.new.address])["changed"]
    assert [address for address, _weight, _state in slots.servers().values()] == [slots.old.address]
    assert slots.preflight()["lbs"][0]["free_slots"] == 1


def test_a_client_stays_at_its_slot_over_a_reload(slots: Site) -> None:
    slots.bring(wanted("old", slots.old), wanted("new", slots.new))
    connection = http.client.HTTPConnection(*slots.frontend, timeout=20)
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    cookie = response.getheader("Set-Cookie").partition(";")[0]
    first = slots.old if requests_to(slots.old) else slots.new
    for fault in ({}, {"keep_state": True}, {"keep_state": False}):
        if fault:
            slots.sandbox.fault("plain_lb_reload", **fault)
            slots.bring(wanted("new", slots.new), wanted("old", slots.old))
        before = requests_to(first)
        for _index in range(4):
            connection.close()
            connection.request("GET", "/", headers={"Cookie": cookie})
            connection.getresponse().read()
        assert requests_to(first) == before + 4
    connection.close()


def test_a_reload_while_it_waits_is_repaired(site: Site) -> None:
    site.bring(wanted("old", site.old, 70))
    site.new.answers["/health"] = (503, "text/plain", "no")
    results: list[dict[str, Any]] = []
    both = wanted("old", site.old, 70), wanted("new", site.new, 30)
    thread = threading.Thread(target=lambda: results.append(site.bring(*both)))
    thread.start()
    eventually(lambda: "new" in site.servers())
    site.sandbox.fault("plain_lb_reload")
    eventually(lambda: site.servers().keys() == {"old", "new"})
    del site.new.answers["/health"]
    thread.join(PATIENCE)

    assert results[0]["repaired"] >= 1 and not results[0].get("failed")
    assert site.servers(0) == site.servers(1)
    assert [site.ask() for _index in range(3)] == [200] * 3


def test_what_a_reload_forgets_while_it_is_watched_is_repaired(site: Site) -> None:
    site.bring(wanted("old", site.old, 70), wanted("new", site.new, 30))
    threading.Timer(0.5, lambda: site.sandbox.fault("plain_lb_reload", lb=1)).start()
    watched = site.bring(wanted("old", site.old, 70), wanted("new", site.new, 30), hold_seconds=2)
    assert watched["repaired"] >= 1
    assert site.servers(0) == site.servers(1)


def test_a_balancer_that_is_away_while_it_is_watched_is_waited_for(site: Site) -> None:
    """It says nothing about the servers, and has forgotten them when it comes back."""
    site.bring(wanted("old", site.old))
    threading.Timer(0.2, lambda: site.sandbox.fault("plain_lb_down", lb=1, seconds=3)).start()
    watched = site.bring(wanted("old", site.old), hold_seconds=1)
    assert watched["repaired"] == 1
    assert site.servers(0) == site.servers(1)


def test_sockets_may_be_tcp_ones(site: Site) -> None:
    site.bring(wanted("old", site.old, 7))
    tcp = [lb["tcp_socket"] for lb in site.sandbox.plain_lbs]
    assert not site.bring(wanted("old", site.old, 7), socket=tcp)["changed"]
    assert site.bring(wanted("old", site.old, 8), socket=tcp)["changed"]
    assert site.servers(0) == site.servers(1) == {"old": (site.old.address, 8, "ready")}


def test_a_server_that_fails_while_it_is_watched_ends_the_watch(site: Site) -> None:
    site.bring(wanted("old", site.old), wanted("new", site.new))
    started = time.monotonic()
    threading.Timer(0.3, lambda: site.new.answers.update({"/health": (500, "text/plain", "no")})).start()
    failed = site.bring(wanted("old", site.old), wanted("new", site.new), hold_seconds=PATIENCE)
    assert failed["failure"]["code"] == "unhealthy"
    assert f"web/new ({site.new.address}) is DOWN (L7STS)" in failed["msg"]
    assert time.monotonic() - started < PATIENCE / 2


def test_a_server_that_nobody_watches_does_not_end_the_watch_and_serves_when_it_is_well(site: Site) -> None:
    site.bring(wanted("old", site.old), wanted("new", site.new))
    site.old.answers["/health"] = (500, "text/plain", "no")
    both = wanted("old", site.old), wanted("new", site.new)
    eventually(lambda: site.bring(wait=False)["lbs"][1]["servers"]["old"]["status"] == "DOWN")
    threading.Timer(0.5, lambda: site.sandbox.fault("plain_lb_reload", lb=1)).start()
    watched = site.bring(*both, watched=[site.new.address], hold_seconds=4)
    assert not watched.get("failed") and watched["repaired"] >= 1
    assert [lb["servers"]["old"]["status"] for lb in watched["lbs"]] == ["DOWN", "DOWN"]
    assert [site.ask() for _index in range(4)] == [200] * 4
    del site.old.answers["/health"]
    eventually(lambda: site.bring()["lbs"][1]["servers"]["old"]["status"] == "UP")


def test_a_balancer_that_is_away_for_a_while_is_waited_for(site: Site) -> None:
    site.bring(wanted("old", site.old))
    site.sandbox.fault("plain_lb_down", lb=1, seconds=1)
    assert not site.bring(wanted("old", site.old), wanted("new", site.new)).get("failed")
    assert site.servers(0) == site.servers(1)

    site.sandbox.fault("plain_lb_down", lb=1)
    failed = site.bring(wanted("old", site.old, 50), timeout=0.5)
    assert (failed["failure"]["code"], failed["changed"]) == ("unreachable", False)
    assert site.servers(0)["old"] == (site.old.address, 100, "ready")


def test_a_balancer_that_is_away_does_not_keep_the_others_from_going_back(site: Site) -> None:
    site.bring(wanted("old", site.old, 50), wanted("new", site.new, 50))
    site.sandbox.fault("plain_lb_down", lb=1)
    back = wanted("old", site.old, 100), wanted("new", site.new, 50, "drain")
    failed = site.bring(*back, wait_for_away=True, wait_timeout=1)
    assert (failed["failure"]["code"], failed["changed"]) == ("deadline_passed", True)
    assert site.at["socket"][1] in failed["msg"]
    assert site.servers()["new"][2] == "drain"

    threading.Timer(0.5, site.sandbox.clear_faults).start()
    assert not site.bring(*back, wait_for_away=True).get("failed")
    assert site.servers(0) == site.servers(1)
    site.sandbox.fault("plain_lb_down", lb=0)
    site.sandbox.fault("plain_lb_down", lb=1)
    failed = site.bring(*back, wait_for_away=True)
    assert (failed["failure"]["code"], failed["changed"]) == ("unreachable", False)


def test_an_old_server_whose_check_fails_does_not_keep_a_new_one_from_being_drained(site: Site) -> None:
    site.bring(wanted("old", site.old, 50), wanted("new", site.new, 50))
    back = wanted("old", site.old), wanted("ill", NOBODY), wanted("new", site.new, 50, "drain")
    assert not site.bring(*back, wait_for_away=True).get("failed")
    for number in (0, 1):
        states = {name: state for name, (_address, _weight, state) in site.servers(number).items()}
        assert states == {"old": "ready", "ill": "ready", "new": "drain"}
    assert site.bring()["lbs"][1]["servers"]["ill"]["status"] == "DOWN"
    assert [site.ask() for _index in range(6)] == [200] * 6
    assert not site.bring(*back, wait_for_away=True)["changed"]


def test_what_one_balancer_refuses_does_not_keep_the_others_from_going_back(site: Site) -> None:
    site.bring(wanted("old", site.old, 50), wanted("new", site.new, 50))
    body = f"backend web\n  balance static-rr\n  server old {site.old.address} weight 50\n"
    with balancer(body) as static:
        at = {"socket": [static.socket, *site.at["socket"]], "master_socket": None, "wait_for_away": True}
        failed = site.bring(wanted("old", site.old), wanted("new", site.new, 50, "drain"), **at)
        operator = {**at, "socket": [static.operator_socket, *site.at["socket"]]}
        level = site.bring(wanted("old", site.old), wanted("new", site.new, 50, "maint"), **operator)
    assert (failed["failure"]["code"], failed["changed"]) == ("refused", True)
    assert (level["failure"]["code"], level["changed"]) == ("permission_denied", True)
    assert [site.servers(number)["new"][2] for number in (0, 1)] == ["maint", "maint"]


def test_a_balancer_that_never_answers_does_not_slow_the_others_down(site: Site) -> None:
    site.bring(wanted("old", site.old, state="maint"), wanted("new", site.new))
    results: list[dict[str, Any]] = []
    asked: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)

        def accept() -> None:
            while len(asked) < 3:
                asked.append(silent.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        sockets = [f"127.0.0.1:{silent.getsockname()[1]}", *site.at["socket"]]
        at = {"socket": sockets, "master_socket": None, "wait_for_away": True, "wait_timeout": 5, "timeout": 20}
        back = wanted("old", site.old), wanted("new", site.new, state="drain")
        thread = threading.Thread(target=lambda: results.append(site.bring(*back, **at)))
        thread.start()
        eventually(lambda: site.servers(0)["new"][2] == site.servers(1)["new"][2] == "drain")
        assert len(asked) <= 2  # once to look, and once more: no answer was waited for
    for connection in asked:
        connection.close()
    thread.join(PATIENCE)
    assert results[0]["failure"]["code"] == "deadline_passed" and sockets[0] in results[0]["msg"]


def test_strict_finds_servers_that_nobody_named(site: Site) -> None:
    site.bring(wanted("old", site.old), wanted("new", site.new))
    failed = site.bring(wanted("old", site.old, 50), strict=True)
    assert (failed["failure"]["code"], failed["failure"]["detail"]) == ("unexpected_servers", ["new"])
    assert site.servers()["old"][1] == 100
    assert site.bring(wanted("old", site.old, 50), absent=[], strict=False)["changed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"servers": [wanted("a", NOBODY, 257)]}, "A weight of 257 is not from 0 to 256"),
        ({"servers": [wanted("a", NOBODY), wanted("b", NOBODY)]}, f"names {NOBODY} twice"),
        ({"servers": [wanted("a", NOBODY)], "absent": [NOBODY]}, f"both name {NOBODY}"),
        ({"servers": [wanted("a", "127.0.0.1")]}, "'127.0.0.1' is not host:port"),
        ({"servers": [wanted("a; shutdown", NOBODY)]}, "cannot be the name"),
        ({"servers": [wanted("a", NOBODY)], "check_interval": -1}, "Option check_interval: -1 is not above 0"),
        ({"socket": []}, "needs at least one entry"),
        ({"master_socket": ["/a", "/b", "/c"]}, "one entry for each entry"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(options: dict[str, Any], message: str) -> None:
    at = {"socket": ["/no/such/socket"], "backend": "web", "wait_timeout": 1}
    failed = operate(haproxy_backend, **{**at, **options})
    assert (failed["failure"]["code"], failed["changed"]) == ("invalid_option", False)
    assert message in failed["msg"]


def test_a_single_server(site: Site) -> None:
    added = site.operate(haproxy_server, name="web1", address=site.old.address, weight=7, check_interval=0.1)
    lb = site.at["socket"][0]
    assert added["changed"]
    assert added["server"]["lbs"][lb] == {"web1": {"address": site.old.address, "weight": 7, "state": "ready"}}
    assert not site.operate(haproxy_server, name="web1")["changed"]
    assert site.operate(haproxy_server, name="web1", weight=9, admin_state="drain")["changed"]
    assert site.servers() == {"web1": (site.old.address, 9, "drain")}
    assert site.operate(haproxy_server, name="web1", state="absent")["failure"]["code"] == "held"
    site.operate(haproxy_drain, address=[site.old.address])
    assert site.operate(haproxy_server, name="web1", state="absent")["changed"]
    gone = site.operate(haproxy_server, name="web1", state="absent")
    assert (gone["changed"], gone["server"]["lbs"][lb]) == (False, {})
    unknown = site.operate(haproxy_server, address=site.old.address)
    assert unknown["failure"]["code"] == "not_found" and "without a name it cannot be added" in unknown["msg"]


# Other configurations


@contextmanager
def balancer(body: str) -> Iterator[Balancer]:
    with tempfile.TemporaryDirectory(prefix="lb") as folder, Balancer(Path(folder)) as lb:
        lb.start(body)
        yield lb


def bring_at(lb: Balancer, *servers: dict[str, Any], **options: Any) -> dict[str, Any]:
    at = {"socket": [lb.socket], "backend": "web", "servers": list(servers), "wait_timeout": 1}
    return operate(haproxy_backend, **{**at, **options})


def test_servers_of_the_configuration_are_driven_but_never_deleted() -> None:
    with Backend() as one, balancer(f"backend web\n  balance roundrobin\n  server web1 {one.address} check\n") as lb:
        assert bring_at(lb, wanted("any", one, 50), wait_timeout=PATIENCE)["changed"]
        assert bring_at(lb, wanted("any", one, 50, "maint"))["changed"]
        gone = bring_at(lb, absent=[one.address])
        assert not gone["changed"]
        assert gone["backend"]["lbs"][lb.socket] == {"web1": {"address": one.address, "weight": 50, "state": "maint"}}
        assert gone["lbs"][0]["servers"]["web1"]["kind"] == "configured"


def test_refusals_of_the_socket_are_failures() -> None:
    body = f"backend web\n  balance static-rr\n  server web1 {NOBODY}\nbackend b\n  balance roundrobin\n"
    with balancer(body) as lb:
        failed = bring_at(lb, wanted("any", NOBODY, 50))
        assert failed["failure"]["code"] == "refused"
        assert "static LB algorithm" in failed["msg"]
        failed = bring_at(lb, wanted("new", "127.0.0.1:8"))
        assert (failed["failure"]["code"], failed["failure"]["request"].split()[:3]) == (
            "refused",
            ["add", "server", "web/new"],
        )
        assert "Backend must use a dynamic load balancing" in failed["msg"]

        failed = bring_at(lb, wanted("any", NOBODY, 50), socket=[lb.operator_socket])
        assert (failed["failure"]["code"], failed["changed"]) == ("permission_denied", False)
        assert "level operator; it needs 'level admin'" in failed["msg"]
        assert not bring_at(lb, socket=[lb.operator_socket]).get("failed")
        assert bring_at(lb, backend="none")["failure"]["code"] == "not_found"
        assert bring_at(lb, wanted("a", NOBODY), backend="b", check=False)["changed"]


def test_the_preflight_names_all_that_is_missing(slots: Site) -> None:
    configs = [lb["config"] for lb in slots.sandbox.plain_lbs]
    ready = slots.preflight(needs=2, sticky=True, config=configs)
    assert (ready["missing"], ready["unseen"], ready["placement"]) == ([], [], "template")
    assert ready["lbs"][0] == {
        "lb": slots.at["socket"][0],
        "version": ready["lbs"][0]["version"],
        "level": "admin",
        "algorithm": "roundrobin",
        "cookie": "SERVER",
        "slots": 2,
        "free_slots": 2,
    }
    assert len(slots.preflight(needs=2)["unseen"]) == 2

    body = "backend web\n  balance static-rr\n  cookie S insert\n  server-template slot 1-2 127.0.0.1:80 cookie a\n"
    with balancer(body) as lb:
        asked = {"socket": [lb.operator_socket, "/no/such/socket"], "backend": "web", "timeout": 1}
        failed = operate(haproxy_preflight, **asked, sticky=True, needs=3)
        missing = failed["failure"]["detail"]["missing"]
        assert failed["failure"]["code"] == "preflight_failed"
        assert all(text in failed["msg"] for text in missing)
        for number, text in enumerate(("level operator", "balance static-rr", "0 free of 2 slots", "no answer")):
            assert text in missing[number]
        reported = operate(haproxy_preflight, **asked, sticky=True, needs=3, report_only=True)
        assert (reported["missing"], reported["placement"]) == (missing, None)
        assert operate(haproxy_preflight, socket=[lb.socket], backend="none")["failure"]["detail"]["missing"] == [
            f"lb {lb.socket}: there is no backend none"
        ]


def test_the_configuration_in_the_documentation_has_all_that_is_needed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "haproxy.md").read_text()
    (text,) = re.findall(r"^```haproxy\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    with tempfile.TemporaryDirectory(prefix="lb") as folder, Backend() as one, Backend() as two:
        places = {
            "/run/haproxy/admin.sock": f"{folder}/admin.sock",
            "/var/lib/haproxy/state": f"{folder}/state",
            "bind :80": f"bind 127.0.0.1:{free_port()}",
        }
        for place, here in places.items():
            assert place in text
            text = text.replace(place, here)
        config = Path(folder) / "haproxy.cfg"
        config.write_text(text)
        with running(config, f"{folder}/master.sock", f"{folder}/admin.sock") as reload:
            at = {"socket": [f"{folder}/admin.sock"], "master_socket": [f"{folder}/master.sock"], "backend": "shop"}
            ready = operate(haproxy_preflight, **at, config=[str(config)], needs=20, sticky=True)
            assert (ready["missing"], ready["unseen"], ready["placement"]) == ([], [], "template")
            servers = [wanted("one", one, 95), wanted("two", two, 5)]
            assert operate(haproxy_backend, **at, servers=servers, wait_timeout=PATIENCE)["changed"]

            state = Runtime.at(f"{folder}/admin.sock")._exchange("show servers state")
            (Path(folder) / "state").write_text(state)
            reload()
            assert not operate(haproxy_backend, **at, servers=servers, wait_timeout=PATIENCE)["changed"]


@contextmanager
def running(config: Path, master: str, socket: str) -> Iterator[Callable[[], None]]:
    """A HAProxy with this configuration; yields what reloads it, and returns when a new worker answers."""

    def pid() -> int:
        try:
            return int(Runtime.at(socket).info()["Pid"])
        except Unreachable:
            return 0

    def is_settled() -> bool:
        try:
            return any(worker.pid == pid() for worker in Runtime.at(master).workers() if not worker.is_old)
        except Unreachable:
            return False

    def reload() -> None:
        before = pid()
        process.send_signal(signal.SIGUSR2)
        eventually(lambda: is_settled() and pid() != before)

    with (config.parent / "log").open("wb") as log:
        process = subprocess.Popen(["haproxy", "-W", "-S", master, "-f", config], stdout=log, stderr=log)
    try:
        eventually(is_settled)
        yield reload
    finally:
        process.terminate()
        process.wait(20)


# As modules


def test_the_modules_need_nothing_but_the_standard_library(site: Site) -> None:
    """As they run on the hosts of the balancers: another Python, without a single package."""
    base = {"socket": site.at["socket"], "backend": "web"}
    tasks = [
        ("haproxy_preflight", {**base, "needs": 1}, False),
        ("haproxy_backend", {**base, "servers": [wanted("old", site.old)], "check_interval": 0.1}, True),
        ("haproxy_drain", {**base, "address": [site.old.address]}, True),
        ("haproxy_server", {**base, "name": "old", "state": "absent"}, True),
    ]
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
        python.chmod(0o755)
        missing = subprocess.run([python, "-c", "import requests"], capture_output=True, check=False)
        assert b"ModuleNotFoundError" in missing.stderr
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": str(python)},
            "tasks": [
                {
                    "name": name,
                    f"zdd.rollout.{name}": options,
                    "register": "result",
                    "failed_when": f"result.failed or result.changed != {changed}",
                }
                for name, options, changed in tasks
            ],
        }
        (Path(folder) / "play.yml").write_text(yaml.safe_dump([play]))
        ran = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-vvv", "-i", "localhost,", f"{folder}/play.yml"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(collection_path.ensure()),
                "ANSIBLE_PIPELINING": "true",
                "ANSIBLE_LOCAL_TEMP": f"{folder}/tmp",
            },
        )
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]
    used = re.findall(r"Using module file \S*/plugins/modules/(\w+)\.py", ran.stdout)
    assert used == [name for name, _options, _changed in tasks]
