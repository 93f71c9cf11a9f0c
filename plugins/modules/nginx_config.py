#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``nginx_config``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_config
short_description: A configuration is active at an nginx, or the old one still is
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Writes the file of a group, lets nginx test its whole configuration (C(nginx -t)), reloads it (SIGHUP) and waits
    until only new workers take requests and the status server answers the hash of the new file.
  - Where nginx refuses the file, the old one is put back, and nothing was reloaded. Where the new workers do not come
    in time, the old one is put back and loaded again. Either way the task fails, with nginx's own words where it has
    any.
  - Content that is active already is no change and causes no reload. What was written and not loaded is loaded.
  - A reload lets the old workers finish what they have begun, and closes their idle connections with clients; see
    O(close_seconds) and C(docs/nginx.md).
options:
  content:
    description:
      - The text of the file. Its status server has to answer the text C(@config@) as C(config); the hash of the content
        is put in its place.
    type: str
    required: true
  nginx:
    description:
      - The program, a path or a name.
    type: str
    default: nginx
  main_config:
    description:
      - The configuration that nginx is started with; it includes O(config) in its C(http) block.
    type: path
    default: /etc/nginx/nginx.conf
  pid_file:
    description:
      - The file with the pid of nginx's master.
    type: path
    default: /run/nginx.pid
  close_seconds:
    description:
      - For how long, before the reload, each answer closes its connection with the client, in seconds. A client that
        has sent a request in this time has no idle connection that the reload would close.
      - It needs the file C(closing) of O(state_dir) in the content, as the role C(zdd.rollout.swarm_proxy) renders it.
    type: float
    default: 1
  wait_timeout:
    description:
      - How long the new workers may take to come, in seconds.
    type: float
    default: 30
extends_documentation_fragment:
  - zdd.rollout.nginx
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.nginx_info
  - module: zdd.rollout.nginx_split
"""

EXAMPLES = r"""
- name: The rendered configuration is active
  zdd.rollout.nginx_config:
    name: shop
    config: /etc/nginx/conf.d/zdd-shop.conf
    state_dir: /var/lib/zdd-rollout/shop
    content: "{{ lookup('ansible.builtin.template', 'nginx.conf.j2') }}"
"""

RETURN = r"""
proxy:
  description: What this nginx does for the group, or would do in check mode.
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
  sample: {blue: ["10.0.0.1:32768"], green: ["10.0.0.2:32769"]}
reloaded:
  description: Whether nginx was reloaded, or would be in check mode.
  returned: success
  type: bool
failure:
  description:
    - What went wrong, for machines. The C(code) is one of V(not_running), V(invalid_configuration) (nginx refuses
      it), V(reload_failed) (the new workers did not come), V(not_found) (there is no such program),
      V(unwritable_file), V(unreadable_file), V(foreign_configuration), V(other_group), V(other_state_dir) (the
      content is not what the options say) and V(invalid_option).
  returned: failure
  type: dict
  sample: {code: invalid_configuration, system: nginx lb1, request: null, status: null, detail: null}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import nginx_config


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(nginx_config)


if __name__ == "__main__":
    main()
