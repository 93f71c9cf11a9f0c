# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole sandbox in one process: the stand-ins, their addresses, and what the control API needs of them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import random
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.sandbox.control import Control
from tests.sandbox.marathon import Agent, MarathonStandIn
from tests.sandbox.marathon_lb import MarathonLbStandIn
from tests.sandbox.marathon_lb.haproxy import HaproxyMissing, haproxy_path
from tests.sandbox.options import Address, Options
from tests.sandbox.plain_lb import BACKEND, PlainLb

SERVICE = [sys.executable, "-S", "-E", str(Path(__file__).parent / "service.py")]

# Last bytes of the default addresses in the sandbox's network.
MARATHON, CONTROL, FIRST_LB, FIRST_PLAIN_LB, FIRST_AGENT = 1, 2, 11, 76, 101


class CannotStart(Exception):
    """The sandbox cannot start; the text says why and what to do."""


class Sandbox:
    """The stand-ins of one sandbox. ``start`` and ``stop`` in a running loop."""

    def __init__(self, options: Options, network: str) -> None:
        members = options.marathon or ((f"{network}.{MARATHON}", _preferred(f"{network}.{MARATHON}", 8080)),)
        self.agents = [
            Agent(f"agent-{number}", f"{network}.{FIRST_AGENT + number}", options.agent_cpus, options.agent_mem)
            for number in range(options.agent_count)
        ]
        self.workdir = options.workdir.resolve()
        self.marathon = MarathonStandIn(
            members,
            self.agents,
            workdir=self.workdir / "marathon",
            service_command=shlex.join(SERVICE),
            credentials=options.http_credentials,
            dcos_auth=options.dcos_auth,
        )
        self.lbs: list[MarathonLbStandIn] = []
        self._lb_addresses = _lb_addresses(options, network)
        self._control_address = options.control or (f"{network}.{CONTROL}", 0)
        self._fixed = [*options.marathon, *options.lbs, *([options.control] if options.control else [])]
        self._options = options
        self.plain_lbs: list[PlainLb] = []
        self._plain_hosts = [f"{network}.{FIRST_PLAIN_LB + number}" for number in range(options.plain_lb_count)]
        self._control = Control(self.marathon, self.lbs, self.plain_lbs)

    async def start(self) -> None:
        """Start all parts. Raises :class:`CannotStart` when an address is taken."""
        options = self._options
        for address in self._fixed:
            _check_free(address)
        await self.marathon.start()
        for number, (host, port) in enumerate(self._lb_addresses):
            self.lbs.append(
                MarathonLbStandIn(
                    self.marathon.urls,
                    host,
                    port,
                    self.workdir / f"lb{number}",
                    stock_template=options.stock_template,
                    nbthread=options.nbthread,
                    credentials=options.http_credentials,
                    dcos_login=options.dcos_auth,
                )
            )
        self.plain_lbs.extend(
            PlainLb(host, self.workdir / f"plain{number}", slots=options.plain_slots, nbthread=options.nbthread)
            for number, host in enumerate(self._plain_hosts)
        )
        await asyncio.gather(
            *(lb.start() for lb in self.lbs),
            *(lb.start() for lb in self.plain_lbs),
            self._control.start(*self._control_address),
        )

    async def stop(self) -> None:
        """Stop all parts, tasks included."""
        await self._control.stop()
        await asyncio.gather(*(lb.stop() for lb in [*self.lbs, *self.plain_lbs]))
        await self.marathon.stop()

    def description(self) -> dict[str, Any]:
        """Return what ``serve`` prints: all addresses."""
        return {
            "marathon": self.marathon.urls,
            "lbs": [
                {
                    "url": lb.url,
                    "host": lb.host,
                    "socket": str(lb.socket),
                    "tcp_socket": lb.tcp_socket,
                    "config": str(lb.config),
                }
                for lb in self.lbs
            ],
            "plain_lbs": [
                {
                    "host": lb.host,
                    "url": lb.url,
                    "backend": BACKEND,
                    "socket": str(lb.socket),
                    "tcp_socket": lb.tcp_socket,
                    "master_socket": str(lb.master_socket),
                    "config": str(lb.config),
                }
                for lb in self.plain_lbs
            ],
            "control": self._control.url,
            "agents": [
                {"id": agent.id, "host": agent.host, "cpus": agent.cpus, "mem": agent.mem} for agent in self.agents
            ],
            "service": SERVICE,
            "workdir": str(self.workdir),
        }


def main(options: Options) -> int:
    """Run a sandbox until SIGTERM or SIGINT; return the exit status."""
    try:
        haproxy_path()
        with reserved_network(options.network) as network:
            asyncio.run(_serve(options, network))
    except (CannotStart, HaproxyMissing, OSError, ValueError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(options: Options, network: str) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    sandbox = Sandbox(options, network)
    waiting = asyncio.create_task(ended.wait())
    starting = asyncio.create_task(sandbox.start())
    try:
        await asyncio.wait({waiting, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            print(json.dumps(sandbox.description()), flush=True)
            await waiting
    finally:
        starting.cancel()
        waiting.cancel()
        await sandbox.stop()


def _lb_addresses(options: Options, network: str) -> list[Address]:
    if options.lbs:
        return [(host, port or _preferred(host, 9090)) for host, port in options.lbs]
    hosts = [f"{network}.{FIRST_LB + number}" for number in range(options.lb_count)]
    return [(host, _preferred(host, 9090)) for host in hosts]


@contextlib.contextmanager
def reserved_network(wanted: str | None) -> Iterator[str]:
    """Yield the first three bytes of a loopback /24 that no other sandbox has while this one runs.

    The reservation is an abstract UNIX socket: it goes with the process, however that ends.
    """
    candidates = (
        [wanted] if wanted else [f"127.{random.randint(16, 254)}.{random.randint(0, 254)}" for _index in range(50)]
    )
    for network in candidates:
        with socket.socket(socket.AF_UNIX) as reservation:
            try:
                reservation.bind(f"\0zdd-rollout-sandbox-{network}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            yield network
            return
    raise CannotStart(
        f"The network {wanted} belongs to another sandbox that is running."
        if wanted
        else "No free network was found in 127.0.0.0/8."
    )


def _check_free(address: Address) -> None:
    host, port = address
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(f"Cannot listen on {host}:{port}: {error.strerror}.") from error


def _preferred(host: str, port: int) -> int:
    """Return ``port`` when it is free on ``host``, else another one that is."""
    for number in (port, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
            return probe.getsockname()[1]
    raise CannotStart(f"There is no free port on {host}.")
