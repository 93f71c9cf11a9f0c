# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every operation of the collection is able to do."""

from __future__ import annotations


class ModuleDocFragment:
    """``attributes`` for what changes something, ``attributes.info`` for what only reads."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what it would change, without changing anything.
    support: full
  diff_mode:
    description: Returns what has changed, or would, when in diff mode.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  action:
    description:
      - Runs inside the controller's process where the connection is C(local) and the task asks for no process of its
        own (C(become), C(async), C(environment), another interpreter); it shows there what it waits for.
        Otherwise it runs as an ordinary module, with the same result; on the controller with the Python that runs
        Ansible, unless C(ansible_python_interpreter) names another one.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: full
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Only reads, so it runs in check mode as ever.
    support: full
  diff_mode:
    description: Returns what has changed, or would, when in diff mode.
    support: N/A
    details:
      - It changes nothing.
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  action:
    description:
      - Runs inside the controller's process where the connection is C(local) and the task asks for no process of its
        own (C(become), C(async), C(environment), another interpreter); it shows there what it waits for.
        Otherwise it runs as an ordinary module, with the same result; on the controller with the Python that runs
        Ansible, unless C(ansible_python_interpreter) names another one.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: full
"""
