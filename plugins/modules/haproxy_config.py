#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``haproxy_config``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_config
short_description: A configuration is active at a HAProxy, or the old one still is
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Lets HAProxy test a configuration (C(haproxy -c)), writes it, keeps what the servers are in the state file, reloads
    HAProxy (SIGUSR2 to the master) and waits until a new worker answers that has the configuration.
  - A configuration that HAProxy refuses is not written. Where the new worker does not come in time, the old file is put
    back and loaded again. Either way the task fails, with HAProxy's own words where it has any.
  - Content that is active already is no change and causes no reload. What was written and not loaded is loaded.
  - HAProxy has to run as master and worker (C(-W) or C(-Ws)), as the packages of Debian and Ubuntu do.
options:
  socket:
    description:
      - The runtime socket, the path of a UNIX socket or C(host:port), as the content has it.
      - Paths are those of the host on which the task runs.
    type: str
    required: true
  config:
    description:
      - The file that HAProxy is started with.
    type: path
    required: true
  content:
    description:
      - The whole configuration. Its C(global) section needs a C(description) with the text C(@config@), in whose place
        the hash of the content is put, so that one sees which one is active.
    type: str
    required: true
  state_file:
    description:
      - The C(server-state-file) of the content. Without it the addresses of slots are forgotten.
    type: path
  haproxy:
    description:
      - The program, a path or a name.
    type: str
    default: haproxy
  pid_file:
    description:
      - The file with the pid of HAProxy's master.
    type: path
    default: /run/haproxy.pid
  timeout:
    description:
      - How long one question to the socket may take to be answered, in seconds.
    type: float
    default: 10
  wait_timeout:
    description:
      - How long the new worker may take to come, in seconds.
    type: float
    default: 30
extends_documentation_fragment:
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.haproxy_preflight
  - module: zdd.rollout.nginx_config
"""

EXAMPLES = r"""
- name: The rendered configuration is active
  zdd.rollout.haproxy_config:
    socket: /run/haproxy/admin.sock
    config: /etc/haproxy/haproxy.cfg
    content: "{{ lookup('ansible.builtin.template', 'haproxy.cfg.j2') }}"
    state_file: /var/lib/haproxy/state
"""

RETURN = r"""
reloaded:
  description: Whether HAProxy was reloaded, or would be in check mode.
  returned: success
  type: bool
pid:
  description: The live worker; V(none) where none answers yet.
  returned: success
  type: int
failure:
  description:
    - What went wrong, for machines. The C(code) is one of V(not_running), V(invalid_configuration) (HAProxy refuses
      it), V(reload_failed) (the new worker did not come), V(not_found) (there is no such program), V(unwritable_file),
      V(unreadable_file) and V(invalid_option).
  returned: failure
  type: dict
  sample: {code: invalid_configuration, system: lb admin.sock, request: haproxy -c, status: null, detail: []}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import haproxy_config


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(haproxy_config)


if __name__ == "__main__":
    main()
