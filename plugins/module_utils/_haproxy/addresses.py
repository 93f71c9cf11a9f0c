# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of servers in the one form in which HAProxy shows them: ``ip:port``, an IPv6 address in brackets."""

from __future__ import annotations

import ipaddress
import socket

from .._errors import InvalidInput
from .backend_servers import split
from .runtime import joined


def resolved(address: str) -> str:
    """Return ``address`` as ``ip:port``; a host name is looked up here, its IPv4 address first.

    A server that is added by name would start without an address, and slots take addresses only.

    :raises InvalidInput: it is not ``host:port``, or the name is unknown.
    """
    try:
        host, port = split(address)
    except ValueError as error:
        raise InvalidInput("invalid_option", f"The address of a server: {error}.") from None
    if not port:
        raise InvalidInput("invalid_option", f"The address of a server: {address!r} has no port.")
    try:
        return joined(str(ipaddress.ip_address(host)), port)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InvalidInput("invalid_option", f"The address of a server: {host} is unknown here ({error}).") from None
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return joined(str(found[0][4][0]), port)
