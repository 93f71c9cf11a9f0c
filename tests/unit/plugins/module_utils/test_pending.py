# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task is done when it has told 0 often and long enough, or when it is gone; silence is not 0."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._pending import (
    TaskPending,
    json_reader,
    prometheus_reader,
    unfinished,
)

METRICS = """\
# HELP pending_operations What is being worked on.
# TYPE pending_operations gauge
pending_operations{queue="requests",tier="web"} 2
pending_operations{queue="streams",tier="web"} 1
pending_operations{queue="mail \\"a\\"",tier="jobs"} 40
# TYPE other gauge
other 7
nothing NaN
"""


def read_json(expression: str, text: str) -> float:
    return json_reader(expression)(text, lambda: json.loads(text))


def read_prometheus(metric: str, text: str = METRICS, **labels: str) -> float:
    return prometheus_reader(metric, labels)(text, dict)


def test_json_is_read_by_an_expression() -> None:
    assert read_json("pending", '{"pending": 3}') == 3
    assert read_json("sum(values(queues))", '{"queues": {"a": 1, "b": 2.5}}') == 3.5


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("pending", "{}"),
        ("pending", '{"pending": null}'),
        ("pending", '{"pending": true}'),
        ("pending", '{"pending": "0"}'),
        ("pending", '{"pending": -1}'),
        ("pending", '{"pending": []}'),
        ("sum(pending)", '{"pending": "many"}'),
    ],
)
def test_what_is_no_number_is_not_zero(expression: str, text: str) -> None:
    with pytest.raises(ValueError):
        read_json(expression, text)


def test_an_expression_that_cannot_be_read_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(InvalidInput, match="JMESPath"):
        json_reader("pending[")


def test_a_gauge_is_the_sum_of_its_samples_with_the_labels() -> None:
    assert read_prometheus("other") == 7
    assert read_prometheus("pending_operations") == 43
    assert read_prometheus("pending_operations", tier="web") == 3
    assert read_prometheus("pending_operations", queue='mail "a"') == 40


def test_a_gauge_that_is_not_there_is_not_zero() -> None:
    with pytest.raises(ValueError, match="no sample of missing"):
        read_prometheus("missing")
    with pytest.raises(ValueError, match=r'no sample of pending_operations\{tier="db"\}'):
        read_prometheus("pending_operations", tier="db")


@pytest.mark.parametrize("text", ["<html>", "pending_operations", 'pending_operations{queue="a} 0', "nothing NaN\n"])
def test_what_is_no_metric_is_not_zero(text: str) -> None:
    with pytest.raises(ValueError):
        read_prometheus("pending_operations" if "pending" in text else "nothing", text)


def missing(*tasks: TaskPending, consecutive: int = 3, quiet: float = 0, now: float = 10) -> str | None:
    return unfinished(tasks, consecutive, quiet, now)


def told(*answers: float | None, every: float = 1) -> TaskPending:
    task = TaskPending("t1")
    for number, answer in enumerate(answers):
        task = task.silent("no answer") if answer is None else task.told(answer, number * every)
    return task


def test_zero_has_to_come_several_times_in_a_row() -> None:
    assert missing(told(2, 0, 0)) == "t1: 0 pending 2 times in a row, 3 are needed"
    assert missing(told(2, 0, 0, 0)) is None


def test_anything_pending_begins_the_row_anew() -> None:
    assert missing(told(0, 0, 1, 0, 0)) is not None
    assert missing(told(0, 0, None, 0, 0)) is not None


def test_zero_has_to_last() -> None:
    task = told(1, 0, 0, 0)
    assert missing(task, quiet=5, now=4) == "t1: 0 pending for 3.0 of 5 s"
    assert missing(task, quiet=5, now=6) is None


def test_a_silent_task_is_not_idle_and_one_that_is_gone_is_done() -> None:
    silent = told(0, 0, 0, None)
    assert missing(silent) == "1 of 1 tasks do not tell; t1: no answer"
    assert missing(silent.ended()) is None


def test_the_busiest_news_come_first() -> None:
    assert missing(told(None), TaskPending("t2", 3)) == "3 pending in 1 of 2 tasks; t2 has 3"


ANSWERS = st.lists(st.one_of(st.none(), st.sampled_from([0, 0, 0, 1, 5])), min_size=1, max_size=12)


@given(ANSWERS, st.integers(1, 4), st.floats(0, 5))
def test_done_means_that_the_last_answers_were_zero_for_long_enough(
    answers: list[float | None], consecutive: int, quiet: float
) -> None:
    now = len(answers) - 1
    zeros = 0
    for answer in reversed(answers):
        if answer != 0:
            break
        zeros += 1
    done = zeros >= consecutive and zeros - 1 >= quiet
    assert (missing(told(*answers), consecutive=consecutive, quiet=quiet, now=now) is None) == done
