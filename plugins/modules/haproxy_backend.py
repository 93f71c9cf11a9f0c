#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``haproxy_backend``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_backend
short_description: Servers of a HAProxy backend have the described addresses, weights and states
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Brings several servers of one backend into the described state at every given HAProxy at once, through the runtime
    API. Servers that are not there are added, or take free slots of a C(server-template).
  - A server that is checked gets no traffic before a check has passed. It goes to C(drain) first, where checks run, and
    then to C(ready). Servers that take traffic keep their weights and states while another one still waits for that, or
    while more than half of those that should take traffic are DOWN.
  - Only a backend in which nobody serves (a reload has forgotten all) gets servers at once that have just passed a
    check at another balancer, or before the reload.
  - What a reload undoes while the task runs is noticed and done again.
  - Before anything is changed, all balancers are asked, and their sockets' levels are looked at.
  - See the guide on plain HAProxy in C(docs/) for the configuration that a HAProxy needs.
options:
  servers:
    description:
      - The servers. Those that are not named are left alone.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the server if it has to be added. One that has the address already keeps its name.
        type: str
        required: true
      address:
        description:
          - Address as C(ip:port). It says which server it is. A host name is looked up on the host on which the task
            runs.
        type: str
        required: true
      weight:
        description:
          - Weight, from 0 to 256. The shares of new requests are in proportion to the weights.
        type: int
        default: 100
      state:
        description:
          - V(ready) takes traffic. V(drain) gets no new clients, persistent and cookie-bound ones stay. V(maint) gets
            nobody. To wait for what is in flight there, use M(zdd.rollout.haproxy_drain).
        type: str
        choices:
          - ready
          - drain
          - maint
        default: ready
  absent:
    description:
      - Addresses of servers to take away. They have to be in C(maint), and idle in every worker that can be seen; else
        the task fails with the code V(held), at once or when O(wait_timeout) is over.
      - Those that were added at run time by this collection are deleted. Slots get the address C(0.0.0.0). Others came
        with the configuration, and stay in C(maint).
    type: list
    elements: str
    default: []
  strict:
    description:
      - Whether to fail before anything is changed if the backend has servers in the state C(ready) that neither
        O(servers) nor O(absent) names.
    type: bool
    default: false
  wait_for_away:
    description:
      - What to do when a balancer does not answer at first. With V(false) the task fails before anything is changed.
        With V(true) the others are brought into the state at once, and this one when it is back; if that is not within
        O(wait_timeout), the task fails after that. It is for going back to servers that have served before, which must
        not wait for what is broken.
      - So with V(true) each balancer goes by itself. What one of them refuses is a failure only when the others are in
        the state. A server that should take traffic and whose check has failed is waited for only while more than half
        of these are DOWN; otherwise the task succeeds with a warning. It serves again when its check passes.
    type: bool
    default: false
  watched:
    description:
      - Addresses of those O(servers) whose health decides. Another one that should take traffic may be DOWN, whether
        the task waits or watches (O(hold_seconds)); it serves again when its check passes.
      - All of O(servers) by default.
    type: list
    elements: str
  hold_seconds:
    description:
      - How long to go on watching when all is as described, in seconds. What a reload undoes is done again. The task
        fails with the code V(unhealthy) when one of the O(watched) servers that should take traffic does not for more
        than 2 seconds. A balancer that does not answer says nothing about its servers; it has to be back within
        O(wait_timeout) at the end.
    type: float
    default: 0
  wait:
    description:
      - Whether to wait until each server that takes traffic is UP by a check that has passed. Otherwise one step is
        made, and the same task run again goes on.
    type: bool
    default: true
extends_documentation_fragment:
  - zdd.rollout.haproxy.balancers
  - zdd.rollout.haproxy
  - zdd.rollout.wait
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.haproxy_drain
  - module: zdd.rollout.haproxy_info
"""

EXAMPLES = r"""
- name: Two new servers are warm, without traffic
  zdd.rollout.haproxy_backend:
    socket:
      - 10.0.0.1:9999
      - 10.0.0.2:9999
    backend: shop
    servers:
      - name: green-1
        address: 10.0.1.1:31001
        weight: 0
      - name: green-2
        address: 10.0.1.2:31002
        weight: 0

- name: One request of twenty goes to the new server
  zdd.rollout.haproxy_backend:
    socket: /run/haproxy/admin.sock
    backend: shop
    servers:
      - name: blue-1
        address: 10.0.1.1:31000
        weight: 95
      - name: green-1
        address: 10.0.1.1:31001
        weight: 5
    hold_seconds: 60

- name: A server that is drained is taken away
  zdd.rollout.haproxy_backend:
    socket: /run/haproxy/admin.sock
    master_socket: /run/haproxy-master.sock
    backend: shop
    absent: 10.0.1.1:31000

- name: What is there
  zdd.rollout.haproxy_backend:
    socket: /run/haproxy/admin.sock
    backend: shop
  register: shop
"""

RETURN = r"""
backend:
  description: All servers of the backend as they are now, or would be in check mode.
  returned: success
  type: dict
  contains:
    name:
      description: The backend.
      type: str
      sample: shop
    lbs:
      description: By balancer and server its address, weight and state (V(ready), V(drain) or V(maint)).
      type: dict
      sample:
        "10.0.0.1:9999":
          green-1:
            address: 10.0.1.1:31001
            weight: 100
            state: ready
repaired:
  description: How often something that was so already had to be set again, after a reload mostly.
  returned: success
  type: int
  sample: 0
lbs:
  description: What each balancer has shown last, in the order of O(socket).
  returned: success
  type: list
  elements: dict
  contains:
    lb:
      description: The socket.
      type: str
    pid:
      description: The live worker.
      type: int
    servers:
      description:
        - By name the address, weight and state of each server. The C(status) is the one that HAProxy shows (V(UP),
          V(DOWN), V(MAINT), V(no check) and so on), C(check_status) that of the last check, C(sessions) and C(queued)
          what is in flight, C(requests) and C(errors_5xx) are counted since the worker has started,
          C(effective_share_percent) is the share of new requests by weight.
        - The C(kind) is V(template) for a slot, V(dynamic) for a server that this collection has added at run time, and
          V(configured) for any other.
      type: dict
      sample:
        green-1:
          address: 10.0.1.1:31001
          weight: 100
          effective_share_percent: 50.0
          state: ready
          status: UP
          check_status: L7OK
          sessions: 2
          queued: 0
          requests: 118
          errors_5xx: 0
          kind: dynamic
    old_workers:
      description: The workers that a reload left behind, with their sessions at servers of the backend; V(none) without
        O(master_socket).
      type: list
      elements: dict
      contains:
        pid:
          description: The process id.
          type: int
        sessions:
          description: Open and queued sessions.
          type: int
    error:
      description: Why it could not be asked at last.
      type: str
failure:
  description:
    - What went wrong, for machines. The C(code) is V(deadline_passed) when O(wait_timeout) is over and something is
      missing, V(held) when that is only that a server to be taken away is idle and in C(maint), and V(unhealthy) when a
      server failed during O(hold_seconds). C(detail) of these is what each balancer has shown last.
    - Other codes are V(no_free_slot), V(name_taken) (another server has the name of one to be added), V(unsupported)
      (this version cannot add servers), V(unexpected_servers) (O(strict)), V(permission_denied) (the socket is not
      C(level admin)), V(not_found) (no such backend), V(refused), V(unreachable), V(unreadable_answer) and
      V(invalid_option).
  returned: failure
  type: dict
  sample: {code: no_free_slot, system: "10.0.0.1:9999", request: null, status: null, detail: null}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import haproxy_backend


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(haproxy_backend)


if __name__ == "__main__":
    main()
