# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of everything that talks to HAProxy itself."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``HAPROXY_SPEC``, with ``haproxy.statistics`` those for statistics pages, with
    ``haproxy.balancers`` those of ``BALANCERS_SPEC`` that say which backend and how a server is added.
    """

    DOCUMENTATION = r"""
options:
  socket:
    description:
      - Runtime sockets (HAProxy's C(stats socket)) of all balancers, each the path of a UNIX socket or C(host:port).
      - Paths are those of the host on which the task runs.
    type: list
    elements: str
  timeout:
    description:
      - How long one question may take to be answered, in seconds.
    type: float
    default: 10
"""

    STATISTICS = r"""
options:
  lb_addresses:
    description:
      - Which addresses of a host name are asked. The load balancers of a name that has IPv6 addresses while they
        listen on IPv4 only need V(ipv4).
    type: str
    choices:
      - all
      - ipv4
      - ipv6
    default: all
  lb_username:
    description:
      - User for HTTP basic authentication at the load balancers.
      - The environment variable E(MARATHON_LB_USERNAME) is used when this is not set.
    type: str
  lb_password:
    description:
      - Password of O(lb_username).
      - The environment variable E(MARATHON_LB_PASSWORD) is used when this is not set.
    type: str
  validate_certs:
    description:
      - Whether the certificates of servers are checked.
    type: bool
    default: true
  ca_path:
    description:
      - File with the certificates of authorities to trust, or a folder of such files.
    type: path
  client_cert:
    description:
      - File with the certificate to show to servers, in PEM form; it may contain the key too.
    type: path
  client_key:
    description:
      - File with the key of O(client_cert).
    type: path
"""

    BALANCERS = r"""
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
      - Sockets of the masters (C(haproxy -S)), one for each entry of O(socket), in the same order. With them the
        workers that a reload left behind are seen too.
    type: list
    elements: str
  backend:
    description:
      - Name of the backend.
    type: str
    required: true
  placement:
    description:
      - What a server becomes that a balancer does not have yet.
      - V(dynamic) is a server that is added at run time (HAProxy 2.4 and newer, with checks 2.5). A reload forgets it.
      - V(template) is a free slot of a C(server-template). It keeps its address over a reload with a state file, and
        can have a cookie.
      - V(auto) is a free slot if there is one, else a server that is added.
    type: str
    choices:
      - auto
      - dynamic
      - template
    default: auto
  slot_prefix:
    description:
      - The name of the C(server-template); its slots have this name and a number. A slot is free when it is in
        maintenance with the address C(0.0.0.0).
    type: str
    default: slot
  check:
    description:
      - Whether a server that is added is checked, as the backend says (C(option httpchk) and so on).
    type: bool
    default: true
  check_interval:
    description:
      - Time between two checks of a server that is added, in seconds. HAProxy's own default is 2.
    type: float
  check_rise:
    description:
      - After how many checks that pass a server is UP again. HAProxy's own default is 2.
    type: int
  check_fall:
    description:
      - After how many checks that fail a server is DOWN. HAProxy's own default is 3.
    type: int
  max_connections:
    description:
      - How many requests a server that is added gets at a time; more wait in its queue. Without it there is no limit.
    type: int
"""
