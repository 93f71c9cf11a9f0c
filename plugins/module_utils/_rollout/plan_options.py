# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a plan that are the same on every platform, checked before anything is changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._errors import InvalidInput

PLAN_SPEC: dict[str, Any] = {
    "canary_steps": {"type": "list", "elements": "raw", "default": []},
    "canary_analysis": {"type": "dict", "default": {}},
    "bake_seconds": {"type": "float", "default": 0},
    "keep_old": {"type": "bool", "default": False},
    "checks": {"type": "bool", "default": False},
    "pending_operations": {"type": "dict", "default": {}},
    "limits": {"type": "dict", "default": {}},
    "hooks": {"type": "dict", "default": {}},
    "check_files": {"type": "list", "elements": "str", "default": []},
    "search": {"type": "list", "elements": "path", "default": []},
}

HOOKABLE = (
    "create",
    "healthy",
    "checked",
    "switched",
    "drained",
    "quiet",
    "bake",
    "reduce",
    "scale",
    "retire",
    "kill",
    "rollback",
)


def check_limits(params: Mapping[str, Any]) -> None:
    """Refuse what would fail in a later step only, when something has been changed already."""
    for name, value in {**params["limits"], "bake_seconds": params["bake_seconds"]}.items():
        try:
            seconds = float(value or 0)
        except (TypeError, ValueError):
            seconds = -1.0
        if not 0 <= seconds < math.inf:
            raise InvalidInput("invalid_option", f"{name} is {value!r}; it is a number of seconds, 0 or more.")
    pending = params["pending_operations"]
    if pending and len([key for key in ("jmespath", "metric") if pending.get(key)]) != 1:
        raise InvalidInput(
            "invalid_option",
            f"Option pending_operations has {', '.join(sorted(pending))}; it needs jmespath or metric, one of both, to "
            "find the number in an answer.",
        )


def task_files(params: Mapping[str, Any]) -> tuple[dict[str, list[str]], list[str]]:
    """The task files of the hooks, by step, and those with the user's checks, by their whole paths.

    :raises InvalidInput: there is no such step, or no such file: that would be found out half-way.
    """
    folders = [Path.cwd(), *(Path(folder) for folder in params["search"])]
    hooks = _hooks(params["hooks"], folders)
    return hooks, [_task_file("check_files", file, folders) for file in params["check_files"]]


def _hooks(given: Mapping[str, Any], folders: Sequence[Path]) -> dict[str, list[str]]:
    for step, files in given.items():
        if step not in HOOKABLE:
            raise InvalidInput("invalid_option", f"Option hooks: {step!r} is no step; steps are {', '.join(HOOKABLE)}.")
        if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
            raise InvalidInput("invalid_option", f"Option hooks: {step} needs a list of task files, not {files!r}.")
    return {step: [_task_file("hooks", file, folders) for file in files] for step, files in given.items()}


def _task_file(option: str, name: str, folders: Sequence[Path]) -> str:
    """The whole path of a task file; one that is missing would be found out when something has been changed already."""
    for folder in folders:
        path = (folder / name).absolute()
        if path.is_file():
            return str(path)
    looked = ", ".join(dict.fromkeys(str(folder) for folder in folders))
    raise InvalidInput("invalid_option", f"Option {option}: there is no file {name} (looked for in {looked}).")
