# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.sandbox.swarm up``: a Docker Swarm with proxies, that runs until SIGTERM and leaves nothing."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.sandbox import guard
from tests.sandbox.swarm import why_not
from tests.sandbox.swarm.network import Network, reserved

ABOUT = "A real Docker Swarm on one machine: engines in network namespaces of their own, and proxies in front."
UP = """\
Starts the swarm, prints one line of JSON when it is ready, and runs until it gets SIGTERM or SIGINT. Everything that it
has started or made ends with it, however it ends. Several can run at once. It needs root; nothing in it reaches
anything outside of the machine.
"""
LINE = """\
The line of JSON:
  nodes      one object per engine: name, address, docker_host (unix://...), netns (a path for nsenter --net)
  proxies    one object per proxy: name, address, netns, kind (nginx or haproxy), live and preview (URLs), config (the
             group's; nginx has none yet), main_config, pid_file, state_dir and status (of nginx), socket and
             master_socket (of HAProxy), python (runs a Python in the namespace)
  image      the test service, known to all engines
  service    a definition for community.docker.docker_swarm_service, without name and replicas
  inventory  an inventory for Ansible: host cluster, groups swarm_proxies, swarm_nodes, swarm_managers
             and swarm_workers, with the variables of the roles
  workdir    the folder of all files, removed at the end unless it was given
  pid        SIGHUP to this process starts engines and proxies again that have ended
"""
LONGEST = 60  # bytes of the path of a folder in which an engine makes UNIX sockets, whose paths may have 107


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    chosen = _parser().parse_args(arguments)
    reason = why_not()
    if reason is not None:
        print(f"swarm: {reason}", file=sys.stderr)
        return 1
    workdir = (chosen.workdir or Path(tempfile.mkdtemp(prefix="zdd-"))).resolve()
    unusable = _unusable(workdir)
    if unusable is not None:
        print(f"swarm: {unusable}", file=sys.stderr)
        return 1
    with reserved() as network:

        def work() -> int:
            from tests.sandbox.swarm import swarm  # needs the Docker SDK

            return swarm.main(network, workdir, chosen)

        def clean_up() -> None:
            # Engines, containers and proxies were not told to end: the guard has killed them.
            network.remove()
            _remove_control_groups(network)
            shutil.rmtree(workdir / "run", ignore_errors=True)
            if chosen.workdir is None:
                shutil.rmtree(workdir, ignore_errors=True)

        return guard.run(work, clean_up, until_stdin_closes=chosen.until_stdin_closes)


def _unusable(workdir: Path) -> str | None:
    """Why a sandbox cannot have its files there, ``None`` when it can."""
    if len(os.fsencode(workdir)) > LONGEST:
        return f"{workdir} is too long a path for UNIX sockets below it (at most {LONGEST} bytes)."
    if (workdir / "run").exists():
        return f"{workdir / 'run'} belongs to another sandbox; remove it if that runs no more."
    return None


def _remove_control_groups(network: Network) -> None:
    """Those of the containers: the engines were killed, and the kernel keeps the empty groups."""
    for top in Path("/sys/fs/cgroup").glob(f"**/{network.name}"):
        for folder, _folders, _files in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # whoever cleans up at the same time was faster
                os.rmdir(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox.swarm", description=ABOUT)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser(
        "up",
        help="start a swarm",
        description=UP,
        epilog=LINE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    up.add_argument("--workdir", metavar="DIR", type=Path, help="folder for all files (default: a temporary one)")
    up.add_argument("--nodes", metavar="N", type=_count, default=3, help="number of engines (default: 3)")
    up.add_argument("--managers", metavar="N", type=_count, help="how many nodes are managers (default: at most 3)")
    up.add_argument("--proxies", metavar="N", type=_count, default=2, help="number of proxies (default: 2)")
    up.add_argument("--proxy", choices=("nginx", "haproxy"), default="nginx", help="kind of proxies (default: nginx)")
    up.add_argument("--bare", action="store_true", help="the engines are not joined to a swarm")
    up.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="also end when standard input closes, as it does when the process that holds it dies",
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 20:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 20, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
