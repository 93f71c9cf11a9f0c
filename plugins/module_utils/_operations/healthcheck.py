# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask whether a service is up, slow, failing or down, keep a log of it, and give a sign of life of the check itself."""

from __future__ import annotations

import json
import math
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .._errors import InvalidInput, OperationError, Rejected, Unreachable
from .._health import files
from .._health.request import checked_address, send, shown, tls_context
from .._health.rules import KINDS, STATES, Attempt, exit_code, state_of, state_of_all
from .._http import TLS_SPEC, Tls
from .._invocation.context import Context
from .._invocation.secrets import secrets_of
from .._parallel import each
from .tasks_check import Expectation

ARGUMENT_SPEC: dict[str, Any] = {
    "group": {"type": "str"},
    "targets": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "url": {"type": "str", "required": True},
            "from": {"type": "str", "choices": list(KINDS), "default": "outside"},
            "host_header": {"type": "str"},
            "headers": {"type": "dict", "default": {}},
            "status": {"type": "list", "elements": "int", "default": [200]},
            "body_contains": {"type": "str"},
            "body_matches": {"type": "str"},
            "jmespath": {"type": "str"},
            "slow_seconds": {"type": "float", "default": 1},
            "timeout": {"type": "float", "default": 5},
            "critical": {"type": "bool", "default": True},
        },
    },
    "measured": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(STATES), "required": True},
            "url": {"type": "str"},
            "from": {"type": "str", "choices": list(KINDS), "default": "outside"},
            "critical": {"type": "bool", "default": True},
            "attempts": {"type": "int"},
            "failures": {"type": "int"},
            "seconds": {"type": "float"},
            "status": {"type": "int"},
            "error": {"type": "str"},
        },
    },
    "attempts": {"type": "int", "default": 3},
    "attempt_pause": {"type": "float", "default": 0.2},
    "secret_headers": {"type": "dict", "no_log": True, "default": {}},
    "fail_on": {
        "type": "list",
        "elements": "str",
        "choices": ["slow", "failing", "down", "gap"],
        "default": ["failing", "down"],
    },
    "log": {"type": "path"},
    "log_max_bytes": {"type": "int", "default": 10 * 1024 * 1024},
    "text_log": {"type": "path"},
    "webhook_url": {"type": "str", "no_log": True},
    "webhook_headers": {"type": "dict", "no_log": True, "default": {}},
    "webhook_on": {"type": "str", "choices": ["change", "bad", "always"], "default": "change"},
    "webhook_timeout": {"type": "float", "default": 5},
    "heartbeat_url": {"type": "str", "no_log": True},
    "heartbeat_file": {"type": "path"},
    "heartbeat_timeout": {"type": "float", "default": 5},
    "heartbeat_max_age": {"type": "float"},
    # Each attempt counts, so nothing is repeated; and each target has its own timeout.
    **{name: option for name, option in TLS_SPEC.items() if name not in ("timeout", "retry_timeout")},
}

_MOST_THREADS = 64
_MOST_ATTEMPTS = 100
_HIDDEN = "********"
_SHOWN_TARGETS = 5
_SHOWN_ERROR = 120


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Ask all targets, tell the verdict to the log and to whoever listens; see the module's documentation.

    A verdict of ``fail_on`` is a failed result with all keys of a good one.

    :raises OperationError: code ``not_logged`` or ``no_heartbeat``: the verdict could not be kept; it is in ``detail``.
    """
    check = _Check.of(params)
    before = _Before.read(params)
    targets = [*check.measure(context), *_measured(params["measured"])]
    verdict = _verdict(params["group"], targets, before, params["heartbeat_max_age"])
    if verdict["gap_seconds"] is not None:
        context.warn(_gap_text(verdict))
    context.sample("evidence", text=verdict["text"])
    line = _as_line(verdict) if context.check_mode else _tell(params, context, verdict, before, check.tls)
    result = {**verdict, "changed": False, "line": line}
    reasons = {verdict["state"], *(["gap"] if verdict["gap_seconds"] is not None else [])}
    if not reasons & set(params["fail_on"]):
        return {**result, "msg": verdict["text"]}
    text = verdict["text"] if verdict["state"] in params["fail_on"] else f"{_gap_text(verdict)} {verdict['text']}"
    code = "unhealthy" if verdict["state"] in params["fail_on"] else "gap"
    # As a result, not as an exception: whoever handles the failure needs what was seen.
    return {**result, "failed": True, "msg": text, "failure": Rejected(code, text, detail=verdict["state"]).failure()}


@dataclass(frozen=True)
class _Target:
    """One target as the user wrote it, with what its answers are compared with."""

    options: Mapping[str, Any]
    expectation: Expectation
    headers: Mapping[str, str]


@dataclass(frozen=True)
class _Check:
    """What is asked, and how often."""

    targets: Sequence[_Target]
    attempts: int
    pause: float
    tls: ssl.SSLContext | None
    secrets: frozenset[str]

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> _Check:
        """Read the options; nothing is asked before all of them are known to be good.

        :raises InvalidInput: one cannot be used.
        """
        _check_numbers(params)
        if not params["targets"] and not params["measured"]:
            raise InvalidInput("no_targets", "Options targets and measured are empty: there is nothing to check.")
        if not any(target["critical"] for target in [*params["targets"], *params["measured"]]):
            raise InvalidInput("no_targets", "No target is critical: the check could only say that all is up.")
        for option in ("webhook_url", "heartbeat_url"):
            if params[option]:
                checked_address(option, params[option])
        for option in ("log", "text_log", "heartbeat_file"):
            if params[option]:
                files.checked_path(option, params[option])
        targets = [_target(options, params["secret_headers"]) for options in params["targets"]]
        urls = [*(options["url"] for options in params["targets"]), params["webhook_url"], params["heartbeat_url"]]
        return cls(
            targets,
            params["attempts"],
            params["attempt_pause"],
            tls_context(Tls.from_params(params), [url for url in urls if url]),
            frozenset(secrets_of(ARGUMENT_SPEC, params)),
        )

    def measure(self, context: Context) -> list[dict[str, Any]]:
        """Ask all targets at the same time; what was seen of each, in their order."""
        return each(lambda target: self._seen(target, context), self.targets, threads=_MOST_THREADS)

    def _seen(self, target: _Target, context: Context) -> dict[str, Any]:
        options = target.options
        attempts = []
        for number in range(self.attempts):
            if number:
                context.sleep(self.pause)
            attempts.append(self._attempt(target))
        bad = [attempt for attempt in attempts if attempt.error is not None]
        last = bad[-1] if bad else attempts[-1]
        seconds = [attempt.seconds for attempt in attempts if attempt.seconds is not None]
        return {
            "name": options["name"],
            "url": shown(options["url"]),
            "from": options["from"],
            "critical": options["critical"],
            "state": state_of(attempts, options["slow_seconds"]),
            "attempts": len(attempts),
            "failures": len(bad),
            "seconds": round(max(seconds), 4) if seconds else None,
            "status": last.status,
            "error": last.error,
        }

    def _attempt(self, target: _Target) -> Attempt:
        options = target.options
        begun = time.monotonic()
        try:
            answer = send(
                "GET",
                options["url"],
                timeout=options["timeout"],
                tls=self.tls if options["url"].startswith("https:") else None,
                host_header=options["host_header"],
                headers=target.headers,
            )
        except Unreachable as error:
            return Attempt(None, error=self._masked(error.message))
        seconds = time.monotonic() - begun
        unmet = target.expectation.unmet(answer)
        error = None if unmet is None else self._masked(f"expected {unmet[0]}, got {unmet[1]}")
        return Attempt(seconds, answer.status, error)

    def _masked(self, text: str) -> str:
        """``text`` for a log: Ansible masks results only, and an answer may repeat what it was sent."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text


@dataclass(frozen=True)
class _Before:
    """What is known of the check before this one. ``at``: when, in seconds since 1970."""

    state: str | None
    at: float | None
    untold: bool

    @classmethod
    def read(cls, params: Mapping[str, Any]) -> _Before:
        """From the log, and where there is none from the heartbeat file."""
        entry = files.last(params["log"], params["group"]) if params["log"] else None
        times = [files.seconds_of(entry)] if entry else []
        if params["heartbeat_file"]:
            times.append(files.touched_at(params["heartbeat_file"]))
        known = [at for at in times if at is not None]
        return cls(
            entry["state"] if entry else None, max(known) if known else None, bool(entry and entry.get("untold"))
        )


def _target(options: Mapping[str, Any], secret_headers: Mapping[str, Any]) -> _Target:
    checked_address("targets", options["url"])
    expected = {"method": "GET", "path": shown(options["url"]), **options}
    headers = {name: str(value) for name, value in {**options["headers"], **secret_headers}.items()}
    return _Target(options, Expectation.from_options(expected), headers)


def _measured(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was seen elsewhere, with the keys of what was seen here."""
    keys = ("name", "url", "from", "critical", "state", "attempts", "failures", "seconds", "status", "error")
    return [{key: target[key] for key in keys} for target in given]


def _verdict(
    group: str | None, targets: Sequence[Mapping[str, Any]], before: _Before, max_age: float | None
) -> dict[str, Any]:
    """What the result, the line and the webhook's message have in common."""
    now = datetime.now(UTC)
    state = state_of_all(targets)
    age = None if before.at is None else max(0.0, now.timestamp() - before.at)
    gap = max_age is not None and age is not None and age > max_age
    return {
        "time": now.isoformat(timespec="milliseconds"),
        "group": group,
        "state": state,
        "exit_code": exit_code(state),
        "previous": before.state,
        "change": state != before.state,
        "gap_seconds": round(age, 1) if gap and age is not None else None,
        "text": _text(group, state, targets),
        "targets": list(targets),
    }


def _text(group: str | None, state: str, targets: Sequence[Mapping[str, Any]]) -> str:
    """One line for people: the verdict, and the targets that are not well, the worst first."""
    ill = sorted(
        (target for target in targets if target["state"] != "up"), key=lambda target: -exit_code(target["state"])
    )
    count = f"{len(targets) - len(ill)} of {len(targets)} targets are up"
    named = [_target_text(target) for target in ill[:_SHOWN_TARGETS]]
    if len(ill) > len(named):
        named.append(f"and {len(ill) - len(named)} more")
    return f"{group or 'It'} is {state}: {'; '.join([count, *named])}"


def _target_text(target: Mapping[str, Any]) -> str:
    text = f"{target['from']} {target['name']} is {target['state']}"
    if not target["critical"]:
        text += " (not critical)"
    if target["error"]:
        error = target["error"]
        error = error if len(error) <= _SHOWN_ERROR else f"{error[:_SHOWN_ERROR]}…"
        tries = f", {target['failures']} of {target['attempts']} attempts" if target["attempts"] else ""
        return f"{text} ({error}{tries})"
    return f"{text} ({target['seconds']:.3f} s)" if target["seconds"] is not None else text


def _gap_text(verdict: Mapping[str, Any]) -> str:
    return f"The check before this one was {verdict['gap_seconds']:g} s ago: in between nobody looked."


def _as_line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, separators=(",", ":"))


def _tell(
    params: Mapping[str, Any],
    context: Context,
    verdict: Mapping[str, Any],
    before: _Before,
    tls: ssl.SSLContext | None,
) -> str:
    """Webhook, logs and heartbeat, in this order; return the line as it was logged.

    The line says whether the webhook was told: when it was not, the next check tells it. The sign of life comes last,
    and does not depend on anybody's listening.
    """
    why = _call_webhook(params, verdict, before, tls)
    if why is not None:
        context.warn(f"The webhook was not told that {verdict['text']}: {why}. The next check tells it.")
    text = _as_line({**verdict, "untold": why is not None} if params["webhook_url"] else verdict)
    problems = [*_write(params, text, verdict), *_give_sign(params, context, tls)]
    if problems:
        first = problems[0]
        raise OperationError(
            first.code, f"{first.message}. {verdict['text']}", system=first.system, detail=json.loads(text)
        )
    return text


def _call_webhook(
    params: Mapping[str, Any], verdict: Mapping[str, Any], before: _Before, tls: ssl.SSLContext | None
) -> str | None:
    """POST the verdict where it is wanted; why it was not taken, ``None`` when it was or nobody is to be told."""
    url, moment = params["webhook_url"], params["webhook_on"]
    news = verdict["change"] or before.untold or verdict["gap_seconds"] is not None
    if not url or not (moment == "always" or news or (moment == "bad" and verdict["state"] != "up")):
        return None
    headers = {name: str(value) for name, value in params["webhook_headers"].items()}
    return _call(
        "POST", url, params["webhook_timeout"], tls, headers, json.dumps({"event": "health", **verdict}).encode()
    )


def _write(params: Mapping[str, Any], line: str, verdict: Mapping[str, Any]) -> Iterator[OperationError]:
    for path, text in (
        (params["log"], line),
        (params["text_log"], f"{verdict['time']} {' '.join(verdict['text'].split())}"),
    ):
        if path:
            try:
                files.append(path, text, params["log_max_bytes"])
            except OperationError as error:
                yield error


def _give_sign(params: Mapping[str, Any], context: Context, tls: ssl.SSLContext | None) -> Iterator[OperationError]:
    if params["heartbeat_file"]:
        try:
            files.touch(params["heartbeat_file"])
        except OperationError as error:
            yield error
    if params["heartbeat_url"]:
        why = _call("GET", params["heartbeat_url"], params["heartbeat_timeout"], tls, {}, None)
        if why is not None:  # whoever waits for the sign finds out without us
            context.warn(f"The sign of life was not taken: {why}.")


def _call(
    method: str,
    url: str,
    timeout: float,
    tls: ssl.SSLContext | None,
    headers: Mapping[str, str],
    body: bytes | None,
) -> str | None:
    """Send one request; why it was not taken. Of the address only the host is shown, the rest often is the secret."""
    host = checked_address("webhook_url", url).hostname
    content = {"Content-Type": "application/json"} if body is not None else {}
    try:
        answer = send(
            method,
            url,
            timeout=timeout,
            tls=tls if url.startswith("https:") else None,
            headers={**content, **headers},
            body=body,
        )
    except Unreachable as error:
        return f"{host}: {error.message}"
    return None if 200 <= answer.status < 300 else f"{host} answered {answer.status}"


def _check_numbers(params: Mapping[str, Any]) -> None:
    """:raises InvalidInput: a number is out of its range."""
    if not 1 <= params["attempts"] <= _MOST_ATTEMPTS:
        raise InvalidInput("invalid_option", f"Option attempts has to be from 1 to {_MOST_ATTEMPTS}.")
    if params["log_max_bytes"] < 0:
        raise InvalidInput("invalid_option", "Option log_max_bytes must not be negative.")
    positive = [
        *((option, params[option]) for option in ("webhook_timeout", "heartbeat_timeout", "heartbeat_max_age")),
        *(
            (f"targets: {option} of {target['name']}", target[option])
            for target in params["targets"]
            for option in ("slow_seconds", "timeout")
        ),
    ]
    for option, seconds in positive:
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise InvalidInput("invalid_option", f"Option {option} has to be a number of seconds above 0.")
    if not (math.isfinite(params["attempt_pause"]) and params["attempt_pause"] >= 0):
        raise InvalidInput("invalid_option", "Option attempt_pause has to be a number of seconds, 0 or more.")
