# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The split by weights is what was asked for, whatever the counts are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.weights import LARGEST, split


@given(share=st.integers(1, 99), count=st.integers(1, 60), other_count=st.integers(1, 60))
def test_the_split_is_exact_and_even(share: int, count: int, other_count: int) -> None:
    ours, theirs = split(share, count, other_count)

    assert (len(ours), len(theirs)) == (count, other_count)
    assert all(0 <= weight <= LARGEST for weight in (*ours, *theirs))
    assert abs(100 * sum(ours) / (sum(ours) + sum(theirs)) - share) <= 0.25
    assert max(ours) - min(ours) <= 1
    assert max(theirs) - min(theirs) <= 1


def test_five_percent_of_one_and_four() -> None:
    ours, theirs = split(5, 1, 4)

    assert abs(sum(ours) / (sum(ours) + sum(theirs)) - 0.05) < 0.0002


@given(share=st.floats(0.001, 99.999), count=st.integers(1, 9))
def test_each_version_has_a_part_however_small_the_share_is(share: float, count: int) -> None:
    ours, theirs = split(share, count, 9)
    assert sum(ours) >= 1 and sum(theirs) >= 1
