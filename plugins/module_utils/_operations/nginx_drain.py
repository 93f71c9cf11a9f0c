# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until an nginx has no request in flight at given tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import DeadlinePassed, InvalidInput, Unreachable
from .._invocation.context import Context
from .._nginx import connections
from .._nginx.configuration import COLOURS, checked_address
from .._nginx.proxy import NGINX_SPEC, Proxy
from .._on_timeout import ON_TIMEOUT_SPEC, settle, settled
from .._wait import Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **NGINX_SPEC,
    "addresses": {"type": "list", "elements": "str", "required": True},
    "settle": {"type": "float", "default": 0.3},
    "wait_timeout": {"type": "float", "default": 300},
    **ON_TIMEOUT_SPEC,
}

_LOOK_EVERY = 0.1
_FEWEST_LOOKS = 3


@dataclass(frozen=True)
class Look:
    """``counts``: connections by address; ``quiet``: how many looks in a row, this one included, found none.

    ``reached`` says why new requests may still come; ``None`` when they do not.
    """

    counts: Mapping[str, int]
    quiet: int
    reached: str | None


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Wait; see the module's documentation."""
    proxy = Proxy.from_params(params)
    addresses = _addresses(params["addresses"])
    if params["settle"] < 0:
        raise InvalidInput("invalid_option", f"Option settle: {params['settle']:g} is below 0.")
    needed = max(_FEWEST_LOOKS, math.ceil(params["settle"] / _LOOK_EVERY))
    watch = _Watch(proxy, addresses, context)
    first = watch.look()
    left = settled()
    if not context.check_mode:
        try:
            wait_until(
                context,
                watch.look,
                lambda look: undrained(look, needed, proxy.system),
                timeout=params["wait_timeout"],
                pauses=Pauses(_LOOK_EVERY, 1.0, _LOOK_EVERY),
            )
        except DeadlinePassed as deadline:
            count = sum(watch.last.counts.values())
            report = [{"proxy": proxy.name, "connections": dict(watch.last.counts)}]
            left = settle(context, params["on_timeout"], deadline, report, count, reached=watch.last.reached)
        else:
            context.sample("evidence", text=f"{proxy.system} has no connection to {', '.join(addresses) or 'any task'}")
    return {
        "changed": False,
        "proxy": _view(proxy, watch.last),
        "connections": dict(watch.last.counts),
        "sessions": sum(first.counts.values()),
        **left,
    }


def undrained(look: Look, needed: int, system: str) -> str | None:
    """What forbids to stop the tasks; ``None`` when nothing does.

    A request may be between two states for a moment (accepted by nginx, not yet sent on): one look that finds nothing
    is no evidence, ``needed`` in a row are.
    """
    if look.reached:
        return look.reached
    busy = {address: count for address, count in look.counts.items() if count}
    if busy:
        shown = ", ".join(f"{address}: {count}" for address, count in sorted(busy.items()))
        return f"{system} has requests in flight ({shown})"
    if look.quiet < needed:
        return f"{system} has been quiet for {look.quiet} of {needed} looks"
    return None


class _Watch:
    """Looks at one nginx again and again; ``last`` is what was seen last."""

    def __init__(self, proxy: Proxy, addresses: Sequence[str], context: Context) -> None:
        self._proxy = proxy
        self._addresses = addresses
        self._context = context
        self.last = Look({}, 0, None)

    def look(self) -> Look:
        """Count once more."""
        reached = self._reached()
        counts = connections.count(self._addresses)
        total = sum(counts.values())
        self.last = Look(counts, 0 if total or reached else self.last.quiet + 1, reached)
        self._context.sample("sessions", **{self._proxy.name: total})
        return self.last

    def _reached(self) -> str | None:
        """Why nginx still sends new requests to one of the addresses; ``None`` when it does not."""
        configuration = self._proxy.configuration()
        share = self._proxy.files().share
        asked = {checked_address(address) for address in self._addresses}
        for colour in COLOURS:
            own = {checked_address(address) for address in configuration.addresses[colour]}
            if share[colour] and asked & own:
                return f"{self._proxy.system} still sends {share[colour]} % of the new requests to {colour}"
        return None


def _view(proxy: Proxy, look: Look) -> dict[str, Any] | None:
    """The view; ``None`` of an nginx that has died meanwhile, which has no requests in flight either."""
    try:
        view = proxy.view()
    except Unreachable:
        return None
    return {**view, "connections": {**view["connections"], **look.counts}}


def _addresses(given: Sequence[str]) -> list[str]:
    """Each one once, as written.

    :raises InvalidInput: one is no address.
    """
    for address in given:
        checked_address(address)
    return list(dict.fromkeys(given))
