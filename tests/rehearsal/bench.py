# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark: what a rollout costs, beside the physical floor, on the same sandbox in the same run.

``make bench``, or ``python -m tests.rehearsal.bench --help``. Prints ratios and a table, and writes everything that was
measured to ``build/bench/report.json``. Nothing is asserted but what must never happen: it exits with 1 when a request
failed (with the stock template: any other than those that met the closing of an idle connection) or when a rollout had
another result than wanted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rehearsal import bench_clusters
from tests.rehearsal.floor import Floor
from tests.rehearsal.playbook import Cluster, Run, fresh_folder
from tests.rehearsal.watch import Watch, clients_turned, decided, watched
from tests.sandbox import launch
from tests.sandbox.clients import ALL, RATE, clients

AGENT = "zdd.rollout"  # how the collection names itself to Marathon
SERVICE_PORT = 10000
AFTERWARDS = 1.0  # seconds that the clients go on after a run, to see what it left behind
# Before these steps a hook runs that does nothing: what such a step takes is what the controller costs.
HOOKED = ("healthy", "drained")
ALLOWED_WITH_STOCK_TEMPLATE = {"eof_on_kept_connection"}

Json = dict[str, Any]


@dataclass
class Measured:
    """One rollout under all client kinds. Times are in seconds."""

    what: str
    duration_s: float = 0.0
    result: str = ""
    steps: list[Json] = field(default_factory=list)
    marathon_requests: int = 0
    requests_by_step: dict[str, int] = field(default_factory=dict)
    config_changes: list[int] = field(default_factory=list)  # one count for each LB
    turned_s: float | None = None  # from the PUT that turns the traffic until every LB showed it
    clients_saw: Json = field(default_factory=dict)
    fewest_up: int = 0
    clients: Json = field(default_factory=dict)
    failures: list[Json] = field(default_factory=list)
    inside_s: float | None = None  # as the role itself counts it: without the start of Ansible
    peak_rss_mb: float | None = None
    peak_pss_mb: float | None = None
    log: list[Json] = field(default_factory=list)  # the requests to Marathon of whoever did the rollout

    @property
    def failed(self) -> int:
        return sum(counts["failed"] for counts in self.clients.values())

    @property
    def causes(self) -> dict[str, dict[str, int]]:
        return {kind: counts["causes"] for kind, counts in self.clients.items() if counts["causes"]}

    def as_dict(self) -> Json:
        return {**{name: value for name, value in vars(self).items() if name != "log"}, "failed": self.failed}


@dataclass
class Case:
    """One number of instances behind one number of LBs."""

    instances: int
    lbs: int
    floors: list[Measured] = field(default_factory=list)
    rollouts: list[Measured] = field(default_factory=list)
    turns: list[Measured] = field(default_factory=list)  # to a version beside the kept old one, and back
    unchanged: Json = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return median(self.rollouts) / median(self.floors)

    @property
    def measured(self) -> list[Measured]:
        return [*self.floors, *self.rollouts, *self.turns]

    def as_dict(self) -> Json:
        return {
            "instances": self.instances,
            "lbs": self.lbs,
            "ratio": self.ratio,
            "floor": [measured.as_dict() for measured in self.floors],
            "bluegreen": [measured.as_dict() for measured in self.rollouts],
            "kept_and_rolled_back": [measured.as_dict() for measured in self.turns],
            "unchanged": self.unchanged,
        }


def median(measured: Sequence[Measured]) -> float:
    return statistics.median(one.duration_s for one in measured)


class Rehearsal:
    """One sandbox with what is measured on it."""

    def __init__(self, sandbox: launch.Running, folder: Path, instances: int, rate: float) -> None:
        self.sandbox = sandbox
        self.instances = instances
        self.rate = rate
        self.lb_urls = [lb["url"] for lb in sandbox.lbs]
        self.service_urls = [f"http://{lb['host']}:{SERVICE_PORT}" for lb in sandbox.lbs]
        self.cluster = Cluster(folder, sandbox.marathon, self.lb_urls)

    def definition(self, version: str) -> Json:
        return self.sandbox.app(id="/bench", instances=self.instances, env={"VERSION": version})

    def changes(self) -> list[int]:
        return [lb["changes"] for lb in self.sandbox.lb_state()]

    @contextmanager
    def measured(self, measured: Measured, agent: str, old: str, new: str) -> Iterator[None]:
        """Fill in what clients, LBs and Marathon saw of the rollout from ``old`` to ``new`` inside the ``with``."""
        with clients(self.service_urls, ALL, self.rate) as traffic:
            traffic.wait_until_flowing()
            before = self.changes()
            began = time.time()
            with watched(self.lb_urls) as watch:
                yield
                time.sleep(AFTERWARDS)
            log = [entry for entry in self.sandbox.requests()["log"] if entry["t"] >= began]
            measured.config_changes = [now - then for now, then in zip(self.changes(), before, strict=True)]
            report = traffic.stop()
        measured.log = [entry for entry in log if str(entry["agent"]).startswith(agent)]
        measured.marathon_requests = len(measured.log)
        measured.clients = report["clients"]
        measured.failures = report["failures"]
        measured.fewest_up = watch.fewest()
        self.note_the_switch(measured, watch, report, old, new)

    @staticmethod
    def note_the_switch(measured: Measured, watch: Watch, report: Mapping[str, Any], old: str, new: str) -> None:
        turned = watch.turned()
        put = None if turned is None else decided(measured.log, turned)
        if turned is not None and put is not None:
            measured.turned_s = turned - put
            measured.clients_saw = clients_turned(report, put, old, new)

    def floor(self) -> Measured:
        """One rollout by the bare script, from nothing to nothing."""
        floor = Floor(self.sandbox.marathon[0], self.lb_urls)
        old = floor.first(self.definition("0"))
        measured = Measured("floor", result="promoted")
        with self.measured(measured, "floor", "0", "1"):
            result = floor.rollout(old, self.definition("1"))
        measured.duration_s = measured.inside_s = result.duration_s
        measured.steps = [vars(step) for step in result.steps]
        self.clear()
        return measured

    def clear(self) -> None:
        """Remove the app, whichever colour is live."""
        floor = Floor(self.sandbox.marathon[0], self.lb_urls)
        for app in floor.marathon.ask("GET", "/v2/apps?id=bench-")["apps"]:
            floor.remove(app["id"])

    def play(self, playbook: str, version: str | None, *options: str, **variables: Any) -> Run:
        given: Json = {**variables, "bluegreen_app": self.definition(version or "0")}
        return self.cluster.play(playbook, given, *options)

    def rollout(self, playbook: str, old: str, new: str, wanted: str, **variables: Any) -> Measured:
        """One playbook under load that turns the traffic from version ``old`` to ``new``."""
        measured = Measured(playbook)
        deployed = max(old, new, key=int) if playbook == "rollback" else new
        with self.measured(measured, AGENT, old, new):
            run = self.play(playbook, deployed, **variables)
        must(run, wanted)
        measured.duration_s = run.duration_s
        measured.result = run.result
        measured.steps = run.steps
        measured.requests_by_step = requests_by_step(run, measured.log)
        measured.inside_s = run.report["duration_s"]
        measured.peak_rss_mb = run.peak_rss_mb
        measured.peak_pss_mb = run.peak_pss_mb
        return measured


def requests_by_step(run: Run, log: Sequence[Json]) -> dict[str, int]:
    """Requests to Marathon in each step of a run, and around the steps (to observe, plan, lock and unlock)."""
    names = ["before the steps", *(step["name"] for step in run.steps)]
    found = dict.fromkeys(names, 0)
    left = sorted(entry["t"] for entry in log)
    for name, end in zip(names, run.step_ends(), strict=True):
        inside = [t for t in left if t <= end]
        left = left[len(inside) :]
        found[name] += len(inside)
    return {**found, "after the steps": len(left)}


def must(run: Run, wanted: str) -> None:
    """Leave with the playbook's own words when it did not do what the benchmark is about."""
    if run.code or run.result != wanted:
        raise SystemExit(f"{run.output}\n{run.playbook} ended with {run.code}, {run.result!r} instead of {wanted!r}")


@contextmanager
def rehearsal(folder: Path, instances: int, lbs: int, rate: float, **options: Any) -> Iterator[Rehearsal]:
    room = max(4, instances)  # two copies and some more fit on four agents
    with launch.start(lbs=lbs, agents=4, agent_cpus=room, agent_mem=room * 256, **options) as sandbox:
        yield Rehearsal(sandbox, folder, instances, rate)


def run_case(case: Case, folder: Path, arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    hook = folder / "nothing.yml"
    with rehearsal(folder, case.instances, case.lbs, arguments.rate) as stage:
        hook.write_text("- name: Nothing is waited for\n  ansible.builtin.meta: noop\n")
        say("floor")
        case.floors.append(stage.floor())
        say("first deployment")
        must(stage.play("bluegreen", "0"), "deployed")
        for number in range(arguments.repeat):
            say(f"bluegreen {number + 1} of {arguments.repeat}")
            case.rollouts.append(stage.rollout("bluegreen", str(number), str(number + 1), "promoted"))
        live, tried = str(arguments.repeat), str(arguments.repeat + 1)
        say("a run that changes nothing")
        run = stage.play("bluegreen", live)
        must(run, "unchanged")
        case.unchanged = {"duration_s": run.duration_s, "changed": run.changed, "peak_pss_mb": run.peak_pss_mb}
        say("rollback while the old version is warm")
        kept = {"bluegreen_keep_old": True, "bluegreen_hooks": {step: [str(hook)] for step in HOOKED}}
        case.turns.append(stage.rollout("bluegreen", live, tried, "kept", **kept))
        case.turns.append(stage.rollout("rollback", tried, live, "rolled back"))
        stage.clear()
        # Before and after the playbooks: a machine that others use too gets busier or idler meanwhile.
        for _index in range(1, arguments.repeat):
            say("floor again")
            case.floors.append(stage.floor())


def run_stock(folder: Path, arguments: argparse.Namespace, say: Callable[[str], None]) -> list[Measured]:
    """Rollouts with the template that lacks ``option idle-close-on-response``."""
    with rehearsal(folder, 4, 1, arguments.rate, stock_template=True) as stage:
        say("stock template")
        must(stage.play("bluegreen", "0"), "deployed")
        return [
            stage.rollout("bluegreen", str(number), str(number + 1), "promoted") for number in range(arguments.repeat)
        ]


def step_cost(case: Case) -> float | None:
    """Seconds of a step that has nothing to do and nothing to wait for, median."""
    found = [step["duration_s"] for measured in case.turns for step in measured.steps if step["name"] == "hook"]
    return statistics.median(found) if found else None


def most_requests(case: Case) -> dict[str, int]:
    """Most requests to Marathon of each step."""
    found: dict[str, int] = {}
    for measured in [*case.rollouts, *case.turns]:
        for name, count in measured.requests_by_step.items():
            found[name] = max(found.get(name, 0), count)
    return found


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def largest(values: Iterator[float | None] | Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned to the right, the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def summary(cases: Sequence[Case]) -> str:
    rows = [
        (
            *("instances", "LBs", "floor s", "blue-green s", "ratio", "failed", "LB changes", "requests", "switch s"),
            *("clients s", "back s", "rollback s", "unchanged s", "MB"),
        )
    ]
    for case in cases:
        back = case.turns[-1]
        rows.append(
            (
                str(case.instances),
                str(case.lbs),
                seconds(median(case.floors)),
                seconds(median(case.rollouts)),
                f"{case.ratio:.2f}",
                str(sum(measured.failed for measured in case.measured)),
                str(max(max(measured.config_changes) for measured in case.rollouts)),
                str(max(measured.marathon_requests for measured in case.rollouts)),
                seconds(largest([measured.turned_s for measured in case.rollouts])),
                seconds(largest([measured.clients_saw.get("last_old_s") for measured in case.rollouts])),
                seconds(back.turned_s),
                seconds(back.duration_s),
                seconds(case.unchanged["duration_s"]),
                f"{largest([measured.peak_pss_mb for measured in case.measured]) or 0:.0f}",
            )
        )
    return table(rows)


LEGEND = """\
floor, blue-green: wall time, medians, under all kinds of clients; ratio: blue-green by floor.
failed: requests of all clients in all runs of the line. LB changes, requests (to Marathon): most in one blue-green.
switch, back: from the PUT that turns the traffic until every LB shows it; clients: until the last request to the old.
rollback: wall time of rollback.yml, old version warm. unchanged: of a run that changes nothing.
MB: most memory of ansible-playbook and all its processes."""


def spent(case: Case) -> str:
    """Where the time goes: each step beside the floor's, and what is around the steps."""
    names = list(dict.fromkeys(step["name"] for measured in [*case.rollouts, *case.floors] for step in measured.steps))
    rows: list[tuple[str, ...]] = [("step", "floor s", "blue-green s")]
    for name in names:
        rows.append((name, seconds(step_median(case.floors, name)), seconds(step_median(case.rollouts, name))))
    inside = statistics.median(measured.inside_s or 0.0 for measured in case.rollouts)
    listed = statistics.median(sum(step["duration_s"] for step in measured.steps) for measured in case.rollouts)
    rows.append(("between the steps", "", seconds(inside - listed)))
    rows.append(("Ansible's start and end", "", seconds(median(case.rollouts) - inside)))
    rows.append(("whole", seconds(median(case.floors)), seconds(median(case.rollouts))))
    return table(rows)


def step_median(measured: Sequence[Measured], name: str) -> float | None:
    found = [step["duration_s"] for one in measured for step in one.steps if step["name"] == name]
    return statistics.median(found) if found else None


def failures(measured: Sequence[Measured]) -> str:
    lines = [f"  {one.what}: {kind}: {json.dumps(causes)}" for one in measured for kind, causes in one.causes.items()]
    return "\n".join(lines) or "  none"


def early(case: Case) -> bool:
    """Whether any client met a new version before the PUT that turns the traffic."""
    return any(measured.clients_saw.get("new_before") for measured in case.measured)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.rehearsal.bench", description=__doc__.partition("\n")[0])
    made.add_argument("--instances", type=numbers, default=[4, 10, 50], metavar="N,…", help="4,10,50")
    made.add_argument("--lbs", type=numbers, default=[1, 2], metavar="N,…", help="1,2")
    made.add_argument("--repeat", type=int, default=2, metavar="N", help="runs of each kind in each case (%(default)s)")
    made.add_argument("--rate", type=float, default=RATE, metavar="N", help="requests/s at each LB (%(default)g)")
    made.add_argument("--clusters", type=int, metavar="N", help="one play over N clusters instead of all the rest")
    made.add_argument("--no-stock", action="store_true", help="leave out the runs with the stock template")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    folder = fresh_folder("bench")

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if arguments.clusters:
        return bench_clusters.run(arguments.clusters, folder, say)

    cases: list[Case] = []
    for instances in arguments.instances:
        for lbs in arguments.lbs:
            case = Case(instances, lbs)
            name = f"{instances} instances, {lbs} LB{'s' if lbs > 1 else ''}"
            run_case(case, folder / f"{instances}-{lbs}", arguments, lambda text, name=name: say(f"{name}: {text}"))
            cases.append(case)
    stock = [] if arguments.no_stock else run_stock(folder / "stock", arguments, say)

    print(summary(cases), LEGEND, sep="\n\n")
    for case in cases:
        print(f"\n{case.instances} instances, {case.lbs} LB: where the time goes\n\n{spent(case)}")
        print(f"\na step with nothing to do and to wait for: {seconds(step_cost(case))} s")
        print(f"most requests to Marathon by step: {json.dumps(most_requests(case))}")
        print(f"a client met the new version before the switch: {'YES' if early(case) else 'no'}")
        print(f"failures by kind and cause:\n{failures(case.measured)}")
    if stock:
        print(f"\nstock template (no idle-close-on-response), {len(stock)} rollouts, failures:\n{failures(stock)}")

    report = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "cases": [case.as_dict() for case in cases],
        "stock_template": [measured.as_dict() for measured in stock],
    }
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nAll of it: {folder / 'report.json'}")
    lost = any(measured.failed for case in cases for measured in case.measured) or any(map(early, cases))
    strange = any(
        set(causes) - ALLOWED_WITH_STOCK_TEMPLATE for measured in stock for causes in measured.causes.values()
    )
    return 1 if lost or strange else 0


if __name__ == "__main__":
    sys.exit(main())
