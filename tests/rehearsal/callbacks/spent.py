# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write down what processor time the play has used whenever a task begins: lines of JSON in the file ``SPENT_LOG``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: spent
type: aggregate
short_description: Write down the processor time at each task
description: For the benchmark of many clusters.
"""


class CallbackModule(CallbackBase):
    """``cpu`` is of this process and of all its workers that have ended, seconds."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "spent"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._path = Path(os.environ["SPENT_LOG"])
        self._results = 0

    def _note(self, name: str, file: str) -> None:
        used = sum(os.times()[:4])
        with self._path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"name": name, "file": file, "cpu": used, "results": self._results}) + "\n")
        self._results = 0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._note(task.get_name(), task.get_path().rpartition(":")[0])

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._note("", "")

    def _count(self, *_args: Any, **_options: Any) -> None:
        self._results += 1

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_skipped = _count
