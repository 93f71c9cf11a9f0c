# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback plugin that writes what failed to the file ``CHAOS_FAILURES``: by host, a list of messages."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Collects the failures that were not ignored or rescued, and the tasks in which something changed."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "failures"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._failures: dict[str, list[str]] = {}

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if "results" not in result.result:  # of a loop each item is told
            self._failures.setdefault(result.host.get_name(), []).append(str(result.result.get("msg")))

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self.v2_runner_on_failed(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self.v2_runner_on_failed(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        Path(os.environ["CHAOS_FAILURES"]).write_text(json.dumps(self._failures))
