# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a rollout under load, and two broken versions that are rolled back, on a sandbox of its own.

``make demo``, or ``python -m tests.rehearsal.demo --help``. Shows the playbooks' own output as it comes, ends with a
summary, and writes ``build/demo/report.json``:
``{"rollouts": [{"from", "to", "result", "duration_s", "marathon_requests", "steps": [{"name", "duration_s"}]}],
"clients": {"<kind>": {"sent", "failed", "causes": {}}}}``. Exits with 1 when any request failed, when a client met a
version that should never have been seen, or when a rollout had another result than expected.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from tests.rehearsal.playbook import Cluster, fresh_folder
from tests.sandbox import launch
from tests.sandbox.clients import Clients, clients

AGENT = "zdd.rollout"  # how the collection names itself to Marathon
SERVICE_PORT = 10000
BAKE_SECONDS = 5
CHECK_TIMEOUT = 3
AFTERWARDS = 2.0  # seconds that the clients go on after the last rollout, to see what it left behind

Json = dict[str, Any]


@dataclass(frozen=True)
class Chapter:
    """One playbook run of the demo and what has to come of it."""

    version: str
    title: str
    story: str
    expected: str  # the role's result
    environment: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    seen: bool = True  # whether clients may meet this version

    @property
    def fails(self) -> bool:
        """Whether the playbook has to end with a failure."""
        return self.expected == "rolled back"


FIRST = Chapter("1", "Version 1, the first deployment", "Nothing is there yet.", "deployed")
UNDER_LOAD = (
    Chapter(
        "2",
        "Version 2 replaces version 1 under load",
        "It warms up without traffic, is checked, takes all of it at once, and bakes while version 1 stays warm.",
        "promoted",
        variables={"bluegreen_bake_seconds": BAKE_SECONDS},
    ),
    Chapter(
        "3",
        "Version 3 answers every request with an error",
        "Its health check is green, but its check before the switch is not. No client may ever meet it.",
        "rolled back",
        environment={"ERROR_RATE": "1"},
        seen=False,
    ),
    Chapter(
        "4",
        "Version 4 falls ill after the switch",
        "It passes its checks, takes the traffic, and gets unhealthy while it bakes: back to version 2, which is warm.",
        "rolled back",
        environment={"UNHEALTHY_AFTER": "12"},
        variables={"bluegreen_bake_seconds": 60},
    ),
)


class Screen:
    """Headings and tables; colours only where a terminal shows them."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.coloured = stream.isatty()

    def say(self, text: str = "", style: str = "") -> None:
        if style and self.coloured:
            text = f"\x1b[{style}m{text}\x1b[0m"
        print(text, file=self.stream, flush=True)

    def heading(self, text: str) -> None:
        self.say()
        self.say(text, "1;36")
        self.say("=" * len(text), "36")

    def verdict(self, good: bool, text: str) -> None:
        self.say(f"{'ok' if good else 'NOT OK'}: {text}", "1;32" if good else "1;31")


class Demo:
    """The running sandbox and what happened on it so far."""

    def __init__(self, sandbox: launch.Running, instances: int, screen: Screen) -> None:
        self.sandbox = sandbox
        self.instances = instances
        self.screen = screen
        self.folder = fresh_folder("demo")
        self.cluster = Cluster(self.folder / "run", sandbox.marathon, [lb["url"] for lb in sandbox.lbs])
        self.rollouts: list[Json] = []
        self.surprises: list[str] = []

    def definition(self, chapter: Chapter) -> Json:
        environment = {"VERSION": chapter.version, **chapter.environment}
        app = self.sandbox.app(id="/demo", instances=self.instances, env=environment)
        for check in app["healthChecks"]:
            # Marathon kills a task that fails its check so often, whatever it is doing: leave it the time to finish.
            check["maxConsecutiveFailures"] = 10
        return app

    def run(self, chapter: Chapter) -> None:
        self.screen.heading(chapter.title)
        self.screen.say(chapter.story)
        if chapter.fails:
            self.screen.say("The red lines that follow are wanted: this version is bad.", "1;33")
        self.screen.say()
        began = time.time()
        variables = {
            "bluegreen_app": self.definition(chapter),
            "bluegreen_checks": [{"path": "/", "status": 200}],
            "bluegreen_check_timeout": CHECK_TIMEOUT,
            **chapter.variables,
        }
        run = self.cluster.play("bluegreen", variables, live=True)
        log = self.sandbox.requests()["log"]
        requests = [entry for entry in log if entry["t"] >= began and str(entry["agent"]).startswith(AGENT)]
        self.rollouts.append(
            {
                "from": run.report.get("from"),
                "to": run.report.get("to", chapter.version),
                "result": run.result,
                "duration_s": round(run.report.get("duration_s", run.duration_s), 3),
                "marathon_requests": len(requests),
                "steps": [{"name": step["name"], "duration_s": step["duration_s"]} for step in run.steps],
            }
        )
        good = run.result == chapter.expected and (run.code != 0) == chapter.fails
        text = f"version {chapter.version}: {run.result}, {run.duration_s:.1f} s, {len(requests)} requests to Marathon"
        if not good:
            text += f"; expected: {chapter.expected} (ansible-playbook ended with {run.code})"
            self.surprises.append(text)
        if good and chapter.fails:
            text += " (as wanted: this version is bad, the red lines above say why)"
        self.screen.verdict(good, text)

    def tell_traffic(self, traffic: Clients) -> None:
        counts = traffic.report()["clients"]
        sent = sum(kind["sent"] for kind in counts.values())
        failed = sum(kind["failed"] for kind in counts.values())
        self.screen.verdict(not failed, f"{failed} of {sent} requests failed so far")

    def finish(self, report: Mapping[str, Any]) -> int:
        """Write the report, tell the summary, and say how to end."""
        kept = ("sent", "failed", "causes")
        found = {kind: {name: counts[name] for name in kept} for kind, counts in report["clients"].items()}
        path = self.folder / "report.json"
        path.write_text(json.dumps({"rollouts": self.rollouts, "clients": found}, indent=2) + "\n")
        met = {seen["version"] for seen in report["versions"]}
        hidden = {chapter.version for chapter in UNDER_LOAD if not chapter.seen}
        for version in sorted(met & hidden):
            self.surprises.append(f"clients met version {version}, which no one should have seen")

        self.screen.heading("Summary")
        self.tell_rollouts()
        self.screen.say()
        self.tell_clients(found)
        self.screen.say()
        sent = sum(counts["sent"] for counts in found.values())
        failed = sum(counts["failed"] for counts in found.values())
        for failure in report["failures"][:10]:
            clock = time.strftime("%H:%M:%S", time.localtime(failure["t"]))
            self.screen.say(f"  {clock} {failure['kind']} at {failure['url']}: {failure['cause']} {failure['detail']}")
        for surprise in self.surprises:
            self.screen.verdict(False, surprise)
        self.screen.verdict(not failed, f"{failed} of {sent} requests failed; versions met: {', '.join(sorted(met))}")
        self.screen.say(f"Report: {path}")
        return 1 if failed or self.surprises else 0

    def tell_rollouts(self) -> None:
        for rollout in self.rollouts:
            way = f"{rollout['from'] or 'nothing'} -> {rollout['to']}"
            numbers = f"{rollout['duration_s']:5.1f} s, {rollout['marathon_requests']:3} requests to Marathon"
            self.screen.say(f"  {way:20} {rollout['result']:12} {numbers}", "1")
            steps = ", ".join(f"{step['name']} {step['duration_s']:.1f}" for step in rollout["steps"])
            if steps:
                self.screen.say(f"    seconds: {steps}")

    def tell_clients(self, found: Mapping[str, Json]) -> None:
        self.screen.say(f"  {'clients':10} {'requests':>9} {'failed':>7}", "1")
        for kind, counts in found.items():
            causes = ", ".join(f"{cause}: {count}" for cause, count in counts["causes"].items())
            self.screen.say(f"  {kind:10} {counts['sent']:9} {counts['failed']:7}  {causes}".rstrip())


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.rehearsal.demo", description=__doc__.partition("\n")[0])
    made.add_argument("--instances", type=int, default=4, metavar="N", help="of each version (%(default)s)")
    made.add_argument("--lbs", type=int, default=2, metavar="N", help="load balancers (%(default)s)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    screen = Screen(sys.stdout)
    screen.heading("A sandbox starts")
    with launch.start(lbs=arguments.lbs) as sandbox:
        screen.say(f"Marathon: {', '.join(sandbox.marathon)}")
        screen.say(f"load balancers: {', '.join(lb['url'] for lb in sandbox.lbs)}")
        demo = Demo(sandbox, arguments.instances, screen)
        demo.run(FIRST)
        urls = [f"http://{lb['host']}:{SERVICE_PORT}" for lb in sandbox.lbs]
        with clients(urls) as traffic:
            traffic.wait_until_flowing()
            screen.say(f"From now on all kinds of clients use {' and '.join(urls)}.")
            for chapter in UNDER_LOAD:
                demo.run(chapter)
                demo.tell_traffic(traffic)
            time.sleep(AFTERWARDS)
            report = traffic.stop()
        return demo.finish(report)


if __name__ == "__main__":
    sys.exit(main())
