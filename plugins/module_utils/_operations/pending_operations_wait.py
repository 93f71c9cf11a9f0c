# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask each task how many operations it has pending, until it is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, NotFound, OperationError, Unreachable
from .._http import Http, Tls
from .._invocation.context import Context
from .._marathon.client import Marathon
from .._on_timeout import ON_TIMEOUT_SPEC, settle, settled
from .._parallel import each
from .._pending import Reader, TaskPending, json_reader, prometheus_reader, unfinished
from .._task_targets import TARGET_RULES, TARGET_SPEC, Target, session, targets
from .._wait import WAIT_SPEC, Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **TARGET_SPEC,
    "scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
    "port_index": {"type": "int", "default": 0},
    "path": {"type": "str", "default": ""},
    "jmespath": {"type": "str"},
    "metric": {"type": "str"},
    "metric_labels": {"type": "dict", "default": {}},
    "consecutive": {"type": "int", "default": 3},
    "quiet_seconds": {"type": "float", "default": 0},
    **ON_TIMEOUT_SPEC,
    **WAIT_SPEC,
}

ARGUMENT_RULES: dict[str, Any] = {
    **TARGET_RULES,
    "required_one_of": [*TARGET_RULES["required_one_of"], ("jmespath", "metric")],
    "mutually_exclusive": [*TARGET_RULES["mutually_exclusive"], ("jmespath", "metric")],
}

_LONGEST_PAUSE = 0.5
_GONE = {"url": None, "pending": 0, "zeros": 0, "gone": True, "error": None}
# Marathon is asked whether silent tasks are gone after these pauses (s): seven times in five minutes.
_MARATHON_PAUSES = Pauses(1, 2, 120)


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Wait until no task has anything pending; see the module's documentation. Nothing is changed."""
    if params["consecutive"] < 1 or params["quiet_seconds"] < 0:
        raise InvalidInput("invalid_option", "Option consecutive is 1 at least, quiet_seconds 0 at least.")
    if params["metric"] is not None:
        labels = {name: str(value) for name, value in params["metric_labels"].items()}
        reader = prometheus_reader(params["metric"], labels)
    else:
        reader = json_reader(params["jmespath"])
    with ExitStack() as open_sessions:
        marathon = None
        if params["app_id"] is not None:
            marathon = open_sessions.enter_context(Marathon.from_params(params, context))
        gone: list[str] = []
        questions = [
            _Question(target, params, reader, context, open_sessions) for target in targets(params, marathon, gone)
        ]
        poll = _Poll(questions, marathon, params, context)
        missing, settlement = _wait(poll, params, context)
        if missing is None:
            text = f"each of {len(questions)} tasks told 0 pending operations {params['consecutive']} times, or is gone"
            context.sample("evidence", text=text)
    return {
        "changed": False,
        "fulfilled": missing is None,
        "missing": missing,
        "tasks": [*poll.report(), *({**_GONE, "task": task} for task in gone)],
        **settlement,
    }


def _wait(poll: _Poll, params: Mapping[str, Any], context: Context) -> tuple[str | None, dict[str, Any]]:
    if not params["wait"] or context.check_mode:
        return poll.pending(poll.look()), settled("operations")
    try:
        wait_until(
            context,
            poll.look,
            poll.pending,
            timeout=params["wait_timeout"],
            pauses=Pauses(params["wait_sleep"], 1.3, max(_LONGEST_PAUSE, params["wait_sleep"])),
            rest=poll.rest,
        )
    except DeadlinePassed as deadline:
        left = [task for task in poll.report() if not task["gone"] and task["pending"] != 0]
        counts = [task["pending"] for task in left]
        count = None if None in counts else sum(counts)
        return deadline.message, settle(context, params["on_timeout"], deadline, left, count, unit="operations")
    return None, settled("operations")


class _Question:
    """The metrics endpoint of one task."""

    def __init__(
        self, target: Target, params: Mapping[str, Any], reader: Reader, context: Context, open_sessions: ExitStack
    ) -> None:
        base = target.address(params["scheme"], params["port_index"])
        self.url = base + _with_slash(params["path"])
        self.target = target
        self._reader = reader
        http, self._path = session(self.url, context, timeout=params["timeout"], tls=Tls.from_params(params))
        self._http: Http = open_sessions.enter_context(http)

    def ask(self) -> float | str:
        """The count, or why there is none."""
        try:
            answer = self._http.send("GET", self._path)
        except Unreachable as error:
            return error.message
        if answer.status != 200:
            return f"{self.url} answered {answer.status}"
        try:
            return self._reader(answer.text, answer.json)
        except (ValueError, OperationError) as error:
            return f"{self.url}: {error}"


class _Poll:
    """Asks all tasks at once; ``states`` is what each has told so far."""

    def __init__(
        self, questions: Sequence[_Question], marathon: Marathon | None, params: Mapping[str, Any], context: Context
    ) -> None:
        self.states = [TaskPending(question.target.task or question.url) for question in questions]
        self._questions = questions
        self._marathon = marathon
        self._params = params
        self._context = context
        self._marathon_pause: float | None = None
        self._marathon_due = context.now()

    def look(self) -> list[TaskPending]:
        """Ask each task that is not gone."""
        present = [index for index, state in enumerate(self.states) if not state.gone]
        answers = each(lambda index: self._questions[index].ask(), present)
        now = self._context.now()
        for index, answer in zip(present, answers, strict=True):
            state = self.states[index]
            self.states[index] = state.silent(answer) if isinstance(answer, str) else state.told(answer, now)
        self._ask_marathon()
        known = {state.name: state.pending for state in self.states if state.pending is not None and not state.gone}
        if known:
            self._context.sample("pending", operations=sum(known.values()), silent=len(present) - len(known))
        return self.states

    def pending(self, states: Sequence[TaskPending]) -> str | None:
        """What is missing."""
        params = self._params
        return unfinished(states, params["consecutive"], params["quiet_seconds"], self._context.now())

    def rest(self, seconds: float) -> None:
        """Rest as told, but only shortly while all that is missing is a few more answers of 0."""
        if all(state.gone or state.pending == 0 for state in self.states):
            seconds = min(seconds, self._params["wait_sleep"])
        self._context.sleep(seconds)

    def report(self) -> list[dict[str, Any]]:
        """The tasks as the result has them."""
        return [
            {
                "task": question.target.task,
                "url": question.url,
                "pending": state.pending,
                "zeros": state.zeros,
                "gone": state.gone,
                "error": state.error,
            }
            for question, state in zip(self._questions, self.states, strict=True)
        ]

    def _ask_marathon(self) -> None:
        """Ask seldom whether the silent tasks still exist: who does not answer is not done, who is gone is."""
        silent = [index for index, state in enumerate(self.states) if state.pending is None and not state.gone]
        now = self._context.now()
        if self._marathon is None or not silent or now < self._marathon_due:
            return
        self._marathon_pause = _MARATHON_PAUSES.after(self._marathon_pause)
        self._marathon_due = now + self._marathon_pause
        try:
            living = {task["id"] for task in self._marathon.tasks(self._params["app_id"])}
        except NotFound:
            living = set()
        except Unreachable as error:
            self._context.progress(f"{error.message}; silent tasks count as busy")
            return
        for index in silent:
            if self.states[index].name not in living:
                self.states[index] = self.states[index].ended()


def _with_slash(path: str) -> str:
    return path if not path or path.startswith("/") else f"/{path}"
