# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sandbox can be asked to be. Light: the command line reads it before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Address = tuple[str, int]


@dataclass(frozen=True)
class Options:
    """Options of ``serve``. Addresses are host and port, port 0 means a free one; ``agent_mem`` is in MiB.

    ``workdir`` gets all files.
    ``network`` is the first three bytes of a loopback /24, ``None`` for a free one. ``lbs`` are the addresses of
    statistics; without them ``lb_count`` load balancers get addresses in the network. ``plain_lb_count`` is how many
    ordinary HAProxy there are, ``plain_slots`` how many slots the backend of each has.
    """

    workdir: Path
    marathon: tuple[Address, ...] = ()
    lbs: tuple[Address, ...] = ()
    lb_count: int = 1
    agent_count: int = 4
    agent_cpus: float = 16.0
    agent_mem: float = 16384.0
    control: Address | None = None
    network: str | None = None
    stock_template: bool = False
    nbthread: int = 1
    http_credentials: str | None = None
    dcos_auth: bool = False
    plain_lb_count: int = 0
    plain_slots: int = 0
