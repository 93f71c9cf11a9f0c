#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``haproxy_preflight``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_preflight
short_description: Every HAProxy has what rollouts through its runtime API need
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Asks each HAProxy what it lacks for M(zdd.rollout.haproxy_backend), and fails with one message that names all of it.
    It changes nothing.
  - It looks at the version, the level of the socket, the backend, its algorithm and cookie, the slots and how many of
    them are free, and whether the master's socket answers.
  - A state file and what happens to listeners at a reload are in the configuration only. They are looked for where
    O(config) is given, else they are in RV(unseen).
options:
  socket:
    description:
      - Runtime sockets (HAProxy's C(stats socket)) of all balancers, each the path of a UNIX socket or C(host:port).
      - Paths are those of the host on which the task runs.
    type: list
    elements: str
    required: true
  master_socket:
    description:
      - Sockets of the masters (C(haproxy -S)), one for each entry of O(socket), in the same order.
    type: list
    elements: str
  config:
    description:
      - Configuration files on the host on which the task runs, one for each entry of O(socket), in the same order.
    type: list
    elements: path
  backend:
    description:
      - Name of the backend.
    type: str
    required: true
  needs:
    description:
      - How many more servers a rollout will need at the same time.
    type: int
    default: 0
  sticky:
    description:
      - Whether clients have to stay at a server by a cookie. Only slots can have one.
    type: bool
    default: false
  placement:
    description:
      - What new servers shall be, see M(zdd.rollout.haproxy_backend).
    type: str
    choices:
      - auto
      - dynamic
      - template
    default: auto
  slot_prefix:
    description:
      - The name of the C(server-template); its slots have this name and a number.
    type: str
    default: slot
  check:
    description:
      - Whether new servers have to be checked.
    type: bool
    default: true
  report_only:
    description:
      - Whether to succeed whatever is missing.
    type: bool
    default: false
extends_documentation_fragment:
  - zdd.rollout.haproxy
  - zdd.rollout.attributes.info
seealso:
  - module: zdd.rollout.haproxy_backend
"""

EXAMPLES = r"""
- name: Two HAProxy are ready for four more servers
  zdd.rollout.haproxy_preflight:
    socket:
      - 10.0.0.1:9999
      - 10.0.0.2:9999
    backend: shop
    needs: 4

- name: Clients can stay at the version that they have seen
  zdd.rollout.haproxy_preflight:
    socket: /run/haproxy/admin.sock
    master_socket: /run/haproxy-master.sock
    config: /etc/haproxy/haproxy.cfg
    backend: shop
    needs: 4
    sticky: true
"""

RETURN = r"""
missing:
  description: What is missing, one text for each balancer and matter.
  returned: success
  type: list
  elements: str
  sample: []
unseen:
  description: What could not be seen, likewise.
  returned: success
  type: list
  elements: str
  sample: []
placement:
  description: What new servers will be, V(dynamic), V(template) or, where both are needed, V(auto); V(none) when
    something is missing. To be given to M(zdd.rollout.haproxy_backend).
  returned: success
  type: str
  sample: template
lbs:
  description: What each balancer has shown. Values are V(none) when it could not be asked.
  returned: success
  type: list
  elements: dict
  contains:
    lb:
      description: The socket.
      type: str
    version:
      description: The version of HAProxy.
      type: str
      sample: "2.6"
    level:
      description: The level of the socket.
      type: str
      sample: admin
    algorithm:
      description: The algorithm of the backend. HAProxy calls C(random) V(unknown).
      type: str
      sample: roundrobin
    cookie:
      description: The name of the backend's cookie.
      type: str
    slots:
      description: How many slots the backend has.
      type: int
    free_slots:
      description: How many of them are free.
      type: int
failure:
  description:
    - What went wrong, for machines. The C(code) is V(preflight_failed) when something is missing; C(detail) has then
      RV(missing), RV(unseen) and RV(lbs). The other code is V(invalid_option).
  returned: failure
  type: dict
  sample: {code: preflight_failed, system: null, request: null, status: null, detail: {missing: [], unseen: []}}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import haproxy_preflight


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(haproxy_preflight)


if __name__ == "__main__":
    main()
