#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_lock
short_description: Take or give back the lock of a deployment group
version_added: "0.1.0"
description:
  - A deployment group is changed by one run at a time. The lock is an app without instances in Marathon, or with
    O(docker_host) a config in the swarm, so every controller that can change the group sees it.
  - A run that finds the lock of a run that is dead takes it over. Dead is a run whose process on this same host is
    gone, or whose lease is over. Any other holder is named, and the run is refused.
options:
  group:
    description: Name of the deployment group.
    type: str
    required: true
  state:
    description:
      - V(present) takes the lock, or makes the lease longer when this run holds it already.
      - V(held) makes the lease longer, and fails where the lock is not this run's any more.
      - V(absent) gives it back, and removes that of a run that is dead. A lock that somebody else holds is left alone.
    type: str
    choices: [present, held, absent]
    default: present
  lease:
    description: For how many seconds the holder is believed without a sign of life.
    type: float
    default: 3600
  takeover:
    description: Take the lock from whoever holds it. Only when that run is known to be dead.
    type: bool
    default: false
  marathon_url:
    description:
      - Addresses of the members of the Marathon cluster of the group, tried in order, such as
        C(http://marathon.mesos:8080), or with the path of a service of DC/OS,
        C(https://dcos.example.com/service/marathon).
      - Without it and without O(docker_host), the environment variable E(MARATHON_URL) (separated by commas) is used.
    type: list
    elements: str
    required: false
  docker_host:
    description:
      - Addresses of managers of the swarm of the group, tried in order, such as C(unix:///var/run/docker.sock),
        C(tcp://manager1:2376) or C(ssh://deploy@manager1). The lock is a config of the swarm then, and nothing of
        Marathon is used, O(marathon_url) neither.
      - Unlike in other modules there is no default, and the environment variable E(DOCKER_HOST) is not used.
    type: list
    elements: str
    default: null
  folder:
    description: The folder in Marathon in which the locks of all groups lie.
    type: str
    default: /zdd-rollout-locks
  owner:
    description: Who takes the lock, for people to read. Default is the user and the host of the controller.
    type: str
  process:
    description:
      - The run that takes the lock. Default is the process of C(ansible-playbook), also where the task runs as a
        process of its own (C(become), C(environment), another interpreter).
    type: str
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.swarm
  - zdd.rollout.http_options
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: Nobody else changes the group
  zdd.rollout.rollout_lock:
    marathon_url: http://marathon.example.com:8080
    group: shop_web

- name: Nobody else changes the group of a swarm
  zdd.rollout.rollout_lock:
    docker_host: [unix:///var/run/docker.sock]
    group: web

- name: The group is free again
  zdd.rollout.rollout_lock:
    marathon_url: http://marathon.example.com:8080
    group: shop_web
    state: absent
"""

RETURN = r"""
lock:
  description: Who holds the lock now, V(null) when nobody does.
  returned: success
  type: dict
  contains:
    group: {description: The deployment group., type: str}
    owner: {description: User and host., type: str}
    process: {description: The process there., type: str}
    since: {description: When it was taken (UTC)., type: str}
    until: {description: When it ends without a sign of life (UTC)., type: str}
  sample:
    group: shop_web
    owner: ci@build7
    process: 4711/88123
    since: "2026-03-01T09:00:00+00:00"
    until: "2026-03-01T10:00:00+00:00"
taken_from:
  description: The holder that was replaced.
  returned: success
  type: dict
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import rollout_lock


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(rollout_lock)


if __name__ == "__main__":
    main()
