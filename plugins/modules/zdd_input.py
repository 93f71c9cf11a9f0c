#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: zdd_input
short_description: Say what the input of zdd.py means for a deployment group
version_added: "0.1.0"
description:
  - Reads the file and the options that C(zdd.py) of marathon-lb takes, looks at the deployment group, and says what is
    to be done in the words of this collection. Changes nothing.
  - The role C(zdd.rollout.zdd) does what it says.
options:
  json:
    description: File with one app definition, with the labels that C(zdd.py) needs.
    type: path
    required: true
  new_instances:
    description:
      - So many instances of the new version beside the rest of the old one, a hybrid. V(0) means the whole app.
      - With O(resume) it counts where the new app says nothing itself.
    type: int
    default: 0
  initial_instances:
    description:
      - The count with which the new version begins; it grows from there as C(zdd.py) lets it grow.
      - Without it, and without O(linear_increase), the new version has its whole count at once.
    type: int
  linear_increase:
    description: The new version grows by so many instances at a time. V(0) means by half as many again.
    type: int
    default: 0
  complete_cur:
    description: Finish a hybrid, or what was left half done, in favour of the newer app.
    type: bool
    default: false
  complete_prev:
    description: Finish it in favour of the older app.
    type: bool
    default: false
  resume:
    description: Go on with what was left half done; a hybrid stays one.
    type: bool
    default: false
  pre_kill_hook:
    description: An executable that is to be called before each kill. That it can be is checked here.
    type: path
  step_delay:
    description: Has no effect; accepted, and told.
    type: int
  force:
    description: Has no effect; accepted, and told.
    type: bool
    default: false
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.attributes.info
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: It is known what zdd.py would be asked for
  zdd.rollout.zdd_input:
    marathon_url: http://marathon.example.com:8080
    json: web.json
    new_instances: 1
  register: read
"""

RETURN = r"""
zdd:
  description: What is to be done.
  returned: success
  type: dict
  contains:
    goal:
      description: V(deploy), V(promote), V(rollback), or V(none) when nothing is left to do.
      type: str
    group:
      description: The deployment group.
      type: str
    app:
      description: The definition to deploy, V(null) for other goals. Without C(instances) where the live count is kept.
      type: dict
    canary_steps:
      description: By which counts the new version grows, as the role C(zdd.rollout.canary) takes them.
      type: list
      elements: dict
    pre_kill_hook:
      description: The whole path of the hook, V(null) for none.
      type: str
    notes:
      description: What is different here, for people.
      type: list
      elements: str
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import zdd_input


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(zdd_input)


if __name__ == "__main__":
    main()
