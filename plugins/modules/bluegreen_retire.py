#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: bluegreen_retire
short_description: Remove a drained version of an app
version_added: "0.1.0"
description:
  - Removes an app of a deployment group, or some of its tasks, after it has been drained, and waits until that is done.
  - Looks at the load balancers right before. What gets new requests is not removed; the failure has the code V(held),
    and nothing was harmed.
  - When somebody scaled an app of the group since the drain was seen, or when there are new tasks, it is waited for
    again that they are idle.
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
  cut:
    description:
      - Whether to remove also what has sessions at a load balancer when O(lb_mode=haproxy). They end then. New requests
        must not come there even so.
    type: bool
    default: false
  group:
    description: Name of the deployment group.
    type: str
    required: true
  app_id:
    description: The app to remove, or to remove tasks of.
    type: str
    required: true
  tasks:
    description: Only these tasks are removed, and the count of the app is reduced by their number.
    type: list
    elements: str
  drained_tasks:
    description: The tasks that were seen drained, as RV(zdd.rollout.marathon_lb_switch#module:idle_tasks).
    type: list
    elements: str
    default: []
  scaled_at:
    description: When the apps were scaled last, as RV(zdd.rollout.marathon_lb_switch#module:scaled_at).
    type: dict
    default: {}
  count_workers:
    description: Whether the load balancers' old workers have to be gone when it is waited again.
    type: bool
    default: true
  idle_processes:
    description: How many HAProxy processes an idle load balancer has.
    type: int
    default: 2
  drain_timeout:
    description: How many seconds to wait again until the tasks are idle.
    type: float
    default: 300
  wait_timeout:
    description: How many seconds the removal may take.
    type: float
    default: 120
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.marathon_lb
  - zdd.rollout.http_options
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: Blue is removed
  zdd.rollout.bluegreen_retire:
    marathon_url: http://marathon.example.com:8080
    marathon_lb_url: http://marathon-lb.example.com:9090
    group: shop_web
    app_id: /shop/web-blue
    drained_tasks: "{{ switched.idle_tasks }}"
    scaled_at: "{{ switched.scaled_at }}"
"""

RETURN = r"""
app:
  description: The definition that is left, V(none) when the app is removed.
  returned: success
  type: dict
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import bluegreen_retire


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(bluegreen_retire)


if __name__ == "__main__":
    main()
