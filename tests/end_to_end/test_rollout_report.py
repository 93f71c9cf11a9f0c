# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout leaves behind for people and machines, however it ends, and what a webhook is told meanwhile."""

from __future__ import annotations

import socket
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tests.end_to_end.stage import Service, names
from tests.sandbox.clients import ALL
from tests.unit.plugins.module_utils.serving import Request, Serving, serving

SECRET = "/hooks/hush-hush"


def files(app: Service, folder: Path) -> dict[str, Any]:
    """The report's files: the JSON that every run is read from, the page, the text, and one that cannot be."""
    wanted = [
        app.cluster.folder / "report.json",
        folder / "report.html",
        folder / "report.txt",
        "/proc/none/report.json",
    ]
    return {"bluegreen_report_file": [str(path) for path in wanted]}


def hook(server: Serving, **more: Any) -> dict[str, Any]:
    secret = {"bluegreen_webhook_headers": {"Authorization": "Bearer hush-hush"}}
    return {"bluegreen_webhook_url": server.url + SECRET, **secret, **more}


def words(page: Path) -> str:
    """The text of a page."""
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(page.read_text())
    return " ".join(" ".join(found).split())


def test_a_rollout_tells_what_was_seen_decided_and_cut(live: Service, tmp_path: Path) -> None:
    app = live
    with app.traffic(), serving(lambda _request: (204, "")) as server:
        run = app.deploy("2", bluegreen_bake_seconds=2, **files(app, tmp_path), **hook(server))

    report, blue, green = run.report, f"{app.app_id}-blue", f"{app.app_id}-green"
    old, new = (blue, green) if report["apps"][blue]["role"] == "old" else (green, blue)
    assert (report["cluster"], report["from"], report["to"]) == ("sandbox", "1", "2")
    assert report["marathon"] == app.sandbox.marathon
    series = report["series"]
    assert series["instances"][old][0] == [0.0, 4] and series["instances"][old][-1][1] == 0
    assert series["instances"][new][0] == [0.0, 0] and series["instances"][new][-1][1] == 4
    assert series["share"][old][0] == [0.0, 100] and series["share"][old][-1][1] == 0
    assert series["share"][new][-1][1] == 100
    lbs = {lb["url"].removeprefix("http://") for lb in app.sandbox.lbs}
    assert set(series["sessions"]) == lbs == set(series["old_workers"])
    assert report["sessions_drained"] == max(sum(point) for point in zip(*(
        [value for _at, value in points] for points in series["sessions"].values()
    ), strict=False))  # fmt: skip
    (requests,) = [points[-1][1] for points in series["errors"].values()]
    assert requests > 20, "what the new version was asked during the bake"
    assert all(step["evidence"] for step in report["steps"])
    page = words(tmp_path / "report.html")
    assert all(evidence in page for step in report["steps"] for evidence in step["evidence"])
    assert "Share of the traffic" in page
    assert "seen: " in (tmp_path / "report.txt").read_text()
    assert "/proc/none/report.json could not be written" in " ".join(run.output.split())
    events = [request.body["event"] for request in server.got]
    assert events == ["started", *["step"] * (len(events) - 2), "promoted"]
    assert [request.body["name"] for request in server.got[1:-1]][:3] == names(run)[:3]
    assert server.got[-1].body["report"]["steps"] == report["steps"]
    assert {request.headers["Authorization"] for request in server.got} == {"Bearer hush-hush"}
    assert "hush-hush" not in run.output


def test_a_rollback_is_reported_with_its_cause_and_a_slow_webhook_does_not_hold_it_up(
    live: Service, tmp_path: Path
) -> None:
    """It is told of the start, of one step and of the end, each in vain."""
    app = live
    before = app.counts()

    def sleep(_request: Request) -> tuple[int, Any]:
        time.sleep(5)
        return 200, "late"

    with app.traffic(), serving(sleep) as server:
        ill = app.definition("3", environment={"ERROR_RATE": "1"})
        bad = {"bluegreen_checks": [{"path": "/"}], "bluegreen_check_timeout": 0.5}
        slow = hook(server, bluegreen_webhook_timeout=0.3)
        run = app.play("bluegreen", ill, **bad, **files(app, tmp_path), **slow)

    assert run.code != 0
    assert run.result == "rolled back", run.output
    assert app.counts() == before
    (failed,) = [step for step in run.report["steps"] if step["failure"]]
    assert failed["name"] == "checked"
    assert failed["failure"] == run.report["failure"]
    (decided,) = [one for one in run.report["decisions"] if one["text"] == "go back to the old version"]
    assert decided["reason"] == run.report["failure"]
    assert "rolled back" in words(tmp_path / "report.html")
    assert run.report["failure"] in words(tmp_path / "report.html")
    assert [request.body["event"] for request in server.got] == ["started", "step", "rolled_back"]
    assert run.output.count("The rollout goes on.") >= 3
    assert "hush-hush" not in run.output


def test_a_rollout_that_holds_is_reported_and_nobody_has_to_listen(live: Service, tmp_path: Path) -> None:
    app = live
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    hurry = {
        "bluegreen_drain_timeout": 0.1,
        "bluegreen_webhook_url": nobody,
        "bluegreen_webhook_events": "held, failed",
    }
    with app.traffic(kinds=ALL):
        run = app.play("bluegreen", "4", **hurry, **files(app, tmp_path))
        assert run.code != 0
        assert run.result == "held", run.output
        assert run.report["decisions"][-1]["text"] == "hold"
        assert run.report["steps"][-1]["name"] == "drained"
        assert "held" in words(tmp_path / "report.html")
        assert run.output.count("was not told of the event") == 1
        app.deploy("4")
