# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many operations a task has pending, read from its metrics, and when that is evidence for a kill."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    HAS_PROMETHEUS = False
    PROMETHEUS_ERROR: str | None = traceback.format_exc()
else:
    HAS_PROMETHEUS = True
    PROMETHEUS_ERROR = None

from ._errors import OperationError
from ._query import Query

Reader = Callable[[str, Any], float]
"""Gives the count in an answer: (its text, a function that gives its JSON). Raises ``ValueError`` with the reason."""


def json_reader(expression: str) -> Reader:
    """Reads JSON by a JMESPath expression, which has to give one number.

    :raises InvalidInput: it is no JMESPath. :raises OperationError: the library jmespath is missing.
    """
    query = Query(expression)

    def read(_text: str, data: Callable[[], Any]) -> float:
        return _count(query.of(data()), expression)

    return read


def prometheus_reader(metric: str, labels: Mapping[str, str]) -> Reader:
    """Reads Prometheus' text format: the sum of all samples of ``metric`` that have these ``labels``.

    No such sample is no answer, not 0: the name may be wrong.

    :raises OperationError: the library prometheus_client is missing.
    """
    if not HAS_PROMETHEUS:
        raise OperationError(
            "missing_library", "The Python library prometheus_client is needed on the host that runs this task."
        )

    def read(text: str, _data: Callable[[], Any]) -> float:
        try:
            samples = [
                sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == metric and all(sample.labels.get(name) == value for name, value in labels.items())
            ]
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(f"no text in Prometheus' format ({error})") from None
        if not samples:
            shown = ",".join(f'{name}="{value}"' for name, value in labels.items())
            raise ValueError(f"no sample of {metric}{{{shown}}}")
        return _count(sum(samples), metric)

    return read


def _count(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValueError(f"{name} is {value!r}, not a number")
    if value < 0:
        raise ValueError(f"{name} is {value:g}, below zero")
    return value


@dataclass(frozen=True)
class TaskPending:
    """What one task has told so far.

    ``pending`` is its last count, ``None`` when it did not answer (``error`` says why). ``zeros`` counts the answers of
    0 in a row, ``quiet_since`` (``Context.now``) is when the first of these came. ``gone``: Marathon says that the task
    does not exist any more.
    """

    name: str
    pending: float | None = None
    error: str | None = None
    zeros: int = 0
    quiet_since: float | None = None
    gone: bool = False

    def told(self, pending: float, now: float) -> TaskPending:
        """After an answer."""
        if pending > 0:
            return TaskPending(self.name, pending)
        since = now if self.quiet_since is None else self.quiet_since
        return TaskPending(self.name, 0, None, self.zeros + 1, since)

    def silent(self, error: str) -> TaskPending:
        """After no answer, or one that cannot be read: neither is 0, and the row is broken."""
        return TaskPending(self.name, None, error)

    def ended(self) -> TaskPending:
        """After Marathon said that it is gone: nothing can be cut any more."""
        return replace(self, pending=0, error=None, gone=True)


def unfinished(tasks: Sequence[TaskPending], consecutive: int, quiet_seconds: float, now: float) -> str | None:
    """What forbids to kill the tasks; ``None`` when each is gone, or told 0 often and long enough."""
    present = [task for task in tasks if not task.gone]
    busy = [task for task in present if task.pending]
    if busy:
        total = sum(task.pending or 0 for task in busy)
        return f"{total:g} pending in {len(busy)} of {len(tasks)} tasks; {busy[0].name} has {busy[0].pending:g}"
    silent = [task for task in present if task.pending is None]
    if silent:
        why = silent[0].error or "not asked yet"
        return f"{len(silent)} of {len(tasks)} tasks do not tell; {silent[0].name}: {why}"
    for task in present:
        if task.zeros < consecutive:
            return f"{task.name}: 0 pending {task.zeros} times in a row, {consecutive} are needed"
        quiet = now - (now if task.quiet_since is None else task.quiet_since)
        if quiet < quiet_seconds:
            return f"{task.name}: 0 pending for {quiet:.1f} of {quiet_seconds:g} s"
    return None
