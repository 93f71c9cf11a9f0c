#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``swarm_dispose_plan``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_dispose_plan
short_description: Tell what is removed with a group of a swarm, and whether that is confirmed
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Looks which services a group has (both colours, C(NAME-preview), and whatever else has its label), and fails with
    the whole list unless O(confirm) is the name of the group. Check mode needs no confirmation.
  - Refuses services of these names that lack the label C(zdd.rollout.group) with the name of the group.
  - Removes nothing itself. The role P(zdd.rollout.swarm_dispose#role) is made with it.
options:
  name:
    description:
      - Name of the group.
    type: str
    required: true
  confirm:
    description:
      - The name of the group once more.
    type: str
    default: ""
  networks:
    description:
      - Networks that go with it, for the list.
    type: list
    elements: str
    default: []
  proxies:
    description:
      - Proxies at which the group is configured, for the list.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - zdd.rollout.swarm
  - zdd.rollout.http_options
  - zdd.rollout.attributes.info
seealso:
  - module: zdd.rollout.nginx_remove
"""

EXAMPLES = r"""
- name: Tell what is removed
  zdd.rollout.swarm_dispose_plan:
    docker_host: [tcp://manager1:2376, tcp://manager2:2376]
    name: shop
    confirm: shop
"""

RETURN = r"""
docker_host:
  description: The manager that has answered.
  returned: success
  type: str
  sample: tcp://manager1:2376
services:
  description: The services of the group.
  returned: success
  type: list
  elements: str
  sample: [shop-blue, shop-green]
lines:
  description: What is removed, for people.
  returned: success
  type: list
  elements: str
  sample: ["service shop-blue: 4 tasks of shop:1.4"]
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import swarm_dispose_plan


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(swarm_dispose_plan)


if __name__ == "__main__":
    main()
