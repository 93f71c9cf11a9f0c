# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``changed`` and ``diff`` of a result, from one comparison."""

from __future__ import annotations

import json
from typing import Any

from .context import Context


def outcome(context: Context, noun: str, before: Any, after: Any) -> dict[str, Any]:
    """Return ``{noun: after, changed, diff}`` for a resource that goes from ``before`` to ``after``.

    Both are plain, normalised data; ``None`` stands for absent. ``diff`` is there in diff mode only, in the form
    that Ansible prints.
    """
    result: dict[str, Any] = {"changed": before != after, noun: after}
    if context.diff_mode:
        result["diff"] = {"before": _shown(before), "after": _shown(after)}
    return result


def _shown(value: Any) -> str:
    return "" if value is None else json.dumps(value, indent=2, sort_keys=True) + "\n"
