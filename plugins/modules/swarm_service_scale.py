#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``swarm_service_scale``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_service_scale
short_description: A Docker Swarm service has another count of tasks
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Sets how many tasks a replicated service wants, and nothing else of it.
  - More tasks are waited for as M(zdd.rollout.swarm_service_wait) does.
  - Docker chooses which tasks go, and ends them with whatever they are doing. So fewer are only wanted when the proxies
    show that nothing is sent to the service and that none of its tasks has a request in flight, or with O(cut).
  - HAProxy does not tell by its weights what is in flight; see it drained before with M(zdd.rollout.haproxy_drain).
options:
  name:
    description:
      - The service.
    type: str
    required: true
  replicas:
    description:
      - How many tasks it shall have. Needed with O(state=present).
    type: int
  state:
    description:
      - V(absent) removes the service when all its tasks have ended, with the same evidence as when it shrinks to none.
    type: str
    choices: [present, absent]
    default: present
  proxies:
    description:
      - What each nginx was just seen to do, as M(zdd.rollout.nginx_info) returns it (RV(ignore:proxy)). These or
        O(haproxy_lbs) are needed where the service shrinks, except with O(cut).
      - The service's colour is in its label C(zdd.rollout.colour), or at the end of its name.
    type: list
    elements: dict
    default: []
  haproxy_lbs:
    description:
      - What each HAProxy was just seen to do, as M(zdd.rollout.haproxy_backend) returns it (RV(ignore:lbs)).
    type: list
    elements: dict
    default: []
  addresses:
    description:
      - Addresses (C(IP:PORT)) of the service's tasks at which no proxy may have a request in flight, beside those that
        a proxy has for the service's colour, and those that are found with O(target_port).
    type: list
    elements: str
    default: []
  cut:
    description:
      - Shrink without looking at the proxies. Requests in flight are lost.
    type: bool
    default: false
  batch_size:
    description:
      - How many tasks go at a time when it shrinks; the next ones go when those have ended. All at once by default.
    type: int
extends_documentation_fragment:
  - zdd.rollout.swarm
  - zdd.rollout.swarm.convergence
  - zdd.rollout.swarm.endpoint
  - zdd.rollout.http_options
  - zdd.rollout.wait
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.swarm_service_wait
  - module: zdd.rollout.nginx_info
  - module: zdd.rollout.haproxy_backend
"""

EXAMPLES = r"""
- name: As many as the live colour has
  zdd.rollout.swarm_service_scale:
    docker_host: [unix:///var/run/docker.sock]
    name: web-green
    replicas: 4

- name: The old colour goes, two tasks at a time
  zdd.rollout.swarm_service_scale:
    docker_host: [unix:///var/run/docker.sock]
    name: web-blue
    replicas: 0
    batch_size: 2
    proxies:
      - name: proxy1
        share: {blue: 0, green: 100}
        addresses: {blue: ["10.0.0.2:32768"], green: ["10.0.0.3:32768"]}
        connections: {"10.0.0.2:32768": 0, "10.0.0.3:32768": 7}
"""

RETURN = r"""
service:
  description: The service, V(null) when there is none now.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    replicas:
      description: How many tasks it wants.
      type: int
  sample: {name: web-green, replicas: 4}
tasks:
  description: Its ready tasks, as M(zdd.rollout.swarm_service_wait) returns them.
  returned: success
  type: list
  elements: dict
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 7.4
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import swarm_service_scale


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(swarm_service_scale)


if __name__ == "__main__":
    main()
