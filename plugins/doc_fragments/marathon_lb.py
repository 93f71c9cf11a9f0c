# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of everything that talks to marathon-lb."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``MARATHON_LB_SPEC`` without ``TLS_SPEC``, which is the fragment ``http_options``."""

    DOCUMENTATION = r"""
options:
  marathon_lb_url:
    description:
      - Statistics addresses of all marathon-lb instances, such as C(http://marathon-lb.example.com:9090). The port is
        9090 where none is given.
      - A host name stands for all the addresses that it has, each of which is one instance. They are looked up once, at
        the begin of the task.
      - The environment variable E(MARATHON_LB_URL) (separated by commas) is used when this is not set.
    type: list
    elements: str
    required: true
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
"""
