# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans on Swarm: from any state to the goal, and what has traffic is never updated nor scaled down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.planner import Policy
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.state import COLOURS, Traffic, other_colour
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.group import ServiceColour, SwarmGroup
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.plans import (
    Request,
    SwarmPlan,
    check_ports,
    swarm_plan,
)
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.views import View

PLAIN = Policy()
CANARY = ({"weight": 5, "bake": 1}, {"weight": 50})


@dataclass(frozen=True)
class Service:
    """What is set: the definition's name stands for its hash and for the version."""

    definition: str
    replicas: int
    deployed_at: int
    port: int | None = None


@dataclass
class World:
    """Services that are healthy as soon as they are set, and proxies; ``share`` is what green gets at each."""

    services: dict[str, Service]
    share: list[float]
    known: list[dict[str, frozenset[str]]] = field(default_factory=list)
    clock: int = 100

    def __post_init__(self) -> None:
        if not self.known:
            for proxy in range(len(self.share)):
                self.known.append({})
                self.admit(proxy)

    def admit(self, proxy: int) -> None:
        self.known[proxy] = {colour: self.addresses(colour) for colour in COLOURS}

    def addresses(self, colour: str) -> frozenset[str]:
        count = self.services[colour].replicas if colour in self.services else 0
        return frozenset(f"10.0.0.{number}:{8000 + COLOURS.index(colour)}" for number in range(1, count + 1))

    def group(self) -> SwarmGroup:
        colours = {
            colour: ServiceColour(
                service=f"web-{colour}",
                colour=colour,
                version=service.definition,
                image=f"web:{service.definition}",
                replicas=service.replicas,
                ready=service.replicas,
                definition=service.definition,
                deployed_at=f"{service.deployed_at:06}",
                addresses=self.addresses(colour),
                published_port=service.port,
            )
            for colour, service in self.services.items()
        }
        views = [
            View(f"proxy{number}", "nginx", {"blue": 100 - green, "green": green}, self.known[number])
            for number, green in enumerate(self.share)
        ]
        return SwarmGroup("web", colours, tuple(views))

    def plan(self, request: Request, policy: Policy = PLAIN, canary: tuple[Any, ...] = ()) -> SwarmPlan:
        return swarm_plan(self.group(), request, policy, canary)

    def has_traffic(self, colour: str) -> bool:
        return self.group().has_traffic(colour)

    def do(self, step: Mapping[str, Any], request: Request, proxies: int | None = None) -> None:
        """The effect of a step; a run that dies during a switch has reached ``proxies`` of them."""
        colour, name = step["colour"], step["name"]
        if name == "create":
            assert not self.has_traffic(colour), "a colour with traffic is updated"
            self.create(colour, step, request)
        elif name == "scale":
            assert step["replicas"] >= self.services[colour].replicas
            self.services[colour] = replace(self.services[colour], replicas=step["replicas"])
        elif name == "retire":
            assert not self.has_traffic(colour), "a colour with traffic is scaled down"
            assert 0 <= step["replicas"] < self.services[colour].replicas
            self.services[colour] = replace(self.services[colour], replicas=step["replicas"])
        elif name == "healthy":
            assert self.services[colour].replicas == step["replicas"], "this would be waited for in vain"
            for proxy in range(len(self.share)):
                self.admit(proxy)
        elif name == "switched":
            assert self.services[colour].replicas >= step["count"] >= 1, "there is too little to take the traffic"
            for proxy in range(len(self.share))[:proxies]:
                self.admit(proxy)
                self.share[proxy] = step["share"] if colour == "green" else 100 - step["share"]

    def create(self, colour: str, step: Mapping[str, Any], request: Request) -> None:
        model = step["copy_of"].rpartition("-")[2]
        definition = self.services[model].definition if model else request.definition or ""
        self.clock += 1
        self.services[colour] = Service(definition, step["replicas"], self.clock)

    def follow(self, request: Request, policy: Policy = PLAIN, canary: tuple[Any, ...] = (), stop: int = 99) -> str:
        """Take the steps, or the first ``stop`` of them; a switch that is cut short reaches the first proxy only."""
        made = self.plan(request, policy, canary)
        steps = made.as_dict()["steps"]
        for step in steps[:stop]:
            self.do(step, request)
        if stop < len(steps) and steps[stop]["name"] == "switched":
            self.do(steps[stop], request, proxies=1)
        return made.plan.result

    def settle(self, request: Request, policy: Policy = PLAIN, canary: tuple[Any, ...] = ()) -> None:
        """Run until nothing is left to do."""
        for _run in range(4):
            if self.follow(request, policy, canary) == "unchanged":
                return
        raise AssertionError("it never comes to an end")


def names(made: SwarmPlan) -> list[str]:
    return [step.name for step in made.plan.steps]


def about(made: SwarmPlan) -> list[tuple[str, str | None]]:
    return [(step["name"], step["colour"]) for step in made.as_dict()["steps"]]


def deploy(definition: str, **fields: Any) -> Request:
    return Request("deploy", definition=definition, version=definition, **fields)


def blue_live(**fields: Any) -> World:
    """The usual group: version 1 is live as blue; with ``green`` there is another one."""
    services = {"blue": Service("1", fields.get("blue", 4), 1)}
    if "green" in fields:
        services["green"] = Service("2", fields["green"], fields.get("at", 2))
    return World(services, [fields.get("share", 0.0), fields.get("share2", fields.get("share", 0.0))])


# The goals, one by one


def test_the_first_deployment_only_creates() -> None:
    made = World({}, [0.0]).plan(deploy("1", replicas=2), Policy(checks=True))

    assert about(made) == [("create", "blue"), ("healthy", "blue"), ("checked", "blue"), ("switched", "blue")]
    assert made.back == {"goal": "withdraw", "colour": "blue"}


def test_the_first_deployment_can_be_told_its_colour() -> None:
    made = World({}, [0.0]).plan(deploy("1", replicas=2, colour="green"))

    assert {colour for _step, colour in about(made)} == {"green"}


def test_an_interrupted_first_deployment_goes_on_with_its_service() -> None:
    world = World({"green": Service("1", 2, 1)}, [0.0], known=[{"blue": frozenset(), "green": frozenset()}])

    made = world.plan(deploy("1"))

    assert about(made)[0] == ("create", "green")
    assert made.as_dict()["steps"][0]["replicas"] == 2


def test_a_version_goes_to_the_idle_colour_and_the_old_one_stays_warm() -> None:
    made = blue_live().plan(deploy("2"), Policy(checks=True, bake_seconds=3))

    assert names(made) == ["create", "healthy", "checked", "switched", "drained", "bake"]
    assert about(made)[0] == ("create", "green")
    assert (made.from_version, made.to_version, made.plan.result) == ("1", "2", "promoted")


def test_what_is_to_be_kept_of_the_old_version_stays() -> None:
    retire = blue_live().plan(deploy("2", keep=1)).as_dict()["steps"][-1]

    assert (retire["name"], retire["colour"], retire["replicas"]) == ("retire", "blue", 1)
    assert retire["title"] == "scale web-blue down to 1"


def test_no_more_is_kept_than_is_there() -> None:
    assert "retire" not in names(blue_live(blue=2).plan(deploy("2", keep=3)))


def test_the_same_version_is_unchanged() -> None:
    made = blue_live(green=4, at=0).plan(deploy("1"))

    assert (names(made), made.plan.result) == ([], "unchanged")
    assert made.lines() == ["web: nothing to do, 1 is live."]


def test_more_replicas_of_the_same_version_are_added_and_then_served() -> None:
    made = blue_live().plan(deploy("1", replicas=6))

    assert about(made) == [("scale", "blue"), ("switched", "blue")]


def test_fewer_replicas_of_the_same_version_come_by_way_of_the_idle_colour() -> None:
    made = blue_live().plan(deploy("1", replicas=2, keep=0))

    assert names(made) == ["create", "healthy", "switched", "drained", "retire"]
    assert (made.copy_of, made.plan.steps[0].count, made.plan.result) == ("web-blue", 2, "renewed")


def test_a_task_that_a_proxy_does_not_know_is_made_known() -> None:
    world = blue_live()
    world.services["blue"] = Service("1", 5, 1)

    assert about(world.plan(deploy("1"))) == [("switched", "blue")]


def test_a_deployment_to_the_live_colour_is_refused() -> None:
    with pytest.raises(InvalidInput, match="web-blue has traffic") as refused:
        blue_live().plan(deploy("2", colour="blue"))

    assert refused.value.code == "colour_is_live"


def test_the_version_that_is_live_already_as_the_wanted_colour_is_no_refusal() -> None:
    """The same playbook once more, with the same colour."""
    assert blue_live().plan(deploy("1", colour="blue")).plan.result == "unchanged"


@pytest.mark.parametrize("canary", [(), CANARY])
def test_proxies_that_disagree_are_not_deployed_to(canary: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidInput, match="proxy0: 100 % to blue, 0 % to green; proxy1: 0 % to blue") as refused:
        blue_live(green=4, share=0.0, share2=100.0).plan(deploy("3"), PLAIN, canary)

    assert "zdd.rollout.swarm_toggle with swarm_bluegreen_colour" in refused.value.message


def test_a_switch_that_was_interrupted_between_two_proxies_goes_on() -> None:
    made = blue_live(green=4, share=100.0, share2=0.0).plan(deploy("2"))

    assert ("switched", "green") in about(made)


def test_a_canary_of_another_version_is_taken_back_first() -> None:
    made = blue_live(green=1, share=5.0).plan(deploy("3"), PLAIN, CANARY)

    assert about(made)[:4] == [("switched", "blue"), ("drained", "green"), ("retire", "green"), ("create", "green")]


def test_a_canary_is_let_in_by_its_stages() -> None:
    steps = blue_live().plan(deploy("2"), PLAIN, CANARY).as_dict()["steps"]

    assert [step["share"] for step in steps if step["name"] == "switched"] == [5, 50, 100]
    assert [step["replicas"] for step in steps if step["name"] in ("create", "scale")] == [1, 2, 4]


def test_promoting_finishes_a_canary() -> None:
    made = blue_live(green=4, share=5.0).plan(Request("promote", keep=0))

    assert about(made)[-1] == ("retire", "blue")
    assert made.plan.result == "promoted"


def test_promoting_what_is_live_scales_down_what_was_kept() -> None:
    world = blue_live(green=4, share=100.0)

    assert names(world.plan(Request("promote"))) == []
    assert world.plan(Request("promote", keep=1)).as_dict()["steps"][-1]["replicas"] == 1


def test_a_version_that_was_rolled_back_is_not_promoted() -> None:
    made = blue_live(green=0).plan(Request("promote"))

    assert (names(made), made.plan.result) == ([], "unchanged")
    assert "was rolled back" in made.plan.notes[0]


def test_rolling_back_is_a_switch_to_what_is_warm() -> None:
    made = blue_live(green=4, share=100.0).plan(Request("rollback"))

    assert about(made) == [("switched", "blue"), ("drained", "green"), ("retire", "green")]
    assert made.as_dict()["steps"][-1]["replicas"] == 0


def test_an_old_version_that_was_scaled_down_is_whole_and_healthy_before_it_takes_over() -> None:
    steps = blue_live(blue=0, green=4, share=100.0).plan(Request("rollback")).as_dict()["steps"]

    assert [step["name"] for step in steps][:3] == ["scale", "healthy", "switched"]
    assert steps[0]["replicas"] == 4


def test_rolling_back_twice_changes_nothing() -> None:
    assert blue_live(green=0).plan(Request("rollback")).plan.result == "unchanged"


def test_a_broken_new_version_is_only_scaled_down() -> None:
    made = blue_live(green=4).plan(Request("rollback"))

    assert about(made)[-1] == ("retire", "green")


def test_a_failed_deployment_goes_back_to_what_was_live_and_not_to_what_is_oldest() -> None:
    """Green is live and newer; blue, of an earlier version still, was to be overwritten and is not yet."""
    world = blue_live(green=4, share=100.0)
    back = world.plan(deploy("3")).back

    assert back == {"goal": "rollback", "colour": "green"}
    assert world.plan(Request("rollback", back_to="green")).plan.result == "unchanged"

    world.follow(deploy("3"), stop=2)
    made = world.plan(Request("rollback", back_to="green"))

    assert about(made) == [("switched", "green"), ("drained", "blue"), ("retire", "blue")]


def test_nothing_is_rolled_back_where_one_service_is_left() -> None:
    made = blue_live().plan(Request("rollback"))

    assert "web-blue is its only service" in made.plan.notes[0]
    assert made.plan.result == "unchanged"


def test_toggling_keeps_both_versions() -> None:
    made = blue_live(green=4).plan(Request("toggle"), Policy(checks=True))

    assert about(made) == [
        ("healthy", "green"),
        ("checked", "green"),
        ("switched", "green"),
        ("drained", "blue"),
    ]
    assert (made.plan.result, made.from_version, made.to_version) == ("toggled", "1", "2")
    assert made.back == {"goal": "toggle", "colour": "blue"}


def test_a_toggle_is_taken_back_at_once() -> None:
    """What was live a moment ago needs no proof."""
    made = blue_live(green=4).plan(Request("toggle", colour="blue", back_to="green"), Policy(checks=True))

    assert about(made) == [("switched", "green"), ("drained", "blue")]


def test_an_idle_colour_with_fewer_replicas_is_scaled_up_before_it_takes_over() -> None:
    steps = blue_live(green=1).plan(Request("toggle")).as_dict()["steps"]

    assert [(step["name"], step["replicas"]) for step in steps[:2]] == [("scale", 4), ("healthy", 4)]


def test_toggling_to_what_is_live_changes_nothing() -> None:
    assert blue_live(green=4).plan(Request("toggle", colour="blue")).plan.result == "unchanged"


def test_toggling_brings_proxies_together() -> None:
    world = blue_live(green=4, share=0.0, share2=100.0)

    with pytest.raises(InvalidInput, match=r"the proxies disagree .* option colour"):
        world.plan(Request("toggle"))
    world.follow(Request("toggle", colour="blue"))

    assert (world.group().live, world.group().agreed) == ("blue", True)


def test_there_has_to_be_something_to_toggle_to() -> None:
    with pytest.raises(InvalidInput, match="no service web-green"):
        blue_live().plan(Request("toggle"))


def test_the_live_colour_grows_in_place() -> None:
    made = blue_live(green=4).plan(Request("scale", replicas=6))

    assert about(made) == [("scale", "blue"), ("switched", "blue")]
    assert (made.plan.result, made.back) == ("scaled", None)


def test_the_live_colour_shrinks_by_way_of_the_idle_one() -> None:
    made = blue_live(green=4).plan(Request("scale", replicas=2))

    assert (names(made), made.copy_of) == (["create", "healthy", "switched", "drained"], "web-blue")
    assert made.back == {"goal": "rollback", "colour": "blue"}


@pytest.mark.parametrize(("replicas", "steps"), [(6, ["scale"]), (0, ["retire"]), (4, [])])
def test_the_idle_colour_is_scaled_without_traffic(replicas: int, steps: list[str]) -> None:
    world = blue_live(green=4)
    made = world.plan(Request("scale", replicas=replicas, colour="green"))

    assert about(made) == [(step, "green") for step in steps]
    assert [step["replicas"] for step in made.as_dict()["steps"]] == [replicas for _step in steps]


def test_nothing_is_scaled_while_both_colours_have_traffic() -> None:
    with pytest.raises(InvalidInput, match="Both colours"):
        blue_live(green=4, share=20.0).plan(Request("scale", replicas=2))


def test_the_live_colour_is_not_scaled_to_nothing() -> None:
    with pytest.raises(InvalidInput, match="live"):
        blue_live(green=4).plan(Request("scale", replicas=0))


def test_withdrawing_removes_the_only_service() -> None:
    steps = blue_live().plan(Request("withdraw")).as_dict()["steps"]

    assert [(step["name"], step["title"]) for step in steps] == [("retire", "remove web-blue")]
    assert steps[0]["replicas"] == 0


def test_of_two_services_the_one_to_withdraw_is_named() -> None:
    with pytest.raises(InvalidInput, match="two services"):
        blue_live(green=4).plan(Request("withdraw"))


def test_hooks_stand_before_the_steps_of_swarm() -> None:
    policy = Policy(hooks={"retire": ["/r.yml"], "kill": ["/k.yml"], "create": ["/c.yml"]})

    with_retire = [step.file for step in blue_live().plan(deploy("2", keep=0), policy).plan.steps if step.file]
    without = [step.file for step in blue_live().plan(deploy("2"), policy).plan.steps if step.file]

    assert with_retire == ["/c.yml", "/r.yml", "/k.yml"]
    assert without == ["/c.yml"]


def test_a_version_that_is_to_be_live_has_a_replica() -> None:
    with pytest.raises(InvalidInput, match="replicas is 0"):
        blue_live().plan(deploy("2", replicas=0))


# Fixed ports


def test_a_fixed_port_is_there_once_on_each_node() -> None:
    world = blue_live()
    made = world.plan(deploy("2"))

    check_ports(world.group(), made, {"blue": 8001, "green": 8002}, 4)
    check_ports(world.group(), made, {"blue": None, "green": None}, 1)
    with pytest.raises(InvalidInput, match="4 replicas with the published port 8002, and 3 nodes"):
        check_ports(world.group(), made, {"blue": 8001, "green": 8002}, 3)


def test_both_colours_cannot_have_one_port() -> None:
    world = blue_live()
    world.services["blue"] = replace(world.services["blue"], port=8001)

    with pytest.raises(InvalidInput, match="8001 is that of web-blue"):
        check_ports(world.group(), world.plan(deploy("2")), {"blue": 8001, "green": 8001}, 9)


# Any state

SERVICES = st.builds(
    Service,
    definition=st.sampled_from(["1", "2", "3"]),
    replicas=st.integers(0, 4),
    deployed_at=st.integers(1, 50),
)
STAGES = st.sampled_from([(), CANARY, ({"weight": 10, "instances": 1}, {"weight": 50, "instances": "50%"})])
KEEP = st.none() | st.integers(0, 3)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any services and any shares, also ones that no run of ours leaves; what has traffic has a task."""
    services = {colour: draw(SERVICES) for colour in draw(st.sets(st.sampled_from(COLOURS)))}
    shares = draw(st.lists(st.sampled_from([0.0, 100.0, 5.0, 50.0]), min_size=1, max_size=2))
    world = World(services, shares)
    if draw(st.booleans()):  # a proxy that was set up a moment ago
        world.known[-1] = {colour: frozenset() for colour in COLOURS}
    if len(services) == 2:
        assume(services["blue"].deployed_at != services["green"].deployed_at)
    return world


@st.composite
def live_worlds(draw: st.DrawFn) -> World:
    """A colour is live at all proxies; the other one is anything, or not there."""
    live, ages = draw(st.sampled_from(COLOURS)), draw(st.permutations([1, 2]))
    services = {live: Service(draw(st.sampled_from(["1", "2"])), draw(st.integers(1, 4)), ages[0])}
    if draw(st.booleans()):
        services[other_colour(live)] = replace(draw(SERVICES), deployed_at=ages[1])
    return World(services, [100.0 if live == "green" else 0.0] * draw(st.integers(1, 2)))


def settled_or_refused(world: World, request: Request, policy: Policy, canary: tuple[Any, ...], stop: int) -> bool:
    """Run it, dead after ``stop`` steps, then to the end. A refusal is one of those that a person has to decide."""
    was_split = world.group().split
    try:
        world.follow(request, policy, canary, stop)
    except InvalidInput as error:
        assert error.code in (
            "proxies_disagree",
            "colour_is_live",
            "nothing_live",
            "nothing_there",
            "rollout_in_progress",
        )
        return False
    try:
        world.settle(request, policy, canary)
    except InvalidInput as error:
        # It died while another version's canary was taken back, and nothing tells that from what a person did.
        assert (error.code, was_split) == ("proxies_disagree", True)
        return False
    return True


@given(worlds(), st.none() | st.integers(1, 5), KEEP, STAGES, st.booleans(), st.integers(0, 20))
def test_a_deployment_that_died_anywhere_is_finished(
    world: World, replicas: int | None, keep: int | None, canary: tuple[Any, ...], bakes: bool, stop: int
) -> None:
    request = deploy("3", replicas=replicas, keep=keep)
    policy = Policy(bake_seconds=3 if bakes else 0, checks=bakes)
    if not settled_or_refused(world, request, policy, canary, stop):
        return

    group = world.group()
    live = world.services[group.live or ""]
    assert (live.definition, group.agreed, group.traffic(group.live or "")) == ("3", True, Traffic.ALL)
    assert live.replicas >= 1
    assert replicas is None or live.replicas == replicas
    other = world.services.get(other_colour(group.live))
    assert keep is None or other is None or other.deployed_at > live.deployed_at or other.replicas <= keep


@given(worlds(), st.integers(0, 6))
def test_a_rollback_that_died_anywhere_is_finished(world: World, stop: int) -> None:
    assume(len(world.services) == 2)
    before = world.group().by_age()
    request = Request("rollback")
    assert settled_or_refused(world, request, PLAIN, (), stop)

    assert world.group().traffic(before[0]) is Traffic.ALL
    assert world.services[before[1]].replicas == 0


@given(worlds(), st.sampled_from(COLOURS), st.integers(0, 6))
def test_a_toggle_that_died_anywhere_is_finished(world: World, colour: str, stop: int) -> None:
    assume(colour in world.services)
    kept = {one: service.replicas for one, service in world.services.items()}
    assume(kept[colour] or world.group().meant())
    assert settled_or_refused(world, Request("toggle", colour=colour), PLAIN, (), stop)

    assert world.group().traffic(colour) is Traffic.ALL
    assert all(service.replicas >= kept[one] for one, service in world.services.items())


@given(live_worlds(), st.none() | st.integers(1, 5), st.integers(0, 3), st.integers(0, 12))
def test_a_renewal_that_died_anywhere_serves_the_same_definition(
    world: World, replicas: int | None, keep: int, stop: int
) -> None:
    definition = world.services[world.group().live or ""].definition
    request = Request("renew", replicas=replicas, keep=keep)
    world.follow(request, PLAIN, (), stop)
    assert world.follow(request) == "renewed"

    group = world.group()
    now = world.services[group.live or ""]
    assert (now.definition, group.traffic(group.live or "")) == (definition, Traffic.ALL)
    assert replicas is None or now.replicas == replicas
    assert world.services[group.idle or ""].replicas <= keep


@given(worlds(), KEEP, STAGES, st.integers(0, 12))
def test_a_promotion_that_died_anywhere_is_finished(
    world: World, keep: int | None, canary: tuple[Any, ...], stop: int
) -> None:
    assume(world.services)
    later = world.group().by_age()[-1]
    had_replicas = world.services[later].replicas
    if not settled_or_refused(world, Request("promote", keep=keep), PLAIN, canary, stop):
        return

    assert not had_replicas or len(world.services) < 2 or world.group().live == later


@given(live_worlds(), st.integers(0, 20), STAGES)
def test_what_a_deployment_did_can_be_taken_back_at_any_moment(
    world: World, stop: int, canary: tuple[Any, ...]
) -> None:
    """``back`` leads to the version that was live, whatever was done and whichever one is the oldest."""
    live = world.group().live or ""
    before = world.services[live]
    request = deploy("3", keep=0)
    back = world.plan(request, PLAIN, canary).back
    assert back == {"goal": "rollback", "colour": live}
    world.follow(request, PLAIN, canary, stop)
    world.settle(Request("rollback", back_to=back["colour"]))

    assert world.group().live == live
    assert world.services[live].definition == before.definition
    assert world.services[live].replicas >= before.replicas
