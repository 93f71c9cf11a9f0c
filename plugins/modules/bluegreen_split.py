#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: bluegreen_split
short_description: Work out the servers that HAProxy needs for a split of the traffic
version_added: "0.1.0"
description:
  - Asks Marathon for the tasks of the apps of a deployment group, and works out which servers a HAProxy needs, with
    which weights, so that one of the apps gets a given share of the requests, whatever the counts are. Nothing is
    changed; M(zdd.rollout.haproxy_backend) brings a HAProxy into that state.
  - The split is within a quarter of a percentage point of what was asked for.
options:
  group:
    description: Name of the deployment group.
    type: str
    required: true
  app_id:
    description: The app that is to get the share.
    type: str
    required: true
  instances:
    description: How many tasks of the app have to be alive. Fewer are waited for.
    type: int
    default: 1
  partial:
    description:
      - Whether fewer tasks than O(instances) are enough when O(wait_timeout) is over, one at least. It is for going
        back.
    type: bool
    default: false
  share:
    description:
      - Percent of the requests for the app, 0 to 100. With V(100) all tasks of the other app are taken out.
      - Without it all servers weigh the same.
    type: float
  idle:
    description: How many tasks of the other app are taken out, when O(share) is less than 100 or not given.
    type: int
    default: 0
  lb_mode:
    description: Whether the addresses are those of servers in a plain HAProxy, or those that marathon-lb uses.
    type: str
    choices: [marathon_lb, haproxy]
    default: haproxy
  port_index:
    description: Which port of a task HAProxy sends requests to, counted from 0.
    type: int
    default: 0
  wait_timeout:
    description:
      - For how many seconds O(instances) tasks are waited for. After that the task fails; with O(partial) only when
        none is alive, else a warning says how many are.
      - With a O(share) for both, the results of checks of the other app's tasks are waited for too. A warning says so
        when there are none; those tasks stay at the load balancers as they are.
    type: float
    default: 60
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: Green is to get 5 % of the requests
  zdd.rollout.bluegreen_split:
    marathon_url: http://marathon.example.com:8080
    group: shop_web
    app_id: /shop/web-green
    share: 5
  register: split

- name: It gets them
  zdd.rollout.haproxy_backend:
    socket: /run/haproxy/admin.sock
    backend: web
    servers: "{{ split.servers + split.other_servers }}"
"""

RETURN = r"""
servers:
  description: The servers of the app, as M(zdd.rollout.haproxy_backend) takes them.
  returned: success
  type: list
  elements: dict
  sample: [{name: web-green.1, address: "10.0.0.7:31001", weight: 54, state: ready}]
other_servers:
  description: Those of the other app; the ones that are taken out have the state V(drain).
  returned: success
  type: list
  elements: dict
addresses:
  description: The addresses of the app's tasks.
  returned: success
  type: list
  elements: str
other_addresses:
  description: The addresses of the other app's tasks.
  returned: success
  type: list
  elements: str
running_addresses:
  description: The addresses of all running tasks of the app, also of those whose checks fail.
  returned: success
  type: list
  elements: str
known_addresses:
  description: The addresses of all tasks of both apps that are there. A server at any other is an orphan.
  returned: success
  type: list
  elements: str
name_pattern:
  description: A regular expression that the ids of all tasks of the group begin with, of those that are gone too.
  returned: success
  type: str
  sample: 'web(-[a-z]+)?\.'
idle_tasks:
  description: The ids of the tasks that are taken out.
  returned: success
  type: list
  elements: str
idle_addresses:
  description: Their addresses.
  returned: success
  type: list
  elements: str
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import bluegreen_split


def main() -> None:
    run_as_module(bluegreen_split)


if __name__ == "__main__":
    main()
