#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: marathon_lb_switch
short_description: Turn all traffic of a deployment group to one of its apps
version_added: "0.1.0"
description:
  - Of two apps of a deployment group, marathon-lb sends the traffic to the one that was scaled last. This operation
    scales the wanted one by one and takes the extra task away again before it is healthy, so that all traffic turns
    within a fraction of a second, at any size, and no task is restarted.
  - It waits until every load balancer serves it so. When it is so already, nothing is touched.
  - When it is killed in the middle it leaves at most one task too many. The next run sees it by O(instances) and
    removes it without a lost request, or reports it where it cannot.
options:
  group:
    description: Name of the deployment group.
    type: str
    required: true
  app_id:
    description: The app that is to receive all traffic.
    type: str
    required: true
  instances:
    description: How many instances the app is meant to have. More are taken for the rest of an interrupted switch.
    type: int
  other_instances:
    description: The same for the other app of the group.
    type: int
  all_traffic:
    description: Refuse to turn when tasks of the other app would keep traffic.
    type: bool
    default: true
  trim:
    description:
      - Remove a task too many that serves already, by turning the traffic to the other app for as long as it takes to
        drain it.
      - Only where both apps are fit to serve.
    type: bool
    default: false
  idle_processes:
    description: How many HAProxy processes an idle load balancer has, where a task too many has to be drained.
    type: int
    default: 2
  wait_timeout:
    description: How many seconds the whole may take.
    type: float
    default: 60
  offer_timeout:
    description: How many seconds to wait for an agent that takes the extra instance. The traffic turns without it too.
    type: float
    default: 10
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.marathon_lb
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: All traffic is on green
  zdd.rollout.marathon_lb_switch:
    marathon_url: http://marathon.example.com:8080
    marathon_lb_url: http://marathon-lb.example.com:9090
    group: shop_web
    app_id: /shop/web-green
    instances: 4
"""

RETURN = r"""
switch:
  description: Who receives the traffic.
  returned: success
  type: dict
  contains:
    group: {description: The deployment group., type: str}
    receiver: {description: The app that receives., type: str}
    instances: {description: The instances of the apps by id., type: dict}
method:
  description:
    - How it was turned. V(none), V(touch), V(removal) of a task that an interrupted run had left, or V(reduction) by
      one task where there is no room for one more.
  returned: success
  type: str
extra_task:
  description: A task too many that was left, V(null) for none, V(pending) for an instance that no agent has taken yet.
  returned: success
  type: str
count:
  description: The option O(instances).
  returned: success
  type: int
idle_tasks:
  description: The ids of the other app's healthy tasks that no load balancer sends requests to any more.
  returned: success
  type: list
  elements: str
sessions:
  description: How many requests were open or queued at the other app right before the traffic was turned.
  returned: success
  type: int
scaled_at:
  description: When each app of the group was scaled last, by Marathon.
  returned: success
  type: dict
lbs:
  description: The load balancers that were seen serving it so.
  returned: success
  type: list
  elements: str
seconds:
  description: How many seconds it took.
  returned: success
  type: float
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import marathon_lb_switch


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(marathon_lb_switch)


if __name__ == "__main__":
    main()
