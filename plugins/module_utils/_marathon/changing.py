# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give an app its definition by the request that restarts the least, and find the one that it had before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import NotFound
from .client import Marathon
from .definitions import differences, editable, is_scale_only, replacement

_LOOK_BACK = 5  # stored versions; those that only scaled lie between


def change(
    marathon: Marathon,
    app_id: str,
    live: Mapping[str, Any] | None,
    definition: Mapping[str, Any],
    force: bool,
) -> str | None:
    """Make the live app (``None``: there is none) what ``definition`` says; return the id of the deployment."""
    if live is None:
        deployments = marathon.create_app(editable(definition), force=force).get("deployments") or []
        return deployments[0]["id"] if deployments else None
    if is_scale_only(definition, live):
        return marathon.scale_app(app_id, definition["instances"], force, app=live)
    return marathon.update_app(app_id, replacement(definition, live), force=force, partial=False)


def definition_before(marathon: Marathon, live: Mapping[str, Any]) -> dict[str, Any] | None:
    """The newest stored definition that is another one than the live app's, not counting its instances."""
    try:
        versions = marathon.versions(live["id"])
        for version in sorted(versions, reverse=True)[:_LOOK_BACK]:
            if version >= live["version"]:
                continue
            stored = marathon.version(live["id"], version)
            if differences(stored, live).keys() - {"instances"}:
                return stored
    except NotFound:
        return None  # the app was removed, and its versions with it
    return None
