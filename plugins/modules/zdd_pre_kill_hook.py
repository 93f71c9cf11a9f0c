#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: zdd_pre_kill_hook
short_description: Call a pre-kill hook as zdd.py does
version_added: "0.1.0"
description:
  - Calls an executable with three arguments, each a text in JSON, as C(zdd.py) of marathon-lb does before it kills.
    These are the app that loses tasks, the list of their ids, and the app that stays. Apps are as Marathon shows them,
    without keys that are null.
  - When it ends with another status than 0, or not in time, the task fails with the code V(held), so that a rollout
    stops there and leaves both versions as they are.
  - It runs where the task runs, which is the controller in a rollout. In check mode it is not called.
attributes:
  diff_mode:
    description: Returns what has changed, or would, when in diff mode.
    support: none
    details:
      - What the hook changes is not known.
  idempotent:
    description: A second run with the same options changes nothing.
    support: none
    details:
      - The hook is called each time.
options:
  path:
    description: The executable.
    type: path
    required: true
  app_id:
    description: The app that loses tasks.
    type: str
    required: true
  tasks:
    description: The ids of the tasks that are going to be killed.
    type: list
    elements: str
    required: true
  other_id:
    description: The app that stays.
    type: str
    required: true
  wait_timeout:
    description: How many seconds the hook may take.
    type: float
    default: 300
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
# In a task file that bluegreen_hooks names for the step kill
- name: The registry forgets the tasks
  zdd.rollout.zdd_pre_kill_hook:
    path: /opt/registry/forget
    app_id: "{{ bluegreen_step.app_id }}"
    tasks: "{{ bluegreen_tasks }}"
    other_id: "{{ bluegreen_step.other_id }}"
"""

RETURN = r"""
hook:
  description: How the hook ended.
  returned: success
  type: dict
  contains:
    rc:
      description: Its status; V(null) in check mode.
      type: int
    stdout:
      description: What it said.
      type: str
    stderr:
      description: What it complained about.
      type: str
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import zdd_pre_kill_hook


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(zdd_pre_kill_hook)


if __name__ == "__main__":
    main()
