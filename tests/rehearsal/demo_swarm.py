# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo on Docker Swarm: versions deployed, toggled, let in by weight, rolled back, refused, moved off a node.

``make demo-swarm``, or ``python -m tests.rehearsal.demo_swarm --help``. A real swarm of three nodes, two nginx or
HAProxy in front, under load, on this machine and removed at the end. Shows the playbooks' own output as it comes, ends
with a summary, and writes ``build/demo-swarm/report.json``: ``{"proxy", "turned_s", "runs": [{"playbook", "version",
"result", "duration_s", "ended_with"}], "clients": {"<kind>": {"sent", "failed", "causes": {}}}}``. ``turned_s``: from
the first answer of version 2 to the last request that version 1 got, at any proxy, as the clients saw it.

Exits with 1 when a request was lost, when a client met a version that no one should have seen, or when a playbook ended
otherwise than expected. A reload of an nginx before 1.27.4 closes connections that clients keep and do not use at that
moment; requests that met that are counted apart (``eof_on_kept_connection``), see docs/nginx.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.rehearsal.demo import AFTERWARDS, Screen
from tests.rehearsal.playbook import Run, fresh_folder
from tests.rehearsal.watch import clients_turned
from tests.sandbox.clients import Clients, clients
from tests.sandbox.swarm import launch, why_not

NAME = "web"
RATE = 60.0  # requests/s at each proxy
LEAVES = "node3"  # the node that is emptied
RELOAD = "eof_on_kept_connection"

Json = dict[str, Any]


@dataclass(frozen=True)
class Chapter:
    """One playbook run and what has to come of it.

    ``version``: what is live afterwards, or what is refused. ``deploys``: whether the version is given to the playbook.
    ``result``: the role's, ``""`` where it makes no report.
    """

    playbook: str
    title: str
    story: str
    result: str = ""
    version: str = ""
    deploys: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    refused: bool = False
    short: bool = False


SET_UP = Chapter(
    "swarm_proxy",
    "The load balancers are set up",
    "Port 80 will go to the live colour, port 8080 to the idle one. Nothing is deployed yet.",
    variables={"swarm_proxy_name": NAME},
)
FIRST = Chapter(
    "swarm_bluegreen", "Version 1, the first deployment", "It becomes the service web-blue.", "deployed", "1", True
)
UNDER_LOAD = (
    Chapter(
        "swarm_bluegreen",
        "Version 2 replaces version 1 under load",
        "The idle colour gets it; it is looked at through the preview port, then it takes all requests at once.",
        "promoted",
        "2",
        deploys=True,
        short=True,
    ),
    Chapter("swarm_toggle", "Toggle: version 1 once more", "It is still warm: no container starts.", "toggled", "1"),
    Chapter("swarm_toggle", "Toggle: version 2 again", "And back.", "toggled", "2"),
    Chapter(
        "swarm_canary",
        "Version 3 is let in: 20 percent, then all",
        "By weights, without a reload in between.",
        "promoted",
        "3",
        deploys=True,
        variables={"canary_steps": [{"weight": 20, "bake": 3}]},
    ),
    Chapter(
        "swarm_rollback",
        "Version 3 is not liked: back to version 2",
        "Version 2 was kept, so this is a switch and nothing else.",
        "rolled back",
        "2",
    ),
    Chapter(
        "swarm_bluegreen",
        "Version 4 answers every request with an error",
        "Its health check is green, but the check of its preview is not. No client may ever meet it.",
        "rolled back",
        "4",
        deploys=True,
        environment={"ERROR_RATE": "1"},
        refused=True,
        short=True,
    ),
    Chapter(
        "swarm_drain_node",
        f"{LEAVES} is emptied",
        "What is live runs elsewhere, in full, before anything on the node stops.",
        "renewed",
        "2",
        variables={"swarm_bluegreen_node": LEAVES},
    ),
    Chapter(
        "swarm_drain_node",
        f"{LEAVES} is taken back",
        "It may have tasks again.",
        variables={"swarm_bluegreen_node": LEAVES, "swarm_bluegreen_node_availability": "active"},
    ),
    Chapter("swarm_status", "What is live?", "As every proxy says.", short=True),
)


class SwarmDemo:
    """The running swarm and what happened on it so far."""

    def __init__(self, swarm: launch.Swarm, proxy: str, replicas: int, screen: Screen) -> None:
        self.swarm = swarm
        self.proxy = proxy
        self.replicas = replicas
        self.screen = screen
        self.folder = fresh_folder("demo-swarm")
        self.plays = launch.Plays(self.folder / "run", swarm.inventory)
        self.runs: list[Json] = []
        self.surprises: list[str] = []
        self.turned: float | None = None

    def variables(self, chapter: Chapter) -> Json:
        if not chapter.deploys:
            return {"swarm_bluegreen_name": NAME, **chapter.variables}
        service = self.swarm.definition(NAME, chapter.version, replicas=self.replicas, env=chapter.environment)
        return {
            "swarm_bluegreen_service": service,
            "swarm_bluegreen_version": chapter.version,
            "swarm_bluegreen_preview_checks": [{"path": "/", "jmespath": f"version == '{chapter.version}'"}],
            # HAProxy's sockets are reached from here, so its hosts are not in the inventory of the swarm.
            "swarm_bluegreen_preview_urls": self.swarm.preview if self.proxy == "haproxy" else [],
            **chapter.variables,
        }

    def run(self, chapter: Chapter) -> None:
        self.screen.heading(chapter.title)
        self.screen.say(chapter.story)
        if chapter.refused:
            self.screen.say("The red lines that follow are wanted: this version is bad.", "1;33")
        self.screen.say()
        run = self.plays.play(chapter.playbook, self.variables(chapter), live=True)
        self.judge(chapter, run)

    def judge(self, chapter: Chapter, run: Run) -> None:
        """Keep what came of a chapter, and say whether that was expected."""
        result = run.result if chapter.result else ("failed" if run.code else "done")
        self.runs.append(
            {
                "playbook": chapter.playbook,
                "version": chapter.version,
                "result": result,
                "duration_s": round(run.duration_s, 3),
                "ended_with": run.code,
            }
        )
        good = result == (chapter.result or "done") and (run.code != 0) == chapter.refused
        about = f"version {chapter.version}: " if chapter.version else ""
        text = f"{chapter.playbook}: {about}{result}, {run.duration_s:.1f} s"
        if not good:
            text += f"; expected: {chapter.result or 'done'} (ansible-playbook ended with {run.code})"
            self.surprises.append(text)
        self.screen.verdict(good, text)

    def look(self, chapter: Chapter, traffic: Clients) -> None:
        """What the clients and the nodes say after a chapter."""
        report = traffic.report()
        if chapter is UNDER_LOAD[0]:
            saw = clients_turned(report, 0.0, old="1", new="2")
            first, last = saw["first_new_s"], saw["last_old_s"]
            if first is not None and last is not None:
                self.turned = round(max(0.0, last - first), 3)
                self.screen.say(f"From its first answer to the last request to version 1: {self.turned:.2f} s")
        if chapter.playbook == "swarm_drain_node" and chapter.result:
            left = self.tasks_on(LEAVES)
            if left:
                self.surprises.append(f"{LEAVES} still runs {left} tasks")
            self.screen.verdict(not left, f"{left} tasks are left on {LEAVES}")
        self.tell_traffic(report)

    def tasks_on(self, node: str) -> int:
        """How many tasks are meant to run there."""
        with self.swarm.docker() as engine:
            return len(engine.tasks({"node": node, "desired-state": "running"}))

    def tell_traffic(self, report: Mapping[str, Any]) -> None:
        sent, lost, reloads = self.counted(report)
        apart = f", {reloads} met the closing of an idle connection" if reloads else ""
        self.screen.verdict(not lost, f"{lost} of {sent} requests were lost so far{apart}")

    def counted(self, report: Mapping[str, Any]) -> tuple[int, int, int]:
        """Requests sent, lost, and those that met the closing of an idle connection by a reload of nginx."""
        counts = report["clients"].values()
        reloads = sum(kind["causes"].get(RELOAD, 0) for kind in counts) if self.proxy == "nginx" else 0
        return sum(kind["sent"] for kind in counts), sum(kind["failed"] for kind in counts) - reloads, reloads

    def finish(self, report: Mapping[str, Any]) -> int:
        """Write the report, tell the summary, and say how to end."""
        kept = ("sent", "failed", "causes")
        found = {kind: {name: counts[name] for name in kept} for kind, counts in report["clients"].items()}
        written = {"proxy": self.proxy, "runs": self.runs, "turned_s": self.turned, "clients": found}
        path = self.folder / "report.json"
        path.write_text(json.dumps(written, indent=2) + "\n")
        met = {seen["version"] for seen in report["versions"] if seen["version"]}
        hidden = {chapter.version for chapter in UNDER_LOAD if chapter.refused}
        for version in sorted(met & hidden):
            self.surprises.append(f"clients met version {version}, which no one should have seen")

        self.screen.heading("Summary")
        for run in self.runs:
            version = f"version {run['version']}" if run["version"] else ""
            self.screen.say(f"  {run['playbook']:17} {version:10} {run['result']:12} {run['duration_s']:6.1f} s", "1")
        self.screen.say()
        self.tell_clients(found)
        self.screen.say()
        sent, lost, reloads = self.counted(report)
        shown = [each for each in report["failures"] if each["cause"] != RELOAD or self.proxy != "nginx"]
        for failure in shown[:10]:
            clock = time.strftime("%H:%M:%S", time.localtime(failure["t"]))
            self.screen.say(f"  {clock} {failure['kind']} at {failure['url']}: {failure['cause']} {failure['detail']}")
        for surprise in self.surprises:
            self.screen.verdict(False, surprise)
        if reloads:
            self.screen.say(
                f"{reloads} of {sent} requests met the closing of an idle connection by a reload of nginx; the cure is"
                " keepalive_min_timeout of nginx 1.27.4 (docs/nginx.md).",
                "1;33",
            )
        self.screen.verdict(not lost, f"{lost} of {sent} requests were lost; versions met: {', '.join(sorted(met))}")
        self.screen.say(f"Report: {path}")
        return 1 if lost or self.surprises else 0

    def tell_clients(self, found: Mapping[str, Json]) -> None:
        self.screen.say(f"  {'clients':10} {'requests':>9} {'failed':>7}", "1")
        for kind, counts in found.items():
            causes = ", ".join(f"{cause}: {count}" for cause, count in counts["causes"].items())
            self.screen.say(f"  {kind:10} {counts['sent']:9} {counts['failed']:7}  {causes}".rstrip())


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.rehearsal.demo_swarm", description=__doc__.partition("\n")[0])
    made.add_argument("--proxy", choices=("nginx", "haproxy"), default="nginx", help="load balancers (%(default)s)")
    made.add_argument("--proxies", type=int, default=2, metavar="N", help="how many of them (%(default)s)")
    made.add_argument("--replicas", type=int, default=4, metavar="N", help="of each version (%(default)s)")
    made.add_argument("--short", action="store_true", help="a deployment, one that is refused, and what is live")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    reason = why_not()
    if reason is not None:
        print(f"No Docker engine can run here, so there is no swarm to show: {reason}", file=sys.stderr)
        return 1
    screen = Screen(sys.stdout)
    screen.heading("A swarm starts")
    with launch.start(proxy=arguments.proxy, proxies=arguments.proxies) as swarm:
        screen.say(f"nodes: {', '.join(node['address'] for node in swarm.nodes)}")
        screen.say(f"{arguments.proxy}: {', '.join(swarm.live)}")
        demo = SwarmDemo(swarm, arguments.proxy, arguments.replicas, screen)
        demo.run(SET_UP)
        demo.run(FIRST)
        if demo.surprises:
            return 1  # there is nothing to send requests to
        with clients(swarm.live, rate=RATE) as traffic:
            traffic.wait_until_flowing()
            screen.say(f"From now on all kinds of clients use {' and '.join(swarm.live)}.")
            for chapter in UNDER_LOAD:
                if chapter.short or not arguments.short:
                    demo.run(chapter)
                    demo.look(chapter, traffic)
            time.sleep(AFTERWARDS)
            report = traffic.stop()
        return demo.finish(report)


if __name__ == "__main__":
    sys.exit(main())
