# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From which answer on a canary is known to be bad, by the notes of clients."""

from __future__ import annotations

from tests.rehearsal.abort import NEW, OLD, Note, percentile, sufficient


def answers(count: int, *, errors_of_new: int) -> list[Note]:
    """One answer of each version by turns, one a second; the last ones of the new version are errors."""
    good = count - errors_of_new
    return [
        Note(second, second + 0.01, version, 500 if version == NEW and second >= good else 200)
        for second in range(count)
        for version in (OLD, NEW)
    ]


def test_as_many_errors_of_both_are_never_sufficient() -> None:
    assert sufficient(answers(300, errors_of_new=0), 0.0) is None
    assert sufficient([], 0.0) is None


def test_the_answer_that_is_sufficient_is_one_of_the_errors() -> None:
    notes = answers(100, errors_of_new=40)

    at = sufficient(notes, 0.0)

    assert at is not None and 60 < at < 90
    assert sufficient([note for note in notes if note.answered <= at], 0.0) == at
    assert sufficient([note for note in notes if note.answered < at], 0.0) is None
    assert sufficient(list(reversed(notes)), 0.0) == at


def test_what_came_before_the_analysis_can_be_left_out() -> None:
    notes = answers(100, errors_of_new=100)

    assert (sufficient(notes, 0.0) or 0) < 30 < (sufficient(notes, 30.0) or 0)


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([float(value) for value in range(20, 0, -1)], 95) == 19.0
    assert percentile([3.0], 95) == 3.0
