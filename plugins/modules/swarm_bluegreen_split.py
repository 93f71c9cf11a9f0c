#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_bluegreen_split
short_description: Work out what the proxies of a group on Docker Swarm need for a split of the traffic
version_added: "0.1.0"
description:
  - Asks a swarm for the tasks of both colours of a group, and works out which addresses the proxies need, and which
    servers a HAProxy needs, with which weights, so that one of the colours gets a given share of the requests. Nothing
    is changed; M(zdd.rollout.nginx_config), M(zdd.rollout.nginx_split) and M(zdd.rollout.haproxy_backend) do that.
  - A task is ready when it runs and is wanted to, which with a health check means that it is healthy. Tasks of
    O(colour) count only when they are of the present definition.
options:
  name:
    description: The name of the group.
    type: str
    required: true
  colour:
    description: The colour that is to get the share.
    type: str
    choices: [blue, green]
    required: true
  share:
    description:
      - Percent of the requests for the colour, 0 to 100. With V(100) all tasks of the other one are taken out.
      - Without it all servers weigh the same.
    type: float
  instances:
    description: How many tasks of the colour have to be ready. Fewer are waited for.
    type: int
    default: 1
  partial:
    description:
      - Whether fewer tasks than O(instances) are enough when O(wait_timeout) is over, one at least, or no service at
        all. It is for going back.
    type: bool
    default: false
  wait_timeout:
    description:
      - For how many seconds O(instances) tasks are waited for. After that the task fails; with O(partial) only when
        none is ready, else a warning says how many are.
    type: float
    default: 60
  target_port:
    description:
      - The port of the container that the proxies send requests to.
      - Needed when O(endpoint=overlay). Otherwise the only TCP port that the service publishes is the default.
    type: int
  endpoint:
    description:
      - Where a proxy reaches a task. With V(host) that is the node's address and the port that is published there, with
        V(overlay) the task's own address in O(network).
    type: str
    choices: [host, overlay]
    default: host
  network:
    description: The overlay network of the tasks and the proxies when O(endpoint=overlay).
    type: str
extends_documentation_fragment:
  - zdd.rollout.swarm
  - zdd.rollout.http_options
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: Green is to get 5 % of the requests
  zdd.rollout.swarm_bluegreen_split:
    docker_host: [tcp://manager1:2375]
    name: web
    colour: green
    share: 5
  register: split

- name: It gets them
  zdd.rollout.haproxy_backend:
    socket: /run/haproxy/admin.sock
    backend: web
    servers: "{{ split.servers + split.other_servers }}"
"""

RETURN = r"""
addresses:
  description: The addresses of the ready tasks of both colours.
  returned: success
  type: dict
  sample: {blue: ["10.0.0.7:32768"], green: ["10.0.0.8:32769"]}
servers:
  description: The servers of the colour, as M(zdd.rollout.haproxy_backend) takes them.
  returned: success
  type: list
  elements: dict
  sample: [{name: web-green.1.kq0c, address: "10.0.0.7:32768", weight: 54, state: ready}]
other_servers:
  description: Those of the other colour; the ones that are taken out have the state V(drain).
  returned: success
  type: list
  elements: dict
own_addresses:
  description: The addresses of the ready tasks of the colour.
  returned: success
  type: list
  elements: str
other_addresses:
  description: The addresses of all running tasks of the other colour, also of those that are not ready.
  returned: success
  type: list
  elements: str
running_addresses:
  description: The addresses of all running tasks of the colour, also of those that are not ready.
  returned: success
  type: list
  elements: str
known_addresses:
  description: The addresses of all running tasks of both colours. A server at any other is an orphan.
  returned: success
  type: list
  elements: str
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
name_pattern:
  description: A regular expression that the names of all servers of the group begin with, of those that are gone too.
  returned: success
  type: str
  sample: 'web-(blue|green)\.'
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import swarm_bluegreen_split


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(swarm_bluegreen_split)


if __name__ == "__main__":
    main()
