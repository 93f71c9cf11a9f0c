# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call an executable as zdd.py calls its pre-kill hook (reference A7)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from .._errors import OperationError
from .._invocation.context import Context
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import app_path
from .._marathon.zdd_input import without_nulls

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "path": {"type": "path", "required": True},
    "app_id": {"type": "str", "required": True},
    "tasks": {"type": "list", "elements": "str", "required": True},
    "other_id": {"type": "str", "required": True},
    "wait_timeout": {"type": "float", "default": 300},
}

_SHOWN = 2000  # characters of what the hook said, in a failure


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    with Marathon.from_params(params, context) as marathon:
        app = marathon.app(app_path(params["app_id"]))
        other = marathon.app(app_path(params["other_id"]))
    if context.check_mode:
        return {"changed": True, "hook": {"rc": None, "stdout": "", "stderr": ""}}
    arguments = [json.dumps(without_nulls(given)) for given in (app, list(params["tasks"]), other)]
    called = _called([params["path"], *arguments], params["wait_timeout"])
    return {"changed": True, "hook": {"rc": called.returncode, "stdout": called.stdout, "stderr": called.stderr}}


def _called(command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Whatever keeps the hook from agreeing, a rollout holds: nothing is killed, both versions are left as they are.

    zdd.py ends there too.
    """
    hook = command[0]
    try:
        # An operation also runs inside the controller, where there is no module whose run_command could be called.
        called = subprocess.run(  # pylint: disable=ansible-bad-function
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise OperationError("held", f"Nothing was killed: the hook {hook} did not end within {timeout:g} s.") from None
    except OSError as error:
        raise OperationError("held", f"Nothing was killed: the hook {hook} cannot be run: {error.strerror}.") from None
    if called.returncode:
        said = (called.stderr or called.stdout).strip()[-_SHOWN:] or "without a word"
        raise OperationError(
            "held",
            f"Nothing was killed: the hook {hook} ended with status {called.returncode}"
            + (f": {said}" if said else "."),
            detail={"rc": called.returncode, "stdout": called.stdout, "stderr": called.stderr},
        )
    return called
