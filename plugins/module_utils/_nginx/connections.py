# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of this network namespace to given addresses, from /proc/net/tcp and tcp6 (proc(5)).

Towards a task each connection that is established, or is being made, is a request in flight: the rendered configuration
keeps none for later.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable

from .._errors import OperationError
from .configuration import checked_address

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
# States as in the kernel's include/net/tcp_states.h.
_ESTABLISHED, _SYN_SENT = "01", "02"

Address = tuple[str, int]


def count(addresses: Iterable[str]) -> dict[str, int]:
    """How many connections there are to each address (``ip:port``), with 0 for those without.

    :raises OperationError: the tables cannot be read.
    """
    asked = {address: checked_address(address) for address in addresses}
    found = dict.fromkeys(asked.values(), 0)
    for path in TABLES:
        try:
            with open(path, encoding="ascii") as table:
                next(table, None)
                for line in table:
                    remote = remote_of(line)
                    if remote in found:
                        found[remote] += 1
        except FileNotFoundError:  # a kernel without IPv6
            if path == TABLES[0]:
                raise OperationError("unreadable_file", f"There is no {path} on this host.") from None
    return {address: found[parts] for address, parts in asked.items()}


def remote_of(line: str) -> Address | None:
    """The other side of a connection that is open or is being made; ``None`` for all other lines of a table."""
    fields = line.split(maxsplit=4)
    if len(fields) < 4 or fields[3] not in (_ESTABLISHED, _SYN_SENT):
        return None
    host, _separator, port = fields[2].partition(":")
    return _ip(host), int(port, 16)


def _ip(text: str) -> str:
    """An address as the kernel writes it: 32-bit words in the order of the host, as hexadecimal numbers."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    order = "<" if sys.byteorder == "little" else ">"
    packed = struct.pack(f"{order}{len(words)}I", *words)
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)
