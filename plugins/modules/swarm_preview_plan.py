#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``swarm_preview_plan``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_preview_plan
short_description: The service in which a new image can be looked at
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Works out the definition of the service C(NAME-preview), the third one of a group beside its two colours, as
    M(community.docker.docker_swarm_service) takes it, and tells what is there now.
  - The preview is kept apart from live and idle. It carries none of the labels of the service, no alias in a network
    and no port of a colour, and belongs to no group, so no load balancer of the group ever sends a request there.
  - Changes nothing. The role P(zdd.rollout.swarm_preview#role) does what is needed.
options:
  state:
    description:
      - With V(absent) only looks whether there is a preview that may be removed.
    type: str
    choices:
      - present
      - absent
    default: present
  name:
    description:
      - Name of the group. By default that of O(service).
    type: str
  service:
    description:
      - The definition of the group's service, with options of M(community.docker.docker_swarm_service).
    type: dict
  image:
    description:
      - The image to look at.
    type: str
  version:
    description:
      - What people call it. By default the tag of O(image).
    type: str
  resolve_image:
    description:
      - Whether the registry is asked for the digest of O(image), which is pinned. When no registry tells, there is a
        warning and each node takes the image that it has under this name.
    type: bool
    default: true
  replicas:
    description:
      - How many tasks it has.
    type: int
    default: 1
  target_port:
    description:
      - The container's port at which it is looked at. By default the only TCP port that O(service) publishes.
    type: int
  published_port:
    description:
      - The port of the nodes at which it is looked at. Docker chooses one by default, so that a new preview can start
        before the old one stops; with a fixed one the old one stops first.
    type: int
  networks:
    description:
      - The networks that it is in, instead of those of O(service).
    type: list
    elements: raw
  labels:
    description:
      - Labels of the service. Those of O(service) are left out, since load balancers follow labels.
    type: dict
    default: {}
  override:
    description:
      - What is different from O(service), such as C(env) or C(mounts).
    type: dict
    default: {}
extends_documentation_fragment:
  - zdd.rollout.swarm
  - zdd.rollout.http_options
  - zdd.rollout.attributes.info
seealso:
  - module: community.docker.docker_swarm_service
"""

EXAMPLES = r"""
- name: The preview of the shop is defined
  zdd.rollout.swarm_preview_plan:
    docker_host: unix:///var/run/docker.sock
    service:
      name: shop
      image: registry.example.com/shop:1
      publish:
        - target_port: 8000
          mode: host
    image: registry.example.com/shop:2
    published_port: 8090
  register: preview
"""

RETURN = r"""
group:
  description: Name of the group.
  returned: success
  type: str
name:
  description: Name of the service.
  returned: success
  type: str
  sample: shop-preview
service:
  description: Its definition; V(null) with O(state=absent).
  returned: success
  type: dict
target_port:
  description: The container's port at which it is looked at.
  returned: success
  type: int
before:
  description: C(image) and C(version) of the preview that is there; V(null) when there is none.
  returned: success
  type: dict
docker_host:
  description: The manager that has answered.
  returned: success
  type: str
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import swarm_preview_plan


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(swarm_preview_plan)


if __name__ == "__main__":
    main()
