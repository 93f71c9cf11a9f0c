# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples are bounded, cover all of the time, and lose no plateau."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis import given

from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.samples import MOST_OF_A_KIND, Samples


@given(values=st.lists(st.integers(0, 3), min_size=1, max_size=600), gap=st.floats(0.001, 1000))
def test_they_are_bounded_ordered_and_have_the_first_and_the_latest(values: list[int], gap: float) -> None:
    samples = Samples()
    for number, value in enumerate(values):
        samples.add(number * gap, "sessions", {"lb": value})

    taken = samples.before(len(values) * gap)

    assert 1 <= len(taken) <= MOST_OF_A_KIND + 1
    agos = [ago for ago, _kind, _values in taken]
    assert agos == sorted(agos, reverse=True)
    assert taken[0][0] == round(len(values) * gap, 3)
    assert taken[-1] == [round(gap, 3), "sessions", {"lb": values[-1]}]


def test_of_equal_ones_the_first_and_the_last_are_kept() -> None:
    samples = Samples()
    for at in range(10):
        samples.add(at, "share", {"a": 0 if at < 8 else 100})

    assert samples.before(10) == [
        [10, "share", {"a": 0}],
        [3, "share", {"a": 0}],
        [2, "share", {"a": 100}],
        [1, "share", {"a": 100}],
    ]


def test_many_cover_the_whole_time_evenly() -> None:
    samples = Samples()
    for at in range(100_000):
        samples.add(at, "sessions", {"lb": at})

    agos = [ago for ago, _kind, _values in samples.before(100_000)]

    gaps = [before - after for before, after in itertools.pairwise(agos)]
    assert agos[0] == 100_000
    assert max(gaps) < 100_000 / MOST_OF_A_KIND * 5


def test_kinds_do_not_take_room_from_each_other() -> None:
    context = Context(now=lambda: 1.0)
    context.sample("evidence", text="all is well")
    for number in range(1000):
        context.sample("sessions", lb=number)

    assert [1.0, "evidence", {"text": "all is well"}] not in context.samples.before(1.0)
    assert [0.0, "evidence", {"text": "all is well"}] in context.samples.before(1.0)


def test_one_costs_next_to_nothing() -> None:
    """A ratio: less than a JSON round trip of the same values costs."""
    context, values = Context(), {f"/app-{number}": number for number in range(4)}

    def cost(act: Callable[[], object]) -> float:
        best = float("inf")
        for _round in range(5):
            started = time.perf_counter()
            for _sample in range(500):
                act()
            best = min(best, time.perf_counter() - started)
        return best

    sampled = cost(lambda: context.sample("instances", **values))

    assert sampled < 3 * cost(lambda: json.loads(json.dumps(values)))
