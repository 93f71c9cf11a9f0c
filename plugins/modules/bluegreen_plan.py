#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: bluegreen_plan
short_description: Plan a blue-green rollout from what is observed
version_added: "0.1.0"
description:
  - Looks at the apps of a deployment group in Marathon and at what every marathon-lb shows of them, and returns the
    steps from there to the goal. Nothing is changed.
  - The outcome of each step is asked of a model of marathon-lb first; a plan that would drain the wrong tasks, or stop
    marathon-lb from writing configurations, is refused.
options:
  marathon_lb_url:
    description:
      - Statistics addresses of all marathon-lb instances, such as C(http://marathon-lb.example.com:9090). Needed when
        O(lb_mode=marathon_lb).
      - The environment variable E(MARATHON_LB_URL) (separated by commas) is used when this is not set.
    type: list
    elements: str
    required: false
  lb_mode:
    description:
      - What is in front of the apps. With V(marathon_lb) the traffic follows Marathon's counts.
      - With V(haproxy) it follows the weights and states of servers, which the rollout sets by HAProxy's runtime API.
    type: str
    choices: [marathon_lb, haproxy]
    default: marathon_lb
  haproxy_lbs:
    description:
      - What the load balancers show when O(lb_mode=haproxy), as RV(zdd.rollout.haproxy_backend#module:lbs).
    type: list
    elements: dict
    default: []
  port_index:
    description: Which port of a task HAProxy sends requests to when O(lb_mode=haproxy), counted from 0.
    type: int
    default: 0
  goal:
    description:
      - V(deploy) goes to the given definition, from wherever the group is.
      - V(promote) finishes a rollout in favour of the new version.
      - V(rollback) finishes it in favour of the old one.
      - V(withdraw) removes the only app of the group; a first deployment that failed.
    type: str
    choices: [deploy, promote, rollback, withdraw]
    default: deploy
  app:
    description: The app definition, without a colour in its id.
    type: dict
  src:
    description: A file with the app definition, JSON or YAML, on the host that runs the task.
    type: path
  app_id:
    description: The id of the app, without a colour, in place of the one in the definition.
    type: str
  image:
    description:
      - The image, in place of the one in C(container.docker) of the definition. Without a tag it gets O(version) as its
        tag.
    type: str
  group:
    description:
      - The deployment group. Default is the label C(HAPROXY_DEPLOYMENT_GROUP) of the definition, or else its id with
        C(_) for each C(/) inside, such as V(web_shop) for C(/web/shop).
    type: str
  version:
    description: What people call the version. Default is the image's tag, or the variable C(VERSION) of the definition.
    type: str
  batch_size:
    description:
      - How many instances of the new version are started at a time, as a count or as a share of the live count.
    type: str
    default: 100%
  canary_steps:
    description:
      - By which stages the new version is let in. Each is a dictionary with C(instances) (a count, or a share like
        V(10%)), C(weight) (percent of the requests, with O(lb_mode=haproxy) only), C(bake) (seconds for which it is
        watched so) and C(pause) (V(true) ends the plan there, until a person promotes or rolls back).
      - A last stage with everything is added where it is not among them. Without any stage the new version takes all
        traffic at once, or by O(batch_size).
    type: list
    elements: raw
    default: []
  canary_analysis:
    description:
      - What the new version is judged by at each stage of a canary, options of M(zdd.rollout.canary_analysis).
    type: dict
    default: {}
  sticky:
    description:
      - Whether clients have to stay at the version that they have seen. With O(lb_mode=marathon_lb) the definition
        needs the label C(HAPROXY_0_STICKY) for it.
    type: bool
    default: false
  bake_seconds:
    description: For how many seconds the new version is watched with all the traffic while the old one is still warm.
    type: float
    default: 0
  keep_old:
    description: Keep the old version warm; it is removed by V(promote).
    type: bool
    default: false
  checks:
    description: Whether there are checks to run against the new version.
    type: bool
    default: false
  pending_operations:
    description:
      - Where the tasks tell their pending operations, the options of M(zdd.rollout.pending_operations_wait). They are
        the evidence that the tasks are drained then.
    type: dict
    default: {}
  limits:
    description:
      - Times in seconds by the name of the variable that has them, to be checked before anything is changed.
    type: dict
    default: {}
  hooks:
    description: Lists of task files by the name of the step that they stand before.
    type: dict
    default: {}
  check_files:
    description: Task files with checks of the user's own; the plan has their whole paths.
    type: list
    elements: str
    default: []
  search:
    description: Folders in which the files of O(hooks) and O(check_files) are looked for, after the working directory.
    type: list
    elements: path
    default: []
  accept_check_change:
    description:
      - Whether the health check may change. While both versions are there, the load balancers check each one by the
        check of the other; say V(true) only when both versions answer both checks.
    type: bool
    default: false
  fresh_state:
    description:
      - Whether the label C(HAPROXY_n_BACKEND_HEAD) is written, by which servers come out of maintenance as UP.
      - V(auto) writes it unless the load balancers' live configuration shows a backend template that is not the stock
        one.
    type: str
    choices: [auto, always, never]
    default: auto
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.marathon_lb
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: See what a rollout would do
  zdd.rollout.bluegreen_plan:
    marathon_url: http://marathon.example.com:8080
    marathon_lb_url: http://marathon-lb.example.com:9090
    src: shop-web.json
  register: planned

- name: Show it
  ansible.builtin.debug:
    var: planned.plan.lines
"""

RETURN = r"""
plan:
  description: The steps, and what they lead to.
  returned: success
  type: dict
  contains:
    goal: {description: The goal., type: str}
    group: {description: The deployment group., type: str}
    from: {description: The version that is live., type: str}
    to: {description: The version that will be., type: str}
    result: {description: What the group will be in., type: str, sample: promoted}
    old: {description: The live app., type: dict}
    new_id: {description: The id of the new app., type: str}
    app: {description: The definition of the new app., type: dict}
    steps:
      description: The steps in order; each has a name, a title, and what it is about.
      type: list
      elements: dict
    notes: {description: What people should know., type: list, elements: str}
    lines: {description: The plan for people., type: list, elements: str}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import bluegreen_plan


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(bluegreen_plan)


if __name__ == "__main__":
    main()
