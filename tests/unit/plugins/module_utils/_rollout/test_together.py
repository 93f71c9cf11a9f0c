# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters that are changed together go on together or not at all, as their user has chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._rollout.together import (
    NOT_BEGUN,
    ON_FAILURE,
    Choice,
    Outcome,
    after_letting_in,
    after_planning,
)

KEPT = Outcome("web", "kept")
PAUSED = Outcome("web", "paused")
PLANNED = Outcome("web", "planned")
BACK = Outcome("web", "rolled back", "Rolled back: bad")
HELD = Outcome("web", "held", "Held: open")
REFUSED = Outcome("web", "refused", "no such file")

OUTCOMES = st.sampled_from([KEPT, PAUSED, PLANNED, BACK, HELD, REFUSED, Outcome("web", "unchanged")])
WAVES = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.lists(OUTCOMES, max_size=3), min_size=1)


def what(decision: object) -> dict[str, str]:
    return {host: one.what for host, one in decision.items()}  # type: ignore[attr-defined]


@given(wave=WAVES, on_failure=st.sampled_from(["wave", "all"]), keep=st.booleans(), last=st.booleans())
def test_nobody_is_promoted_unless_everybody_has_come_in(
    wave: dict[str, list[Outcome]], on_failure: str, keep: bool, last: bool
) -> None:
    """The barrier: one cluster that has failed, waits, or has told nothing keeps all others from removing anything."""
    decided = after_letting_in(wave, Choice(on_failure, keep), last=last)

    assert set(decided) == set(wave)
    if any(one.what == "promote" for one in decided.values()):
        assert all((one.what == "promote") == (KEPT in wave[host]) for host, one in decided.items())
        assert all(outcomes for outcomes in wave.values())
        assert {outcome.result for outcomes in wave.values() for outcome in outcomes} <= {"kept", "unchanged"}


@given(wave=WAVES, choice=st.builds(Choice, st.sampled_from(ON_FAILURE), st.booleans(), st.booleans()))
def test_a_cluster_is_never_promoted_with_a_failure_of_its_own(wave: dict[str, list[Outcome]], choice: Choice) -> None:
    decided = after_letting_in(wave, choice, last=True)

    for host, one in decided.items():
        assert one.what != "promote" or not any(outcome.failure for outcome in wave[host])


def test_one_failure_takes_the_wave_back_and_names_its_reason() -> None:
    decided = after_letting_in({"east": [KEPT], "west": [BACK]}, Choice("wave"), last=False)

    assert what(decided) == {"east": "rollback", "west": "stay"}, "west has gone back already"
    assert decided["east"].reason == "west (web): Rolled back: bad"


def test_the_reason_is_the_failure_of_its_own_and_not_one_that_followed_it() -> None:
    followed = Outcome("web", "rolled back", "Rolled back: west (web): bad", follows=True)

    decided = after_letting_in({"east": [followed], "west": [BACK], "north": [KEPT]}, Choice("all"), last=True)

    assert decided["north"].reason == "west (web): Rolled back: bad"


def test_with_host_only_the_cluster_that_failed_goes_back() -> None:
    decided = after_letting_in({"east": [KEPT], "west": [KEPT, BACK]}, Choice("host"), last=False)

    assert what(decided) == {"east": "promote", "west": "rollback"}


@pytest.mark.parametrize(("last", "next_"), [(False, "stay"), (True, "promote")])
def test_with_all_the_old_versions_stay_warm_until_the_last_wave_is_in(last: bool, next_: str) -> None:
    assert what(after_letting_in({"east": [KEPT]}, Choice("all"), last=last)) == {"east": next_}


def test_a_cluster_that_is_held_holds_its_wave_where_it_is() -> None:
    decided = after_letting_in({"east": [KEPT], "west": [HELD], "north": [BACK]}, Choice("wave"), last=False)

    assert set(what(decided).values()) == {"stay"}


def test_a_cluster_that_waits_for_a_person_lets_nobody_go_on() -> None:
    assert what(after_letting_in({"east": [KEPT], "west": [PAUSED]}, Choice("wave"), last=True)) == {
        "east": "stay",
        "west": "stay",
    }


def test_who_wants_no_rollback_gets_none() -> None:
    choice = Choice("wave", goes_back=False)

    assert set(what(after_letting_in({"east": [KEPT], "west": [BACK]}, choice, last=True)).values()) == {"stay"}


def test_a_cluster_that_told_nothing_has_failed() -> None:
    decided = after_letting_in({"east": [KEPT], "west": []}, Choice("wave"), last=False)

    assert decided["east"].what == "rollback"
    assert "west: It has left the play" in decided["east"].reason


@pytest.mark.parametrize("on_failure", ["wave", "all"])
def test_a_cluster_that_was_lost_in_the_middle_has_failed(on_failure: str) -> None:
    """It has its plan told and nothing after it, though no app of it failed."""
    decided = after_letting_in({"east": [KEPT], "west": [PLANNED]}, Choice(on_failure), last=True)

    assert what(decided) == {"east": "rollback", "west": "stay"}
    assert "west (web): It has left the play" in decided["east"].reason
    half = after_letting_in({"east": [KEPT], "west": [KEPT, PLANNED]}, Choice(on_failure), last=True)
    assert what(half) == {"east": "rollback", "west": "rollback"}


@pytest.mark.parametrize("lost", [[PLANNED], []], ids=["in the middle", "before its plan"])
def test_after_a_wave_that_has_lost_a_cluster_later_ones_are_not_begun(lost: list[Outcome]) -> None:
    assert what(after_planning({"east": [PLANNED]}, {"west": lost}, Choice("wave"))) == {"east": "skip"}


def test_in_a_rehearsal_earlier_waves_are_only_planned_too() -> None:
    decided = after_planning({"east": [PLANNED]}, {"west": [PLANNED]}, Choice("wave"), rehearses=True)

    assert what(decided) == {"east": "begin"}


def test_a_plan_that_is_refused_lets_no_cluster_of_the_wave_begin() -> None:
    decided = after_planning({"east": [PLANNED], "west": [REFUSED]}, {}, Choice("wave"))

    assert what(decided) == {"east": "skip", "west": "skip"}
    assert decided["east"].outcomes == (Outcome("web", NOT_BEGUN, "Not begun: west (web): no such file"),)
    assert decided["west"].outcomes == (REFUSED,), "it keeps its own failure"


def test_an_app_whose_turn_did_not_come_was_not_begun() -> None:
    decided = after_letting_in({"east": [BACK, PLANNED]}, Choice("host"), last=False)

    assert decided["east"].outcomes == (BACK, Outcome("web", NOT_BEGUN))
    assert decided["east"].what == "stay"


def test_with_host_the_others_begin() -> None:
    assert what(after_planning({"east": [PLANNED], "west": [REFUSED]}, {}, Choice("host"))) == {
        "east": "begin",
        "west": "skip",
    }


@pytest.mark.parametrize(("on_failure", "next_"), [("wave", "skip"), ("all", "skip"), ("host", "begin")])
def test_after_a_failed_wave_later_ones_are_not_begun(on_failure: str, next_: str) -> None:
    decided = after_planning({"east": [PLANNED]}, {"west": [BACK]}, Choice(on_failure))

    assert what(decided) == {"east": next_}


def test_a_pause_in_an_earlier_wave_is_no_failure_of_the_later_ones() -> None:
    decided = after_planning({"east": [PLANNED]}, {"west": [PAUSED]}, Choice("wave"))

    assert decided["east"].what == "skip"
    assert decided["east"].outcomes == (Outcome("web", NOT_BEGUN),)
