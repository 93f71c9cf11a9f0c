# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``rolling_preflight``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rolling_preflight
short_description: Tell how Marathon's rolling upgrade of an app would go
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Computes from the count of instances, C(upgradeStrategy), the health of the running tasks, host ports and
    constraints how Marathon will replace the tasks of an app, how few of them are healthy at any moment and how many
    there are, and shows it as a picture in text - C([0.9]) serves, C([0.9!]) is there and does not, and a task in
    round brackets starts.
  - Fails when the upgrade can never end, with the reason and with a strategy by which it could.
  - Warns where health or readiness checks are missing, where for a time no task serves, where tasks wait for an agent
    already, and where more agents are needed than were seen.
  - Nothing is changed.
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.rolling
  - zdd.rollout.attributes.info
seealso:
  - module: zdd.rollout.rolling_upgrade
"""

EXAMPLES = r"""
- name: It is known how the upgrade would go
  zdd.rollout.rolling_preflight:
    marathon_url: http://marathon.mesos:8080
    src: "{{ playbook_dir }}/web.json"
    agents: 5
  register: preflight

- name: It is shown
  ansible.builtin.debug:
    msg: "{{ preflight.upgrade.lines }}"
"""

RETURN = r"""
upgrade:
  description:
    - What the upgrade would do.
  returned: success
  type: dict
  contains:
    app_id:
      description: The app.
      type: str
      sample: /shop/web
    group:
      description: The deployment group under whose name a rollout of the app is locked.
      type: str
      sample: shop_web
    from:
      description: The version that runs. V(null) where there is none.
      type: str
      sample: "0.9"
    to:
      description: The wanted version.
      type: str
      sample: "1.0"
    action:
      description:
        - V(unchanged) (nothing to do), V(wait) (the definition is right, and not all tasks are well yet), V(follow)
          (the upgrade to this definition runs already), V(create), V(scale) (only the count differs, no task is
          replaced) or V(upgrade).
      type: str
      sample: upgrade
    instances:
      description: The wanted count.
      type: int
      sample: 4
    deployment_id:
      description: The deployment that does it. V(null) where there is none.
      type: str
      sample: 5ed4c0c5-9ff8-4a6f-a0cd-f57f59a34b43
    can_finish:
      description: Whether it can end when every new task gets well.
      type: bool
      sample: true
    reasons:
      description: Why it can never end, and a strategy with which it could.
      type: list
      elements: str
      sample: []
    warnings:
      description: What it will cost, or will not notice.
      type: list
      elements: str
      sample: []
    least_healthy:
      description: The fewest healthy tasks at any moment. V(null) where no task is replaced.
      type: int
      sample: 4
    most_tasks:
      description: The most tasks at any moment. V(null) where no task is replaced.
      type: int
      sample: 5
    kills:
      description: How many tasks Marathon will kill while they serve. V(null) where no task is replaced.
      type: int
      sample: 4
    steps:
      description:
        - The course, with the counts of C(old) tasks that serve, C(unhealthy) old ones, new ones that are C(starting)
          and new ones that are C(serving), and C(about), what led to this.
      type: list
      elements: dict
      sample: [{old: 4, unhealthy: 0, starting: 0, serving: 0, healthy: 4, total: 4, about: now}]
    lines:
      description: The plan for people.
      type: list
      elements: str
      sample:
        - "/shop/web: 0.9 -> 1.0, rolling upgrade of 2 tasks (minimumHealthCapacity 1, maximumOverCapacity 0)"
        - "[0.9] [0.9]        now"
        - "[0.9] [0.9] (1.0)  1 new started"
requests:
  description: How many requests were sent to Marathon.
  returned: success
  type: int
  sample: 1
failure:
  description:
    - What went wrong, for machines. C(code) is one of V(invalid_definition), V(invalid_option), V(unreadable_file),
      V(app_locked), V(other_apps_of_group), V(unfinishable), V(not_authorized), V(rejected), V(unreachable),
      V(unavailable) and others. With V(unfinishable) C(detail) is as RV(upgrade).
  returned: failure
  type: dict
  sample: {code: unfinishable, system: "http://m:8080", request: null, status: null, detail: {can_finish: false}}
"""


from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import rolling_preflight


def main() -> None:
    """Run the operation."""
    run_as_module(rolling_preflight)


if __name__ == "__main__":
    main()
