# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands bring a backend into its wanted state; a model of HAProxy takes them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput, Rejected
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.addresses import resolved
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.backend_servers import (
    FIRST_DYNAMIC_ID,
    Checks,
    Goal,
    Server,
    View,
    Wanted,
    decide,
    kind_of,
    shares,
    unexpected,
)
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.runtime import ServerState
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.stats import ServerRow

FREE = "0.0.0.0:80"
OLD, NEW, OTHER = "10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3"


def row(name: str, status: str = "UP", check: str = "L7OK", health: int = 4, **values: int) -> ServerRow:
    base = ServerRow("web", name, status, 0, 0, 100, check, "", 0, "", check_health=health, check_rise=2, check_fall=3)
    return replace(base, **values)


def server(
    name: str, address: str, state: str = "ready", weight: int = 100, passed: bool = True, **values: int
) -> Server:
    """A server that is checked; ``dyn…`` was added at run time, ``slot…`` is one of a template."""
    number = FIRST_DYNAMIC_ID + int(name[3:]) if name.startswith("dyn") else 1
    known = ServerState(name, number, address, state, weight, "unused.invalid", True, True)
    status = {"ready": "UP", "drain": "DRAIN", "maint": "MAINT"}[state]
    if not passed:
        values = {"health": 2, **values}
    return Server(known, kind_of(known, "slot"), row(name, status, **values))


def view(*servers: Server, version: tuple[int, int] = (2, 6)) -> View:
    return View("lb1", version, {one.known.name: one for one in servers})


def slots(count: int) -> list[Server]:
    return [server(f"slot{number}", FREE, "maint") for number in range(1, count + 1)]


def goal(*wanted: Wanted, **options: object) -> Goal:
    return Goal("web", wanted, **options)


def texts(view: View, goal: Goal, trusted: tuple[str, ...] = ()) -> list[str]:
    return [command.text for command in decide(view, goal, trusted).commands]


def test_what_is_so_already_needs_no_command() -> None:
    decision = decide(view(server("web1", OLD)), goal(Wanted("any", OLD)))
    assert (decision.commands, decision.missing) == ((), None)
    assert decision.servers == {"web1": {"address": OLD, "weight": 100, "state": "ready"}}


def test_a_new_server_is_checked_before_it_gets_traffic() -> None:
    before = view(server("web1", OLD))
    wanted = goal(Wanted("new", NEW, 5), checks=Checks(True, 0.5, 1, 4, 7))

    assert texts(before, wanted) == [
        f"add server web/new {NEW} weight 5 id {FIRST_DYNAMIC_ID} maxconn 7 check inter 500ms rise 1 fall 4",
        "enable health web/new",
        "set server web/new state drain",
    ]
    waiting = view(server("web1", OLD), replace_name(server("dyn0", NEW, "drain", 5, passed=False), "new"))
    decision = decide(waiting, wanted)
    assert (decision.commands, decision.missing) == ((), f"lb lb1: web/new ({NEW}) waits for its check (DRAIN L7OK)")
    passed = view(server("web1", OLD), replace_name(server("dyn0", NEW, "drain", 5), "new"))
    assert texts(passed, wanted) == ["set server web/new state ready"]


def replace_name(one: Server, name: str) -> Server:
    return replace(one, known=replace(one.known, name=name))


def test_a_check_from_before_the_maintenance_does_not_count() -> None:
    """HAProxy keeps showing it until the next one is over; the health tells."""
    assert "state ready" not in " ".join(
        texts(view(server("dyn1", NEW, "drain", passed=False)), goal(Wanted("a", NEW)))
    )
    assert not row("a", "UP 1/3", health=2).has_passed
    assert row("a", "UP 2/3", "* L7OK", health=3).has_passed
    assert not row("a", "DOWN", "L4CON", health=0).has_passed


def test_an_unchecked_server_gets_traffic_at_once() -> None:
    assert texts(view(), goal(Wanted("new", NEW), checks=Checks(False))) == [
        f"add server web/new {NEW} weight 100 id {FIRST_DYNAMIC_ID}",
        "set server web/new state ready",
    ]


def test_a_free_slot_is_taken_first_and_in_order() -> None:
    wanted = goal(Wanted("a", NEW, 5), Wanted("b", OTHER, 5))
    before = view(*slots(10)[::-1], server("web1", OLD))
    assert texts(before, wanted) == [
        "set server web/slot1 addr 10.0.0.2 port 2",
        "set server web/slot1 weight 5",
        "set server web/slot1 state drain",
        "set server web/slot2 addr 10.0.0.3 port 3",
        "set server web/slot2 weight 5",
        "set server web/slot2 state drain",
    ]
    assert decide(before, wanted).servers["slot1"] == {"address": NEW, "weight": 5, "state": "ready"}
    assert "add server" in texts(before, replace(wanted, placement="dynamic"))[0]


def test_a_slot_that_lost_its_address_at_a_reload_serves_nobody_before_it_has_one() -> None:
    lost = server("slot1", "0.0.0.0:31001", "ready")
    assert texts(view(lost), goal(Wanted("a", NEW)))[:2] == [
        "set server web/slot1 state maint",
        "set server web/slot1 addr 10.0.0.2 port 2",
    ]


def test_when_the_slots_are_used_up_servers_are_added_unless_only_slots_will_do() -> None:
    wanted = goal(Wanted("a", NEW), Wanted("b", OTHER))
    assert [text.split()[0] for text in texts(view(*slots(1)), wanted)].count("add") == 1
    with pytest.raises(Rejected) as failure:
        decide(view(*slots(1)), replace(wanted, placement="template"))
    assert failure.value.code == "no_free_slot"


@pytest.mark.parametrize(
    ("version", "checks", "code"),
    [((2, 3), False, "unsupported"), ((2, 4), True, "unsupported"), ((2, 4), False, None), ((2, 5), True, None)],
)
def test_versions_that_cannot_add_servers_are_told(version: tuple[int, int], checks: bool, code: str | None) -> None:
    wanted = goal(Wanted("a", NEW), checks=Checks(checks))
    if code is None:
        assert decide(view(version=version), wanted).commands
        return
    with pytest.raises(Rejected, match=r"HAProxy 2\.[34] ") as failure:
        decide(view(version=version), wanted)
    assert failure.value.code == code


def test_a_name_that_another_server_has_is_refused() -> None:
    with pytest.raises(Rejected, match=f"has a server web1 already, with {OLD} and not {NEW}") as failure:
        decide(view(server("web1", OLD)), goal(Wanted("web1", NEW)))
    assert failure.value.code == "name_taken"
    with pytest.raises(Rejected, match="another wanted address"):
        decide(view(), goal(Wanted("a", NEW), Wanted("a", OTHER)))


def test_nothing_is_lowered_while_another_server_waits_for_its_check() -> None:
    wanted = goal(Wanted("old", OLD, 0), Wanted("new", NEW), Wanted("other", OTHER, state="drain"))
    others = server("web1", OLD), server("web2", OTHER)
    assert texts(view(*others, server("dyn1", NEW, "drain", passed=False)), wanted) == []
    assert texts(view(*others, server("dyn1", NEW, "drain")), wanted) == [
        "set server web/dyn1 state ready",
        "set server web/web1 weight 0",
        "set server web/web2 state drain",
    ]


def test_a_share_does_not_shrink_while_another_server_waits_for_its_check() -> None:
    """More weight for some is a smaller share for the others."""
    wanted = goal(Wanted("old", OLD, 170), Wanted("canary", OTHER, 256), Wanted("new", NEW, 256))
    others = server("web1", OLD, weight=128), server("dyn1", OTHER, weight=256)
    assert texts(view(*others, server("dyn2", NEW, "drain", weight=256, passed=False)), wanted) == []
    assert texts(view(*others, server("dyn2", NEW, "drain", weight=256)), wanted) == [
        "set server web/dyn2 state ready",
        "set server web/web1 weight 170",
    ]


def test_a_server_that_is_down_does_not_keep_another_one_from_being_drained() -> None:
    """A rollback must not wait for an old task that has crashed."""
    there = view(down("web1", OLD), server("web2", NEW), server("web3", OTHER))
    decision = decide(there, goal(Wanted("a", OLD), Wanted("b", NEW, state="drain"), Wanted("c", OTHER)))
    assert [command.text for command in decision.commands] == ["set server web/web2 state drain"]
    assert decision.missing == f"lb lb1: web/web1 ({OLD}) is DOWN L4CON"


def test_nothing_is_lowered_where_most_of_what_should_serve_is_down() -> None:
    wanted = goal(Wanted("a", OLD), Wanted("b", NEW, 0), Wanted("c", OTHER), Wanted("d", "10.0.0.4:4"))
    there = down("web1", OLD), server("web2", NEW), down("web3", OTHER), server("web4", "10.0.0.4:4")
    assert texts(view(*there), wanted) == []
    assert texts(view(server("web1", OLD), *there[1:]), wanted) == ["set server web/web2 weight 0"]


@pytest.mark.parametrize(
    ("status", "check", "health", "turns"), [("DRAIN", "L7OK", 4, True), ("DOWN", "L4CON", 0, False)]
)
def test_the_traffic_is_turned_to_servers_without_weight_that_are_well(
    status: str, check: str, health: int, turns: bool
) -> None:
    warm = replace(server("dyn1", NEW, weight=0), row=row("dyn1", status, check, health))
    commands = texts(view(server("web1", OLD), warm), goal(Wanted("a", OLD, 0), Wanted("b", NEW, 100)))
    assert ("set server web/web1 weight 0" in commands) is turns
    assert "set server web/dyn1 weight 100" in commands


def down(name: str, address: str, state: str = "ready") -> Server:
    return replace(server(name, address, state), row=row(name, "DOWN", "L4CON", 0))


def test_a_server_that_is_not_watched_may_be_down() -> None:
    wanted = goal(Wanted("a", OLD), Wanted("b", NEW), watched=frozenset({NEW}))
    assert decide(view(down("web1", OLD), server("web2", NEW)), wanted).missing is None
    assert "web2" in (decide(view(server("web1", OLD), down("web2", NEW)), wanted).missing or "")


def test_a_server_that_is_not_watched_is_not_waited_for_when_its_check_has_failed() -> None:
    """A reload has forgotten it. It is DOWN, so that ``ready`` gives it no traffic before a check has passed."""
    wanted = goal(Wanted("a", OLD), Wanted("b", NEW), watched=frozenset({NEW}))
    assert texts(view(down("dyn1", OLD, "drain"), server("web2", NEW)), wanted) == ["set server web/dyn1 state ready"]
    unknown = view(server("dyn1", OLD, "drain", passed=False), server("web2", NEW))
    assert "waits for its check" in (decide(unknown, wanted).missing or "")
    assert texts(view(server("web1", OLD), down("dyn2", NEW, "drain")), wanted) == []


def test_going_back_does_not_wait_for_an_old_server_whose_check_has_failed() -> None:
    wanted = goal(Wanted("a", OLD), Wanted("b", NEW), Wanted("c", OTHER, state="drain"))
    back = replace(wanted, going_back=True)
    there = down("web1", OLD, "drain"), server("web2", NEW), server("web3", OTHER)
    assert texts(view(*there), wanted) == []
    assert texts(view(*there), back) == ["set server web/web1 state ready", "set server web/web3 state drain"]
    turned = decide(view(down("web1", OLD), there[1], server("web3", OTHER, "drain")), back)
    assert (turned.missing, turned.down) == (None, (f"web/web1 ({OLD}) is DOWN L4CON",))


def test_going_back_waits_for_a_check_that_is_not_known_yet_and_while_most_are_down() -> None:
    back = goal(Wanted("a", OLD), Wanted("b", NEW), Wanted("c", OTHER, state="drain"), going_back=True)
    unknown = view(server("web1", OLD, "drain", passed=False), server("web2", NEW), server("web3", OTHER))
    assert texts(unknown, back) == []
    dead = view(down("web1", OLD), down("web2", NEW, "drain"), server("web3", OTHER))
    assert texts(dead, back) == ["set server web/web2 state ready"]
    dead = view(down("web1", OLD), down("web2", NEW), server("web3", OTHER))
    assert decide(dead, back).commands == () and "is DOWN" in (decide(dead, back).missing or "")


def test_a_server_without_weight_need_not_be_up() -> None:
    broken = replace(server("web1", OLD, weight=0), row=row("web1", "DOWN", "L4CON", 0))
    assert decide(view(broken), goal(Wanted("a", OLD, 0))).missing is None


def test_where_nobody_serves_what_has_passed_elsewhere_gets_traffic_at_once() -> None:
    wanted = goal(Wanted("new", NEW), Wanted("unknown", OTHER))
    commands = texts(view(), wanted, (NEW,))
    assert "set server web/new state ready" in commands
    assert "set server web/unknown state ready" not in commands
    assert "set server web/new state ready" not in texts(view(server("web1", OLD)), wanted, (NEW,))


def test_weights_that_are_not_given_are_left_alone() -> None:
    assert texts(view(server("web1", OLD, weight=7)), goal(Wanted("web1", None, None))) == []
    used_before = server("slot1", FREE, "maint", weight=0)
    assert "set server web/slot1 weight 100" in texts(view(used_before), goal(Wanted("new", NEW, None)))


def test_a_server_that_is_known_by_name_only_has_to_be_there() -> None:
    with pytest.raises(Rejected) as failure:
        decide(view(), goal(Wanted("web1", None)))
    assert failure.value.code == "not_found"


# Taking away


def test_a_server_that_may_get_requests_is_not_taken_away() -> None:
    for state in ("ready", "drain"):
        with pytest.raises(Rejected, match=f"is {state}, so it may still get requests") as failure:
            decide(view(server("dyn1", OLD, state)), goal(absent=(OLD,)))
        assert failure.value.code == "held"


@pytest.mark.parametrize("open_at", [{"scur": 1}, {"qcur": 1}])
def test_a_server_with_something_in_flight_is_held(open_at: dict[str, int]) -> None:
    decision = decide(view(server("dyn1", OLD, "maint", **open_at)), goal(absent=(OLD,)))
    assert (decision.commands, decision.is_held) == ((), True)
    old_worker = replace(server("dyn1", OLD, "maint"), old_sessions=1)
    assert "1 in old workers" in (decide(view(old_worker), goal(absent=(OLD,))).missing or "")


def test_only_what_was_added_is_deleted_slots_are_given_back_and_the_rest_stays() -> None:
    """HAProxy would delete them all."""
    gone = view(server("dyn1", OLD, "maint"), server("slot1", NEW, "maint"), server("web1", OTHER, "maint"))
    decision = decide(gone, goal(absent=(OLD, NEW, OTHER, "10.9.9.9:9")))
    assert [command.text for command in decision.commands] == [
        "del server web/dyn1",
        "set server web/slot1 addr 0.0.0.0",
    ]
    assert decision.servers == {
        "slot1": {"address": "0.0.0.0:2", "weight": 100, "state": "maint"},
        "web1": {"address": OTHER, "weight": 100, "state": "maint"},
    }


# What is shown


def test_shares_are_of_those_that_take_traffic() -> None:
    servers = [
        server("web1", OLD, weight=95),
        server("web2", NEW, weight=5),
        server("web3", OTHER, "drain"),
        replace(server("web4", "10.0.0.4:4"), row=row("web4", "DOWN", "L4CON", 0)),
    ]
    assert shares(servers) == {"web1": 95.0, "web2": 5.0, "web3": 0.0, "web4": 0.0}
    assert shares([server("web1", OLD, weight=0)]) == {"web1": 0.0}


def test_servers_that_take_traffic_unnamed_are_unexpected() -> None:
    there = view(server("web1", OLD), server("web2", NEW), server("web3", OTHER, "maint"))
    assert unexpected(there, goal(Wanted("a", OLD))) == ["web2"]
    assert unexpected(there, goal(Wanted("web2", None), absent=(OLD,))) == []


@pytest.mark.parametrize(
    ("given", "address"),
    [("10.0.0.1:80", "10.0.0.1:80"), ("[::1]:80", "[::1]:80"), ("[0:0::1]:80", "[::1]:80"), ("localhost:8", None)],
)
def test_addresses_have_one_form(given: str, address: str | None) -> None:
    assert resolved(given) == (address or "127.0.0.1:8")


@pytest.mark.parametrize("given", ["10.0.0.1", "10.0.0.1:x", ":80", "10.0.0.1:99999", "10.0.0.1:0", "a..b:80", ""])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput):
        resolved(given)


# Whatever is there


class Model:
    """A HAProxy that takes the commands. Checks pass when ``check`` is called, for those who are ``healthy``."""

    def __init__(self, servers: list[Server], healthy: frozenset[str]) -> None:
        self.servers = {one.known.name: one for one in servers}
        self.healthy = healthy
        self.unchecked: list[str] = []

    def view(self) -> View:
        return View("lb1", (2, 6), self.servers)

    def take(self, text: str) -> None:
        words = text.split()
        name = words[2].partition("/")[2]
        if text.startswith("add server"):
            assert name not in self.servers
            number = int(re.search(r"id (\d+)", text)[1])
            weight = int(re.search(r"weight (\d+)", text)[1])
            known = ServerState(name, number, words[3], "maint", weight, None, True, False)
            self.servers[name] = Server(known, kind_of(known, "slot"), row(name, "MAINT", "", 0))
            return
        one = self.servers[name]
        if text.startswith("del server"):
            assert (one.kind, one.known.state, one.is_idle) == ("dynamic", "maint", True)
            del self.servers[name]
        elif text.startswith("enable health"):
            self.servers[name] = replace(one, known=replace(one.known, check_enabled=True))
        elif words[3] == "state":
            self.servers[name] = self.with_state(one, words[4])
        elif words[3] == "weight":
            self.servers[name] = replace(one, known=replace(one.known, weight=int(words[4])))
        elif words[3] == "addr":
            assert one.known.state == "maint"
            port = words[6] if len(words) > 5 else one.known.address.rpartition(":")[2]
            self.servers[name] = replace(one, known=replace(one.known, address=f"{words[4]}:{port}"))
        else:
            raise AssertionError(text)

    def with_state(self, one: Server, state: str) -> Server:
        health = one.row.check_health if one.known.state != "maint" else 2
        if state == "ready" and one.known.state != "ready" and health <= 2:
            self.unchecked.append(one.known.address)
        status = {"ready": "UP", "drain": "DRAIN", "maint": "MAINT"}[state]
        if state != "maint" and one.known.state != "maint" and one.row.is_down:
            status = "DOWN"
        return replace(
            one, known=replace(one.known, state=state), row=replace(one.row, status=status, check_health=health)
        )

    def check(self) -> None:
        for name, one in self.servers.items():
            if one.known.check_enabled and one.known.state != "maint":
                up = one.known.address in self.healthy
                status = ("UP" if one.known.state == "ready" else "DRAIN") if up else "DOWN"
                check = "L7OK" if up else "L4CON"
                self.servers[name] = replace(
                    one, row=replace(one.row, status=status, check_status=check, check_health=4 if up else 0)
                )


ADDRESSES = [f"10.0.0.{number}:80" for number in range(1, 7)]
STATES = st.sampled_from(["ready", "drain", "maint"])


@st.composite
def backends(draw: st.DrawFn) -> list[Server]:
    found = []
    for number, address in enumerate(draw(st.lists(st.sampled_from(ADDRESSES), unique=True, max_size=4)), start=1):
        kind = draw(st.sampled_from(["web", "dyn", "slot"]))
        found.append(
            server(f"{kind}{number}", address, draw(STATES), draw(st.integers(0, 256)), passed=draw(st.booleans()))
        )
    return found + [server(f"slot{number}", FREE, "maint") for number in range(11, 11 + draw(st.integers(0, 3)))]


@st.composite
def goals(draw: st.DrawFn, before: list[Server]) -> Goal:
    addresses = draw(st.lists(st.sampled_from(ADDRESSES), unique=True, max_size=4))
    wanted = tuple(
        Wanted(f"new{index}", address, draw(st.integers(0, 256)), draw(STATES))
        for index, address in enumerate(addresses)
    )
    drained = [one.known.address for one in before if one.known.state == "maint" and one.known.address != FREE]
    absent = tuple(address for address in drained if address not in addresses and draw(st.booleans()))
    placement = draw(st.sampled_from(["auto", "dynamic"]))
    return goal(*wanted, absent=absent, placement=placement)


@given(st.data())
def test_every_backend_gets_to_every_goal_and_stays_there(data: st.DataObject) -> None:
    before = data.draw(backends())
    wanted = data.draw(goals(before))
    model = Model(before, frozenset(ADDRESSES))
    model.check()
    predicted = dict(decide(model.view(), wanted).servers)
    for _round in range(4):
        for command in decide(model.view(), wanted).commands:
            model.take(command.text)
        model.check()

    decision = decide(model.view(), wanted)
    assert (decision.commands, decision.missing) == ((), None)
    assert decision.servers == predicted
    assert model.unchecked == []
    for one in wanted.servers:
        (found,) = model.view().at(one.address)
        assert (found.known.weight, found.known.state) == (one.weight, one.state)
    named = {one.address for one in wanted.servers} | set(wanted.absent)
    for one in before:
        if one.known.address not in named and one.known.address != FREE:
            assert model.servers[one.known.name].known == one.known


@given(st.data())
def test_going_back_gets_there_if_most_are_well_and_never_sends_anything_to_the_others(data: st.DataObject) -> None:
    before = data.draw(backends())
    back = replace(data.draw(goals(before)), going_back=True)
    model = Model(before, frozenset(ADDRESSES) - data.draw(st.frozensets(st.sampled_from(ADDRESSES))))
    model.check()
    for _round in range(5):
        for command in decide(model.view(), back).commands:
            model.take(command.text)
            for one in model.servers.values():
                assert one.known.address in model.healthy or not one.takes_traffic
        model.check()

    should = [one.address for one in back.servers if one.state == "ready" and one.weight > 0]
    if 2 * sum(address in model.healthy for address in should) >= len(should):
        decision = decide(model.view(), back)
        assert (decision.commands, decision.missing) == ((), None)
        assert len(decision.down) == sum(address not in model.healthy for address in should)
        for one in back.servers:
            (found,) = model.view().at(one.address)
            assert (found.known.weight, found.known.state) == (one.weight, one.state)


@given(st.data())
def test_a_sick_server_never_gets_traffic_and_nothing_is_lowered_for_it(data: st.DataObject) -> None:
    before = data.draw(backends())
    wanted = data.draw(goals(before))
    sick = data.draw(st.sampled_from(ADDRESSES))
    model = Model(before, frozenset(ADDRESSES) - {sick})
    admitted = [one.address for one in wanted.servers if one.state == "ready" and one.address == sick]
    admitted = [
        address for address in admitted if not any(one.known.state == "ready" for one in model.view().at(address))
    ]
    model.check()
    at_first = {name: one.known for name, one in model.servers.items()}
    for _round in range(4):
        for command in decide(model.view(), wanted).commands:
            model.take(command.text)
        model.check()

    if admitted:
        assert all(one.known.state != "ready" for one in model.view().at(sick))
        for name, known in at_first.items():
            after = model.servers.get(name)
            if known.state == "ready" and after is not None:
                assert (after.known.state, after.known.weight >= known.weight) == ("ready", True)
