#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``haproxy_info``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_info
short_description: Show frontends, backends and servers of HAProxy with their counts
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Reads the statistics of one or many HAProxy from their runtime sockets or statistics pages (those of marathon-lb
    too), by column name, so that all versions of HAProxy can be read.
  - The counts are those of the live worker. They start at 0 with each reload.
options:
  stats_url:
    description:
      - Addresses of statistics pages, such as C(http://marathon-lb.example.com:9090); the page itself is
        C(/haproxy?stats) there.
      - A host name stands for all the addresses that it has.
    type: list
    elements: str
  backend:
    description:
      - Show only these backends and frontends.
    type: list
    elements: str
extends_documentation_fragment:
  - zdd.rollout.haproxy
  - zdd.rollout.haproxy.statistics
  - zdd.rollout.attributes.info
seealso:
  - module: zdd.rollout.haproxy_drain
"""

EXAMPLES = r"""
- name: The servers of a backend at two balancers
  zdd.rollout.haproxy_info:
    socket:
      - /run/haproxy/admin.sock
      - 10.0.0.2:9999
    backend: shop
  register: haproxy

- name: All requests in flight
  ansible.builtin.debug:
    msg: "{{ haproxy.lbs | map(attribute='servers') | flatten | map(attribute='scur') | sum }}"

- name: All marathon-lb instances behind a name
  zdd.rollout.haproxy_info:
    stats_url: http://marathon-lb.example.com:9090
"""

RETURN = r"""
lbs:
  description: The balancers, in the order of the options.
  returned: success
  type: list
  elements: dict
  contains:
    lb:
      description: Its socket or address.
      type: str
      sample: 10.0.0.2:9999
    frontends:
      description: >-
        The frontends. Keys are HAProxy's own column names, without those that have no value; C(pxname) is the name,
        C(scur) counts sessions, C(rate) sessions per second, C(req_rate) requests per second.
      type: list
      elements: dict
      sample:
        - pxname: shop
          svname: FRONTEND
          status: OPEN
          scur: 3
          rate: 12
    backends:
      description: The backends, likewise.
      type: list
      elements: dict
    servers:
      description: >-
        The servers, likewise; C(pxname) is the backend and C(svname) the server.
      type: list
      elements: dict
      sample:
        - pxname: shop
          svname: web1
          status: UP
          scur: 2
          qcur: 0
          weight: 100
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import haproxy_info


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(haproxy_info)


if __name__ == "__main__":
    main()
