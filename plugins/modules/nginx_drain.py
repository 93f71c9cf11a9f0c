#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``nginx_drain``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_drain
short_description: An nginx has no request in flight at given tasks
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Waits until this host has no connection to the tasks. In the configuration of the role C(zdd.rollout.swarm_proxy)
    nginx keeps no connection to a task for later, so each one that is established, or is being made, is a request in
    flight, whichever worker has it.
  - A wait begins in vain while the colour of a task still gets new requests; that is said, and waited for.
  - Connections of other processes of the host to the same addresses count too.
options:
  addresses:
    description:
      - The addresses of the tasks, each V(ip:port).
    type: list
    elements: str
    required: true
  settle:
    description:
      - For how long nothing may be seen, in seconds; it is looked at every 0.1 s, three times at least.
    type: float
    default: 0.3
  wait_timeout:
    description:
      - How long to wait, in seconds.
    type: float
    default: 300
  on_timeout:
    description:
      - What happens when O(wait_timeout) is over and something is still in flight.
      - V(hold) fails with the code V(held). Nothing is cut, all is still served, and the same task run again goes on.
      - V(cut) succeeds with a warning and reports what will be cut. While nginx still sends new requests there, it does
        what V(hold) does, since what comes in anew would be cut without end.
      - V(fail) fails with the code V(deadline_passed), for a C(rescue) that rolls back.
    type: str
    choices:
      - hold
      - cut
      - fail
    default: hold
extends_documentation_fragment:
  - zdd.rollout.nginx
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.nginx_split
  - module: zdd.rollout.haproxy_drain
"""

EXAMPLES = r"""
- name: Nothing is in flight at the old tasks
  zdd.rollout.nginx_drain:
    name: shop
    config: /etc/nginx/conf.d/zdd-shop.conf
    state_dir: /var/lib/zdd-rollout/shop
    addresses:
      - 10.0.0.1:32768
      - 10.0.0.2:32769
    wait_timeout: 120
    on_timeout: cut
"""

RETURN = r"""
proxy:
  description: What this nginx does for the group; V(none) when it does not answer any more.
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
connections:
  description: By address how many connections were seen last.
  returned: success
  type: dict
  sample: {"10.0.0.1:32768": 0}
sessions:
  description: Connections when the wait began.
  returned: success
  type: int
  sample: 12
deadline_passed:
  description: Whether O(wait_timeout) passed and O(on_timeout=cut) let the task succeed.
  returned: success
  type: bool
  sample: false
sessions_cut:
  description: How many connections will be cut when the tasks are stopped now.
  returned: success
  type: int
  sample: 0
failure:
  description:
    - What went wrong, for machines. The C(code) is one of V(held) or V(deadline_passed) (see O(on_timeout);
      C(detail) is then what was seen last), V(not_found), V(foreign_configuration), V(other_group),
      V(other_state_dir) (the file is not what the options say), V(unreadable_file) and V(invalid_option).
  returned: failure
  type: dict
  sample: {code: held, system: nginx lb1, request: null, status: null, detail: null}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import nginx_drain


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(nginx_drain)


if __name__ == "__main__":
    main()
