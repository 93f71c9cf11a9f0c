# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's table of connections is read right."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._nginx import connections

little = pytest.mark.skipif(sys.byteorder == "big", reason="the lines are those of a little-endian machine")


def line(remote: str, state: str, local: str = "0100007F:1F90") -> str:
    return (
        f"   5: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0000000000000000\n"
    )


@little
@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("0100007F:0050", ("127.0.0.1", 80)),
        ("0201420A:8000", ("10.66.1.2", 32768)),
        ("0000000000000000FFFF00000201420A:8000", ("10.66.1.2", 32768)),  # IPv4 through an IPv6 socket
        ("00000000000000000000000001000000:0050", ("::1", 80)),
        ("B80D0120000000000000000001000000:0050", ("2001:db8::1", 80)),
    ],
)
def test_the_other_side_of_a_connection_is_found(remote: str, address: tuple[str, int]) -> None:
    assert connections.remote_of(line(remote, "01")) == address


@little
def test_a_connection_that_is_being_made_counts_and_one_that_is_over_does_not() -> None:
    remote = "0100007F:0050"
    states = {f"{number:02X}": connections.remote_of(line(remote, f"{number:02X}")) for number in range(1, 13)}

    assert [state for state, found in states.items() if found] == ["01", "02"]  # ESTABLISHED, SYN_SENT


@pytest.mark.parametrize("text", ["", "\n", "  sl  local_address rem_address   st tx_queue rx_queue tr\n"])
def test_other_lines_are_none(text: str) -> None:
    assert connections.remote_of(text) is None


@contextmanager
def listening(family: int, host: str) -> Iterator[socket.socket]:
    with closing(socket.socket(family)) as server:
        server.bind((host, 0))
        server.listen(8)
        yield server


def test_the_connections_of_this_process_are_counted_by_address() -> None:
    with listening(socket.AF_INET, "127.0.0.1") as one, listening(socket.AF_INET, "127.0.0.2") as two:
        first, second = (f"{host}:{port}" for host, port in (one.getsockname(), two.getsockname()))
        assert connections.count([first, second]) == {first: 0, second: 0}
        clients = [socket.create_connection(one.getsockname()) for _client in range(2)]
        assert connections.count([first, second]) == {first: 2, second: 0}
        for client in clients:
            client.close()
        assert connections.count([first]) == {first: 0}


def test_a_socket_of_ipv6_to_an_address_of_ipv4_counts() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with listening(socket.AF_INET, "127.0.0.1") as server, closing(socket.socket(socket.AF_INET6)) as client:
        host, port = server.getsockname()
        client.connect((f"::ffff:{host}", port))
        assert connections.count([f"{host}:{port}"]) == {f"{host}:{port}": 1}
