# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a bad canary is met after it could have been known to be bad: ``python -m tests.rehearsal.abort --help``.

Each run is a canary with errors, under load, that the analysis aborts. Clients note the answer of each request; the
collection's own test, fed with these notes request by request, says with which one the evidence was sufficient. From
that one on it takes until the last request that the canary got, at any load balancer: that is what is measured.

Counted twice: with all that the canary ever answered, and from the beginning of the analysis, which with marathon-lb
comes after the drain of the instance that the canary replaces.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.zdd.rollout.plugins.module_utils._analysis.evidence import Counts, Evidence, Stretch
from ansible_collections.zdd.rollout.plugins.module_utils._analysis.verdict import Limits, difference, hard_stop
from tests.rehearsal.playbook import HOST, Cluster, fresh_folder
from tests.sandbox import launch

PORT = 10000
THREADS = 10
LIMIT = 5.0  # seconds
OLD, NEW = "1", "2"
MODES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "marathon_lb": ({"lbs": 2}, [{"instances": 1}]),
    "haproxy": ({"lbs": 0, "plain_lbs": 2}, [{"weight": 20}]),
}

Json = dict[str, Any]


@dataclass(frozen=True)
class Note:
    """One request: when it was sent and answered (epoch seconds), by which version, and how."""

    sent: float
    answered: float
    version: str
    status: int


@dataclass(frozen=True)
class Measured:
    """Seconds from sufficient evidence to the last request to the canary; errors of the old version: none expected."""

    since_sufficient: float
    since_sufficient_in_analysis: float
    canary_requests: int
    canary_errors: int
    old_errors: int


@contextmanager
def noted(urls: Sequence[str], rate: float) -> Iterator[list[Note]]:
    """Clients with new connections, ``rate`` requests/s altogether; the list grows while they run."""
    notes: list[Note] = []
    over = threading.Event()

    def ask(number: int) -> None:
        due = time.monotonic() + number / rate
        for url in itertools.islice(itertools.cycle(urls), number, None):
            if over.wait(max(0.0, due - time.monotonic())):
                return
            due = max(due + THREADS / rate, time.monotonic())
            parts = urlsplit(url)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
            sent = time.time()
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                version, status = answer.headers.get("X-Version") or "", answer.status
            except (OSError, http.client.HTTPException):
                version, status = "", 0
            finally:
                connection.close()
            notes.append(Note(sent, time.time(), version, status))

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield notes
    finally:
        over.set()
        for thread in threads:
            thread.join()


def sufficient(notes: Sequence[Note], since: float) -> float | None:
    """When the answer came with which the analysis, had it seen each one at once, would have aborted."""
    evidence, limits = Evidence(), Limits()
    for note in sorted(notes, key=lambda note: note.answered):
        if note.answered < since or note.version not in (OLD, NEW):
            continue
        one = Counts(1, int(note.status >= 500))
        stretch = Stretch(canary=one) if note.version == NEW else Stretch(baseline=one)
        evidence = evidence.after({"clients": stretch})
        if hard_stop(evidence.canary, limits) or difference(evidence, limits):
            return note.answered
    return None


class Stage:
    """One sandbox with an app of four instances in its version 1."""

    def __init__(self, sandbox: launch.Running, folder: Path, mode: str, arguments: argparse.Namespace) -> None:
        self.sandbox = sandbox
        self.mode = mode
        self.arguments = arguments
        self.steps = MODES[mode][1]
        self.cluster = Cluster(folder, sandbox.marathon, [lb["url"] for lb in sandbox.lbs])
        self.urls = [f"http://{lb['host']}:{PORT}" for lb in sandbox.lbs]
        if mode == "haproxy":
            self.urls = [lb["url"] for lb in sandbox.plain_lbs]
            variables = {
                "marathon_url": sandbox.marathon,
                "bluegreen_lb_mode": "haproxy",
                "haproxy_socket": [lb["socket"] for lb in sandbox.plain_lbs],
                "haproxy_master_socket": [lb["master_socket"] for lb in sandbox.plain_lbs],
                "haproxy_backend": sandbox.plain_lbs[0]["backend"],
            }
            self.cluster.inventory.write_text(json.dumps({"all": {"hosts": {HOST: variables}}}) + "\n")

    def play(self, playbook: str, version: str, wanted: str, errors: float = 0.0, **variables: Any) -> Any:
        env = {"VERSION": version, "ERROR_RATE": str(errors)}
        run = self.cluster.play(playbook, {"bluegreen_app": self.sandbox.app(instances=4, env=env), **variables})
        if run.result != wanted:
            raise SystemExit(f"{playbook} ended as {run.result}, not as {wanted}:\n{run.output}")
        return run

    def measure(self) -> Measured:
        """One canary that is aborted."""
        with noted(self.urls, self.arguments.rate) as notes:
            run = self.play(
                "canary",
                NEW,
                "rolled back",
                self.arguments.errors,
                canary_steps=self.steps,
                canary_analysis={"wait_timeout": 120},
            )
        names = [step["name"] for step in run.steps]
        began = run.step_ends()[names.index("bake")]
        own = [note for note in notes if note.version == NEW]
        clean = max(note.sent for note in own)
        whole, inside = sufficient(notes, 0.0), sufficient(notes, began)
        if whole is None or inside is None:
            raise SystemExit("The canary was aborted on other evidence than that of the clients.")
        return Measured(
            since_sufficient=clean - whole,
            since_sufficient_in_analysis=clean - inside,
            canary_requests=len(own),
            canary_errors=sum(note.status >= 500 for note in own),
            old_errors=sum(note.version != NEW and note.status != 200 for note in notes),
        )


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def told(mode: str, measured: Sequence[Measured]) -> str:
    lines = [f"{mode}, {len(measured)} runs: seconds from sufficient evidence to clean traffic"]
    for name, title in (
        ("since_sufficient_in_analysis", "of what came in the analysis"),
        ("since_sufficient", "of all that the canary answered"),
    ):
        values = [getattr(one, name) for one in measured]
        lines.append(
            f"  {title}: median {statistics.median(values):.2f}, p95 {percentile(values, 95):.2f}, "
            f"longest {max(values):.2f}"
        )
    errors = [one.canary_errors for one in measured]
    lines.append(f"  errors that users got of a canary: median {statistics.median(errors):g}, most {max(errors)}")
    lines.append(f"  requests that failed otherwise: {sum(one.old_errors for one in measured)}")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.rehearsal.abort", description=__doc__.partition("\n")[0])
    made.add_argument("--runs", type=int, default=20, metavar="N", help="of each mode (%(default)s)")
    made.add_argument("--mode", choices=[*MODES, "both"], default="both", help="kind of load balancer (%(default)s)")
    made.add_argument("--rate", type=float, default=100.0, metavar="N", help="requests/s altogether (%(default)g)")
    made.add_argument(
        "--errors",
        type=float,
        default=0.3,
        metavar="R",
        help="share of the canary's answers that are 500 (%(default)g)",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    folder = fresh_folder("abort")
    found: dict[str, list[Measured]] = {}
    for mode, (options, _steps) in MODES.items():
        if arguments.mode not in (mode, "both"):
            continue
        with launch.start(**options) as sandbox:
            stage = Stage(sandbox, folder / mode, mode, arguments)
            stage.play("bluegreen", OLD, "deployed")
            found[mode] = []
            for number in range(arguments.runs):
                found[mode].append(stage.measure())
                print(f"{mode} {number + 1}: {found[mode][-1]}", file=sys.stderr, flush=True)
    for mode, measured in found.items():
        print(told(mode, measured))
    report = {mode: [vars(one) for one in measured] for mode, measured in found.items()}
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    slow = any(
        percentile([one.since_sufficient_in_analysis for one in measured], 95) > LIMIT for measured in found.values()
    )
    return 1 if slow or any(one.old_errors for measured in found.values() for one in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
