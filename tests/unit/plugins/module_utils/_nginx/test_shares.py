# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that turn the traffic are changed in an order in which the share only grows or only shrinks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import OperationError
from ansible_collections.zdd.rollout.plugins.module_utils._nginx import shares
from ansible_collections.zdd.rollout.plugins.module_utils._nginx.configuration import COLOURS, other
from ansible_collections.zdd.rollout.plugins.module_utils._nginx.shares import BUCKETS, Files, Step

buckets = st.frozensets(st.integers(0, BUCKETS - 1))
files = st.builds(Files, st.sampled_from(COLOURS), buckets, buckets)
colours = st.sampled_from(COLOURS)
percents = st.integers(0, 100) | st.sampled_from([0, 100])


def walked(start: Files, colour: str, share: int) -> list[Files]:
    """The files before, between and after the steps."""
    walk = [start]
    for step in shares.steps(start, colour, share):
        walk.append(shares.after(walk[-1], step))
    return walk


@given(files, colours, percents)
def test_the_share_is_as_asked_for_in_the_end(start: Files, colour: str, share: int) -> None:
    end = walked(start, colour, share)[-1]

    assert end.share == {colour: share, other(colour): BUCKETS - share}


@given(files, colours, percents)
def test_no_bucket_turns_twice_and_all_that_turn_do_so_in_one_direction(start: Files, colour: str, share: int) -> None:
    """So that no request meets a share that is neither between the old one and the new one nor one of them."""
    walk = walked(start, colour, share)
    turned: dict[int, str] = {}
    for before, after in pairwise(walk):
        for bucket in range(BUCKETS):
            if before.colour_of(bucket) != after.colour_of(bucket):
                assert bucket not in turned
                turned[bucket] = after.colour_of(bucket)
    assert len(set(turned.values())) <= 1


@given(files, colours, percents)
def test_a_second_time_nothing_is_done(start: Files, colour: str, share: int) -> None:
    assert list(shares.steps(walked(start, colour, share)[-1], colour, share)) == []


@given(files, colours, percents)
def test_it_can_be_stopped_between_any_two_steps_and_gone_on_with(start: Files, colour: str, share: int) -> None:
    for halted in walked(start, colour, share):
        assert walked(halted, colour, share)[-1].share[colour] == share


@given(files, colours)
def test_who_gets_everything_is_live_and_no_file_of_a_bucket_is_left(start: Files, colour: str) -> None:
    assert walked(start, colour, 100)[-1] == Files(colour)
    assert walked(start, other(colour), 0)[-1] == Files(colour)


@given(files, colours, st.integers(1, 99))
def test_a_share_between_leaves_live_as_it_is(start: Files, colour: str, share: int) -> None:
    assert {step.live for step in walked(start, colour, share)} == {start.live}


@given(colours, st.lists(st.integers(1, 99), min_size=1, max_size=6))
def test_all_that_came_the_same_way_send_the_same_buckets_to_the_same_colour(live: str, steps: list[int]) -> None:
    """Whatever they were stopped by: a client with a cookie is to meet one colour at all load balancers."""
    canary = other(live)
    state = Files(live)
    for share in steps:
        state = walked(state, canary, share)[-1]
    assert state.buckets(canary) == list(range(steps[-1]))


@pytest.mark.parametrize(("asked", "whole"), [(0, 0), (100, 100), (0.2, 1), (99.9, 99), (33.4, 33), (33.5, 34), (5, 5)])
def test_a_share_is_rounded_but_never_to_a_switch(asked: float, whole: int) -> None:
    assert shares.percent(asked) == whole


def test_what_was_applied_is_what_is_observed(tmp_path: Path) -> None:
    folder = str(tmp_path / "state")
    assert shares.observed(folder, "nginx") == Files()
    shares.prepare(folder, "nginx")
    state = Files()
    for colour, share in (("green", 20), ("green", 100), ("blue", 33), ("green", 0)):
        for step in shares.steps(state, colour, share):
            shares.apply(folder, step, "nginx")
            state = shares.after(state, step)
            assert shares.observed(folder, "nginx") == state
    shares.apply(folder, Step("live/green", False), "nginx")  # what is gone stays gone


def test_files_of_others_in_the_folder_are_none_of_its_buckets(tmp_path: Path) -> None:
    shares.prepare(str(tmp_path), "nginx")
    for name in ("b100", "b01", "b", "c1", "b1.tmp"):
        (tmp_path / "share" / "green" / name).touch()
    assert shares.observed(str(tmp_path), "nginx") == Files()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(OperationError, match="state"):
        shares.prepare(str(tmp_path / "state"), "nginx lb1")
