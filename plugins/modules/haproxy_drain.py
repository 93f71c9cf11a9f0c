#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``haproxy_drain``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_drain
short_description: Servers of a HAProxy backend are drained, or take traffic again
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Takes servers of a backend out at every given HAProxy and waits until they are idle, through the runtime API. A
    server is first set to C(drain), so that it gets no new clients; after O(drain_timeout) at the latest it is set to
    C(maint), so that persistent and cookie-bound clients go elsewhere too; then the task waits until nothing is open
    or queued at any balancer. After that the server can be stopped.
  - With O(state=ready) it puts them back and waits until they are UP.
  - Each answer of a socket is read, as an error is just text there. Before anything is changed, all balancers are
    asked, and it is tried whether they allow it.
  - A worker that was replaced by a reload lives on while it has connections, and cannot be told to take a server out.
    With O(master_socket) these old workers are asked too, and the servers count as idle only when they are idle in each
    of them. Without it only the live worker can be seen (RV(lbs[].evidence=live_worker)). A reload that happens during
    the drain then ends the wait at once as if O(wait_timeout) had passed, because nobody can tell what the old worker
    still serves; one that had happened before is not noticed.
  - A reload also loses what was set at run time unless the configuration loads a state file. It is set again then.
  - HAProxy cuts the sessions of a server that is set to C(maint) where the configuration says
    C(on-marked-down shutdown-sessions).
options:
  socket:
    description:
      - Runtime sockets (HAProxy's C(stats socket), C(level admin)) of all balancers, each the path of a UNIX socket or
        C(host:port).
      - Paths are those of the host on which the task runs.
    type: list
    elements: str
    required: true
  master_socket:
    description:
      - Sockets of the masters (C(haproxy -S)), one for each entry of O(socket), in the same order.
    type: list
    elements: str
  backend:
    description:
      - Name of the backend.
    type: str
    required: true
  server:
    description:
      - Names of the servers. They have to be there at each balancer.
    type: list
    elements: str
  address:
    description:
      - Addresses of servers as C(ip:port), whatever their names are. A host name is looked up on the host on which the
        task runs.
      - What a balancer does not have is drained there already. With O(state=ready) it fails.
    type: list
    elements: str
  servers:
    description:
      - Other servers, which are kept as they are described here while the task waits, as M(zdd.rollout.haproxy_backend)
        takes them. A reload that forgets what was set at run time would leave a balancer without the servers that
        should take over; they are set again then. Nothing is kept by default.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the server if it has to be added.
        type: str
        required: true
      address:
        description:
          - Address as C(ip:port).
        type: str
        required: true
      weight:
        description:
          - Weight, from 0 to 256.
        type: int
        default: 100
      state:
        description:
          - V(ready) takes traffic, V(drain) gets no new clients, V(maint) gets nobody.
        type: str
        choices:
          - ready
          - drain
          - maint
        default: ready
  placement:
    description:
      - How O(servers) are added that are not there, as in M(zdd.rollout.haproxy_backend).
    type: str
    choices:
      - auto
      - dynamic
      - template
    default: auto
  state:
    description:
      - V(drained) takes the servers out, V(ready) puts them back.
    type: str
    choices:
      - drained
      - ready
    default: drained
  drain_timeout:
    description:
      - How long persistent and cookie-bound clients may stay, in seconds. It ends as soon as a server is idle.
    type: float
    default: 30
  keep_alive_timeout:
    description:
      - How long a client connection may be idle, in seconds. Give it the value of C(timeout http-keep-alive) of the
        balancers.
      - An old worker that still has client connections counts as idle after it has been seen so for this long, because
        with C(option idle-close-on-response) it takes one more request on each of them.
    type: float
    default: 10
  wait:
    description:
      - Whether to wait. Otherwise the servers are set to C(maint) at once, and what is in flight goes on.
    type: bool
    default: true
  on_timeout:
    description:
      - What happens when O(wait_timeout) is over and something is still in flight.
      - V(hold) fails with the code V(held). Nothing is cut, all is still served, and the same task run again goes on.
      - V(cut) succeeds with a warning and reports what will be cut. While a balancer still sends new requests there, or
        cannot be asked, it does what V(hold) does, since what comes in anew would be cut without end.
      - V(fail) fails with the code V(deadline_passed), for a C(rescue) that rolls back.
    type: str
    choices:
      - hold
      - cut
      - fail
    default: hold
extends_documentation_fragment:
  - zdd.rollout.haproxy
  - zdd.rollout.wait
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.haproxy_backend
  - module: zdd.rollout.haproxy_info
  - module: zdd.rollout.pending_operations_wait
"""

EXAMPLES = r"""
- name: Two servers are idle at both balancers
  zdd.rollout.haproxy_drain:
    socket:
      - 10.0.0.1:9999
      - 10.0.0.2:9999
    backend: shop
    server:
      - web1
      - web2
    drain_timeout: 10
    wait_timeout: 120
    on_timeout: cut

- name: A server is idle, also in workers that a reload left behind
  zdd.rollout.haproxy_drain:
    socket: /run/haproxy/admin.sock
    master_socket: /run/haproxy-master.sock
    backend: shop
    server: web1
    keep_alive_timeout: 1

- name: Servers are idle, known by their addresses
  zdd.rollout.haproxy_drain:
    socket: 10.0.0.1:9999
    backend: shop
    address:
      - 10.0.1.1:31001
      - 10.0.1.2:31002

- name: One server is idle, and a reload meanwhile does not make a balancer forget the other
  zdd.rollout.haproxy_drain:
    socket: 10.0.0.1:9999
    backend: shop
    address: 10.0.1.1:31001
    servers:
      - name: green-1
        address: 10.0.1.3:31001

- name: The server takes traffic again
  zdd.rollout.haproxy_drain:
    socket: /run/haproxy/admin.sock
    backend: shop
    server: web1
    state: ready
"""

RETURN = r"""
backend:
  description: The servers as they are now, or would be in check mode.
  returned: success
  type: dict
  contains:
    name:
      description: The backend.
      type: str
      sample: shop
    servers:
      description: By balancer and server V(ready), V(drain) or V(maint).
      type: dict
      sample:
        "10.0.0.1:9999":
          web1: maint
lbs:
  description: What each balancer has shown last.
  returned: success
  type: list
  elements: dict
  contains:
    lb:
      description: The socket.
      type: str
    servers:
      description: By server its status, and how many sessions are open and queued in the live worker.
      type: dict
      sample:
        web1:
          status: MAINT
          sessions: 0
          queued: 0
    sessions:
      description: Open and queued sessions of all the servers in the live worker.
      type: int
    old_workers:
      description: The workers that a reload left behind; V(none) without O(master_socket).
      type: list
      elements: dict
      contains:
        pid:
          description: The process id.
          type: int
        sessions:
          description: Open and queued sessions of the servers there.
          type: int
        connections:
          description: Connections of clients there, to whatever backend.
          type: int
    old_sessions:
      description: Open and queued sessions of the servers in all old workers.
      type: int
    evidence:
      description: Whose sessions were counted, V(live_worker) or V(all_workers).
      type: str
    error:
      description: Why it could not be asked at last.
      type: str
sessions:
  description: Open and queued sessions at the servers when the drain began, at all balancers and workers seen.
  returned: success
  type: int
  sample: 12
deadline_passed:
  description: Whether O(wait_timeout) passed and O(on_timeout=cut) let the task succeed.
  returned: success
  type: bool
  sample: false
sessions_cut:
  description: How many sessions will be cut when the servers are stopped now; V(none) when that is not known.
  returned: success
  type: int
  sample: 0
failure:
  description:
    - What went wrong, for machines. The C(code) is V(held) when O(wait_timeout) passed and O(on_timeout=hold), or
      O(on_timeout=cut) while a balancer still sends new requests there, and V(deadline_passed) when it passed and
      O(on_timeout=fail), or with O(state=ready). C(detail) of a drain is then what each balancer has shown last, as
      RV(lbs).
    - Other codes are V(not_found) (no such backend or server), V(permission_denied) (the socket is not C(level admin)),
      V(refused), V(unreachable), V(unreadable_answer) and V(invalid_option).
  returned: failure
  type: dict
  sample: {code: held, system: null, request: null, status: null, detail: []}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import haproxy_drain


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(haproxy_drain)


if __name__ == "__main__":
    main()
