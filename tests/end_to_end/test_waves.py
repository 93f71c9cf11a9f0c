# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters in waves, and apps that belong together: nobody goes on before all are in, and all go back together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.stage import AFTERWARDS, Service, inventory, nothing_failed
from tests.rehearsal.playbook import Run
from tests.sandbox import launch
from tests.sandbox.clients import Clients, clients
from tests.unit.plugins.module_utils.serving import serving

CLUSTERS = ("east", "north", "west")
KINDS = ("get", "post", "stream")
RATE = 15.0  # requests/s at each cluster: three of them share the machine
BAD = [{"path": "/", "jmespath": "version == 'another one'"}]

Json = dict[str, Any]


class Fleet:
    """One app in each of several clusters, and one inventory that has them all."""

    def __init__(self, sandboxes: Mapping[str, launch.Running], folder: Path, app_id: str, port: int) -> None:
        self.sandboxes = sandboxes
        self.services = {
            name: Service(sandbox, folder / name, app_id, port, instances=2) for name, sandbox in sandboxes.items()
        }
        self.first = next(iter(self.services.values()))

    def play(self, playbook: str, version: str | None, *options: str, bad: str | None = None, **variables: Any) -> Run:
        """Run it in all clusters; in the cluster ``bad`` the checks of the new version fail."""
        own = {bad: {"bluegreen_checks": BAD, "bluegreen_check_timeout": 0}} if bad else {}
        self.first.cluster.use(inventory(self.sandboxes, **own))
        for sandbox in self.sandboxes.values():
            sandbox.forget_requests()
        given = {"bluegreen_app": self.first.definition(version)} if version else {}
        return self.first.cluster.play(playbook, {**given, **variables}, *options, timeout=240)

    def counts(self) -> dict[str, dict[str, int]]:
        return {name: service.counts() for name, service in self.services.items()}

    def everywhere(self, *versions: str) -> bool:
        return all(counts == dict.fromkeys(versions, 2) for counts in self.counts().values())

    def begin(self) -> tuple[str, str]:
        """The version that all clusters run, from the test before where that has left them so, and the next one."""
        found = {version for counts in self.counts().values() for version in counts}
        version = max(found, key=int, default="1")
        if len(found) != 1 or not self.everywhere(version):
            run = self.play("bluegreen", version)
            assert run.code == 0, run.output
        assert self.everywhere(version)
        return version, str(int(version) + 1)

    @contextmanager
    def traffic(self) -> Iterator[Clients]:
        """Clients at every cluster; none of their requests fails."""
        urls = [url for service in self.services.values() for url in service.urls()]
        with clients(urls, KINDS, RATE) as traffic:
            traffic.wait_until_flowing()
            yield traffic
            time.sleep(AFTERWARDS)
            traffic.stop()
            nothing_failed(traffic)

    def when(self, asked: Callable[[Service, str], float], app_id: str, *names: str, **more: Any) -> list[float]:
        return [asked(self.services[name], app_id, **more) for name in names]

    def colours(self) -> tuple[str, str]:
        """The app ids of the live and of the next colour, which are the same in all clusters."""
        [live] = {app_id for service in self.services.values() for app_id in service.ids()}
        base, _separator, colour = live.rpartition("-")
        return live, f"{base}-{'green' if colour == 'blue' else 'blue'}"


@pytest.fixture(scope="module")
def clusters() -> Iterator[dict[str, launch.Running]]:
    """Three clusters of two agents and one load balancer each."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(launch.start(lbs=1, agents=2)) for name in CLUSTERS}


@pytest.fixture
def fleet(clusters: dict[str, launch.Running], tmp_path: Path) -> Fleet:
    """The app of these tests."""
    return Fleet(clusters, tmp_path, "/fleet", 10000)


def results(run: Run) -> dict[str, str]:
    """What the common report says of each cluster (of its last app, where there are several)."""
    return {report["cluster"]: report["result"] for report in run.report["reports"]}


def test_no_cluster_of_a_wave_removes_its_old_version_before_all_are_in(fleet: Fleet) -> None:
    """Two waves. In the first one both clusters turn before either removes; the second one begins after that."""
    live, wanted = fleet.begin()
    old, new = fleet.colours()
    assert "begin: east, north" in fleet.play("waves", wanted, "--check", bluegreen_serial=2).output
    assert fleet.everywhere(live)

    files = [str(fleet.first.cluster.folder / name) for name in ("report.json", "report.html")]
    with fleet.traffic(), serving(lambda _request: (200, "")) as server:
        told = {"bluegreen_webhook_url": server.url, "bluegreen_webhook_events": ["finished"]}
        run = fleet.play("waves", wanted, bluegreen_serial=2, bluegreen_report_file=files, **told)

    assert run.code == 0, run.output
    assert results(run) == dict.fromkeys(CLUSTERS, "promoted")
    assert [request.body["report"]["results"] for request in server.got] == [{"promoted": 3}]
    assert all(name in Path(files[1]).read_text() for name in CLUSTERS)
    assert fleet.everywhere(wanted)
    first = ("east", "north")
    removed = fleet.when(Service.removed, old, *first)
    assert max(fleet.when(Service.turned_to, new, *first)) < min(removed)
    created = [entry["t"] for entry in fleet.services["west"].asked() if entry["method"] == "POST"]
    assert max(removed) < min(created)
    again = fleet.play("waves", wanted, bluegreen_serial=2)
    assert (again.code, again.changed) == (0, 0), again.output


def test_when_one_cluster_fails_its_wave_goes_back_and_later_ones_are_not_begun(fleet: Fleet) -> None:
    """The good cluster of the wave has taken the traffic and goes back, warm; the third one is left alone."""
    _live, wanted = fleet.begin()
    tasks = {name: service.tasks() for name, service in fleet.services.items()}
    with fleet.traffic():
        run = fleet.play("waves", wanted, bad="north", bluegreen_serial=2)

    assert run.code != 0
    assert results(run) == {"east": "rolled back", "north": "rolled back", "west": "not begun"}, run.output
    assert "rollback: east (north (fleet): Rolled back: 2 of 2 checks failed" in run.output
    assert {name: service.tasks() for name, service in fleet.services.items()} == tasks


def test_with_all_earlier_waves_go_back_too_without_a_new_rollout(fleet: Fleet) -> None:
    """Each cluster is a wave. When the last one fails, the others still have their old tasks, and return to them."""
    _live, wanted = fleet.begin()
    tasks = {name: service.tasks() for name, service in fleet.services.items()}
    with fleet.traffic():
        run = fleet.play("waves", wanted, bad="west", bluegreen_serial=1, bluegreen_on_failure="all")

    assert run.code != 0
    assert results(run) == dict.fromkeys(CLUSTERS, "rolled back"), run.output
    assert "stay: east (the old versions stay warm until the last wave is in)" in run.output
    assert {name: service.tasks() for name, service in fleet.services.items()} == tasks


def test_a_plan_that_is_refused_in_one_cluster_changes_nothing_in_any(fleet: Fleet) -> None:
    _live, wanted = fleet.begin()
    before = {name: service.state() for name, service in fleet.services.items()}
    fleet.first.cluster.use(inventory(fleet.sandboxes, west={"bluegreen_batch_size": "none"}))
    run = fleet.first.cluster.play("waves", {"bluegreen_app": fleet.first.definition(wanted)}, timeout=120)

    assert run.code != 0
    assert results(run) == {"east": "not begun", "north": "not begun", "west": "refused"}, run.output
    assert {name: service.state() for name, service in fleet.services.items()} == before


def test_with_host_only_the_cluster_that_fails_goes_back(fleet: Fleet) -> None:
    live, wanted = fleet.begin()
    with fleet.traffic():
        run = fleet.play("waves", wanted, bad="north", bluegreen_serial=2, bluegreen_on_failure="host")

    assert run.code != 0
    assert results(run) == {"east": "promoted", "north": "rolled back", "west": "promoted"}, run.output
    assert fleet.counts() == {"east": {wanted: 2}, "north": {live: 2}, "west": {wanted: 2}}


def test_apps_that_belong_together_go_on_together_and_back_together(
    clusters: dict[str, launch.Running], tmp_path: Path
) -> None:
    """Of two apps none is removed before both are in; when the second one fails, the first one goes back as well."""
    pair = [
        Service(clusters["east"], tmp_path / str(number), f"/pair/{name}", 10010 + 10 * number, instances=2)
        for number, name in enumerate(("shop", "cart"))
    ]

    def play(playbook: str, version: str, **variables: Any) -> Run:
        apps = [{"app": app.definition(version)} for app in pair]
        apps[1] |= variables.pop("second", {})
        pair[0].sandbox.forget_requests()
        # As a survey sends it: one text.
        return pair[0].cluster.play(playbook, {"bluegreen_apps": json.dumps(apps), **variables}, timeout=240)

    first = play("bluegreen", "1")
    assert first.code == 0, first.output
    tasks = [app.tasks() for app in pair]
    with clients([url for app in pair for url in app.urls()], KINDS, RATE) as traffic:
        traffic.wait_until_flowing()
        bad = play("bluegreen", "2", second={"checks": BAD}, bluegreen_check_timeout=0)
        assert bad.code != 0
        assert [report["result"] for report in bad.report["reports"]] == ["rolled back", "rolled back"], bad.output
        assert [app.tasks() for app in pair] == tasks

        good = play("bluegreen", "2")
        assert good.code == 0, good.output
        assert [app.counts() for app in pair] == [{"2": 2}, {"2": 2}]
        turned = max(app.turned_to(f"{app.app_id}-green") for app in pair)
        assert turned < min(app.removed(f"{app.app_id}-blue") for app in pair)
        time.sleep(AFTERWARDS)
        traffic.stop()
        nothing_failed(traffic)
    for app in pair:
        app.remove()
