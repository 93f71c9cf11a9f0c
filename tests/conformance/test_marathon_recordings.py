# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Marathon stand-in answers every recording of the real Marathon alike (``tests/recordings/README.md``)."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jmespath
import pytest
import requests
from jmespath.exceptions import JMESPathError

from tests.sandbox.marathon.threaded import running

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"
SCENARIOS = sorted(
    path.stem for path in RECORDINGS.glob("*.json") if path.stem not in ("marathon-lb-cases", "rolling-upgrades")
)
HEADERS = ("Location", "Marathon-Deployment-Id", "Content-Type", "WWW-Authenticate")
INSIDE_TEXT = {
    "<uuid>": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "<host>": r"\d+(\.\d+){3}(:\d+)?",
    "<agent>": r"[\w.-]+",
    "<n>": r"\d+",
}
NUMBERS = {"<port>": range(1025, 65536), "<service port>": range(10000, 20001), "<count>": range(10**9)}


def differences(wanted: Any, got: Any, path: str = "") -> Iterator[str]:
    """What keeps ``got`` from being what was recorded."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key in sorted(wanted.keys() | got.keys()):
            if key not in got:
                yield f"{path}/{key} is missing"
            elif key not in wanted:
                yield f"{path}/{key} is too much: {got[key]!r}"
            else:
                yield from differences(wanted[key], got[key], f"{path}/{key}")
    elif isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) != len(got):
            yield f"{path} has {len(got)} elements, not {len(wanted)}: {got!r}"
        for index, pair in enumerate(zip(wanted, got, strict=False)):
            yield from differences(*pair, f"{path}[{index}]")
    elif isinstance(wanted, str) and wanted in NUMBERS:
        if not isinstance(got, int) or got not in NUMBERS[wanted]:
            yield f"{path} is {got!r}, not {wanted}"
    elif isinstance(wanted, str) and isinstance(got, str):
        pattern = re.escape(wanted)
        for placeholder, inside in INSIDE_TEXT.items():
            pattern = pattern.replace(re.escape(placeholder), inside)
        if not re.fullmatch(pattern, got, re.DOTALL):
            yield f"{path} is {got!r}, not {wanted!r}"
    elif any(value is None or isinstance(value, bool) for value in (wanted, got)):
        if wanted is not got:
            yield f"{path} is {got!r}, not {wanted!r}"
    elif wanted != got:
        yield f"{path} is {got!r}, not {wanted!r}"


def shape(value: Any) -> Any:
    """Keys and types, without values."""
    if isinstance(value, dict):
        return tuple((key, shape(one)) for key, one in sorted(value.items()))
    if isinstance(value, list):
        return ("list", tuple(sorted({repr(shape(one)) for one in value})))
    if value in NUMBERS:
        return "number"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


class Listener:
    """Reads an event stream in a thread."""

    def __init__(self, url: str, types: list[str]) -> None:
        self.events: list[dict[str, Any]] = []
        self._answer = requests.get(
            f"{url}/v2/events",
            params={"event_type": types},
            headers={"Accept": "text/event-stream"},
            stream=True,
            timeout=60,
        )
        assert self._answer.status_code == 200
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        kind = ""
        try:
            for line in self._answer.iter_lines(chunk_size=1):
                name, _separator, value = line.decode().partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    self.events.append({"event": kind, "data": json.loads(value)})
        except requests.RequestException:
            return  # the stand-in ends before its listener does

    def of_deployments(self) -> list[Any]:
        return deployment_story(self.events)


def deployment_story(events: list[dict[str, Any]]) -> list[Any]:
    """The ``deployment_*`` events in order: type, plan, step, reason."""
    story = []
    for one in events:
        if one["event"].startswith("deployment_"):
            data = one["data"]
            story.append((one["event"], data["plan"]["steps"], data.get("currentStep"), data.get("reason")))
    return story


class Replay:
    """One scenario against one stand-in."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._saved: dict[str, Any] = {}
        self._session = requests.Session()

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"\$\{(\w+)\}", lambda match: str(self._saved[match.group(1)]), value)
        if isinstance(value, list):
            return [self._filled(one) for one in value]
        if isinstance(value, dict):
            return {key: self._filled(one) for key, one in value.items()}
        return value

    def _ask(self, request: Mapping[str, Any]) -> requests.Response:
        wanted = self._filled(dict(request))
        body = json.dumps(wanted["json"]) if "json" in wanted else wanted.get("text")
        # A session would tidy up the doubled slash of /v2/apps//id; a prepared URL is sent as it is.
        prepared = self._session.prepare_request(
            requests.Request(
                wanted["method"],
                self._url,
                params=wanted.get("query"),
                data=body,
                headers={"Accept": "application/json", "Content-Type": "application/json", **wanted.get("headers", {})},
            )
        )
        query = prepared.url.partition("?")[2] if prepared.url else ""
        prepared.url = f"{self._url}{wanted['path']}" + (f"?{query}" if query else "")
        return self._session.send(prepared, timeout=30)

    @staticmethod
    def _body(answer: requests.Response) -> Any:
        if answer.headers.get("Content-Type", "").startswith("application/json"):
            return answer.json()
        return answer.text

    @staticmethod
    def _found(expression: str, body: Any) -> Any:
        try:
            return jmespath.search(expression, body)
        except JMESPathError:
            return None

    def step(self, step: Mapping[str, Any]) -> list[str]:
        deadline = time.monotonic() + step.get("within_s", 30)
        while True:
            answer = self._ask(step["request"])
            body = self._body(answer)
            until = step.get("until")
            if until is None or self._found(self._filled(until), body) is True:
                break
            if time.monotonic() > deadline:
                return [f"never came true: {until}; last: {json.dumps(body)[:2000]}"]
            time.sleep(0.2)
        for name, expression in step.get("save", {}).items():
            self._saved[name] = self._found(expression, body)
        recorded = step["response"]
        got = self._found(self._filled(step["pick"]), body) if "pick" in step else body
        headers = {
            name: answer.headers[name].partition(";")[0] if name == "Content-Type" else answer.headers[name]
            for name in HEADERS
            if name in answer.headers
        }
        found = [] if answer.status_code == recorded["status"] else [f"status {answer.status_code}: {body!r}"]
        found += differences(recorded["headers"], headers, "headers")
        found += differences(recorded["body"], got, "body")
        return found


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_recording_is_answered_alike(name: str, tmp_path: Path) -> None:
    """Status, headers, keys, values, messages and events are those of the real Marathon."""
    scenario = json.loads((RECORDINGS / f"{name}.json").read_text())
    with running(tmp_path) as marathon:
        listener = Listener(marathon.urls[0], scenario["events_of"]) if "events_of" in scenario else None
        replay = Replay(marathon.urls[0])
        for number, step in enumerate(scenario["steps"], 1):
            found = replay.step(step)
            assert not found, f"step {number} ({step.get('about', step['request'])}): " + "\n".join(found)
        if listener is not None:
            compare_events(scenario["events"], listener)


def compare_events(recorded: list[dict[str, Any]], listener: Listener) -> None:
    """Types, shapes of each type, and the deployments' story."""
    kinds = {one["event"] for one in recorded}
    story = deployment_story(recorded)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if {one["event"] for one in listener.events} >= kinds and len(listener.of_deployments()) >= len(story):
            break
        time.sleep(0.1)
    assert {one["event"] for one in listener.events} == kinds
    for kind in sorted(kinds):
        wanted = {shape(one["data"]) for one in recorded if one["event"] == kind}
        assert {shape(one["data"]) for one in listener.events if one["event"] == kind} == wanted, kind
    assert listener.of_deployments() == story
