# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a rolling upgrade goes: as a real Marathon's did, within its limits, and known beforehand when it cannot end."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._marathon.rolling import (
    Stage,
    Start,
    assess,
    course,
    limits,
    picture,
    rows,
    tightness,
    to_unblock,
)

OLD, NOW = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"


# --- the arithmetic -----------------------------------------------------------------------------------------------


# What a real Marathon 1.8.244 did: instances, minimumHealthCapacity, maximumOverCapacity, most running, least healthy.
# The recordings have the same 21 upgrades with all the states between (tests/conformance/test_rolling_arithmetic.py).
@pytest.mark.parametrize(
    ("instances", "minimum", "maximum", "most", "least"),
    [
        (1, 1, 1, 2, 1),
        (1, 0.5, 0, 2, 1),
        (1, 0, 0, 1, 0),
        (2, 1, 0, 3, 2),
        (2, 0.5, 0.2, 2, 1),
        (4, 1, 1, 8, 4),
        (4, 1, 0, 5, 4),
        (4, 0.5, 0.2, 4, 2),
        (4, 0.75, 0.25, 5, 3),
    ],
)
def test_it_goes_as_low_and_as_high_as_a_real_one(
    instances: int, minimum: float, maximum: float, most: int, least: int
) -> None:
    found = course(Start(instances, old=instances, minimum=minimum, maximum=maximum))

    assert found.ends
    assert (found.most_tasks, found.least_healthy) == (most, least)


def test_a_share_is_counted_with_the_binary_fractions_that_marathon_has() -> None:
    """7 % of 100 is a little more than 7 in them, so that 8 are kept."""
    assert limits(Start(100, old=100, minimum=0.07, maximum=0.0)).least == 8


def test_an_app_with_persistent_volumes_gives_up_one_more_since_it_cannot_have_one_more() -> None:
    found = course(Start(4, old=4, minimum=1.0, maximum=0.0, resident=True))

    assert found.ends
    assert (found.most_tasks, found.least_healthy) == (4, 3)


def test_without_over_capacity_one_unhealthy_task_stops_it_for_ever() -> None:
    """The extra instance is granted only where all are healthy."""
    assert course(Start(4, old=4, minimum=1.0, maximum=0.0)).ends
    assert not course(Start(4, old=4, unhealthy=1, minimum=1.0, maximum=0.0)).ends


def test_over_capacity_that_rounding_takes_away_is_none() -> None:
    """One instance and a half is one."""
    assert not course(Start(1, old=1, unhealthy=1, minimum=1.0, maximum=0.5)).ends


def test_what_does_not_serve_is_killed_first() -> None:
    found = course(Start(4, old=4, unhealthy=2, minimum=0.25, maximum=0.0))

    assert found.stages[1] == Stage(old=2, unhealthy=1, starting=1, serving=0, about="1 old killed, 1 new started")
    assert found.killed == 2, "two did not serve when they were killed"


def test_places_that_old_tasks_hold_are_no_places_for_new_ones() -> None:
    """Four agents, one task on each: only a strategy that kills first can end."""
    start = Start(4, old=4, minimum=1.0, maximum=1.0, places=4, places_for_new=4)

    assert not course(start).ends
    assert not course(replace(start, maximum=0.0)).ends
    assert course(replace(start, minimum=0.75, maximum=0.0)).ends
    assert course(replace(start, places=5, places_for_new=5)).ends


def test_an_upgrade_in_its_middle_goes_on_from_there() -> None:
    found = course(Start(4, old=2, new=2, serving=1, begun=True, minimum=0.75, maximum=0.25))

    assert found.ends
    assert found.stages[-1].serving == 4


COUNTS = st.integers(1, 30)
SHARES = st.sampled_from([0, 0.1, 0.2, 0.25, 1 / 3, 0.5, 0.7, 0.75, 0.9, 1.0])


@st.composite
def starts(draw: st.DrawFn) -> Start:
    instances, old = draw(COUNTS), draw(COUNTS)
    begun = draw(st.booleans())
    new = draw(st.integers(0, instances)) if begun else 0
    places = draw(st.none() | st.integers(1, 40))
    return Start(
        instances=instances,
        old=old,
        unhealthy=draw(st.integers(0, old)),
        new=new,
        serving=draw(st.integers(0, new)),
        begun=begun,
        minimum=draw(SHARES),
        maximum=draw(SHARES),
        places=places,
        places_for_new=places,
    )


@given(starts())
def test_it_never_goes_below_what_is_kept_nor_above_what_may_run(start: Start) -> None:
    found, bounds = course(start), limits(start)
    healthy = start.old - start.unhealthy + start.serving

    if start.begun:  # in a wave that ends it, all old ones go
        assert found.least_healthy >= min(healthy, start.instances)
    else:
        assert found.least_healthy >= min(healthy, bounds.least)
    assert found.most_tasks <= max(start.old + start.new, bounds.most)
    if start.places is not None:
        assert found.most_tasks <= max(start.old + start.new, start.places)


@given(starts())
def test_it_ends_with_the_wanted_tasks_or_stands_still_before(start: Start) -> None:
    found = course(start)
    last = found.stages[-1]

    assert found.ends == (last.old + last.unhealthy == 0 and last.serving == start.instances)
    for before, after in itertools.pairwise(found.stages):
        assert after.old + after.unhealthy <= before.old + before.unhealthy
        assert after.serving + after.starting >= before.serving + before.starting
        assert (after.old, after.unhealthy, after.serving, after.starting) != (
            before.old,
            before.unhealthy,
            before.serving,
            before.starting,
        )
    assert found.killed <= start.old - start.unhealthy


@given(starts())
def test_more_places_never_make_it_worse(start: Start) -> None:
    if course(start).ends:
        assert course(replace(start, places=None, places_for_new=None)).ends


@given(COUNTS, SHARES, SHARES)
def test_with_all_healthy_and_room_enough_it_always_ends(instances: int, minimum: float, maximum: float) -> None:
    found = course(Start(instances, old=instances, minimum=minimum, maximum=maximum))

    assert found.ends
    assert found.killed == instances
    assert found.least_healthy == min(instances, math.ceil(instances * minimum))


# --- what Marathon shows ------------------------------------------------------------------------------------------


def task(number: int, *, alive: bool | None = True, **fields: Any) -> dict[str, Any]:
    results = [] if alive is None else [{"alive": alive}]
    return {
        "id": f"web.{number}",
        "state": "TASK_RUNNING",
        "version": OLD,
        "healthCheckResults": results,
        "host": f"a{number}",
        "ports": [31000],
        **fields,
    }


CHECKS = {"healthChecks": [{"path": "/health"}], "readinessChecks": [{"path": "/ready"}]}


def wanted(**fields: Any) -> dict[str, Any]:
    return {"id": "/web", "cmd": "serve", "env": {"VERSION": "2"}, **CHECKS, **fields}


def app(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        **wanted(env={"VERSION": "1"}),
        "instances": 4,
        "version": OLD,
        "versionInfo": {"lastScalingAt": OLD, "lastConfigChangeAt": OLD},
        "tasks": list(tasks) or [task(number) for number in range(4)],
        "deployments": [],
        **fields,
    }


ONE_EACH = {"constraints": [["hostname", "UNIQUE"]]}
FIXED_PORT = {"portDefinitions": [{"port": 8080}], "requirePorts": True}
SAFE = {"upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}}


def test_nothing_stands_against_four_healthy_tasks_with_checks() -> None:
    found = assess(app(), wanted())

    assert (found.reasons, found.warnings) == ((), ())
    assert (found.course.least_healthy, found.course.most_tasks, found.course.killed) == (4, 8, 4)


@pytest.mark.parametrize(
    "broken",
    [task(3, alive=False), task(3, alive=None), task(3, state="TASK_STAGING"), task(3, state="TASK_FAILED")],
    ids=["a check fails", "no result yet", "staging", "gone and not back"],
)
def test_why_it_can_never_end_is_said_with_a_way_out(broken: dict[str, Any]) -> None:
    found = assess(app(task(0), task(1), task(2), broken), wanted(**SAFE))

    why, way_out = found.reasons
    assert "3 of 4 tasks are healthy" in why
    assert "minimumHealthCapacity 1 and maximumOverCapacity 0.25" in way_out


@pytest.mark.parametrize(
    ("tight", "words"),
    [
        (ONE_EACH, "hostname UNIQUE"),
        ({"constraints": [["@hostname", "MAX_PER", "1"]]}, "@hostname MAX_PER 1"),
        (FIXED_PORT, "fixed host port 8080"),
        (
            {
                "networks": [{"mode": "container/bridge"}],
                "container": {"portMappings": [{"containerPort": 80, "hostPort": 8080}]},
            },
            "fixed host port 8080",
        ),
    ],
)
def test_places_that_agents_do_not_have_are_named(tight: dict[str, Any], words: str) -> None:
    live = app(*(task(number, ports=[8080]) for number in range(4)), **tight)

    found = assess(live, wanted(**tight), agents=4)

    why, way_out = found.reasons
    assert words in why
    assert "4 agents take 4" in why
    assert "needs 5" in why
    assert "minimumHealthCapacity 0.75 and maximumOverCapacity 0" in way_out
    assert assess(live, wanted(**tight), agents=5).reasons == ()
    assert (
        assess(
            live,
            wanted(**tight, upgradeStrategy={"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}),
            agents=4,
        ).reasons
        == ()
    )


def test_a_port_that_the_old_tasks_do_not_have_is_free_for_the_new_ones() -> None:
    assert assess(app(), wanted(**FIXED_PORT), agents=4).reasons == ()
    assert "4 are wanted" in assess(app(), wanted(**FIXED_PORT), agents=3).reasons[0]


def test_an_app_bound_to_one_agent_with_a_fixed_port_needs_no_count_of_agents_to_be_judged() -> None:
    bound = {**FIXED_PORT, "constraints": [["hostname", "CLUSTER", "a0"]], "instances": 1}
    live = app(task(0, ports=[8080]), **bound)

    assert "one agent takes 1" in assess(live, wanted(**bound)).reasons[0]


def test_where_nobody_told_how_many_agents_there_are_it_is_a_warning() -> None:
    found = assess(app(**ONE_EACH), wanted(**ONE_EACH), hosts=4)

    assert found.reasons == ()
    assert "needs 5 agents, and tasks were seen on 4" in found.warnings[0]
    assert assess(app(**ONE_EACH), wanted(**ONE_EACH), hosts=5).warnings == ()


def test_constraints_that_do_not_limit_a_host_say_nothing() -> None:
    for constraint in (["rack", "UNIQUE"], ["hostname", "GROUP_BY"], ["hostname", "LIKE", "a.*"]):
        assert tightness(wanted(constraints=[constraint]), None).per_agent is None


def test_missing_checks_are_warned_of() -> None:
    bare = wanted(healthChecks=[], readinessChecks=[])

    health, readiness = assess(app(), bare).warnings
    assert "no health check" in health
    assert "no readiness check" in readiness
    assert "as soon as it is running" in readiness
    assert "as soon as it is healthy" in assess(app(), wanted(readinessChecks=[])).warnings[0]


def test_a_moment_without_any_task_is_warned_of() -> None:
    gap = wanted(upgradeStrategy={"minimumHealthCapacity": 0, "maximumOverCapacity": 0})

    assert "no task of /web serves" in assess(app(), gap).warnings[0]


def test_tasks_that_wait_for_an_agent_are_warned_of() -> None:
    found = assess(app(task(0), task(1)), wanted(), rejected=["InsufficientCpus (3 of 3 offers)"])

    assert "InsufficientCpus (3 of 3 offers)" in found.warnings[0]


def test_a_full_cluster_is_warned_of_where_the_upgrade_needs_more_room() -> None:
    full = ["/other (InsufficientCpus (3 of 3 offers))", "/third (InsufficientMemory (3 of 3 offers))"]

    found = assess(app(), wanted(), crowded=full)
    [warning] = found.warnings
    assert "needs room for 4 more tasks" in warning
    assert "none for /other (InsufficientCpus (3 of 3 offers)) and 1 more." in warning
    in_place = wanted(upgradeStrategy={"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0})
    assert assess(app(), in_place, crowded=full).warnings == ()


def test_an_upgrade_in_progress_is_judged_from_its_middle() -> None:
    """The live definition is the wanted one already; the tasks tell which of them are old."""
    live = app(
        task(0),
        task(1, version=NOW),
        task(2, version=NOW, alive=None),
        env={"VERSION": "2"},
        version=NOW,
        versionInfo={"lastScalingAt": NOW, "lastConfigChangeAt": NOW},
        deployments=[{"id": "d1"}],
    )

    found = assess(live, wanted())
    assert (found.start.old, found.start.new, found.start.serving) == (1, 2, 1)
    assert found.course.ends


# --- pictures -----------------------------------------------------------------------------------------------------


def test_a_picture_shows_each_task() -> None:
    assert picture(Stage(2, 0, 0, 1), "0.9", "1.0") == "[0.9] [0.9] [1.0]"
    assert picture(Stage(1, 1, 1, 0), "0.9", "1.0") == "[0.9] [0.9!] (1.0)"
    assert picture(Stage(0, 0, 0, 0), "0.9", "1.0") == "(none)"


def test_many_tasks_are_counted() -> None:
    assert picture(Stage(38, 0, 4, 8), "0.9", "1.0") == "38x[0.9] 4x(1.0) 8x[1.0]"


def test_the_rows_tell_what_happens() -> None:
    found = course(Start(2, old=2, minimum=0.5, maximum=0.0))

    assert rows(found, "0.9", "1.0") == [
        "[0.9] [0.9]  now",
        "[0.9] (1.0)  1 old killed, 1 new started",
        "(1.0) [1.0]  1 new healthy, 1 old killed, 1 new started",
        "[1.0] [1.0]  1 new healthy",
    ]


def test_a_long_course_is_told_in_short() -> None:
    lines = rows(course(Start(50, old=50, minimum=1.0, maximum=0.0)), "0.9", "1.0")

    assert len(lines) == 9
    assert lines[6] == "... 44 more steps like these"
    assert lines[-1].startswith("50x[1.0]")


# --- what stands still --------------------------------------------------------------------------------------------


def halted(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An app in the middle of its replacement, with no readiness check."""
    return app(
        *tasks,
        readinessChecks=[],
        version=NOW,
        versionInfo={"lastScalingAt": NOW, "lastConfigChangeAt": NOW},
        deployments=[{"id": "d1"}],
        **fields,
    )


def new(number: int, **fields: Any) -> dict[str, Any]:
    return task(number, version=NOW, **fields)


def test_old_tasks_that_serve_nobody_are_given_up_at_once() -> None:
    live = halted(task(0), task(1), task(2, alive=False), task(3, alive=False))

    assert to_unblock(live, keep=4) == ["web.2", "web.3"]


def test_one_that_serves_is_given_up_only_while_enough_stay() -> None:
    live = halted(task(0), task(1), new(2), new(3))

    assert to_unblock(live, keep=3) == ["web.1"]
    assert to_unblock(live, keep=4) == []


@pytest.mark.parametrize(
    "moving",
    [
        halted(task(0), task(1, alive=False), new(2, state="TASK_STAGING")),
        halted(task(0), task(1, alive=False), new(2, alive=False)),
        halted(task(0), task(1, alive=False), task(2, state="TASK_KILLING"), new(3)),
        halted(new(0), new(1), new(2), new(3)),
        {**halted(task(0), task(1), new(2), new(3)), "deployments": []},
    ],
    ids=["a new one is launched", "a new one gets healthy", "an old one is ending", "none is old", "no deployment"],
)
def test_what_moves_by_itself_or_is_done_needs_no_help(moving: dict[str, Any]) -> None:
    assert to_unblock(moving, keep=1) == []


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(1, 6))
def test_help_never_takes_a_task_that_is_needed(old: int, idle: int, fresh: int, keep: int) -> None:
    tasks = [task(number) for number in range(old)]
    tasks += [task(10 + number, alive=False) for number in range(idle)]
    tasks += [new(20 + number) for number in range(fresh)]
    if not tasks:
        return
    killed = to_unblock(halted(*tasks), keep)

    serving = {one["id"] for one in tasks if one["healthCheckResults"][0]["alive"]}
    assert len(serving - set(killed)) >= min(len(serving), keep)
    assert not {one["id"] for one in tasks if one["version"] == NOW} & set(killed)
