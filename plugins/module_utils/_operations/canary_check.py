# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask through the load balancers as many clients do, and count which version answers them."""

from __future__ import annotations

import json
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._analysis.intervals import lower_bound, upper_bound
from .._errors import DeadlinePassed, InvalidInput, Rejected, Unreachable
from .._http import TLS_SPEC, Answer, Http, Tls
from .._invocation.context import Context
from .._query import Query
from .._task_targets import checked_url

ARGUMENT_SPEC: dict[str, Any] = {
    "urls": {"type": "list", "elements": "str", "required": True},
    "clients": {"type": "int", "default": 100},
    "requests_per_client": {"type": "int", "default": 1},
    "parallel": {"type": "int", "default": 10},
    "requests_per_second": {"type": "float"},
    "host_header": {"type": "str"},
    "headers": {"type": "dict", "default": {}},
    "secret_headers": {"type": "dict", "no_log": True, "default": {}},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "version_header": {"type": "str"},
    "version_jmespath": {"type": "str"},
    "version_regex": {"type": "str"},
    "expect": {"type": "dict"},
    "tolerance": {"type": "float"},
    "confidence": {"type": "float", "default": 0.95},
    "sticky_versions": {"type": "list", "elements": "str", "default": []},
    "max_failures": {"type": "int", "default": 0},
    "wait_timeout": {"type": "float", "default": 300},
    # Nothing is asked twice: what a client sees is what is counted.
    **{name: option for name, option in TLS_SPEC.items() if name != "retry_timeout"},
}

_READERS = ("version_header", "version_jmespath", "version_regex")
ARGUMENT_RULES: dict[str, Any] = {"mutually_exclusive": [_READERS], "required_one_of": [_READERS]}

_MOST_CLIENTS = 1_000_000
_MOST_THREADS = 100
_LONGEST_VERSION = 200
_SHOWN_VERSIONS = 10
_SHOWN_FAILURES = 10
_PROGRESS_EVERY = 5.0
_LONGEST_SLEEP = 0.5
_ROUNDING = 1e-9


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Ask, count and compare; see the module's documentation. Nothing is changed.

    :raises Rejected: code ``too_many_failures``, ``not_sticky`` or ``unexpected_split``: the first that holds; the
        message says all that do.
    :raises DeadlinePassed: not everything was asked in time.

    The split is in ``detail`` each time.
    """
    expected = _checked_options(params)
    split = Split(_Crowd(params, context).ask(), params["clients"], params["confidence"])
    described = split.described()
    context.sample("errors", **split.by_version())
    context.sample("evidence", text=split.summary())
    unfinished = params["clients"] - split.finished
    if unfinished:
        raise DeadlinePassed(
            "deadline_passed",
            f"After {params['wait_timeout']:g} s {unfinished} of {params['clients']} clients had not asked all they "
            f"were to ask. {split.summary()}.",
            detail=described,
        )
    problems = [
        *_too_many_failures(split, params["max_failures"]),
        *_moved_clients(split, params["sticky_versions"]),
        *_unexpected_shares(split, expected, params["tolerance"]),
    ]
    if problems:
        text = "; ".join(problem for _code, problem in problems)
        raise Rejected(problems[0][0], f"{split.summary()}: {text}.", detail=described)
    for version in params["sticky_versions"]:
        if not split.clients[version]:
            context.warn(f"No client saw {version}, so it was not seen whether clients stay on it.")
    return {"changed": False, "msg": split.summary(), "split": described}


@dataclass(frozen=True)
class Failure:
    """A request without a version. ``cause``: ``unreachable``, ``status``, ``unreadable`` or ``no_version``.

    ``version`` is the one that an answer with a wrong status says it is from.
    """

    cause: str
    message: str
    status: int | None = None
    version: str | None = None


@dataclass
class Client:
    """What one client saw: ``versions`` in the order of its answers; ``finished``: all was asked."""

    versions: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    finished: bool = False

    def left(self, version: str) -> bool:
        """Whether another version answered after this one had."""
        return version in self.versions and any(
            other != version for other in self.versions[self.versions.index(version) :]
        )


class Split:
    """The counts. A client counts for the version that answered it first: later answers depend on that one.

    ``clients`` and ``requests`` are by version, ``total`` is how many clients there are meant to be.
    """

    def __init__(self, seen: Sequence[Client], total: int, confidence: float) -> None:
        self.total = total
        self.confidence = confidence
        self.finished = sum(client.finished for client in seen)
        self.clients = Counter(client.versions[0] for client in seen if client.versions)
        self.requests = Counter(version for client in seen for version in client.versions)
        self.left = Counter(version for client in seen for version in set(client.versions) if client.left(version))
        self.saw = Counter(version for client in seen for version in set(client.versions))
        self.failures = Counter(failure for client in seen for failure in client.failures)
        self._asked = sum(bool(client.versions or client.failures) for client in seen)

    @property
    def answered(self) -> int:
        """How many clients saw a version."""
        return self.clients.total()

    def share(self, count: int) -> Share:
        """What ``count`` of the clients that saw a version are, with the interval by Clopper and Pearson."""
        one_sided = (1 + self.confidence) / 2
        return Share(
            count / self.answered if self.answered else 0.0,
            lower_bound(count, self.answered, one_sided),
            upper_bound(count, self.answered, one_sided),
            self.confidence,
        )

    def summary(self) -> str:
        """As people say it: ``Out of 100 clients 80 saw 0.9 and 20 saw 1.0``."""
        if not self._asked:
            return "No client was answered"
        ordered = self._ordered()
        words = [f"{count} saw {version}" for version, count in ordered[:_SHOWN_VERSIONS]]
        others = ordered[_SHOWN_VERSIONS:]
        if others:
            words.append(f"{sum(count for _version, count in others)} saw {len(others)} other versions")
        blind = self._asked - self.answered
        if blind or not words:
            words.append(f"{blind} saw no version")
        listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
        return f"Out of {self._asked} client{'s' if self._asked != 1 else ''} {listed}"

    def by_version(self) -> dict[str, dict[str, int]]:
        """Requests and errors of each version, as far as failing answers say which one they are from."""
        errors = Counter[str]()
        for failure, count in self.failures.items():
            if failure.version is not None:
                errors[failure.version] += count
        return {
            version: {"requests": self.requests[version] + errors[version], "errors": errors[version]}
            for version in sorted(self.requests | errors)
        }

    def lines(self) -> list[str]:
        """The sentence, the shares with their intervals, and the failures, for people."""
        return [
            f"{self.summary()}.",
            *(
                f"{version}: {_percent(100 * share.seen)}, {share.interval()}"
                for version, count in self._ordered()[:_SHOWN_VERSIONS]
                for share in [self.share(count)]
            ),
            *(f"{count} times {failure.message}" for failure, count in self.failures.most_common(_SHOWN_FAILURES)),
        ]

    def described(self) -> dict[str, Any]:
        """The split as plain data."""
        return {
            "text": self.lines(),
            "clients": self.total,
            "answered": self.answered,
            "requests": self.requests.total() + self.failures.total(),
            "confidence": self.confidence,
            "versions": [self._version(version, self.clients[version]) for version, _count in self._ordered()],
            "failures": [
                {
                    "cause": failure.cause,
                    "message": failure.message,
                    "status": failure.status,
                    "version": failure.version,
                    "count": count,
                }
                for failure, count in self.failures.most_common()
            ],
        }

    def _ordered(self) -> list[tuple[str, int]]:
        """All versions, with those that no client saw first, the one with most clients at the front."""
        counts = {version: self.clients[version] for version in self.requests}
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    def _version(self, version: str, count: int) -> dict[str, Any]:
        share = self.share(count)
        return {
            "version": version,
            "clients": count,
            "requests": self.requests[version],
            "left": self.left[version],
            "share_percent": round(100 * share.seen, 3),
            "low_percent": round(100 * share.low, 3),
            "high_percent": round(100 * share.high, 3),
        }


@dataclass(frozen=True)
class Share:
    """A share that was seen, and between which ones the true one lies; all from 0 to 1."""

    seen: float
    low: float
    high: float
    confidence: float

    def fits(self, expected: float, tolerance: float | None) -> bool:
        """Whether the expected percentage is what was seen, give or take ``tolerance`` percentage points; ``None``:
        whether it lies in the interval.
        """
        if tolerance is not None:
            return abs(100 * self.seen - expected) <= tolerance + _ROUNDING
        return 100 * self.low - _ROUNDING <= expected <= 100 * self.high + _ROUNDING

    def as_text(self, tolerance: float | None) -> str:
        """What was seen, and how exact it would have had to be."""
        if tolerance is not None:
            return f"{_percent(100 * self.seen)} (tolerance {tolerance:g} percentage points)"
        return f"{_percent(100 * self.seen)} ({self.interval()})"

    def interval(self) -> str:
        """Between which shares the true one lies."""
        low, high = _percent(100 * self.low), _percent(100 * self.high)
        return f"{low} to {high} at a confidence of {_percent(100 * self.confidence)}"


def _too_many_failures(split: Split, most: int) -> Iterator[tuple[str, str]]:
    count = split.failures.total()
    if count > most:
        causes = split.failures.most_common(3)
        shown = ", ".join(f"{number} times {failure.message}" for failure, number in causes)
        more = "" if len(split.failures) == len(causes) else f", and {len(split.failures) - len(causes)} other causes"
        requests = "request" if count == 1 else "requests"
        yield "too_many_failures", f"{count} {requests} failed, max_failures is {most} ({shown}{more})"


def _moved_clients(split: Split, versions: Sequence[str]) -> Iterator[tuple[str, str]]:
    for version in versions:
        left = split.left[version]
        if left:
            seen = split.saw[version]
            clients = "client" if seen == 1 else "clients"
            yield "not_sticky", f"{left} of {seen} {clients} that saw {version} got another version afterwards"


def _unexpected_shares(
    split: Split, expected: Mapping[str, float], tolerance: float | None
) -> Iterator[tuple[str, str]]:
    if not expected:
        return
    if not split.answered:
        yield "unexpected_split", "no version was seen, so nothing is known of the expected shares"
        return
    for version, percent in expected.items():
        share = split.share(split.clients[version])
        if not share.fits(percent, tolerance):
            yield (
                "unexpected_split",
                f"{version} was expected at {_percent(percent)}, seen at {share.as_text(tolerance)}",
            )
    if len(expected) == 1:
        return  # the others are the rest of the one
    rest = max(0.0, 100 - sum(expected.values()))
    others = split.share(split.answered - sum(split.clients[version] for version in expected))
    if not others.fits(rest, tolerance):
        names = ", ".join(sorted(set(split.clients) - set(expected))[:_SHOWN_VERSIONS]) or "none"
        yield (
            "unexpected_split",
            f"other versions ({names}) were expected at {_percent(rest)}, seen at {others.as_text(tolerance)}",
        )


def _percent(value: float) -> str:
    return f"{f'{value:.1f}'.removesuffix('.0')} %"


class _Crowd:
    """The clients, a few of them at a time."""

    def __init__(self, params: Mapping[str, Any], context: Context) -> None:
        self._params = params
        self._context = context
        self._tls = Tls.from_params(params)
        self._read = _reader(params)
        self._headers = {
            name: str(value)
            for name, value in {
                **params["headers"],
                **params["secret_headers"],
                **({"Host": params["host_header"]} if params["host_header"] else {}),
            }.items()
        }
        self._deadline = context.now() + params["wait_timeout"]
        self._pace = _Pace(params["requests_per_second"], context)
        self._numbers = iter(range(params["clients"]))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._seen: list[Client] = []

    def ask(self) -> list[Client]:
        """Let all clients ask, and return those that have begun to."""
        threads = min(self._params["parallel"], self._params["clients"])
        with ThreadPoolExecutor(max_workers=threads) as pool:
            try:
                working = [pool.submit(self._work) for _thread in range(threads)]
                while not self._is_over(working):
                    self._context.progress(self._progress())
            finally:
                self._stop.set()  # an interrupted task must not wait for the clients that are left
        return self._seen

    def _is_over(self, working: Sequence[Any]) -> bool:
        done, left = wait(working, timeout=_PROGRESS_EVERY, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return not left

    def _progress(self) -> str:
        split = Split(list(self._seen), self._params["clients"], self._params["confidence"])
        left = self._deadline - self._context.now()
        return (
            f"{split.finished} of {self._params['clients']} clients have asked: {split.summary()} ({left:.0f} s left)"
        )

    def _work(self) -> None:
        while not self._stop.is_set() and self._context.now() < self._deadline:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            client = self._client(number)
            with self._lock:
                self._seen.append(client)

    def _client(self, number: int) -> Client:
        """Ask as one client: it keeps its cookies, and nothing else, from one request to the next."""
        url = self._params["urls"][number % len(self._params["urls"])]
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        client = Client()
        with Http(
            "LB",
            [f"{parts.scheme}://{parts.netloc}"],
            self._context,
            retry_timeout=0,
            tls=self._tls,
            headers=self._headers,
            keep_alive=False,
        ) as http:
            for _request in range(self._params["requests_per_client"]):
                if not self._pace.wait(self._deadline, self._stop):
                    return client
                left = self._deadline - self._context.now()
                if left <= 0:
                    return client
                http.timeout = min(self._params["timeout"], left)
                try:
                    answer = http.send("GET", path, answers_itself=lambda _answer: True)
                except Unreachable as error:
                    if self._context.now() >= self._deadline:
                        return client  # cut off by the deadline: says nothing about the load balancer
                    client.failures.append(Failure("unreachable", error.message))
                else:
                    self._judge(answer, client)
        client.finished = True
        return client

    def _judge(self, answer: Answer, client: Client) -> None:
        """Add what the answer says to what the client saw."""
        where = f"{answer.system} answered {answer.request} with {answer.status}"
        try:
            version = self._read(answer)
        except _NoVersion as error:
            if answer.status in self._params["status"]:
                client.failures.append(Failure(error.cause, f"{where} and {error}", answer.status))
                return
            version = None
        if answer.status not in self._params["status"]:
            client.failures.append(Failure("status", where, answer.status, version))
        elif version is not None:
            client.versions.append(version)


class _Pace:
    """Lets a request through each ``1 / per_second`` seconds, whoever sends it; ``None``: all at once."""

    def __init__(self, per_second: float | None, context: Context) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._context = context
        self._next = context.now()
        self._lock = threading.Lock()

    def wait(self, deadline: float, stop: threading.Event) -> bool:
        """Wait for the turn of the caller; false when that is not before the ``deadline``, or ``stop`` is set."""
        if self._gap:
            with self._lock:
                due = max(self._next, self._context.now())
                self._next = due + self._gap
            while (left := min(due, deadline) - self._context.now()) > 0 and not stop.is_set():
                self._context.sleep(min(left, _LONGEST_SLEEP))
        return not stop.is_set() and self._context.now() < deadline


class _NoVersion(Exception):
    """An answer that says no version; the text is what it has instead."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


def _reader(params: Mapping[str, Any]) -> Callable[[Answer], str]:
    """The function that finds the version in an answer, or raises ``_NoVersion``.

    :raises InvalidInput: an expression cannot be read.
    """
    if params["version_header"] is not None:
        return _from_header(params["version_header"])
    if params["version_jmespath"] is not None:
        return _from_json(Query(params["version_jmespath"]))
    return _from_text(params["version_regex"])


def _from_header(name: str) -> Callable[[Answer], str]:
    def read(answer: Answer) -> str:
        return _version(answer.headers.get(name), f"no version in the header {name}")

    return read


def _from_json(query: Query) -> Callable[[Answer], str]:
    def read(answer: Answer) -> str:
        missing = f"no version at {query.expression!r}"
        try:
            found = query.of(answer.json())
        except Unreachable:
            raise _NoVersion("unreadable", "a body that is no JSON") from None
        except ValueError as error:
            raise _NoVersion("no_version", f"{missing}: {error}") from None
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            found = json.dumps(found)
        return _version(found, missing)

    return read


def _from_text(expression: str) -> Callable[[Answer], str]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise InvalidInput("invalid_option", f"{expression!r} is no regular expression: {error}") from None
    if not pattern.groups:
        raise InvalidInput(
            "invalid_option",
            f"Option version_regex: {expression!r} has no group; put parentheses around the version.",
        )
    group: str | int = "version" if "version" in pattern.groupindex else 1

    def read(answer: Answer) -> str:
        match = pattern.search(answer.text)
        return _version(match and match[group], f"a body without a match for {expression!r}")

    return read


def _version(found: Any, missing: str) -> str:
    """What was found, as a version.

    :raises _NoVersion: it is no text, an empty one, or one that is too long to be a version.
    """
    text = found.strip() if isinstance(found, str) else ""
    if not text:
        raise _NoVersion("no_version", missing)
    if len(text) > _LONGEST_VERSION:
        raise _NoVersion("no_version", f"{missing}: what is there is longer than {_LONGEST_VERSION} characters")
    return text


def _checked_options(params: Mapping[str, Any]) -> dict[str, float]:
    """The expected percentages by version.

    :raises InvalidInput: an option is out of its range, or they do not fit together.
    """
    if not params["urls"]:
        raise InvalidInput("invalid_option", "Option urls is empty.")
    for url in params["urls"]:
        checked_url(url)
    ranges = {
        "clients": (1, _MOST_CLIENTS),
        "requests_per_client": (1, _MOST_CLIENTS),
        "parallel": (1, _MOST_THREADS),
        "max_failures": (0, math.inf),
        "tolerance": (0, 100),
    }
    for name, (least, most) in ranges.items():
        value = params[name]
        if value is not None and not least <= value <= most:
            to = f"{least} or more" if most == math.inf else f"from {least} to {most}"
            raise InvalidInput("invalid_option", f"Option {name} is {value:g}; it has to be {to}.")
    for name in ("timeout", "wait_timeout", "requests_per_second"):
        value = params[name]
        if value is not None and not 0 < value < math.inf:
            raise InvalidInput("invalid_option", f"Option {name} is {value:g}; it has to be more than 0.")
    if not 0 < params["confidence"] < 1:
        raise InvalidInput(
            "invalid_option",
            f"Option confidence is {params['confidence']:g}; it has to be between 0 and 1, such as 0.95.",
        )
    if params["sticky_versions"] and params["requests_per_client"] < 2:
        raise InvalidInput(
            "invalid_option", "Option sticky_versions needs a requests_per_client of 2 or more: nobody comes back else."
        )
    rate = params["requests_per_second"]
    shortest = params["clients"] * params["requests_per_client"] / rate if rate else 0
    if shortest > params["wait_timeout"]:
        raise InvalidInput(
            "invalid_option",
            f"With {rate:g} requests per second the clients need {shortest:.0f} s, which is more than wait_timeout "
            f"({params['wait_timeout']:g} s).",
        )
    return _expected(params["expect"] or {})


def _expected(options: Mapping[str, Any]) -> dict[str, float]:
    expected: dict[str, float] = {}
    for version, given in options.items():
        try:
            percent = float(given) if not isinstance(given, bool) else math.nan
        except (TypeError, ValueError):
            percent = math.nan
        if not 0 <= percent <= 100:
            raise InvalidInput("invalid_option", f"Option expect: {version}: {given!r} is no percentage from 0 to 100.")
        expected[str(version)] = percent
    total = sum(expected.values())
    if total > 100 + _ROUNDING:
        raise InvalidInput("invalid_option", f"Option expect: the shares are {total:g} % together, more than 100.")
    return expected
