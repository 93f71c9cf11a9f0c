# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces on a bridge in one of its own, that the root namespace reaches and that reach nothing else.

The bridge's namespace is NAME, the others are NAME-HOST. Removing them removes every interface in them.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.sandbox.swarm import PATH, program

NAMESPACES = Path("/run/netns")
# Overlay networks are taken from the start of 10.0.0.0/8, so the /24 of a sandbox is not.
FIRST, LAST = 64, 254
ROOT = 254  # last byte of the address that the root namespace has
LIMIT = 30.0  # seconds for one command
TRIES = 50


class NoNetwork(Exception):
    """There is no free /24; the text says where it was looked for."""


class Network:
    """The /24 ``10.A.B.0`` and its namespaces."""

    def __init__(self, second: int, third: int) -> None:
        self.prefix = f"10.{second}.{third}"
        self.name = f"zdd{second}-{third}"  # also that of an interface: 15 characters at most

    def namespace(self, host: str) -> str:
        return f"{self.name}-{host}"

    def address(self, number: int) -> str:
        return f"{self.prefix}.{number}"

    def enter(self, host: str) -> list[str]:
        """The words before a command that runs in the host's namespace."""
        return [program("nsenter"), f"--net={NAMESPACES / self.namespace(host)}", "--"]

    def add_bridge(self) -> None:
        """Make the bridge, and the root namespace's end of it."""
        _ip("netns", "add", self.name)
        _ip("-netns", self.name, "link", "set", "lo", "up")
        _ip("-netns", self.name, "link", "add", "bridge", "type", "bridge")
        _ip("-netns", self.name, "link", "set", "bridge", "up")
        _ip("link", "add", self.name, "type", "veth", "peer", "name", "root", "netns", self.name)
        _ip("-netns", self.name, "link", "set", "root", "master", "bridge", "up")
        _ip("address", "add", f"{self.address(ROOT)}/24", "dev", self.name)
        _ip("link", "set", self.name, "up")

    def add_host(self, host: str, number: int) -> None:
        """Make a namespace with one address and no route to anywhere else."""
        inside = self.namespace(host)
        _ip("netns", "add", inside)
        _ip("-netns", inside, "link", "set", "lo", "up")
        _ip("-netns", inside, "link", "add", "eth0", "type", "veth", "peer", "name", host, "netns", self.name)
        _ip("-netns", self.name, "link", "set", host, "master", "bridge", "up")
        _ip("-netns", inside, "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        _ip("-netns", inside, "link", "set", "eth0", "up")

    def namespaces(self) -> list[str]:
        """Those that are there."""
        mine = (self.name, f"{self.name}-*")
        return sorted(path.name for pattern in mine for path in NAMESPACES.glob(pattern))

    def remove(self) -> None:
        """Remove all namespaces, and with them all interfaces; those that are there no more are no error."""
        for name in self.namespaces():
            subprocess.run([program("ip"), "netns", "delete", name], capture_output=True, timeout=LIMIT, check=False)
        if Path(f"/sys/class/net/{self.name}").exists():  # a namespace goes a moment after its last process
            subprocess.run(
                [program("ip"), "link", "delete", self.name], capture_output=True, timeout=LIMIT, check=False
            )


@contextmanager
def reserved() -> Iterator[Network]:
    """A network that no other sandbox has, and that this machine has no route to.

    The reservation is an abstract UNIX socket: it goes with the processes that hold it, however they end.
    """
    taken = _routed()
    for _attempt in range(TRIES):
        network = Network(random.randint(FIRST, LAST), random.randint(0, 254))
        if network.namespaces() or any(ipaddress.ip_network(f"{network.prefix}.0/24").overlaps(one) for one in taken):
            continue
        with socket.socket(socket.AF_UNIX) as reservation:
            try:
                reservation.bind(f"\0zdd-rollout-sandbox-{network.prefix}")
            except OSError:
                continue
            yield network
            return
    raise NoNetwork(f"No free network was found in 10.{FIRST}.0.0 to 10.{LAST}.254.0 in {TRIES} tries.")


def _routed() -> list[ipaddress.IPv4Network]:
    """The destinations of this machine's routes, but for the default one."""
    routes = json.loads(_ip("-json", "-4", "route", "show", "table", "all"))
    found = [route["dst"] for route in routes if route["dst"] != "default" and route.get("type") != "multicast"]
    return [ipaddress.IPv4Network(each, strict=False) for each in found]


def _ip(*words: str) -> str:
    """Run ``ip``. Raises ``RuntimeError`` with what it says."""
    return run([program("ip"), *words])


def run(command: Sequence[str]) -> str:
    """Run a command and return its output. Raises ``RuntimeError`` with the command and its complaint."""
    done = subprocess.run(
        command, env={**os.environ, "PATH": PATH}, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout
