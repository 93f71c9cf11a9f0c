#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``swarm_cluster_plan``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_cluster_plan
short_description: Tell how hosts become one swarm, or why they cannot
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Decides from what the engines and managers say which host begins the swarm, which join, and whose role changes. It
    fails with one message that names all that is in the way.
  - It asks nobody and changes nothing. The role P(zdd.rollout.swarm_cluster#role) is made with it.
options:
  managers:
    description:
      - Names of the hosts that shall be managers, in their order in the inventory.
      - The first of them that is a manager already leads, else the first of them begins the swarm.
    type: list
    elements: str
    required: true
  workers:
    description:
      - Names of the hosts that shall be workers.
    type: list
    elements: str
    default: []
  nodes:
    description:
      - The hosts that answered. Those of O(managers) and O(workers) that are missing here are left as they are; while a
        manager is missing, no swarm is begun.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the host.
        type: str
        required: true
      swarm:
        description:
          - What C(GET /info) of its engine says below C(Swarm); empty where no engine is installed yet.
        type: dict
        default: {}
      members:
        description:
          - What C(GET /nodes) of its engine says, for managers.
        type: list
        elements: dict
        default: []
      labels:
        description:
          - Labels that the node shall get.
        type: dict
        default: {}
      availability:
        description:
          - Availability that the node shall get; empty for none in particular.
        type: str
        default: ""
extends_documentation_fragment:
  - zdd.rollout.attributes.info
"""

EXAMPLES = r"""
- name: Look at the engine
  community.docker.docker_host_info:
  register: engine

- name: Tell how this host becomes a swarm
  zdd.rollout.swarm_cluster_plan:
    managers: ["{{ inventory_hostname }}"]
    nodes:
      - name: "{{ inventory_hostname }}"
        swarm: "{{ engine.host_info.Swarm }}"
  register: plan
  delegate_to: localhost

- name: Show it
  ansible.builtin.debug:
    msg: "{{ plan.lines }}"
"""

RETURN = r"""
lead:
  description: The manager that is asked, and that begins the swarm when RV(initialise).
  returned: success
  type: str
  sample: node1
keeper:
  description: A manager that stays one; to be asked once all managers are there.
  returned: success
  type: str
  sample: node1
initialise:
  description: Whether no swarm is there yet.
  returned: success
  type: bool
join:
  description: Hosts that are in no swarm and join this one.
  returned: success
  type: list
  elements: str
promote:
  description: Workers that become managers.
  returned: success
  type: list
  elements: str
demote:
  description: Managers that become workers.
  returned: success
  type: list
  elements: str
remote_addrs:
  description: Where the managers that RV(lead) knows can be reached by those that join.
  returned: success
  type: list
  elements: str
  sample: ["192.0.2.1:2377"]
lines:
  description: The plan for people, a line for each host.
  returned: success
  type: list
  elements: str
  sample:
    - "node1: begins the swarm"
    - "node2: joins the swarm of node1 as worker, labels disk=ssd"
unready:
  description: What is missing until all hosts are ready in the swarm with their roles, by what O(nodes) says.
  returned: success
  type: list
  elements: str
  sample: ["node2 is not in the swarm"]
table:
  description: The nodes of the swarm for people, as lines of columns.
  returned: success
  type: list
  elements: str
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import swarm_cluster_plan


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(swarm_cluster_plan)


if __name__ == "__main__":
    main()
