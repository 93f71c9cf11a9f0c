# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of everything that talks to a Docker Swarm."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``SWARM_SPEC`` without ``TLS_SPEC``, which is ``http_options``: a module names both."""

    DOCUMENTATION = r"""
requirements:
  - docker >= 7.0.0 (the Docker SDK for Python)
options:
  docker_host:
    description:
      - Addresses of Docker engines that are managers of the swarm, tried in order, such as
        C(unix:///var/run/docker.sock), C(tcp://manager1:2376) or C(ssh://deploy@manager1). The first one that answers
        for the swarm is used; when it goes away, the next one.
      - The environment variable E(DOCKER_HOST) (separated by commas) is used when this is not set.
    type: list
    elements: str
    default: ['unix:///var/run/docker.sock']
  tls:
    description:
      - Whether C(tcp://) addresses are spoken to by TLS. They are, too, where O(ca_path), O(client_cert) or
        O(tls_hostname) is given.
    type: bool
    default: false
  tls_hostname:
    description:
      - The name in the certificate of the engines, where it is not that of their addresses.
    type: str
  use_ssh_client:
    description:
      - Whether C(ssh://) addresses are reached by the command C(ssh), with its configuration, rather than by the Python
        library C(paramiko). The Docker SDK needs that library either way.
    type: bool
    default: false
"""

    CONVERGENCE = r"""
options:
  monitor_seconds:
    description:
      - For how many seconds, once all tasks are ready, nothing may fail.
    type: float
    default: 5
  max_failures:
    description:
      - After how many failed tasks of the present definition it is given up. An image that no node has is given up when
        it was refused once for each task, or this often.
    type: int
    default: 3
  unschedulable_timeout:
    description:
      - After how many seconds in which no node takes a task it is given up.
    type: float
    default: 30
"""

    ENDPOINT = r"""
options:
  target_port:
    description:
      - The container's port at which a proxy reaches the tasks. Without it no addresses are told.
    type: int
  endpoint:
    description:
      - How a proxy reaches the tasks.
      - V(host) is the node's address with the port that O(target_port) is published at (publish mode C(host)); Docker
        chooses one for each task where the service fixes none.
      - V(overlay) is the task's own address in O(network), with O(target_port).
    type: str
    choices: [host, overlay]
    default: host
  network:
    description:
      - The name or the id of the network, for O(endpoint=overlay).
    type: str
"""
