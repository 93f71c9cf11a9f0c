# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the collection's playbooks as a user does: ``ansible-playbook``, an inventory, variables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import collection_path
from tests.collection_path import ROOT

HOST = "sandbox"
SAMPLE = 0.2  # seconds between two looks at the memory

Json = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """How one ``ansible-playbook`` ended.

    ``report``: what the role wrote, empty when it wrote nothing; ``reported``: when it did (epoch seconds).
    ``peak_rss_mb``: the largest of its processes; ``peak_pss_mb``: all of them together, each shared page counted once.
    """

    playbook: str
    code: int
    duration_s: float
    output: str
    report: Json
    reported: float
    peak_rss_mb: float
    peak_pss_mb: float

    @property
    def result(self) -> str:
        return str(self.report.get("result", "no report"))

    @property
    def steps(self) -> list[Json]:
        return list(self.report.get("steps", []))

    def step_ends(self) -> list[float]:
        """When the first step began and when each one ended (epoch seconds), exact to some hundredths of a second."""
        ends = [self.reported - float(self.report.get("duration_s", 0.0))]
        for step in self.steps:
            ends.append(ends[-1] + step["duration_s"])
        return ends

    @property
    def changed(self) -> int:
        """Tasks that said ``changed``, from the recap."""
        recap = self.output.rpartition("PLAY RECAP")[2]
        _separator, found, rest = recap.partition("changed=")
        return int(rest.split()[0]) if found else 0


class Cluster:
    """One inventory host: a sandbox's Marathon and its LBs, with a folder for what a run leaves behind."""

    def __init__(self, folder: Path, marathon: Sequence[str], lbs: Sequence[str]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.inventory = folder / "inventory.json"
        variables = {"marathon_url": list(marathon), "marathon_lb_url": list(lbs)}
        self.settings = folder / "ansible.cfg"
        self.settings.write_text("[defaults]\n")
        self.inventory.write_text(json.dumps({"all": {"hosts": {HOST: variables}}}, indent=2) + "\n")

    def command(self, playbook: str, variables: Path, *options: str) -> list[str]:
        ansible = Path(sys.executable).with_name("ansible-playbook")
        return [str(ansible), "-i", str(self.inventory), f"zdd.rollout.{playbook}", "-e", f"@{variables}", *options]

    def play(
        self,
        playbook: str,
        variables: Mapping[str, Any],
        *options: str,
        live: bool = False,
        timeout: float = 900.0,
        pages: Sequence[Path] = (),
    ) -> Run:
        """Run it to its end. ``live``: a person sees its output as it comes (it is not kept then).

        ``pages``: where else the report goes, by the ending of the names.
        """
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        given = self.folder / "variables.json"
        files = [str(path) for path in (report, *pages)]
        given.write_text(json.dumps({"bluegreen_report_file": files, **variables}, indent=2) + "\n")
        output = None if live else subprocess.PIPE
        started = time.monotonic()
        process = subprocess.Popen(
            self.command(playbook, given, *options),
            cwd=self.folder,
            env=environment(self.settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if live else subprocess.STDOUT,
            text=True,
        )
        with sampled(process.pid) as memory:
            try:
                said, _errors = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                process.wait()
                raise
        return Run(
            playbook=playbook,
            code=process.returncode,
            duration_s=time.monotonic() - started,
            output=said or "",
            report=json.loads(report.read_text()) if report.exists() else {},
            reported=report.stat().st_mtime if report.exists() else 0.0,
            peak_rss_mb=memory.rss / 1024,
            peak_pss_mb=memory.pss / 1024,
        )


def environment(settings: Path) -> dict[str, str]:
    """The user's environment, but Ansible's settings are these, and this working copy is the collection."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MARATHON_"))}
    kept["ANSIBLE_COLLECTIONS_PATH"] = str(collection_path.ensure())
    kept["ANSIBLE_CONFIG"] = str(settings)
    return kept


class Memory:
    """Peaks over the samples, KiB."""

    def __init__(self) -> None:
        self.rss = 0
        self.pss = 0

    def sample(self, root: int) -> None:
        total = 0
        for pid in descendants(root):
            try:
                total += field_of(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")
                self.rss = max(self.rss, field_of(Path(f"/proc/{pid}/status"), "VmHWM:"))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
        self.pss = max(self.pss, total)


def field_of(path: Path, name: str) -> int:
    """A field in KiB of a file of /proc; 0 when it has none, as for a process that is ending."""
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def descendants(root: int) -> list[int]:
    """``root`` and all processes below it."""
    found = [root]
    for pid in found:
        try:
            found += [
                int(child)
                for task in Path(f"/proc/{pid}/task").iterdir()
                for child in (task / "children").read_text().split()
            ]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return found


@contextmanager
def sampled(root: int) -> Iterator[Memory]:
    """Sample the memory of a process and its descendants for the time of the ``with``."""
    memory = Memory()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLE):
            memory.sample(root)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()


def fresh_folder(name: str) -> Path:
    """``build/NAME``, empty."""
    folder = ROOT / "build" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
