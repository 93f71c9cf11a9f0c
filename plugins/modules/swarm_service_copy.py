#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``swarm_service_copy``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_service_copy
short_description: One colour of a group on Docker Swarm has the definition of the other one
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Creates or updates a service so that it runs the very definition of another one of its deployment group, whatever
    that is made of. So the version that is live can be moved to the other colour, when nodes are to be freed for
    instance.
  - The name, the colour, the count, the fixed published ports and the time of the deployment are its own. An update
    replaces all tasks at once.
  - It does not wait; see M(zdd.rollout.swarm_service_wait).
options:
  name:
    description:
      - The service that is copied. A replicated one, of a deployment group (label C(zdd.rollout.group)).
    type: str
    required: true
  to:
    description:
      - The service that gets the definition. When there is one, it has to be of the same deployment group.
    type: str
    required: true
  colour:
    description:
      - The colour of O(to), for its label C(zdd.rollout.colour). That with which the name ends by default.
    type: str
    choices: [blue, green]
  replicas:
    description:
      - How many tasks it wants. As many as O(name) by default.
    type: int
  deployed_at:
    description:
      - The time for its label C(zdd.rollout.deployed_at), in UTC, in ISO form.
      - By default it stays as it is, or is the present time when anything else changes.
    type: str
  published_ports:
    description:
      - The ports that are published on the nodes, by the container's port. A port that O(name) publishes at a fixed
        port and that is not named here is published at one that Docker chooses, as a node has each port only once.
    type: dict
    default: {}
extends_documentation_fragment:
  - zdd.rollout.swarm
  - zdd.rollout.http_options
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.swarm_service_wait
"""

EXAMPLES = r"""
- name: Green gets what blue runs
  zdd.rollout.swarm_service_copy:
    docker_host: [unix:///var/run/docker.sock]
    name: web-blue
    to: web-green
    replicas: 2
    published_ports: {8000: 8002}

- name: Green is ready
  zdd.rollout.swarm_service_wait:
    docker_host: [unix:///var/run/docker.sock]
    name: web-green
"""

RETURN = r"""
service:
  description: The service.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    image:
      description: Its image.
      type: str
    replicas:
      description: How many tasks it wants.
      type: int
    labels:
      description: Its labels.
      type: dict
  sample: {name: web-green, image: "web:1", replicas: 2, labels: {zdd.rollout.colour: green, zdd.rollout.group: web}}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import swarm_service_copy


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(swarm_service_copy)


if __name__ == "__main__":
    main()
