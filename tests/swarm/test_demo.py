# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo-swarm`` tells the truth: its end, its report and its exit status."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal import demo_swarm
from tests.rehearsal.demo import Screen
from tests.rehearsal.demo_swarm import UNDER_LOAD, SwarmDemo
from tests.rehearsal.playbook import ROOT, Run

LIMIT = 900.0  # seconds for the whole of the short demo, on a machine that is busy with other things


def told(proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SwarmDemo, io.StringIO]:
    """A demo without a swarm, for what it makes of its observations."""

    class NoSwarm:
        inventory = tmp_path / "inventory.yml"

    monkeypatch.setattr(demo_swarm, "fresh_folder", lambda _name: tmp_path)
    stream = io.StringIO()
    return SwarmDemo(NoSwarm(), proxy, 2, Screen(stream)), stream  # type: ignore[arg-type]


def traffic(causes: dict[str, int], *versions: str) -> dict[str, Any]:
    failures = [
        {"t": 0.0, "kind": "get", "url": "http://proxy1", "cause": cause, "detail": ""}
        for cause, count in causes.items()
        for _time in range(count)
    ]
    return {
        "clients": {"get": {"sent": 100, "failed": len(failures), "causes": causes}},
        "versions": [{"version": version} for version in versions],
        "failures": failures,
    }


def ended(code: int, result: str | None) -> Run:
    report = {} if result is None else {"result": result}
    return Run("any", code, 1.0, "", report, 0.0, 0.0, 0.0)


def test_it_succeeds_when_nothing_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo, stream = told("nginx", tmp_path, monkeypatch)

    assert demo.finish(traffic({}, "1", "2")) == 0
    assert "0 of 100 requests were lost; versions met: 1, 2" in stream.getvalue()


@pytest.mark.parametrize(
    ("proxy", "cause", "status"),
    [
        ("nginx", "status_502", 1),
        ("haproxy", "status_502", 1),
        ("nginx", "eof_on_kept_connection", 0),
        ("haproxy", "eof_on_kept_connection", 1),
    ],
)
def test_it_fails_when_a_request_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, cause: str, status: int
) -> None:
    """Only what a reload of nginx costs is counted apart, and told."""
    demo, stream = told(proxy, tmp_path, monkeypatch)

    assert demo.finish(traffic({cause: 1}, "1", "2")) == status
    assert f"{status} of 100 requests were lost" in stream.getvalue()
    assert f"{cause}: 1" in stream.getvalue()
    assert ("keepalive_min_timeout" in stream.getvalue()) is (status == 0)


def test_it_fails_when_the_refused_version_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo, stream = told("nginx", tmp_path, monkeypatch)

    assert demo.finish(traffic({}, "1", "4")) == 1
    assert "clients met version 4, which no one should have seen" in stream.getvalue()


@pytest.mark.parametrize(
    ("code", "result", "good"),
    [(0, "toggled", True), (2, "failed", False), (2, "toggled", False), (0, "unchanged", False), (4, None, False)],
)
def test_a_playbook_that_ends_otherwise_is_a_surprise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, result: str | None, good: bool
) -> None:
    demo, _stream = told("nginx", tmp_path, monkeypatch)
    toggle = next(chapter for chapter in UNDER_LOAD if chapter.playbook == "swarm_toggle")

    demo.judge(toggle, ended(code, result))

    assert (demo.finish(traffic({})) == 0) is good


@pytest.mark.parametrize(("code", "good"), [(2, True), (0, False)])
def test_a_bad_version_has_to_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, good: bool
) -> None:
    demo, _stream = told("nginx", tmp_path, monkeypatch)
    bad = next(chapter for chapter in UNDER_LOAD if chapter.refused)

    demo.judge(bad, ended(code, "rolled back" if code else "promoted"))

    assert (demo.finish(traffic({})) == 0) is good


def test_it_says_why_when_no_engine_can_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_swarm, "why_not", lambda: "A Docker engine needs root.")

    assert demo_swarm.main([]) == 1
    assert "A Docker engine needs root." in capsys.readouterr().err


def test_the_short_demo_loses_nothing(engine: None) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.rehearsal.demo_swarm", "--short"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    report = json.loads((ROOT / "build" / "demo-swarm" / "report.json").read_text())

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert [run["result"] for run in report["runs"]] == ["done", "deployed", "promoted", "rolled back", "done"]
    assert all(counts["sent"] for counts in report["clients"].values())
