# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans from where zdd.py stops: both apps small, no way to turn all traffic at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._rollout.planner import Plan, Policy, Wanted, plan
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.state import Colour, Group, Traffic

TARGET = 4
# Instances of the old and the new app, and the traffic of the new one, as in the recorded states.
STATES = {
    "right after create": (4, 1, Traffic.SOME),
    "after a kill": (3, 2, Traffic.SOME),
    "hybrid": (3, 1, Traffic.SOME),
    "new at its target": (2, 4, Traffic.ALL),
    "on its way back": (4, 2, Traffic.NONE),
    "old scaled last": (1, 4, Traffic.SOME),
}
KILLS = Policy(hooks={"kill": ["k.yml"], "rollback": ["r.yml"]})


def idle_tasks(receiving: int, other: int, target: int) -> int:
    """marathon-lb's rule, reference A13."""
    return min(other, receiving, max(0, receiving + other - target))


def group(state: str) -> Group:
    old, new, traffic = STATES[state]
    shared = {"healthy": 0, "target": TARGET, "turnable": False, "why_not": "no fresh state."}
    blue = Colour("/web-blue", "blue", "1", old, traffic=Traffic.SOME, **shared)
    green = Colour("/web-green", "green", "2", new, traffic=traffic, **shared)
    return Group("web", blue, green)


def made(state: str, goal: str, policy: Policy = KILLS, wanted: Wanted | None = None) -> Plan:
    return plan(group(state), goal, policy, wanted, idle_tasks)


def counts(state: str, planned: Plan) -> list[dict[str, int]]:
    """The instances of both apps after each step, by app."""
    return counts_of(STATES[state][:2], planned)


def counts_of(state: tuple[int, int], planned: Plan) -> list[dict[str, int]]:
    old, new = state
    now = {"/web-blue": old, "/web-green": new}
    seen = []
    for step in planned.steps:
        if step.name in ("scale", "create"):
            now[step.app_id] = step.count
        elif step.name == "reduce":
            now[step.app_id] -= step.count
        elif step.name == "retire":
            del now[step.app_id]
        seen.append(dict(now))
    return seen


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("goal", "left"), [("promote", "/web-green"), ("rollback", "/web-blue")])
def test_the_whole_count_serves_in_the_end_and_never_less_than_it_before(state: str, goal: str, left: str) -> None:
    planned = made(state, goal)

    seen = counts(state, planned)
    assert seen[-1] == {left: TARGET}
    assert min(sum(now.values()) for now in seen) >= TARGET


@pytest.mark.parametrize("state", STATES)
def test_another_version_gets_the_whole_count_too(state: str) -> None:
    """Whatever is left of both apps at the moment."""
    planned = made(state, "deploy", Policy(), Wanted("/web", "3", None))

    assert counts(state, planned)[-1] == {planned.new_id: TARGET}
    assert planned.target == TARGET


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("goal", ["promote", "rollback"])
def test_a_hook_before_kills_runs_before_each_of_them_on_the_way_back_too(state: str, goal: str) -> None:
    names = [(step.name, step.file) for step in made(state, goal).steps]

    kills = [index for index, (name, _file) in enumerate(names) if name in ("reduce", "retire")]
    assert [names[index - 1] for index in kills] == [("hook", "k.yml")] * len(kills)
    assert names.count(("hook", "k.yml")) == len(kills)
    assert (names[0] == ("hook", "r.yml")) == (goal == "rollback")


def test_a_hook_before_kills_is_told_the_app_that_loses_tasks_and_the_one_that_stays() -> None:
    hooks = [step for step in made("after a kill", "rollback").steps if step.file == "k.yml"]

    assert {(step.app_id, step.other_id) for step in hooks} == {("/web-green", "/web-blue")}


def test_a_single_task_that_cannot_take_the_traffic_back_is_rolled_out_anew() -> None:
    """It would be down until it is checked again, with nothing else up: so what is live is finished first."""
    shared = {"healthy": 1, "target": 1, "turnable": False, "why_not": "no fresh state."}
    blue = Colour("/web-blue", "blue", "1", 1, traffic=Traffic.NONE, **shared)
    green = Colour("/web-green", "green", "2", 1, traffic=Traffic.ALL, **shared)

    planned = plan(
        Group("web", blue, green), "deploy", Policy(), Wanted("/web", "1", None, frozenset({"/web-blue"})), idle_tasks
    )

    done = [(step.name, step.app_id) for step in planned.steps if step.name in ("create", "retire")]
    assert done == [("retire", "/web-blue"), ("create", "/web-blue"), ("retire", "/web-green")]


def left_by_zdd(target: int, first: int, linear: int) -> set[tuple[int, int]]:
    """Every pair of counts (old, new) that zdd.py may stop at: it kills what is drained and scales, in turns (A4)."""
    old, new = target, min(first, target)
    found = {(old, new)}
    while new < target:
        before = old
        old -= idle_tasks(new, old, target)
        found.add((old, new))
        following = new + linear if linear else new + (new + 1) // 2
        new = target if following >= target or (not linear and following >= before) else following
        found.add((old, new))
    return found


@given(target=st.integers(2, 40), first=st.integers(1, 12), linear=st.integers(0, 9), data=st.data())
def test_every_state_that_zdd_may_stop_at_leads_to_the_whole_count(
    target: int, first: int, linear: int, data: st.DataObject
) -> None:
    """Going on and going back; and from each state on the way there again, as after a controller that died."""
    state = data.draw(st.sampled_from(sorted(left_by_zdd(target, first, linear))))
    goal = data.draw(st.sampled_from(["promote", "rollback"]))
    seen = {state}
    while True:
        blue, green = (app(colour, count, target) for colour, count in zip(("blue", "green"), state, strict=True))
        planned = plan(Group("web", blue, green), goal, Policy(), None, idle_tasks)
        on_the_way = [tuple(now.values()) for now in counts_of(state, planned)]
        assert on_the_way[-1] == (target,), (state, on_the_way)
        assert min(sum(now) for now in on_the_way) >= target
        left = [now for now in on_the_way if len(now) == 2 and now not in seen]
        if not left:
            return
        state = data.draw(st.sampled_from(left))
        seen.add(state)


def app(colour: str, instances: int, target: int) -> Colour:
    return Colour(
        f"/web-{colour}",
        colour,
        colour,
        instances,
        instances,
        target,
        Traffic.SOME,
        turnable=False,
        why_not="no label.",
    )
