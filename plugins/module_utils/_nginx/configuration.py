# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that the role swarm_proxy renders for one group: what is read from it, and its hash.

Its first line is the comment ``# zdd.rollout {"group": ..., "state_dir": ...}``. Its upstream blocks ``GROUP_blue``
and ``GROUP_green`` have the addresses of the tasks; they are read there, since nginx takes no line longer than 4096
bytes, comments included. Its status server answers the hash of the file, which takes the place of ``TOKEN`` in what is
rendered: so whoever asks learns which file the worker that answers was started with.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .._errors import InvalidInput, NotFound
from .._files import text_of

TOKEN = "@config@"
COLOURS = ("blue", "green")

_HEADER = "# zdd.rollout "
_HASH = re.compile(r'"config":"([0-9a-f]{64})"')
_SERVER = re.compile(r"^\s*server\s+(\S+?)((?:\s[^;]*)?);", re.MULTILINE)
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Configuration:
    """What a file says. ``addresses``: by colour, each ``ip:port``; ``hash``: what the status server answers."""

    group: str
    state_dir: str | None
    addresses: Mapping[str, tuple[str, ...]]
    hash: str


def other(colour: str) -> str:
    """The colour that this one is not."""
    return COLOURS[1 - COLOURS.index(colour)]


def finished(content: str, origin: str) -> str:
    """Put the hash of a rendered text in the place of its token.

    :raises InvalidInput: it has no token, so nobody could see which file is active.
    """
    if TOKEN not in content:
        raise InvalidInput(
            "invalid_option", f"{origin}: the status server has to answer {TOKEN}, in whose place the hash is put."
        )
    return content.replace(TOKEN, hashlib.sha256(content.encode()).hexdigest())


def parsed(text: str, origin: str) -> Configuration:
    """Read a finished file. ``origin`` says in messages where it comes from.

    :raises InvalidInput: it is not one of ours.
    """
    first = text.partition("\n")[0]
    found = _HASH.search(text)
    try:
        header = json.loads(first.removeprefix(_HEADER)) if first.startswith(_HEADER) else None
        group = header["group"]
        state_dir = header.get("state_dir")
    except (ValueError, TypeError, KeyError, AttributeError):
        group = state_dir = None
    if not isinstance(group, str) or not _GROUP.fullmatch(group) or found is None:
        raise InvalidInput(
            "foreign_configuration",
            f"{origin} is not a configuration of the role zdd.rollout.swarm_proxy: its first line has to be like "
            f'{_HEADER}{{"group": "shop"}}, and its status server has to answer the hash of the file.',
        )
    return Configuration(
        group, state_dir, {colour: _addresses(text, f"{group}_{colour}", origin) for colour in COLOURS}, found[1]
    )


def read(path: str, system: str) -> Configuration:
    """Read the file at ``path``.

    :raises NotFound: there is none. :raises InvalidInput: it is not one of ours.
    """
    text = text_of(path, system)
    if text is None:
        raise NotFound(
            "not_found", f"{system}: there is no file {path}; the role zdd.rollout.swarm_proxy makes it.", system=system
        )
    return parsed(text, f"{system}: {path}")


def checked_address(text: str) -> tuple[str, int]:
    """The IP address, as Python writes it, and the port of ``ip:port`` or ``[ipv6]:port``.

    :raises InvalidInput: it is none.
    """
    host, separator, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        number = int(port) if separator and port.isascii() and port.isdigit() else 0
        if not 0 < number < 65536:
            raise ValueError(text)
        return str(ipaddress.ip_address(host)), number
    except ValueError:
        raise InvalidInput("invalid_option", f"{text!r} is no address of the form ip:port.") from None


def _addresses(text: str, upstream: str, origin: str) -> tuple[str, ...]:
    """The servers of an upstream block, sorted; one that is ``down`` stands for none."""
    block = re.search(rf"^\s*upstream\s+{re.escape(upstream)}\s*\{{(.*?)\}}", text, re.MULTILINE | re.DOTALL)
    if block is None:
        raise InvalidInput("foreign_configuration", f"{origin}: there is no upstream {upstream}.")
    return tuple(sorted(match[1] for match in _SERVER.finditer(block[1]) if "down" not in match[2].split()))
