# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary demo: one that is let in by weight and promoted, one that the analysis aborts, under load.

``make demo-canary``, or ``python -m tests.rehearsal.demo_canary --help``. Ends with a summary and a page for each
rollout, ``build/demo-canary/version-N.html``. A canary's own error answers are counted apart: that users meet a few of
them is what a canary is for. Exits with 1 when any other request failed, or when a rollout had another result than
expected.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.rehearsal.demo import AFTERWARDS, Screen
from tests.rehearsal.playbook import HOST, Cluster, Run, fresh_folder
from tests.sandbox import launch
from tests.sandbox.clients import clients

STEPS = (
    {"instances": 1},
    {"weight": 5, "bake": 3},
    {"weight": 25, "bake": 3},
    {"weight": 50, "bake": 3},
)
ANALYSIS = {"max_error_rate": 0.03, "wait_timeout": 60}
OWN_ERRORS = "status_500"

Json = dict[str, Any]


@dataclass(frozen=True)
class Chapter:
    """One playbook run of the demo and what has to come of it."""

    playbook: str
    version: str
    title: str
    story: str
    expected: str
    environment: Mapping[str, str] = field(default_factory=dict)


FIRST = Chapter("bluegreen", "1", "Version 1, the first deployment", "Nothing is there yet.", "deployed")
UNDER_LOAD = (
    Chapter(
        "canary",
        "2",
        "Version 2 is let in: 5, 25, 50, 100 percent",
        "At each step its errors are compared with those of version 1. It goes on when they are shown to be few.",
        "promoted",
    ),
    Chapter(
        "canary",
        "3",
        "Version 3 fails one request in ten",
        "Its health check is green. Only its users can tell: few of them, and not for long.",
        "rolled back",
        {"ERROR_RATE": "0.1"},
    ),
)


class CanaryDemo:
    """The running sandbox, two HAProxys that are not marathon-lb, and what happened on it so far."""

    def __init__(self, sandbox: launch.Running, instances: int, screen: Screen) -> None:
        self.sandbox = sandbox
        self.instances = instances
        self.screen = screen
        self.folder = fresh_folder("demo-canary")
        self.cluster = Cluster(self.folder / "run", sandbox.marathon, [])
        self.surprises: list[str] = []
        self.told: list[str] = []

    def variables(self, chapter: Chapter) -> Json:
        environment = {"VERSION": chapter.version, **chapter.environment}
        app = self.sandbox.app(id="/demo", instances=self.instances, env=environment, labels={})
        for check in app["healthChecks"]:
            # Marathon kills a task that fails its check so often, whatever it is doing: leave it the time to finish.
            check["maxConsecutiveFailures"] = 10
        lbs = self.sandbox.plain_lbs
        made = {
            "bluegreen_app": app,
            "bluegreen_lb_mode": "haproxy",
            "bluegreen_haproxy_socket": [lb["socket"] for lb in lbs],
            "bluegreen_haproxy_master_socket": [lb["master_socket"] for lb in lbs],
            "bluegreen_haproxy_backend": lbs[0]["backend"],
        }
        if chapter.playbook == "canary":
            made |= {"canary_steps": list(STEPS), "canary_analysis": ANALYSIS}
        return made

    def run(self, chapter: Chapter) -> Run:
        self.screen.heading(chapter.title)
        self.screen.say(chapter.story)
        bad = chapter.expected == "rolled back"
        if bad:
            self.screen.say("The red lines that follow are wanted: this version is bad.", "1;33")
        self.screen.say()
        page = self.folder / f"version-{chapter.version}.html"
        run = self.cluster.play(chapter.playbook, self.variables(chapter), live=True, pages=[page])
        good = run.result == chapter.expected and (run.code != 0) == bad
        text = f"version {chapter.version}: {run.result}, {run.report.get('duration_s', run.duration_s):.1f} s"
        if not good:
            text += f"; expected: {chapter.expected} (ansible-playbook ended with {run.code})"
            self.surprises.append(text)
        self.screen.verdict(good, text)
        self.told.append(f"  {chapter.version}: {run.result:12} {page}")
        return run

    def finish(self, report: Mapping[str, Any]) -> int:
        """Tell the summary, the canary's own errors apart; the exit status."""
        self.screen.heading("Summary")
        for line in self.told:
            self.screen.say(line)
        self.screen.say()
        self.screen.say(f"  {'clients':10} {'requests':>9} {'own errors of a canary':>23} {'lost':>6}", "1")
        sent = lost = own = 0
        for kind, counts in report["clients"].items():
            mine = counts["causes"].get(OWN_ERRORS, 0)
            sent, own, lost = sent + counts["sent"], own + mine, lost + counts["failed"] - mine
            self.screen.say(f"  {kind:10} {counts['sent']:9} {mine:23} {counts['failed'] - mine:6}")
        self.screen.say()
        for surprise in self.surprises:
            self.screen.verdict(False, surprise)
        share = f"{100 * own / sent:.2f} %" if sent else "no"
        self.screen.verdict(not lost, f"{lost} of {sent} requests were lost; {share} met an error of the bad canary")
        return 1 if lost or self.surprises else 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.rehearsal.demo_canary", description=__doc__.partition("\n")[0])
    made.add_argument("--instances", type=int, default=4, metavar="N", help="of the app (%(default)s)")
    made.add_argument("--lbs", type=int, default=2, metavar="N", help="load balancers (%(default)s)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    screen = Screen(sys.stdout)
    screen.heading("A sandbox starts")
    with launch.start(lbs=0, plain_lbs=arguments.lbs) as sandbox:
        urls = [lb["url"] for lb in sandbox.plain_lbs]
        screen.say(f"Marathon: {', '.join(sandbox.marathon)} (host {HOST})")
        screen.say(f"HAProxy: {', '.join(urls)}")
        demo = CanaryDemo(sandbox, arguments.instances, screen)
        demo.run(FIRST)
        with clients(urls) as traffic:
            traffic.wait_until_flowing()
            screen.say(f"From now on all kinds of clients use {' and '.join(urls)}.")
            for chapter in UNDER_LOAD:
                demo.run(chapter)
            time.sleep(AFTERWARDS)
            report = traffic.stop()
        return demo.finish(report)


if __name__ == "__main__":
    sys.exit(main())
