#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``swarm_service_wait``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_service_wait
short_description: Every task of a Docker Swarm service is ready
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Waits until every task of the present definition of a service is ready, as many as the service wants, and no task of
    an earlier definition runs any more. Then watches for a while that nothing fails.
  - A task is ready when it runs, and is healthy where the image or the service has a health check. Docker's count of
    replicas and its update state say less.
  - Ends early, with the tasks' own errors, where it cannot come any more. C(failure.code) is V(image_missing),
    V(crash_loop), V(unhealthy) (the health check fails), V(port_conflict), V(unschedulable) (no node takes a task),
    V(update_paused) or V(rolled_back) (what Docker has done with the update), or V(service_gone).
  - Failures count from the beginning of the wait, with those of a crash loop that was going on then.
  - In check mode, and without O(wait), it looks once.
options:
  name:
    description:
      - The service. A replicated or a global one.
    type: str
    required: true
  replicas:
    description:
      - How many tasks are expected. Fails at once when the service wants another number.
      - The number that the service wants by default.
    type: int
extends_documentation_fragment:
  - zdd.rollout.swarm
  - zdd.rollout.swarm.convergence
  - zdd.rollout.swarm.endpoint
  - zdd.rollout.http_options
  - zdd.rollout.wait
  - zdd.rollout.attributes.info
seealso:
  - module: zdd.rollout.swarm_service_scale
  - module: community.docker.docker_swarm_service
"""

EXAMPLES = r"""
- name: The new version is ready
  zdd.rollout.swarm_service_wait:
    docker_host: [unix:///var/run/docker.sock]
    name: web-green
    target_port: 8000
    wait_timeout: 120
  register: green

- name: Show where it is
  ansible.builtin.debug:
    var: green.addresses
"""

RETURN = r"""
tasks:
  description: The ready tasks of the present definition.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Docker's id of the task.
      type: str
    slot:
      description: Its number among the replicas; V(null) of a global service.
      type: int
    node:
      description: The host name of its node.
      type: str
    state:
      description: Its state.
      type: str
    address:
      description: Where it is reached, with O(target_port).
      type: str
  sample: [{id: 0fk9r2yz32h81l00hdi2p0ae5, slot: 1, node: node2, state: running, address: "10.0.0.2:32768"}]
addresses:
  description: The addresses of the tasks, sorted; none without O(target_port).
  returned: success
  type: list
  elements: str
  sample: ["10.0.0.2:32768"]
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 7.4
fulfilled:
  description: Whether it is so; V(false) only in check mode and without O(wait).
  returned: success
  type: bool
missing:
  description: What is missing.
  returned: success
  type: str
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import swarm_service_wait


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(swarm_service_wait)


if __name__ == "__main__":
    main()
