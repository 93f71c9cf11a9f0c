#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_report
short_description: Say what a rollout did
version_added: "0.1.0"
description:
  - Makes the summary of a rollout from its plan and its journal, for people and for machines, and writes it to a file
    where one is wanted.
options:
  plan:
    description: The plan, as M(zdd.rollout.bluegreen_plan) returned it.
    type: dict
    required: true
  journal:
    description:
      - The operations that were run, each with C(name) and C(title) of its step, C(ended) (seconds since the epoch),
        C(sessions) in flight and C(sessions_cut) (V(none) where nobody knows how many).
      - Action plugins keep it in the fact C(zdd_rollout_journal) while the variable C(zdd_rollout_step) is set.
    type: list
    elements: dict
    default: []
  started:
    description: When the rollout began, in seconds since the epoch.
    type: float
    required: true
  ended:
    description: When it ended, in seconds since the epoch.
    type: float
    required: true
  result:
    description: What came of it.
    type: str
    required: true
  failure:
    description: Why it failed.
    type: str
  failed_at:
    description: When a step failed, in seconds since the epoch.
    type: float
  path:
    description: A JSON file to write.
    type: path
extends_documentation_fragment:
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: Tell what was done
  zdd.rollout.rollout_report:
    plan: "{{ planned.plan }}"
    started: 1772355600.0
    ended: 1772355604.2
    result: promoted
    path: report.json
"""

RETURN = r"""
report:
  description:
    - The report, as it is written to the file.
    - V(null) as C(sessions_drained), C(sessions_cut) or C(operations_cut) is a number that nobody knows.
  returned: success
  type: dict
  sample:
    group: shop_web
    from: "1"
    to: "2"
    result: promoted
    failure: null
    instances: 4
    duration_s: 4.2
    steps: []
    sessions_drained: 13
    sessions_cut: 0
    operations_cut: 0
lines:
  description: The report for people.
  returned: success
  type: list
  elements: str
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import rollout_report


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(rollout_report)


if __name__ == "__main__":
    main()
