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
  - Makes the report of a rollout from its plan and its journal, for people and for machines, and writes it to files
    where it is wanted, as JSON, as text or as one HTML page with pictures that needs nothing else.
  - Merges the reports of many clusters into one.
  - A file that cannot be written is a warning, since it changes nothing of what the rollout did.
options:
  plan:
    description:
      - The plan, as M(zdd.rollout.bluegreen_plan) returned it.
      - Needs O(started), O(ended) and O(result). Either this or O(reports) is needed.
    type: dict
  journal:
    description:
      - The operations that were run, each with C(name) and C(title) of its step, C(ended) (seconds since the epoch),
        C(sessions) in flight and C(sessions_cut) (V(none) where nobody knows how many), and C(samples), what was seen.
      - Action plugins keep it in the fact C(zdd_rollout_journal) while the variable C(zdd_rollout_step) is set. The
        entry of a task that failed is C(journal_entry) of its result, since Ansible keeps no facts of it.
    type: list
    elements: dict
    default: []
  started:
    description: When the rollout began, in seconds since the epoch; V(0) when there was nothing to do.
    type: float
  ended:
    description: When it ended, in seconds since the epoch.
    type: float
  result:
    description: What came of it.
    type: str
  failure:
    description: Why it failed.
    type: str
  failed_at:
    description: When a step failed, in seconds since the epoch.
    type: float
  cluster:
    description: What the cluster is called, the inventory host for instance.
    type: str
  marathon:
    description: Where its Marathon is, for the report only. User and password are left out.
    type: list
    elements: str
    default: []
  load_balancers:
    description: Where its load balancers are, for the report only. User and password are left out.
    type: list
    elements: str
    default: []
  owner:
    description: Who ran it. By default the user and the host of the controller, C(USER@HOST).
    type: str
  reports:
    description:
      - Reports to merge into one, each as RV(report) of this module has it, of one cluster or merged already.
      - Several of one group in one cluster are its stages one after the other; they become one.
      - Of a cluster for which there is none, because it could not be reached for instance, a dictionary with
        C(cluster), C(result) and C(failure) is enough.
    type: list
    elements: dict
  title:
    description: What the merged report is called.
    type: str
  path:
    description:
      - Files to write. One that ends in C(.html) becomes a page, one that ends in C(.txt) text, all others JSON.
    type: list
    elements: path
    default: []
extends_documentation_fragment:
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: Tell what was done
  zdd.rollout.rollout_report:
    plan: "{{ planned.plan }}"
    journal: "{{ ansible_facts.zdd_rollout_journal }}"
    started: 1772355600.0
    ended: 1772355604.2
    result: promoted
    cluster: "{{ inventory_hostname }}"
    path:
      - report.json
      - report.html

- name: One report for all clusters
  zdd.rollout.rollout_report:
    reports: "{{ query('file', *query('fileglob', 'reports/*.json')) | map('from_json') }}"
    title: Release 2 in all clusters
    path: release-2.html
  run_once: true
"""

RETURN = r"""
report:
  description:
    - The report, as it is written to the file. All times but C(started) and C(ended) are seconds since its start.
    - V(null) as C(sessions_drained), C(sessions_cut) or C(operations_cut) is a number that nobody knows.
    - A merged one has C(title), C(result) (V(mixed) where they differ), C(results) (how many of each), the sums, and
      C(reports).
  returned: success
  type: dict
  contains:
    group:
      description: The deployment group.
      type: str
    result:
      description: What came of it.
      type: str
    failure:
      description: Why it failed.
      type: str
    apps:
      description: Colour, version and role (V(old) or V(new)) of each app.
      type: dict
    steps:
      description: >-
        The steps, each with C(name), C(title), C(started_s), C(duration_s), the C(evidence) on which it went on, and
        its C(failure).
      type: list
      elements: dict
    decisions:
      description: What was decided, each with C(at_s), C(text) and C(reason).
      type: list
      elements: dict
    series:
      description: >-
        What was seen over time, by kind and by name; a list of C([seconds, value]), of V(errors) C([seconds, requests,
        errors]). A value holds until the next one.
      type: dict
  sample:
    group: shop_web
    goal: deploy
    from: "1"
    to: "2"
    result: promoted
    failure: null
    cluster: east
    marathon: ["http://marathon.example.com:8080"]
    load_balancers: []
    owner: deploy@controller
    started: "2026-03-01T09:00:00+00:00"
    ended: "2026-03-01T09:00:04+00:00"
    instances: 4
    apps: {}
    duration_s: 4.2
    steps: []
    sessions_drained: 13
    sessions_cut: 0
    operations_cut: 0
    decisions: []
    series: {}
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
