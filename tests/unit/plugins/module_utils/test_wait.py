# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting ends: by its condition, by its deadline, or at once when there is no hope."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import DeadlinePassed, Hopeless, Unreachable
from ansible_collections.zdd.rollout.plugins.module_utils._wait import Pauses, wait_until
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import Clock

PAUSES = Pauses(first=1, factor=2, longest=8)


def test_the_state_that_lacks_nothing_is_returned() -> None:
    clock, states = Clock(), iter([3, 2, 1, 0])

    found = wait_until(
        clock.context(),
        lambda: next(states),
        lambda left: f"{left} left" if left else None,
        timeout=100,
        pauses=PAUSES,
    )

    assert found == 0
    assert clock.slept == [1, 2, 4], "pauses grow"


def test_the_last_look_is_at_the_deadline_and_says_what_is_missing() -> None:
    clock, looked = Clock(), []

    with pytest.raises(DeadlinePassed, match=r"After 20 s: 1 of 2 tasks healthy"):
        wait_until(
            clock.context(),
            lambda: looked.append(clock.time),
            lambda _state: "1 of 2 tasks healthy",
            timeout=20,
            pauses=PAUSES,
        )

    assert looked[0] == 1000
    assert looked[-1] == 1020


def test_a_pause_never_exceeds_the_longest() -> None:
    assert PAUSES.after(8) == 8
    assert PAUSES.after(None) == 1


def test_nothing_is_waited_for_when_there_is_no_hope() -> None:
    clock = Clock()

    def pending(_state: object) -> str:
        raise Hopeless("crash_loop", "it crashes")

    with pytest.raises(Hopeless):
        wait_until(clock.context(), lambda: None, pending, timeout=100, pauses=PAUSES)

    assert clock.slept == []


def test_what_was_begun_a_moment_ago_is_looked_at_after_the_first_pause() -> None:
    clock, looked = Clock(), []

    wait_until(
        clock.context(),
        lambda: looked.append(clock.time),
        lambda _state: None,
        timeout=100,
        pauses=PAUSES,
        look_at_once=False,
    )

    assert looked == [1001]


def test_a_person_sees_what_is_missing_and_how_long_it_may_take_not_every_look() -> None:
    clock, states = Clock(), iter([1, 1, 1, 1, 1, 0])

    wait_until(
        clock.context(),
        lambda: next(states),
        lambda left: f"{left} left" if left else None,
        timeout=100,
        pauses=PAUSES,
    )

    assert clock.lines[0] == "1 left (100 s left)"
    assert len(clock.lines) == 2, "again after ten seconds without news"


def look_at_what_is_away_until(clock: Clock, back: float, looks: list[float]) -> Callable[[], str]:
    def look() -> str:
        looks.append(clock.time)
        if clock.time < back:
            raise Unreachable("unreachable", "Marathon did not answer", system="http://m", request="GET /x")
        return "state"

    return look


def test_a_system_that_is_away_says_nothing_and_does_not_end_the_wait() -> None:
    """It is looked at soon again, however long the pauses are by then."""
    clock, looks = Clock(), []
    pauses = Pauses(first=1, factor=100, longest=600)

    found = wait_until(
        clock.context(),
        look_at_what_is_away_until(clock, 1090, looks),
        lambda _state: None,
        timeout=300,
        pauses=pauses,
    )

    assert found == "state"
    assert clock.time < 1093
    assert any("Marathon did not answer" in line for line in clock.lines)


def test_one_that_stays_away_is_why_the_deadline_passed() -> None:
    clock, looks = Clock(), []

    with pytest.raises(DeadlinePassed, match=r"After 20 s: Marathon did not answer") as failure:
        wait_until(
            clock.context(),
            look_at_what_is_away_until(clock, 9999, looks),
            lambda _state: None,
            timeout=20,
            pauses=PAUSES,
        )

    assert looks[-1] == 1020
    assert (failure.value.system, failure.value.request) == ("http://m", "GET /x")
