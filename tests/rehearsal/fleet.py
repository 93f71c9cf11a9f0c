# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many sandboxes in one process, for plays over many clusters.

Each is whole: a Marathon, a marathon-lb with a HAProxy of its own, agents, tasks that are processes. They share an
event loop, so they are slower than one by one; what they say is as true.

``python -m tests.rehearsal.fleet COUNT`` prints a line of JSON, the list of what ``tests.sandbox serve`` prints of
each, and runs until standard input closes or it is told to end.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.collection_path import ROOT
from tests.sandbox import guard
from tests.sandbox.options import Options
from tests.sandbox.serve import Sandbox, reserved_network

AT_ONCE = 5  # sandboxes that start or stop at the same time
STOP_LIMIT = 120.0  # seconds

Json = dict[str, Any]


@contextmanager
def running(count: int) -> Iterator[list[Json]]:
    """``count`` clusters for the time of the ``with``: what ``serve`` prints, of each."""
    command = [sys.executable, "-m", "tests.rehearsal.fleet", str(count)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the clusters did not start, status {process.wait()}")
        yield json.loads(line)
    finally:
        process.terminate()
        process.wait(STOP_LIMIT)


async def _in_turn(sandboxes: Sequence[Sandbox], method: str) -> None:
    for first in range(0, len(sandboxes), AT_ONCE):
        await asyncio.gather(*(getattr(sandbox, method)() for sandbox in sandboxes[first : first + AT_ONCE]))


async def _serve(sandboxes: Sequence[Sandbox]) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        await _in_turn(sandboxes, "start")
        print(json.dumps([sandbox.description() for sandbox in sandboxes]), flush=True)
        await ended.wait()
    finally:
        await _in_turn(sandboxes, "stop")


def main(argv: Sequence[str] | None = None) -> int:
    count = int((sys.argv[1:] if argv is None else argv)[0])
    workdir = Path(tempfile.mkdtemp(prefix="zdd-fleet-"))

    def work() -> int:
        # A cluster has some thirty sockets and as many processes that are watched.
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        with ExitStack() as stack:
            networks = [stack.enter_context(reserved_network(None)) for _number in range(count)]
            # Two agents with room for two versions of some instances each.
            options = [Options(workdir=workdir / str(number), agent_count=2) for number in range(count)]
            sandboxes = [Sandbox(*given) for given in zip(options, networks, strict=True)]
            asyncio.run(_serve(sandboxes))
        return 0

    return guard.run(work, lambda: shutil.rmtree(workdir, ignore_errors=True), until_stdin_closes=True)


if __name__ == "__main__":
    sys.exit(main())
