# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what an nginx does for one group: shares, addresses, old workers, requests in flight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._files import text_of
from .._invocation.context import Context
from .._nginx.configuration import COLOURS, parsed
from .._nginx.proxy import NGINX_SPEC, Proxy

ARGUMENT_SPEC: dict[str, Any] = {**NGINX_SPEC, "only_file": {"type": "bool", "default": False}}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Look at it; see the module's documentation."""
    proxy = Proxy.from_params(params)
    if params["only_file"]:
        return {"changed": False, "proxy": None, "addresses": _addresses(proxy)}
    view = proxy.view()
    if not view["is_active"]:
        context.warn(
            f"{proxy.system}: {proxy.config} is not what nginx runs with: it was changed and not loaded, or its reload "
            "failed. The addresses are those of the file."
        )
    return {"changed": False, "proxy": view, "addresses": view["addresses"]}


def _addresses(proxy: Proxy) -> dict[str, list[str]]:
    """The addresses in the file by colour, none where there is no file yet."""
    text = text_of(proxy.config, proxy.system)
    if text is None:
        return {colour: [] for colour in COLOURS}
    found = parsed(text, f"{proxy.system}: {proxy.config}").addresses
    return {colour: list(addresses) for colour, addresses in found.items()}
