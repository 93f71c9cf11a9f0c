#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``haproxy_server``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_server
short_description: A server of a HAProxy backend is there, with its weight and state, or is gone
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Brings one server of a backend into its state at every given HAProxy, through the runtime API. It does for one
    server what M(zdd.rollout.haproxy_backend) does for several, by the same rules; a server that is checked gets no
    traffic before a check has passed.
options:
  name:
    description:
      - Name of the server. Without O(address) it has to be there. With O(address) it is the name that it gets if it has
        to be added.
      - At least one of O(name) and O(address) is required.
    type: str
  address:
    description:
      - Address of the server as C(ip:port), whatever its name is. A host name is looked up on the host on which the
        task runs.
    type: str
  state:
    description:
      - V(present) adds the server where it is missing, or takes a free slot.
      - V(absent) takes it away. It has to be in C(maint) and idle, see M(zdd.rollout.haproxy_drain); else the task
        fails with the code V(held), at once or when O(wait_timeout) is over. A server that came with the configuration
        stays in C(maint).
    type: str
    choices:
      - present
      - absent
    default: present
  weight:
    description:
      - Weight, from 0 to 256. Without it a known server keeps its weight, and a new one gets 100.
    type: int
  admin_state:
    description:
      - V(ready) takes traffic. V(drain) gets no new clients, persistent and cookie-bound ones stay. V(maint) gets
        nobody.
    type: str
    choices:
      - ready
      - drain
      - maint
    default: ready
  wait:
    description:
      - Whether to wait until the server is UP by a check that has passed. Otherwise one step is made, and the same task
        run again goes on.
    type: bool
    default: true
extends_documentation_fragment:
  - zdd.rollout.haproxy.balancers
  - zdd.rollout.haproxy
  - zdd.rollout.wait
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.haproxy_backend
  - module: zdd.rollout.haproxy_drain
"""

EXAMPLES = r"""
- name: A new server takes traffic
  zdd.rollout.haproxy_server:
    socket:
      - 10.0.0.1:9999
      - 10.0.0.2:9999
    backend: shop
    name: web3
    address: 10.0.1.3:8080
    weight: 50
    check_interval: 1

- name: A server from the configuration gets less
  zdd.rollout.haproxy_server:
    socket: /run/haproxy/admin.sock
    backend: shop
    name: web1
    weight: 10

- name: A server is drained
  zdd.rollout.haproxy_drain:
    socket: /run/haproxy/admin.sock
    backend: shop
    address: 10.0.1.3:8080

- name: It is gone
  zdd.rollout.haproxy_server:
    socket: /run/haproxy/admin.sock
    backend: shop
    address: 10.0.1.3:8080
    state: absent
"""

RETURN = r"""
server:
  description: The server as it is now, or would be in check mode.
  returned: success
  type: dict
  contains:
    name:
      description: The option O(name).
      type: str
      sample: web3
    address:
      description: The option O(address).
      type: str
      sample: 10.0.1.3:8080
    lbs:
      description: By balancer and name there its address, weight and state; empty where it is not there.
      type: dict
      sample:
        "10.0.0.1:9999":
          web3:
            address: 10.0.1.3:8080
            weight: 50
            state: ready
repaired:
  description: How often something that was so already had to be set again, after a reload mostly.
  returned: success
  type: int
  sample: 0
lbs:
  description: What each balancer has shown last of the whole backend, as in M(zdd.rollout.haproxy_backend).
  returned: success
  type: list
  elements: dict
failure:
  description:
    - What went wrong, for machines, as in M(zdd.rollout.haproxy_backend).
  returned: failure
  type: dict
  sample: {code: held, system: "10.0.0.1:9999", request: null, status: null, detail: {server: web3, state: ready}}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import haproxy_server


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(haproxy_server)


if __name__ == "__main__":
    main()
