# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of everything that talks to HAProxy itself."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``HAPROXY_SPEC``, and with ``haproxy.statistics`` those for statistics pages."""

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
