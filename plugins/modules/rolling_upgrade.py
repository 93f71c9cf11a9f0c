# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``rolling_upgrade``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rolling_upgrade
short_description: Upgrade an app by Marathon's own rolling upgrade, and undo it when it does not get well
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Judges the upgrade as M(zdd.rollout.rolling_preflight) does, begins it, and follows it by Marathon's events; what
    runs is shown as a picture in text whenever it changes.
  - Ends early, with the reason, when the new tasks crash-loop, when their health checks make Marathon kill them again
    and again, when no agent has what they ask for, or when O(wait_timeout) is over. Then it is undone - by Marathon's
    rollback while the deployment runs, by deploying the old definition again when it has ended.
  - Marathon can let a replacement stand still for ever, most of all a rollback - it counts on tasks of the failed
    version to end, or uses up its list of tasks to kill. That is noticed, and the old tasks that it waits for are
    killed - first those that serve nobody, then one at a time while enough are healthy.
  - Marathon kills tasks without draining them. How many tasks that served were killed is in the result, also where
    the upgrade was undone. Where no request may be lost, use the role P(zdd.rollout.bluegreen#role).
  - When the definition differs by its count only the app is scaled and no task is replaced. When it does not differ
    nothing is changed. When an upgrade to it runs already, because an earlier run was killed, that one is followed.
options:
  wait_timeout:
    description:
      - How long the upgrade may take, in seconds. After that it is undone.
    type: float
    default: 600
  offer_timeout:
    description:
      - How long to wait for an agent that has what the app asks for, in seconds, counted from the last task that was
        launched.
    type: float
    default: 60
  watch_seconds:
    description:
      - How long the new tasks are watched when they have replaced the old ones, in seconds. One that ends or gets
        unhealthy in this time has the upgrade undone.
      - When this is not set, V(10) for an app without health checks, since Marathon calls its upgrade a success as
        soon as the processes run, and V(0) for others.
    type: float
  rollback:
    description:
      - Whether to undo an upgrade that fails. Otherwise it is left as it is, and Marathon goes on with it.
    type: bool
    default: true
  rollback_timeout:
    description:
      - How long it may take to undo the upgrade, in seconds.
    type: float
    default: 300
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.rolling
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.rolling_preflight
  - module: zdd.rollout.marathon_app
"""

EXAMPLES = r"""
- name: The web app is upgraded, one task after the other
  zdd.rollout.rolling_upgrade:
    marathon_url: http://marathon.mesos:8080
    app:
      id: /shop/web
      cmd: exec ./web --port $PORT0
      env:
        VERSION: "1.0"
      instances: 4
      upgradeStrategy:
        minimumHealthCapacity: 1
        maximumOverCapacity: 0
      portDefinitions:
        - name: http
          port: 10000
      healthChecks:
        - protocol: HTTP
          path: /health
          intervalSeconds: 2

- name: What fails within a minute is undone too
  zdd.rollout.rolling_upgrade:
    marathon_url: http://marathon.mesos:8080
    src: "{{ playbook_dir }}/web.json"
    watch_seconds: 60
"""

RETURN = r"""
app:
  description:
    - The normalised definition of the app; as it would be, in check mode.
  returned: success
  type: dict
  sample: {id: /shop/web, instances: 4, cpus: 0.1, mem: 64}
upgrade:
  description:
    - What the upgrade would do, and what came of it.
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
    result:
      description:
        - V(upgraded), V(created), V(scaled), V(unchanged), or V(planned) in check mode; in the C(detail) of a failure
          V(rolled_back), or V(failed) where it was not undone.
      type: str
      sample: upgraded
    failure:
      description: Why it was undone or failed.
      type: str
      sample: null
    killed:
      description:
        - By version, how many tasks that served were killed, by the upgrade and by its undoing. Marathon does not
          drain them, so requests that were in flight there may be lost.
      type: dict
      sample: {"0.9": 4}
    losses:
      description: The same as a sentence; empty where no such task was killed.
      type: list
      elements: str
      sample: ["4 tasks that served were killed without draining (4 of 0.9): requests in flight there may be lost."]
    rollback_id:
      description: The deployment that undid it. V(null) where there is none.
      type: str
      sample: null
    duration_s:
      description: How long it took, in seconds.
      type: float
      sample: 12.3
    lines:
      description: The plan in check mode, else what came of it, for people.
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
      V(unavailable), V(crash_loop), V(checks_fail), V(no_offers), V(deadline_passed), V(crashed), V(unhealthy),
      V(changed_meanwhile), V(app_removed) and others. C(detail) is as RV(upgrade) where the upgrade was begun.
  returned: failure
  type: dict
  sample: {code: crash_loop, system: "http://m:8080", request: null, status: null, detail: {result: rolled_back}}
"""


from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import rolling_upgrade


def main() -> None:
    """Run the operation."""
    run_as_module(rolling_upgrade)


if __name__ == "__main__":
    main()
