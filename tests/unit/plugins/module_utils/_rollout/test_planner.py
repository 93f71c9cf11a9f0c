# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner: from any state to the goal, and never a task removed that may have traffic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.canary import stages
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.planner import Plan, Policy, Step, Wanted, plan
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.state import Colour, Group, Traffic


def idle_tasks(receiving: int, other: int, target: int) -> int:
    """marathon-lb's rule, reference A13."""
    return min(other, receiving, max(0, receiving + other - target))


def colour(app_id: str, instances: int, traffic: Traffic = Traffic.ALL, **fields: object) -> Colour:
    name = app_id.rpartition("-")[2]
    defaults = {"version": name, "healthy": instances, "target": instances, "turnable": True}
    return Colour(app_id, name, instances=instances, traffic=traffic, **{**defaults, **fields})


def names(made: Plan) -> list[str]:
    return [step.name for step in made.steps]


BLUE = colour("/web-blue", 4)
WANTED = Wanted("/web", "2", None)
ONE = Group("web", BLUE, None)
PLAIN = Policy()


def deploy(group: Group, policy: Policy = PLAIN, wanted: Wanted = WANTED) -> Plan:
    return plan(group, "deploy", policy, wanted, idle_tasks)


def test_the_first_deployment_only_creates() -> None:
    made = deploy(Group("web", None, None), Policy(checks=True))

    assert names(made) == ["create", "healthy", "checked", "switched"]
    assert made.new_id == "/web-blue"


def test_the_same_version_needs_no_step() -> None:
    made = deploy(ONE, wanted=replace(WANTED, same_as=frozenset({"/web-blue"})))

    assert (names(made), made.result) == ([], "unchanged")


def test_a_replacement_is_warm_before_it_is_checked_and_switched_before_anything_is_removed() -> None:
    made = deploy(ONE, Policy(checks=True, bake_seconds=5))

    assert names(made) == ["create", "healthy", "checked", "switched", "drained", "bake", "retire"]
    assert made.steps[0].warm
    assert all(step.all_traffic for step in made.steps if step.name == "switched")


def test_the_old_app_can_be_kept_for_a_later_promotion() -> None:
    made = deploy(ONE, Policy(keep_old=True))

    assert names(made)[-1] == "drained"
    assert made.result == "kept"


def test_more_instances_come_after_the_old_app_is_gone() -> None:
    """Before it the load balancer would leave old tasks live (reference A13, TARGET 6)."""
    made = deploy(ONE, wanted=replace(WANTED, instances=6))

    assert names(made)[-2:] == ["retire", "scale"]
    assert (made.steps[0].count, made.steps[-1].count) == (4, 6)


def test_an_app_that_cannot_be_turned_is_replaced_as_its_tasks_get_healthy() -> None:
    group = Group("web", replace(BLUE, turnable=False, why_not="it has no labels."), None)

    made = deploy(group)

    assert not made.steps[0].warm
    assert "no labels" in made.notes[0]


def test_a_rollout_that_was_interrupted_before_the_switch_goes_on() -> None:
    group = Group("web", BLUE, colour("/web-green", 4, Traffic.NONE))

    made = deploy(group, Policy(checks=True), replace(WANTED, same_as=frozenset({"/web-green"})))

    assert names(made) == ["healthy", "checked", "switched", "drained", "retire"]


def test_a_new_app_without_traffic_is_kept_without_it_until_it_is_healthy() -> None:
    """The run may have died between the creation and the touch of the old app."""
    group = Group("web", BLUE, colour("/web-green", 4, Traffic.NONE, healthy=0))

    made = deploy(group, wanted=replace(WANTED, same_as=frozenset({"/web-green"})))

    assert made.steps[0].name == "warmed"
    assert made.steps[0].app_id == "/web-blue"


def test_another_version_that_was_left_half_way_is_rolled_back_first() -> None:
    group = Group("web", BLUE, colour("/web-green", 4, Traffic.NONE))

    made = deploy(group)

    assert names(made)[:4] == ["switched", "drained", "retire", "create"]
    assert [step.app_id for step in made.steps[:4]] == ["/web-blue", "/web-green", "/web-green", "/web-green"]


def test_another_version_that_has_all_traffic_is_promoted_first() -> None:
    group = Group("web", replace(BLUE, traffic=Traffic.NONE), colour("/web-green", 4, Traffic.ALL))

    made = deploy(group)

    assert names(made)[:5] == ["healthy", "switched", "drained", "retire", "create"]
    assert [step.app_id for step in made.steps[1:5]] == ["/web-green", "/web-blue", "/web-blue", "/web-blue"]


def test_wanting_the_old_version_again_rolls_the_new_one_back() -> None:
    group = Group("web", BLUE, colour("/web-green", 4, Traffic.NONE))

    made = deploy(group, wanted=replace(WANTED, same_as=frozenset({"/web-blue"})))

    assert made.result == "rolled back"
    assert [step.app_id for step in made.steps] == ["/web-blue", "/web-green", "/web-green"]


def test_a_touch_that_was_interrupted_does_not_change_the_count() -> None:
    group = Group("web", replace(BLUE, instances=5, healthy=5), colour("/web-green", 4, Traffic.NONE))

    made = deploy(group, wanted=replace(WANTED, same_as=frozenset({"/web-green"})))

    assert made.target == 4


def test_rolling_back_turns_the_traffic_before_it_removes() -> None:
    group = Group("web", replace(BLUE, traffic=Traffic.NONE), colour("/web-green", 4, Traffic.ALL))

    made = plan(group, "rollback", Policy(hooks={"rollback": ["tell.yml"]}), None, idle_tasks)

    assert names(made) == ["hook", "switched", "drained", "retire"]
    assert made.steps[-1].app_id == "/web-green"


def test_nothing_is_rolled_back_where_one_app_is_left() -> None:
    assert plan(ONE, "rollback", Policy(), None, idle_tasks).steps == ()


def test_hooks_stand_before_their_step() -> None:
    made = deploy(ONE, Policy(hooks={"retire": ["a.yml", "b.yml"]}))

    assert [step.file for step in made.steps[-3:]] == ["a.yml", "b.yml", ""]


def test_shrinking_the_same_version_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be made smaller"):
        deploy(ONE, wanted=Wanted("/web", "1", 2, frozenset({"/web-blue"})))


@dataclass
class World:
    """Two apps behind a balancer that follows the rule; what has traffic is never removed."""

    counts: dict[str, int]
    receiver: str
    target: int
    most: int = 0

    def idle(self, app_id: str) -> int:
        others = sum(count for other, count in self.counts.items() if other != app_id)
        return 0 if app_id == self.receiver else idle_tasks(others, self.counts[app_id], self.target)

    def apply(self, step: Step) -> None:
        if step.name in ("create", "scale"):
            self.counts[step.app_id] = step.count
            self.receiver = step.app_id
            if step.warm:
                self.receiver = step.other_id
        elif step.name in ("switched", "warmed"):
            self.receiver = step.app_id
            assert self.counts[step.app_id] == step.count
            if step.trim and step.other_count:
                assert 0 <= self.counts[step.other_id] - step.other_count <= 1
                self.counts[step.other_id] = step.other_count
            if step.all_traffic and step.other_id in self.counts:
                assert self.idle(step.other_id) == self.counts[step.other_id]
        elif step.name == "drained":
            assert self.idle(step.app_id) >= step.count
        elif step.name == "reduce":
            assert self.idle(step.app_id) >= step.count
            self.counts[step.app_id] -= step.count
            self.receiver = step.app_id
        elif step.name == "retire":
            assert self.idle(step.app_id) == self.counts[step.app_id]
            del self.counts[step.app_id]
            self.receiver = next(iter(self.counts))
        self.most = max(self.most, sum(self.counts.values()))


@given(
    live=st.integers(1, 60),
    wanted=st.one_of(st.none(), st.integers(1, 80)),
    batch=st.one_of(st.none(), st.integers(1, 70)),
    warm=st.booleans(),
)
def test_every_plan_ends_with_the_new_app_at_the_wanted_count(
    live: int, wanted: int | None, batch: int | None, warm: bool
) -> None:
    old = colour("/web-blue", live, turnable=warm, why_not="no")
    made = deploy(Group("web", old, None), Policy(batch_size=batch), Wanted("/web", "2", wanted))
    world = World({"/web-blue": live}, "/web-blue", made.target)

    for step in made.steps:
        world.apply(step)

    assert world.counts == {"/web-green": wanted or live}
    if batch is not None and (wanted or live) <= live:
        assert world.most <= live + min(batch, made.target)


@given(live=st.integers(1, 30), batch=st.one_of(st.none(), st.integers(1, 30)), data=st.data())
def test_a_plan_interrupted_after_any_step_is_finished_or_taken_back(
    live: int, batch: int | None, data: st.DataObject
) -> None:
    policy = Policy(batch_size=batch)
    made = deploy(Group("web", colour("/web-blue", live), None), policy)
    world = World({"/web-blue": live}, "/web-blue", live)
    for step in made.steps[: data.draw(st.integers(1, len(made.steps)))]:
        world.apply(step)
    if len(world.counts) == 1:
        return
    goal = data.draw(st.sampled_from(["deploy", "promote", "rollback"]))
    group = Group(
        "web",
        colour("/web-blue", world.counts["/web-blue"], Traffic.SOME, target=live),
        colour("/web-green", world.counts["/web-green"], Traffic.SOME, target=live),
    )

    for step in plan(group, goal, policy, replace(WANTED, same_as=frozenset({"/web-green"})), idle_tasks).steps:
        world.apply(step)

    assert world.counts == {"/web-blue" if goal == "rollback" else "/web-green": live}


def test_a_first_deployment_that_failed_is_taken_back() -> None:
    made = plan(ONE, "withdraw", Policy(), None, idle_tasks)

    assert [(step.name, step.app_id) for step in made.steps] == [("retire", "/web-blue")]
    assert plan(Group("web", None, None), "withdraw", Policy(), None, idle_tasks).steps == ()


def test_the_newer_of_two_apps_is_not_taken_back_as_if_it_were_the_first() -> None:
    with pytest.raises(InvalidInput, match="roll back"):
        plan(Group("web", BLUE, colour("/web-green", 4)), "withdraw", Policy(), None, idle_tasks)


def test_going_back_keeps_the_count_of_the_old_version() -> None:
    """Fewer instances are wanted of the new one; the old one is not made smaller for that."""
    group = Group("web", replace(BLUE, traffic=Traffic.NONE), colour("/web-green", 3))

    made = plan(group, "rollback", Policy(), None, idle_tasks)

    assert [step.count for step in made.steps if step.name == "switched"] == [4]


@pytest.mark.parametrize("traffic", list(Traffic))
def test_a_switch_that_was_interrupted_goes_on_and_not_back(traffic: Traffic) -> None:
    """The extra task of a touch tells that the new app was being switched to, so it was checked before."""
    new = colour("/web-green", 5, traffic, target=4, healthy=4)

    made = deploy(Group("web", BLUE, new), wanted=replace(WANTED, same_as=frozenset({"/web-green"})))

    assert "warmed" not in names(made)
    assert made.target == 4


def canary(*steps: dict[str, object], live: int = 4, weighted: bool = False) -> Policy:
    return Policy(canary=stages(steps, live, weighted=weighted), weighted=weighted)


def test_a_canary_by_counts_takes_the_place_of_drained_old_tasks() -> None:
    made = deploy(ONE, canary({"instances": 1, "bake": 60}))

    assert names(made) == [
        *("create", "healthy", "switched", "bake", "drained", "reduce"),
        *("scale", "switched", "drained", "retire"),
    ]
    assert [step.count for step in made.steps if step.name in ("create", "reduce", "scale")] == [1, 1, 4]


def test_a_canary_by_weight_leaves_the_old_app_whole_until_it_is_drained() -> None:
    made = deploy(ONE, canary({"instances": 1}, {"weight": 5, "bake": 9}, {"weight": 50}, weighted=True))

    assert names(made) == [
        *("create", "healthy", "switched", "bake", "scale", "switched", "scale", "switched", "drained", "retire"),
    ]
    assert [step.share for step in made.steps if step.name == "switched"] == [5, 50, 100]
    assert [step.count for step in made.steps if step.name == "scale"] == [2, 4]


def test_a_pause_ends_the_plan_and_promoting_goes_on_behind_it() -> None:
    policy = canary({"weight": 25, "bake": 5, "pause": True}, {"weight": 50, "bake": 7}, weighted=True)
    paused = deploy(ONE, policy)
    there = colour("/web-green", 1, Traffic.SOME, target=4, share=25.2, lowest_share=24.9)
    group = Group("web", BLUE, there)

    assert (paused.result, paused.steps[-1].name) == ("paused", "bake")
    again = deploy(group, policy, replace(WANTED, same_as=frozenset({"/web-green"})))
    assert (again.result, names(again)) == ("paused", ["healthy", "bake"])
    promoted = plan(group, "promote", policy, None, idle_tasks)
    assert [(step.share, step.seconds) for step in promoted.steps if step.name in ("switched", "bake")] == [
        *((50, 0), (50, 7), (100, 0)),
    ]
    assert promoted.result == "promoted"


def test_an_lb_that_forgot_the_canary_is_told_its_share_again() -> None:
    policy = canary({"weight": 5}, {"weight": 25, "bake": 9}, weighted=True)
    there = colour("/web-green", 1, Traffic.SOME, target=4, share=25, lowest_share=0)

    made = deploy(Group("web", BLUE, there), policy, replace(WANTED, same_as=frozenset({"/web-green"})))

    assert [(step.name, step.share) for step in made.steps][1:3] == [("switched", 25), ("bake", 25)]


def test_with_weights_going_back_needs_no_count_and_no_touch() -> None:
    there = colour("/web-green", 1, Traffic.SOME, target=4, share=25, lowest_share=25)

    made = plan(Group("web", BLUE, there), "rollback", Policy(weighted=True), None, idle_tasks)

    assert names(made) == ["switched", "drained", "retire"]
    assert made.steps[0].share == 100


def test_a_canary_by_counts_that_is_bad_goes_back_to_an_old_app_that_is_still_whole() -> None:
    """It is watched before the old tasks that it stands for are removed, so nothing has to start on the way back."""
    there = colour("/web-green", 1, Traffic.SOME, target=4)

    made = plan(Group("web", BLUE, there), "rollback", Policy(), None, idle_tasks)

    assert names(made) == ["switched", "drained", "retire"]


def test_promoting_a_canary_by_counts_that_is_held_goes_on_without_numbers() -> None:
    """The analysis held it before the old task was removed."""
    policy = replace(canary({"instances": 1, "bake": 60}, {"instances": 2, "bake": 7}), analysis=True)
    there = colour("/web-green", 1, Traffic.SOME, target=4)

    made = plan(Group("web", BLUE, there), "promote", policy, None, idle_tasks)

    assert names(made)[:6] == ["healthy", "switched", "drained", "reduce", "scale", "switched"]
    assert [step.seconds for step in made.steps if step.name == "bake"] == [7]


def test_a_canary_of_three_is_no_interrupted_touch() -> None:
    """Two old and one new of three: the count that the old version goes back to is three."""
    group = Group("web", colour("/web-blue", 2, Traffic.SOME, target=3), colour("/web-green", 1, target=3))

    made = plan(group, "rollback", Policy(), None, idle_tasks)

    assert made.target == 3


canaries = st.lists(st.integers(1, 30), min_size=1, max_size=5, unique=True).map(sorted)


@given(live=st.integers(1, 30), counts=canaries, data=st.data())
def test_a_canary_by_counts_interrupted_after_any_step_is_finished_or_taken_back(
    live: int, counts: list[int], data: st.DataObject
) -> None:
    steps = [{"instances": count} for count in counts if count <= live]
    policy = canary(*steps, live=live)
    made = deploy(Group("web", colour("/web-blue", live), None), policy)
    world = World({"/web-blue": live}, "/web-blue", live)
    for step in made.steps[: data.draw(st.integers(1, len(made.steps)))]:
        world.apply(step)
    if len(world.counts) == 1:
        return
    goal = data.draw(st.sampled_from(["deploy", "promote", "rollback"]))
    given_policy = data.draw(st.sampled_from([policy, Policy()]))
    group = Group(
        "web",
        colour("/web-blue", world.counts["/web-blue"], Traffic.SOME, target=live),
        colour("/web-green", world.counts["/web-green"], Traffic.SOME, target=live),
    )

    rest = plan(group, goal, given_policy, replace(WANTED, same_as=frozenset({"/web-green"})), idle_tasks)
    for step in rest.steps:
        world.apply(step)

    assert world.counts == {"/web-blue" if goal == "rollback" else "/web-green": live}


@given(weights=st.lists(st.integers(1, 99), min_size=1, max_size=6, unique=True).map(sorted), live=st.integers(1, 30))
def test_a_canary_by_weight_never_goes_back_nor_removes_what_has_traffic(weights: list[int], live: int) -> None:
    policy = canary(*({"weight": weight} for weight in weights), live=live, weighted=True)
    made = deploy(Group("web", colour("/web-blue", live), None), policy)

    shares = [step.share for step in made.steps if step.name == "switched"]
    assert shares == [*weights, 100]
    order = names(made)
    assert order[-2:] == ["drained", "retire"]
    count = 0
    for step in made.steps:
        count = step.count if step.name in ("create", "scale") else count
        if step.name == "switched":
            assert count >= live * step.share / 100
