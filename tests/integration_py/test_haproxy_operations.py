# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draining, admission and evidence against real HAProxy processes: reloads, old workers, refusing sockets."""

from __future__ import annotations

import http.client
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.zdd.rollout.plugins.module_utils._errors import DeadlinePassed
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy import marathon_lb
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.runtime import Runtime
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._operations import haproxy_drain, haproxy_info
from tests.integration_py.haproxy_instance import Backend, Balancer, eventually, free_port, held
from tests.integration_py.operating import operate

# What has to end early ends long before this (s).
PATIENCE = 60.0
BOTH = ("old", "new")


@dataclass
class Site:
    """One HAProxy with the servers ``old`` and ``new``; a client gets to them at ``port``."""

    lb: Balancer
    port: int
    old: Backend
    new: Backend

    def body(self, old: str = "", new: str = "", backend: str = "") -> str:
        return (
            f"frontend web\n  bind 127.0.0.1:{self.port}\n  use_backend web\n"
            f"backend web\n  balance roundrobin\n  {backend}\n"
            f"  server old {self.old.address} check inter 100 fastinter 100 {old}\n"
            f"  server new {self.new.address} check inter 100 fastinter 100 {new}\n"
        )

    def states(self) -> dict[str, str]:
        return Runtime.at(self.lb.socket).server_states("web")

    def ask(self, path: str = "/", **headers: str) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers={"Connection": "close", **headers})
            response = connection.getresponse()
            response.read()
            return response.status, dict(response.headers)
        finally:
            connection.close()

    def drain(self, **options: Any) -> dict[str, Any]:
        defaults = {"socket": [self.lb.socket], "backend": "web", "server": ["old"], "wait_timeout": PATIENCE}
        return operate(haproxy_drain, **{**defaults, "drain_timeout": 0.2, **options})

    def with_master(self, **options: Any) -> dict[str, Any]:
        return self.drain(master_socket=[self.lb.master_socket], keep_alive_timeout=1, **options)

    def settle(self) -> None:
        """Wait until all servers are UP and the master's socket answers."""
        eventually(lambda: self.lb.get("/haproxy?stats;csv").count(",UP,") >= 3)
        eventually(self.lb.is_settled)


@contextmanager
def start(backend: str = "") -> Iterator[Site]:
    # A short path: that of a UNIX socket may have 108 bytes, of which HAProxy itself takes some.
    with (
        tempfile.TemporaryDirectory(prefix="lb") as folder,
        Backend() as old,
        Backend() as new,
        Balancer(Path(folder)) as lb,
    ):
        site = Site(lb, free_port(), old, new)
        lb.start(site.body(backend=backend))
        site.settle()
        yield site


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    with start() as site:
        yield site


@pytest.fixture(name="other")
def _other() -> Iterator[Site]:
    with start() as site:
        yield site


@pytest.fixture(name="busy")
def _busy(site: Site) -> Iterator[list[int]]:
    """One request in flight at ``old``; the list gets its status when ``site.old.release()`` has ended it."""
    Runtime.at(site.lb.socket).set_states("web", {"new": "maint"})
    with held(("127.0.0.1", site.port), [site.old]) as statuses:
        Runtime.at(site.lb.socket).set_states("web", {"new": "ready"})
        eventually(lambda: site.ask("/")[0] == 200)
        yield statuses


# Draining


def test_an_idle_server_is_drained_and_put_back(site: Site) -> None:
    result = site.drain()
    assert result["changed"] and result["backend"]["servers"][site.lb.socket] == {"old": "maint"}
    assert (result["deadline_passed"], result["sessions_cut"]) == (False, 0)
    assert site.states() == {"old": "maint", "new": "ready"}
    site.ask()
    assert [path for _method, path, _headers in site.old.seen if path == "/"] == []

    result = site.drain(state="ready")
    assert result["changed"]
    assert result["lbs"][0]["servers"]["old"]["status"].startswith("UP")
    assert site.states() == {"old": "ready", "new": "ready"}


def test_servers_are_drained_by_their_addresses(site: Site) -> None:
    nowhere = "127.0.0.1:9"
    result = site.drain(server=None, address=[site.old.address, nowhere])
    assert result["changed"] and result["sessions"] == 0
    assert site.states() == {"old": "maint", "new": "ready"}
    assert not site.drain(server=None, address=[nowhere])["changed"]

    failed = site.drain(server=None, address=[site.old.address, nowhere], state="ready")
    assert (failed["failure"]["code"], failed["failure"]["detail"]) == ("not_found", [nowhere])
    assert site.states()["old"] == "maint"
    assert site.drain(server=None, address=[site.old.address], state="ready")["changed"]
    assert site.states() == {"old": "ready", "new": "ready"}


def test_the_sessions_at_the_beginning_of_a_drain_are_told(site: Site, busy: list[int]) -> None:
    threading.Timer(0.5, site.old.release).start()
    result = site.drain(server=None, address=[site.old.address])
    assert (result["sessions"], result["sessions_cut"], result["lbs"][0]["sessions"]) == (1, 0, 0)
    eventually(lambda: busy == [200])


def test_an_address_that_a_reload_has_forgotten_is_drained_when_the_old_worker_is_idle(
    site: Site, busy: list[int]
) -> None:
    site.lb.reload(site.body().replace("server old", "#"))
    held = site.with_master(server=None, address=[site.old.address], wait_timeout=0.5)
    assert held["failure"]["code"] == "held"
    assert "old worker" in held["msg"]
    site.old.release()
    eventually(lambda: busy == [200])
    result = site.with_master(server=None, address=[site.old.address])
    assert not result["changed"] and result["lbs"][0]["servers"] == {}


def test_a_second_run_changes_nothing(site: Site) -> None:
    first, second = site.drain(), site.drain()
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["backend"] == second["backend"]
    site.drain(state="ready")
    assert not site.drain(state="ready")["changed"]


def test_a_server_that_the_configuration_disables_is_put_back_and_drained_again(site: Site) -> None:
    site.lb.reload(site.body("disabled"))
    eventually(lambda: site.lb.get("/haproxy?stats;csv").count(",UP,") >= 2)
    assert site.states()["old"] == "maint"
    assert not site.drain()["changed"]
    assert site.drain(state="ready")["changed"]
    assert site.states()["old"] == "ready"
    assert not site.drain(state="ready")["changed"]
    assert site.drain()["changed"]
    assert site.states()["old"] == "maint"


def test_check_mode_tells_the_truth_and_touches_nothing(site: Site) -> None:
    told = site.drain(check_mode=True)
    assert site.states() == {"old": "ready", "new": "ready"}
    done = site.drain()
    assert (told["changed"], told["backend"], told["diff"]) == (done["changed"], done["backend"], done["diff"])
    assert '"old": "ready"' in done["diff"]["before"] and '"old": "maint"' in done["diff"]["after"]


def test_a_request_in_flight_is_waited_for(site: Site, busy: list[int]) -> None:
    ended: list[dict[str, Any]] = []
    drain = threading.Thread(target=lambda: ended.append(site.drain()))
    drain.start()
    eventually(lambda: site.states()["old"] == "maint")
    assert not ended and not busy
    site.old.release()
    drain.join(PATIENCE)
    eventually(lambda: busy == [200])
    assert ended[0]["lbs"][0]["sessions"] == 0
    assert "failed" not in ended[0]


@pytest.mark.parametrize(("choice", "code"), [("hold", "held"), ("fail", "deadline_passed")], ids=["hold", "fail"])
def test_when_the_time_is_over_the_task_fails_and_says_what_is_left(
    site: Site, busy: list[int], choice: str, code: str
) -> None:
    result = site.drain(wait_timeout=0.5, on_timeout=choice)
    assert result["failed"] and result["changed"]
    assert result["failure"]["code"] == code
    assert result["failure"]["detail"][0]["sessions"] == 1
    assert "web/old: 1 open" in result["msg"]
    site.old.release()
    eventually(lambda: busy == [200])
    assert "failed" not in site.drain()


def test_cut_goes_on_and_reports_how_many(site: Site, busy: list[int]) -> None:
    result = site.drain(wait_timeout=0.5, on_timeout="cut")
    assert "failed" not in result
    assert (result["deadline_passed"], result["sessions_cut"]) == (True, 1)
    assert not busy


def test_without_waiting_the_server_is_out_at_once_and_what_is_in_flight_goes_on(site: Site, busy: list[int]) -> None:
    result = site.drain(wait=False)
    assert result["backend"]["servers"][site.lb.socket] == {"old": "maint"}
    assert result["lbs"][0]["sessions"] == 1 and not busy
    site.old.release()
    eventually(lambda: busy == [200])


def test_cookie_bound_clients_stay_while_it_drains_and_leave_at_maint() -> None:
    with start(backend="cookie S insert indirect") as site:
        site.lb.reload(site.body("cookie old", "cookie new", "cookie S insert indirect"))
        site.settle()
        bound = {"Cookie": "S=old"}
        Runtime.at(site.lb.socket).set_states("web", {"new": "maint"})
        with held(("127.0.0.1", site.port), [site.old]):
            Runtime.at(site.lb.socket).set_states("web", {"new": "ready"})
            drain = threading.Thread(target=lambda: site.drain(drain_timeout=2))
            drain.start()
            eventually(lambda: site.states()["old"] == "drain")
            before = len(site.old.seen)
            assert site.ask("/bound", **bound)[0] == 200
            while_draining = [path for _method, path, _headers in site.old.seen[before:] if path == "/bound"]
            eventually(lambda: site.states()["old"] == "maint")
            assert site.ask("/bound", **bound)[0] == 200
            at_maint = [path for _method, path, _headers in site.new.seen if path == "/bound"]
            site.old.release()
            drain.join(PATIENCE)
        assert while_draining == ["/bound"]
        assert at_maint == ["/bound"]


def test_every_balancer_is_drained_and_reported(site: Site, other: Site) -> None:
    sockets = [site.lb.socket, other.lb.tcp_socket]
    result = site.drain(socket=sockets, server=list(BOTH))
    assert [lb["lb"] for lb in result["lbs"]] == sockets
    assert site.states() == other.states() == {"old": "maint", "new": "maint"}


def test_a_socket_that_may_not_change_anything_is_found_before_another_is_changed(site: Site, other: Site) -> None:
    result = site.drain(socket=[site.lb.socket, other.lb.operator_socket])
    assert result["failed"] and not result["changed"]
    assert result["failure"]["code"] == "permission_denied"
    assert other.lb.operator_socket in result["msg"] and "Permission denied" in result["msg"]
    assert site.states()["old"] == "ready"


@pytest.mark.parametrize(
    ("options", "named"), [({"backend": "nowhere"}, "nowhere"), ({"server": ["old", "ghost"]}, "ghost")]
)
def test_what_does_not_exist_is_named_before_anything_is_changed(
    site: Site, options: dict[str, Any], named: str
) -> None:
    result = site.drain(**options)
    assert result["failed"] and not result["changed"]
    assert result["failure"]["code"] == "not_found"
    assert named in result["msg"]
    assert site.states() == {"old": "ready", "new": "ready"}


def test_a_balancer_that_is_not_there_is_named(site: Site) -> None:
    result = site.drain(socket=[site.lb.socket, "127.0.0.1:1"])
    assert result["failure"]["code"] == "unreachable"
    assert "127.0.0.1:1" in result["msg"]
    assert site.states()["old"] == "ready"


# Reloads


def test_an_old_worker_that_still_serves_forbids_drained(site: Site, busy: list[int]) -> None:
    """The new worker shows 0 sessions at once."""
    site.lb.reload(site.body())
    site.settle()
    result = site.with_master(wait_timeout=1)
    assert result["failure"]["code"] == "held"
    (left,) = result["failure"]["detail"]
    assert left["sessions"] == 0 and left["old_sessions"] == 1
    site.old.release()
    result = site.with_master()
    assert "failed" not in result
    assert (result["lbs"][0]["evidence"], result["lbs"][0]["old_sessions"]) == ("all_workers", 0)
    assert busy == [200]


def test_an_old_worker_that_serves_somebody_else_does_not_hold_the_drain_for_long(site: Site) -> None:
    Runtime.at(site.lb.socket).set_states("web", {"old": "maint"})
    with held(("127.0.0.1", site.port), [site.new]) as statuses:
        site.lb.reload(site.body())
        site.settle()
        result = site.with_master()
        assert "failed" not in result and not statuses
        (worker,) = result["lbs"][0]["old_workers"]
        assert (worker["sessions"], worker["connections"]) == (0, 1)


def test_who_gives_no_master_socket_is_told_what_is_not_seen(site: Site) -> None:
    for masters, told in ((None, True), ([site.lb.master_socket], False)):
        context = Context()
        given = {"socket": [site.lb.socket], "master_socket": masters, "backend": "web", "server": ["old"]}
        params = ArgumentSpecValidator(haproxy_drain.ARGUMENT_SPEC).validate(given).validated_parameters
        haproxy_drain.run(params, context)
        assert any("a reload before this task" in text for text in context.warnings) == told


def test_a_reload_during_the_drain_ends_the_wait_where_old_workers_cannot_be_seen(site: Site, busy: list[int]) -> None:
    ended: list[dict[str, Any]] = []
    drain = threading.Thread(target=lambda: ended.append(site.drain()))
    started = time.monotonic()
    drain.start()
    eventually(lambda: site.states()["old"] == "maint")
    site.lb.reload(site.body())
    drain.join(PATIENCE)
    assert time.monotonic() - started < PATIENCE
    assert "reloaded during the drain" in ended[0]["msg"] and "master_socket" in ended[0]["msg"]
    assert ended[0]["failed"] and not busy


def test_a_drain_that_a_reload_has_undone_is_done_again(site: Site, busy: list[int]) -> None:
    ended: list[dict[str, Any]] = []
    drain = threading.Thread(target=lambda: ended.append(site.with_master()))
    drain.start()
    eventually(lambda: site.states()["old"] == "maint")
    site.lb.reload(site.body())
    eventually(lambda: site.states()["old"] == "maint")
    assert not ended
    site.old.release()
    drain.join(PATIENCE)
    assert "failed" not in ended[0]
    assert site.states()["old"] == "maint"
    assert busy == [200]


# Showing


def test_a_socket_and_a_statistics_page_show_the_same(site: Site) -> None:
    site.ask()
    shown = operate(haproxy_info, socket=[site.lb.socket], stats_url=[site.lb.url], backend=["web"])["lbs"]
    assert [lb["lb"] for lb in shown] == [site.lb.socket, site.lb.url.removeprefix("http://")]
    for lb in shown:
        assert [(row["pxname"], row["svname"]) for row in lb["servers"]] == [("web", "old"), ("web", "new")]
        assert [row["pxname"] for row in lb["frontends"] + lb["backends"]] == ["web", "web"]
        assert sum(row["stot"] for row in lb["servers"]) == 1
        assert "-" not in lb["servers"][0]
        assert isinstance(lb["frontends"][0]["rate"], int)


# Evidence at marathon-lb


def server(name: str, backend: Backend) -> marathon_lb.Server:
    return marathon_lb.Server("web", name, backend.address)


def test_drained_by_marathon_lb_needs_the_old_worker_gone(site: Site, busy: list[int]) -> None:
    lbs = marathon_lb.resolve([site.lb.url])
    site.lb.reload(site.body("disabled"))
    old = [server("old", site.old)]
    watch = marathon_lb.Watch(Context(), lbs, old)
    assert marathon_lb.unadmitted(watch.look_admitted(), old) is not None
    with pytest.raises(DeadlinePassed, match="1 old worker"):
        watch.wait_drained(1)
    assert watch.left()[0]["old_workers"] == 1
    site.old.release()
    watch.wait_drained(PATIENCE)
    assert busy == [200]


def test_new_servers_are_admitted_when_the_new_configuration_is_live(site: Site) -> None:
    site.lb.reload(site.body("", "disabled"))
    lbs = marathon_lb.resolve([site.lb.url])
    new = [server("new", site.new)]
    watch = marathon_lb.Watch(Context(), lbs, new)
    assert "is MAINT" in (marathon_lb.unadmitted(watch.look_admitted(), new) or "")
    site.lb.reload(site.body("disabled", ""))
    watch.wait_admitted(PATIENCE)
    assert site.ask()[0] == 200


def test_maint_at_run_time_is_no_evidence_for_marathon_lb(site: Site) -> None:
    Runtime.at(site.lb.socket).set_states("web", {"old": "maint"})
    lbs = marathon_lb.resolve([site.lb.url])
    watch = marathon_lb.Watch(Context(), lbs, [server("old", site.old)])
    assert "not disabled in the live configuration" in (watch.undrained(watch.look_drained()) or "")


def test_the_live_configuration_tells_how_long_idle_connections_live(site: Site) -> None:
    (lb,) = marathon_lb.resolve([site.lb.url])
    assert marathon_lb.keep_alive_seconds(lb.config()) == 1
    assert lb.process_id() in lb.pids()
