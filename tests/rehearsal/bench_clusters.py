# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play over many clusters costs the controller: ``make bench ARGS="--clusters 50"``.

The controller's time is the processor time of ``ansible-playbook`` and all its workers, as the kernel counts it.
Waiting costs none. The clusters run on the same machine; they are not in it, but they slow the wall time down.

A step of a rollout is one to three Ansible tasks. What they cost is told apart from what is around the steps (plans,
lock, report, barriers), and stands beside the floor: a task of Ansible's that does nothing, in a play without any role,
over as many hosts on the same machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.rehearsal import fleet
from tests.rehearsal.playbook import environment
from tests.sandbox import launch

INSTANCES = 4
WANTED_MS = 30.0  # of the controller's time by cluster and step
FLOOR_TASKS = 20
CALLBACKS = Path(__file__).parent / "callbacks"
# What is done in the steps: the task files of the role that the plan names, and the loop over them.
STEP_FOLDERS = ("steps", "marathon_lb", "haproxy")
STEP_LOOP = "The steps are taken"

Json = dict[str, Any]


@dataclass(frozen=True)
class Played:
    """One play over ``clusters``. Times are in seconds, all but ``wall_s`` of processors; ``steps`` of all clusters.

    ``step_tasks``: Ansible tasks of these steps, skipped ones included.
    """

    what: str
    clusters: int
    forks: int
    wall_s: float
    cpu_s: float
    steps: int
    step_tasks: int
    step_cpu_s: float
    tasks: int

    @property
    def step_ms(self) -> float:
        """By cluster and step."""
        return 1000 * self.step_cpu_s / max(1, self.steps)

    @property
    def row(self) -> tuple[str, ...]:
        around = 1000 * (self.cpu_s - self.step_cpu_s) / self.clusters
        return (
            self.what,
            str(self.clusters),
            str(self.forks),
            f"{self.wall_s:.0f}",
            f"{self.cpu_s:.1f}",
            f"{self.steps / self.clusters:.0f}",
            f"{self.step_tasks / max(1, self.steps):.1f}",
            f"{self.step_ms:.0f}" if self.steps else "-",
            f"{around:.0f}",
            f"{self.tasks / self.clusters:.0f}",
            f"{1000 * self.cpu_s / self.tasks:.0f}",
        )


HEAD = (
    "play",
    "clusters",
    "forks",
    "wall s",
    "CPU s",
    "steps",
    "tasks/step",
    "ms/step",
    "ms around",
    "tasks",
    "ms/task",
)
LEGEND = """\
CPU s: of the controller. steps, tasks: of each cluster. ms/step: controller's time by cluster and step, with the tasks
of the steps. ms around: by cluster, everything else. ms/task: by cluster and task, over the whole play."""


class Clusters:
    """An inventory of clusters, and playbooks over some of them."""

    def __init__(self, folder: Path, descriptions: Sequence[Json]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = folder / "ansible.cfg"
        self.inventory = folder / "inventory.json"
        self.spent = folder / "spent.jsonl"
        self.log = folder / "output.txt"
        self.floor = folder / "floor.yml"
        idle = [{"name": f"Nothing {number}", "ansible.builtin.debug": {"msg": ""}} for number in range(FLOOR_TASKS)]
        play = {"hosts": "{{ bluegreen_hosts }}", "connection": "local", "gather_facts": False, "tasks": idle}
        self.floor.write_text(json.dumps([play]))
        hosts = {
            f"cluster{number:02}": {
                "marathon_url": one["marathon"],
                "marathon_lb_url": [lb["url"] for lb in one["lbs"]],
            }
            for number, one in enumerate(descriptions)
        }
        self.inventory.write_text(json.dumps({"all": {"hosts": hosts}}) + "\n")

    def play(self, playbook: str, version: str, *, clusters: int, forks: int, **variables: Any) -> Played:
        """Run it in the first ``clusters`` to its end, which has to be a good one."""
        for old in [*self.folder.glob("*.report.json"), self.spent]:
            old.unlink(missing_ok=True)
        app = {**launch.APP, "id": "/bench", "instances": INSTANCES, "env": {"VERSION": version}}
        # Fifty clusters share a process: it should not be busy with checking the health of what is healthy.
        app["healthChecks"] = [{**check, "intervalSeconds": 3} for check in app["healthChecks"]]
        one_each = "all" if playbook == "waves" else "{{ inventory_hostname }}"
        given = self.folder / "variables.json"
        given.write_text(
            json.dumps(
                {
                    "bluegreen_app": app,
                    "bluegreen_hosts": f"all[0:{clusters - 1}]",
                    "bluegreen_report_file": str(self.folder / f"{one_each}.report.json"),
                    **variables,
                }
            )
        )
        self.settings.write_text(f"[defaults]\nforks = {forks}\n")
        ours = environment(self.settings) | {
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "spent",
            "SPENT_LOG": str(self.spent),
        }
        name = playbook if playbook.endswith(".yml") else f"zdd.rollout.{playbook}"
        ansible = Path(sys.executable).with_name("ansible-playbook")
        began = time.monotonic()
        with self.log.open("w") as output:
            code = subprocess.run(
                [str(ansible), "-i", str(self.inventory), name, "-e", f"@{given}"],
                cwd=self.folder,
                env=ours,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        wall = time.monotonic() - began
        if code:
            raise SystemExit(f"{self.log.read_text()[-20000:]}\n{playbook} ended with {code}")
        return self._played(Path(playbook).stem, clusters, forks, wall)

    def _played(self, what: str, clusters: int, forks: int, wall: float) -> Played:
        reports = [json.loads(path.read_text()) for path in self.folder.glob("*.report.json")]
        singles = [one for found in reports for one in found.get("reports", [found])]
        spent = [json.loads(line) for line in self.spent.read_text().splitlines()]
        # What is written when a task begins was used by the task before it.
        tasks = [
            {**task, "cpu": then["cpu"] - task["cpu"], "results": then["results"]} for task, then in pairwise(spent)
        ]
        in_steps = [
            task for task in tasks if Path(task["file"]).parent.name in STEP_FOLDERS or STEP_LOOP in task["name"]
        ]
        return Played(
            what=what,
            clusters=clusters,
            forks=forks,
            wall_s=wall,
            cpu_s=spent[-1]["cpu"],
            steps=sum(len(one["steps"]) for one in singles),
            step_tasks=sum(task["results"] for task in in_steps),
            step_cpu_s=sum(task["cpu"] for task in in_steps),
            tasks=sum(task["results"] for task in tasks),
        )


def table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def run(count: int, folder: Path, say: Callable[[str], None]) -> int:
    """Measure and print; nothing is asserted but that every rollout succeeds."""
    say(f"{count} clusters start")
    with fleet.running(count) as descriptions:
        clusters = Clusters(folder, descriptions)
        say("first deployment")
        clusters.play("bluegreen", "0", clusters=count, forks=count)
        played: list[Played] = []
        runs = [("bluegreen", 1, count), ("bluegreen", count, count), ("bluegreen", count, 10), ("waves", count, count)]
        for version, (playbook, hosts, forks) in enumerate(runs, 1):
            say(f"{playbook} in {hosts} clusters with {forks} forks")
            played.append(clusters.play(playbook, str(version), clusters=hosts, forks=forks))
        say("the floor")
        floor = clusters.play(str(clusters.floor), "", clusters=count, forks=count)
    print(table([HEAD, *(one.row for one in (*played, floor))]), LEGEND, sep="\n\n")
    empty = 1000 * floor.cpu_s / floor.tasks
    for one in played[1:]:
        ratio = one.step_ms / WANTED_MS
        tasks = 1000 * one.step_cpu_s / one.step_tasks / empty
        print(
            f"{one.what}, {one.forks} forks: {one.step_ms:.0f} ms by cluster and step, {ratio:.2f} of the "
            f"{WANTED_MS:g} ms wanted; a task of a step costs {tasks:.2f} times an empty one of Ansible's"
        )
    alone, many = played[0], played[1]
    print(f"{count} clusters cost {many.cpu_s / alone.cpu_s / count:.2f} times what {count} single runs cost")
    results = [asdict(one) for one in (*played, floor)]
    (folder / "clusters.json").write_text(json.dumps(results, indent=2) + "\n")
    return 0
