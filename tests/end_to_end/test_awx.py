# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project of docs/awx.md, run by ansible-runner as AWX runs it: survey answers, set_stats, cancelled jobs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import collection_path
from tests.collection_path import ROOT
from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import Service, wait_for
from tests.rehearsal.playbook import descendants, environment

PAGE = ROOT / "docs" / "awx.md"
JOB_LIMIT = 180.0  # seconds
CANCELLED_WITHIN = 5.0  # seconds from SIGTERM to SIGKILL

Json = dict[str, Any]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def survey() -> dict[str, Json]:
    """The questions of the page by their variables."""
    [spec] = [found["spec"] for found in map(json.loads, blocks("json")) if "spec" in found]
    return {question["variable"]: question for question in spec}


def answers(**given: str) -> dict[str, str]:
    """What AWX makes of a survey: texts, and an empty one for each optional question that was left out."""
    questions = survey()
    assert set(given) <= set(questions)
    assert all(name in given for name, question in questions.items() if question["required"])
    return {**dict.fromkeys(questions, ""), **given}


@dataclass(frozen=True)
class Job:
    """One run of a playbook. ``stats``: what it has handed on."""

    code: int
    output: str
    stats: Json


class Awx:
    """The wrapper project with the inventory of one cluster, and a controller that starts its jobs."""

    def __init__(self, folder: Path, app: Service) -> None:
        self.app = app
        self.folder = folder
        self.number = 0
        project = folder / "project"
        for text in blocks("yaml"):
            head, _newline, body = text.partition("\n")
            path = project / head.removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body)
        [definition] = [found for found in map(json.loads, blocks("json")) if found.get("id") == "/web/shop"]
        definition |= {"id": app.app_id, "portDefinitions": [{"port": app.port, "name": "http"}]}
        (project / "shop.json").write_text(json.dumps(definition))
        inventory = folder / "inventory"
        inventory.mkdir()
        shutil.copy(app.cluster.inventory, inventory / "hosts.json")

    def start(self, playbook: str, variables: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """Start a job, in a session of its own and without a terminal."""
        self.number += 1
        settings = self.folder / "env"
        settings.mkdir(exist_ok=True)
        (settings / "extravars").write_text(json.dumps(dict(variables)))
        (settings / "settings").write_text(json.dumps({"runner_mode": "subprocess"}))
        ours = environment(self.app.cluster.settings)
        ours["PATH"] = f"{Path(sys.executable).parent}:{ours['PATH']}"
        command = [sys.executable, "-m", "ansible_runner", "run", str(self.folder), "-p", playbook]
        return subprocess.Popen(
            [*command, "--ident", str(self.number), "--quiet"],
            env=ours,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def ended(self, process: subprocess.Popen[bytes]) -> Job:
        process.wait(JOB_LIMIT)
        artifacts = self.folder / "artifacts" / str(self.number)
        output = (artifacts / "stdout").read_text()
        events = [json.loads(path.read_text()) for path in (artifacts / "job_events").glob("*.json")]
        stats = next((event["event_data"] for event in events if event["event"] == "playbook_on_stats"), {})
        return Job(process.returncode, output, stats.get("artifact_data", {}))

    def run(self, playbook: str, **variables: Any) -> Job:
        return self.ended(self.start(playbook, variables))

    def cancel(self, process: subprocess.Popen[bytes]) -> None:
        """As AWX does it: SIGTERM, and SIGKILL for what is left after a while."""
        family = descendants(process.pid)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(CANCELLED_WITHIN)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(JOB_LIMIT)


@pytest.fixture
def awx(service: MakeService, tmp_path: Path) -> Iterator[Awx]:
    collection_path.ensure()
    yield Awx(tmp_path / "awx", service(instances=2))


def test_every_question_of_the_survey_is_a_variable_that_takes_no_answer() -> None:
    playbook = (ROOT / "playbooks" / "waves.yml").read_text()
    defaults = (ROOT / "roles" / "bluegreen" / "defaults" / "main.yml").read_text()
    for name in survey():
        assert f"{name} |" in playbook or f"\n{name}:" in defaults


def test_a_workflow_deploys_waits_for_an_approval_and_promotes(awx: Awx) -> None:
    """What a node hands on reaches the next one, which is asked nothing; a denial goes back."""
    app = awx.app
    first = awx.run("deploy.yml", **answers(bluegreen_version="1"))
    assert first.code == 0, first.output
    with app.traffic(kinds=("get", "post")):
        deployed = awx.run("deploy.yml", **answers(bluegreen_version="2", bluegreen_keep_old="true"))
        assert deployed.code == 0, deployed.output
        assert versions(app) == {"1": 2, "2": 2}
        told = deployed.stats["zdd_rollout"]["clusters"]["sandbox"][app.group]
        assert {name: told[name] for name in ("result", "phase", "from", "to")} == {
            "result": "kept",
            "phase": "open",
            "from": "1",
            "to": "2",
        }
        assert (told["old_app_id"], told["new_app_id"]) == (f"{app.app_id}-blue", f"{app.app_id}-green")
        assert (told["old_colour"], told["new_colour"]) == ("blue", "green")

        promoted = awx.run("promote.yml", **deployed.stats)
        assert promoted.code == 0, promoted.output
        assert versions(app) == {"2": 2}
        assert promoted.stats["zdd_rollout"]["clusters"]["sandbox"][app.group]["phase"] == "finished"
        denied = awx.run("rollback.yml", **promoted.stats)
        assert denied.code == 0, denied.output
        assert versions(app) == {"2": 2}, "there is nothing left to go back to"


def versions(app: Service) -> dict[str, int]:
    """Instances by the tag of the image."""
    return {found["container"]["docker"]["image"].rpartition(":")[2]: found["instances"] for found in app.apps()}


def serves_two(app: Service) -> Callable[[], bool]:
    return lambda: len(app.apps()) == 2 and all(found["tasksHealthy"] == 2 for found in app.apps())


def test_a_cancelled_job_is_finished_by_the_next_one(awx: Awx) -> None:
    """SIGTERM and SIGKILL while the new version bakes: all is served, and the same job started again finishes."""
    app = awx.app
    assert awx.run("deploy.yml", **answers(bluegreen_version="1")).code == 0
    with app.traffic(kinds=("get", "post")):
        process = awx.start("deploy.yml", answers(bluegreen_version="2", bluegreen_bake_seconds="120"))
        wait_for(serves_two(app), "both versions are there", JOB_LIMIT)
        time.sleep(1.0)
        awx.cancel(process)
        assert app.served()
        assert versions(app) == {"1": 2, "2": 2}

        again = awx.run("deploy.yml", **answers(bluegreen_version="2"))
        assert again.code == 0, again.output
        assert versions(app) == {"2": 2}
