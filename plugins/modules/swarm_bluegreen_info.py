#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_bluegreen_info
short_description: Tell what is live on Docker Swarm
version_added: "0.1.0"
description:
  - Looks at the two services of a group, at their tasks, and at what every proxy in front of them shows, and tells
    which colour is live.
options:
  name:
    description: The name of the group. Without it all groups of the swarm are told.
    type: str
  proxies:
    description:
      - What every nginx in front of the group shows, as RV(zdd.rollout.nginx_info#module:proxy).
    type: list
    elements: dict
    default: []
  haproxy_lbs:
    description:
      - What every HAProxy in front of the group shows, as RV(zdd.rollout.haproxy_backend#module:lbs). The weights of
        the servers decide on the traffic.
    type: list
    elements: dict
    default: []
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
  - zdd.rollout.attributes.info
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: See how an nginx splits the traffic
  zdd.rollout.nginx_info:
    name: web
    config: /etc/nginx/conf.d/zdd-web.conf
    state_dir: /var/lib/zdd-rollout/web
    status: 127.0.0.1:8099
  delegate_to: proxy1
  register: shown

- name: See what is live
  zdd.rollout.swarm_bluegreen_info:
    docker_host: [tcp://manager1:2375]
    name: web
    proxies: ["{{ shown.proxy }}"]
  register: seen

- name: Show it
  ansible.builtin.debug:
    var: seen.lines
"""

RETURN = r"""
docker_host:
  description: The manager that has answered.
  returned: success
  type: str
live:
  description: The live colour of the group, when there is one group only. V(null) when no colour has all traffic.
  returned: success
  type: str
  sample: blue
groups:
  description:
    - The groups by name. Each has C(live) and C(idle) (colours), C(agreed) (whether all proxies split the requests in
      the same way), C(proxies) (their views), and C(colours), the services that are there.
    - A colour has C(service), C(version), C(image), C(replicas), C(ready) (tasks of the present definition that are
      ready), C(healthy) (whether all are), C(deployed_at), C(share) (percent of the requests, of the proxy that sends
      it most), C(traffic) (V(all), V(some) or V(none)), and C(tasks), each with C(id), C(node), C(state), C(error) and
      C(address).
  returned: success
  type: dict
lines:
  description: The same for people.
  returned: success
  type: list
  elements: str
  sample:
    - "web: blue is live"
    - "  colour  service    version  replicas  ready  requests"
    - "  blue    web-blue   1        4         4      100 %"
    - "  green   web-green  2        4         4      0 %"
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import swarm_bluegreen_info


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(swarm_bluegreen_info)


if __name__ == "__main__":
    main()
