# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a colour its share of the requests at one nginx, without a reload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import DeadlinePassed, InvalidInput
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._nginx import shares
from .._nginx.configuration import COLOURS, other
from .._nginx.proxy import NGINX_SPEC, Proxy
from .._wait import Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **NGINX_SPEC,
    "colour": {"type": "str", "choices": list(COLOURS), "required": True},
    "share": {"type": "float", "default": 100},
    "wait_timeout": {"type": "float", "default": 10},
}

_PAUSES = Pauses(0.02, 1.3, 0.2)


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Set the files, then see what nginx makes of them; see the module's documentation."""
    proxy, colour = Proxy.from_params(params), params["colour"]
    share = _share(params["share"], context)
    configuration = proxy.configuration()
    if share and not configuration.addresses[colour]:
        raise InvalidInput(
            "no_tasks", f"{proxy.system}: colour {colour} of group {proxy.group} has no tasks in {proxy.config}."
        )
    proxy.status()  # nothing is changed where nobody would notice
    files = proxy.files()
    steps = list(shares.steps(files, colour, share))
    wanted = {colour: share, other(colour): shares.BUCKETS - share}
    result = outcome(context, "share", files.share, wanted)
    result["changed"] = bool(steps)
    if context.check_mode:
        return {**result, "proxy": {**proxy.view(), "share": wanted}}
    shares.prepare(proxy.state_dir, proxy.system)
    for step in steps:
        shares.apply(proxy.state_dir, step, proxy.system)
        context.changes.append(f"{proxy.name}: {step.path}")
    if steps:
        shares.keep(proxy.state_dir)
    _see(proxy, wanted, params["wait_timeout"], context)
    context.sample("share", **{f"{proxy.group}-{each}": wanted[each] for each in COLOURS})
    context.sample("evidence", text=f"{proxy.system} sends {share} % of the new requests to {colour}")
    return {**result, "proxy": proxy.view()}


def _share(asked: float, context: Context) -> int:
    if not 0 <= asked <= shares.BUCKETS:
        raise InvalidInput("invalid_option", f"Option share: {asked:g} is not between 0 and 100 percent.")
    share = shares.percent(asked)
    if share != asked:
        context.warn(f"The share of {asked:g} percent is rounded to {share}: nginx splits by whole percent.")
    return share


def _see(proxy: Proxy, wanted: Mapping[str, int], timeout: float, context: Context) -> None:
    """Wait until nginx answers for all buckets what was wanted.

    All generations of workers look at the same files at each request, so whichever answers speaks for all of them.

    :raises DeadlinePassed: it does not.
    """
    server = proxy.server

    def pending(seen: Mapping[str, int]) -> str | None:
        if seen == wanted:
            return None
        shown = ", ".join(f"{colour} {seen[colour]} % (not {wanted[colour]})" for colour in COLOURS)
        return f"{proxy.system} sends {shown}"

    try:
        wait_until(context, lambda: server.shares(range(shares.BUCKETS)), pending, timeout=timeout, pauses=_PAUSES)
    except DeadlinePassed as error:
        raise DeadlinePassed(
            "not_seen",
            f"{error.message}. The files in {proxy.state_dir} are set; can the workers of nginx get to them, and is "
            "open_file_cache off?",
            system=error.system or proxy.status_address,
            request=error.request,
            changed=bool(context.changes),
        ) from None
