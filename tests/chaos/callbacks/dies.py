# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback plugin that ends its controller with SIGKILL, process group and all, at a chosen task.

``CHAOS_TASK`` counts tasks from 0: it dies before that one begins, or ``CHAOS_AFTER`` seconds later. Without it every
task's name is written to the file ``CHAOS_LOG``.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Counts the tasks that begin."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "dies"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._begun = 0
        self._last = int(os.environ.get("CHAOS_TASK", "-1"))
        self._after = float(os.environ.get("CHAOS_AFTER", "0"))
        self._log = Path(os.environ["CHAOS_LOG"])
        self._log.write_text("")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        with self._log.open("a") as log:
            log.write(f"{task.get_name()}\n")
        if self._begun == self._last:
            if self._after:
                threading.Timer(self._after, _die).start()
            else:
                _die()
        self._begun += 1


def _die() -> None:
    os.killpg(0, signal.SIGKILL)
