# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proxies in front of a group show: how the traffic is split, and which addresses they know.

A view is a plain dictionary with ``name``, ``kind``, ``share`` (colour -> percent of new requests), ``addresses``
(colour -> ``ip:port``), ``old_workers`` and ``connections``. The nginx operations return it as it is; what
``haproxy_backend`` shows of a HAProxy is made one here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import InvalidInput
from .._rollout.state import COLOURS

Json = Mapping[str, Any]

KINDS = ("nginx", "haproxy")


@dataclass(frozen=True)
class View:
    """One proxy. ``share``: percent of the new requests that it is set to send to each colour.

    ``connections``: requests in flight by address, where the proxy tells (``None``: it does not).
    """

    name: str
    kind: str
    share: Mapping[str, float]
    addresses: Mapping[str, frozenset[str]]
    old_workers: int = 0
    connections: Mapping[str, int] | None = field(default=None)

    def served(self, colour: str) -> float:
        """Percent of the new requests that reach ``colour``: none where the proxy knows no address of it."""
        return self.share[colour] if self.addresses[colour] else 0.0

    @property
    def serves(self) -> bool:
        """Whether any request reaches a colour here. A proxy that was set up a moment ago serves nothing."""
        return any(self.served(colour) for colour in COLOURS)

    def as_dict(self) -> dict[str, Any]:
        """The view as the operations of nginx return it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "share": dict(self.share),
            "addresses": {colour: sorted(self.addresses[colour]) for colour in COLOURS},
            "old_workers": self.old_workers,
            "connections": None if self.connections is None else dict(self.connections),
        }


def views(given: Sequence[Any]) -> tuple[View, ...]:
    """The views of the option ``proxies``.

    :raises InvalidInput: one of them is none; names it, and what it lacks.
    """
    return tuple(_view(number, one) for number, one in enumerate(given, 1))


def _view(number: int, given: Any) -> View:
    if not isinstance(given, Mapping) or not isinstance(given.get("share"), Mapping):
        raise InvalidInput(
            "invalid_option",
            f"Option proxies, entry {number}: it is {given!r}, not what zdd.rollout.nginx_info returns as proxy, a "
            "dictionary with name, kind, share and addresses.",
        )
    name, kind = str(given.get("name") or f"proxy {number}"), given.get("kind", "nginx")
    if kind not in KINDS:
        raise InvalidInput("invalid_option", f"Option proxies, {name}: kind is {kind!r}, one of {', '.join(KINDS)}.")
    addresses = given.get("addresses") or {}
    connections = given.get("connections")
    return View(
        name=name,
        kind=kind,
        share={colour: _percent(name, colour, given["share"].get(colour)) for colour in COLOURS},
        addresses={colour: frozenset(addresses.get(colour) or ()) for colour in COLOURS},
        old_workers=int(given.get("old_workers") or 0),
        connections=dict(connections) if isinstance(connections, Mapping) else None,
    )


def _percent(name: str, colour: str, given: Any) -> float:
    try:
        percent = float(given or 0)
    except (TypeError, ValueError):
        percent = -1.0
    if not 0 <= percent <= 100:
        raise InvalidInput(
            "invalid_option", f"Option proxies, {name}: the share of {colour} is {given!r}, not a percentage."
        )
    return percent


def server_name(service: str, slot: Any, task_id: str) -> str:
    """How the server of a task is called in HAProxy: like the task's container."""
    return f"{service}.{slot or 'node'}.{task_id}"


def name_pattern(group: str) -> str:
    """A regular expression with which the names of all servers of a group begin."""
    return f"{re.escape(group)}-({'|'.join(COLOURS)})\\."


def views_of_haproxy(
    lbs: Sequence[Json], group: str, addresses: Mapping[str, frozenset[str]] | None = None
) -> tuple[View, ...]:
    """The views of the entries ``lbs`` of results of ``haproxy_backend``.

    A server belongs to the colour in its name, or else to the one that has a task at its address. Its part of the
    requests is that of its weight among those of the servers that are set ready, whatever the checks say.
    """
    return tuple(_view_of_haproxy(lb, group, addresses or {}) for lb in lbs)


def _view_of_haproxy(lb: Json, group: str, addresses: Mapping[str, frozenset[str]]) -> View:
    weights = dict.fromkeys(COLOURS, 0)
    known: dict[str, set[str]] = {colour: set() for colour in COLOURS}
    for name, server in lb["servers"].items():
        colour = _colour_of_server(name, server["address"], group, addresses)
        if colour is None or server["state"] != "ready":
            continue
        known[colour].add(server["address"])
        weights[colour] += server["weight"]
    total = sum(weights.values())
    return View(
        name=str(lb["lb"]),
        kind="haproxy",
        share={colour: 100 * weights[colour] / total if total else 0.0 for colour in COLOURS},
        addresses={colour: frozenset(known[colour]) for colour in COLOURS},
    )


def _colour_of_server(name: str, address: str, group: str, addresses: Mapping[str, frozenset[str]]) -> str | None:
    named = re.match(name_pattern(group), name)
    if named:
        return named[1]
    return next((colour for colour in COLOURS if address in addresses.get(colour, ())), None)
