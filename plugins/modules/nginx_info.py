#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``nginx_info``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_info
short_description: What an nginx does for a group
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Tells which share of the new requests each colour of a group gets at an nginx that the role
    C(zdd.rollout.swarm_proxy) has set up, the addresses of their tasks, how many workers from before a reload still
    serve, and how many requests are in flight at each task.
  - All of it is observed at that moment, in the files that nginx looks for, at its status server, in its processes and
    in the kernel's table of connections. Nothing is remembered.
  - It runs on the host of the nginx and needs nothing there but Python.
options:
  only_file:
    description:
      - Whether only the file is read, which may be missing, and nginx need not run. RV(proxy) is V(none) then.
    type: bool
    default: false
extends_documentation_fragment:
  - zdd.rollout.nginx
  - zdd.rollout.attributes.info
seealso:
  - module: zdd.rollout.nginx_config
  - module: zdd.rollout.nginx_split
  - module: zdd.rollout.nginx_drain
"""

EXAMPLES = r"""
- name: Which colour is live, and what is in flight
  zdd.rollout.nginx_info:
    name: shop
    config: /etc/nginx/conf.d/zdd-shop.conf
    state_dir: /var/lib/zdd-rollout/shop
    proxy_name: "{{ inventory_hostname }}"
  register: observed
"""

RETURN = r"""
proxy:
  description: What this nginx does for the group; V(none) with O(only_file).
  returned: success
  type: dict
  contains:
    name:
      description: O(proxy_name).
      type: str
    kind:
      description: V(nginx).
      type: str
    group:
      description: O(name).
      type: str
    share:
      description: Percent of the new requests by colour.
      type: dict
      sample: {blue: 80, green: 20}
    addresses:
      description: The addresses of the tasks by colour.
      type: dict
      sample: {blue: ["10.0.0.1:32768"], green: ["10.0.0.2:32769"]}
    old_workers:
      description: How many workers from before a reload still serve.
      type: int
    connections:
      description: By address of a task how many requests are in flight there.
      type: dict
      sample: {"10.0.0.1:32768": 3, "10.0.0.2:32769": 0}
    is_active:
      description: Whether nginx runs with the file as it is.
      type: bool
addresses:
  description: The addresses of the tasks by colour.
  returned: success
  type: dict
  sample: {blue: ["10.0.0.1:32768"], green: []}
failure:
  description:
    - What went wrong, for machines. The C(code) is one of V(not_found) (there is no such file),
      V(foreign_configuration), V(other_group), V(other_state_dir) (the file is not what the options say),
      V(unreachable), V(unreadable_answer) (the status server), V(unreadable_file) and V(invalid_option).
  returned: failure
  type: dict
  sample: {code: not_found, system: nginx lb1, request: null, status: null, detail: null}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import nginx_info


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(nginx_info)


if __name__ == "__main__":
    main()
