# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check tasks at their own addresses, before any user is sent to them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, Rejected, Unreachable
from .._http import Answer, Http, Tls
from .._invocation.context import Context
from .._marathon.client import Marathon
from .._parallel import each
from .._query import Query
from .._task_targets import TARGET_RULES, TARGET_SPEC, Target, session, targets
from .._wait import Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **TARGET_SPEC,
    "checks": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str"},
            "path": {"type": "str", "default": "/"},
            "port_index": {"type": "int", "default": 0},
            "scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
            "method": {"type": "str", "default": "GET"},
            "headers": {"type": "dict", "default": {}},
            "body": {"type": "raw"},
            "status": {"type": "list", "elements": "int", "default": [200]},
            "body_matches": {"type": "str"},
            "body_contains": {"type": "str"},
            "jmespath": {"type": "str"},
            "timeout": {"type": "float", "default": 5},
        },
    },
    "secret_headers": {"type": "dict", "no_log": True, "default": {}},
    "wait_timeout": {"type": "float", "default": 0},
    "wait_sleep": {"type": "float", "default": 0.5},
}

ARGUMENT_RULES: dict[str, Any] = TARGET_RULES

_LONGEST_PAUSE = 5.0
_SHOWN = 200


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Run each check against each task; see the module's documentation. Nothing is changed.

    :raises Rejected: with the code ``check_failed`` and the failures in ``detail``.
    """
    expectations = [Expectation.from_options(check) for check in params["checks"]]
    if not expectations:
        raise InvalidInput("invalid_option", "Option checks is empty.")
    tls = Tls.from_params(params)
    with ExitStack() as open_sessions:
        marathon = None
        if params["app_id"] is not None:
            marathon = open_sessions.enter_context(Marathon.from_params(params, context))
        checks = [
            _Check(target, expectation, params, tls, context, open_sessions)
            for target in targets(params, marathon)
            for expectation in expectations
        ]
        if not checks:
            raise InvalidInput("no_tasks", "Option tasks is empty.")
        state = _State(checks)
        try:
            wait_until(
                context,
                state.look,
                lambda failures: _summary(failures, len(checks)) if failures else None,
                timeout=params["wait_timeout"],
                pauses=Pauses(params["wait_sleep"], 1.5, max(_LONGEST_PAUSE, params["wait_sleep"])),
            )
        except DeadlinePassed:
            first = state.failures[0]
            raise Rejected(
                "check_failed",
                _summary(state.failures, len(checks)),
                system=first["url"],
                request=first["request"],
                status=first["status"],
                detail=state.failures,
            ) from None
    tasks = list(dict.fromkeys(check.target.task or check.target.url for check in checks))
    context.sample(
        "evidence", text=f"all checks ({len(expectations)}) pass at each of {len(tasks)} tasks, at its own address"
    )
    return {"changed": False, "checks": len(checks), "tasks": tasks}


@dataclass(frozen=True)
class Expectation:
    """One check, as the user wrote it, with its expressions compiled."""

    options: Mapping[str, Any]
    pattern: re.Pattern[str] | None
    query: Query | None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Expectation:
        """Compile.

        :raises InvalidInput: an expression cannot be read.
        """
        pattern = None
        if options["body_matches"] is not None:
            try:
                pattern = re.compile(options["body_matches"])
            except re.error as error:
                raise InvalidInput(
                    "invalid_option", f"{options['body_matches']!r} is no regular expression: {error}"
                ) from None
        query = None if options["jmespath"] is None else Query(options["jmespath"])
        return cls(options, pattern, query)

    @property
    def name(self) -> str:
        """How results call it."""
        return self.options["name"] or f"{self.options['method']} {self.options['path']}"

    def unmet(self, answer: Answer) -> tuple[str, str] | None:
        """What was expected and what came instead; ``None`` when all is as expected."""
        options = self.options
        came = f"{answer.status}, {_shown(answer.text)}"
        if answer.status not in options["status"]:
            return f"status {' or '.join(map(str, options['status']))}", came
        if options["body_contains"] is not None and options["body_contains"] not in answer.text:
            return f"a body with {options['body_contains']!r}", came
        if self.pattern is not None and not self.pattern.search(answer.text):
            return f"a body that matches {self.pattern.pattern!r}", came
        if self.query is not None:
            expected = f"{self.query.expression!r} to be true"
            try:
                if not self.query.is_true(answer.json()):
                    return expected, came
            except Unreachable:
                return expected, f"{came} (no JSON)"
            except ValueError as error:
                return expected, f"{came} ({error})"
        return None


class _State:
    """Which checks still fail: only these are repeated."""

    def __init__(self, checks: Sequence[_Check]) -> None:
        self.failures: list[dict[str, Any]] = []
        self._left = list(checks)

    def look(self) -> list[dict[str, Any]]:
        """Run what has not passed yet."""
        found = each(_Check.run, self._left)
        self._left = [check for check, failure in zip(self._left, found, strict=True) if failure is not None]
        self.failures = [failure for failure in found if failure is not None]
        return self.failures


class _Check:
    """One expectation of one task."""

    def __init__(
        self,
        target: Target,
        expectation: Expectation,
        params: Mapping[str, Any],
        tls: Tls,
        context: Context,
        open_sessions: ExitStack,
    ) -> None:
        options = expectation.options
        path = options["path"] if options["path"].startswith("/") else f"/{options['path']}"
        self.target = target
        self._expectation = expectation
        self._url = target.address(options["scheme"], options["port_index"]) + path
        self._headers = {name: str(value) for name, value in {**options["headers"], **params["secret_headers"]}.items()}
        http, self._path = session(self._url, context, timeout=options["timeout"], tls=tls)
        self._http: Http = open_sessions.enter_context(http)

    def run(self) -> dict[str, Any] | None:
        """The failure, or ``None``."""
        options = self._expectation.options
        try:
            answer = self._http.send(
                options["method"].upper(),
                self._path,
                body=options["body"],
                headers=self._headers,
                answers_itself=lambda _answer: True,  # a 503 may be what is expected
            )
        except Unreachable as error:
            return self._failure(("an answer", error.message), None)
        unmet = self._expectation.unmet(answer)
        return None if unmet is None else self._failure(unmet, answer.status)

    def _failure(self, unmet: tuple[str, str], status: int | None) -> dict[str, Any]:
        return {
            "task": self.target.task,
            "url": self._url,
            "request": f"{self._expectation.options['method'].upper()} {self._path}",
            "check": self._expectation.name,
            "expected": unmet[0],
            "got": unmet[1],
            "status": status,
        }


def _summary(failures: Sequence[dict[str, Any]], count: int) -> str:
    first = failures[0]
    who = f"task {first['task']}" if first["task"] else first["url"]
    return (
        f"{len(failures)} of {count} checks failed; {who}, {first['check']}: expected {first['expected']}, "
        f"got {first['got']}"
    )


def _shown(text: str) -> str:
    short = " ".join(text.split())
    return repr(short if len(short) <= _SHOWN else short[:_SHOWN] + "…")
