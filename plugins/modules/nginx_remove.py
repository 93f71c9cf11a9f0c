#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``nginx_remove``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_remove
short_description: A group is gone from an nginx
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Removes the file of a group, reloads nginx (SIGHUP), waits until only new workers take requests, and removes the
    files of the group's shares.
  - Refuses a file that is not one of the role P(zdd.rollout.swarm_proxy#role) for this group. Where nginx does not load
    what is left, the file is put back.
  - Below O(state_dir) only what belongs to the shares is removed, and the folder itself when it is empty then.
options:
  pid_file:
    description:
      - The file with the pid of nginx's master. An nginx that does not run is not reloaded.
    type: path
    default: /run/nginx.pid
  wait_timeout:
    description:
      - How long the new workers may take to come, in seconds.
    type: float
    default: 30
extends_documentation_fragment:
  - zdd.rollout.nginx
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.nginx_config
"""

EXAMPLES = r"""
- name: The group is gone from nginx
  zdd.rollout.nginx_remove:
    name: shop
    config: /etc/nginx/conf.d/zdd-shop.conf
    state_dir: /var/lib/zdd-rollout/shop
"""

RETURN = r"""
group:
  description: What nginx has of the group, after the task; nothing of it.
  returned: success
  type: dict
  contains:
    config:
      description: Whether there is the file.
      type: bool
    serves:
      description: Whether the status server of the group answers.
      type: bool
    state:
      description: Whether there are files of the shares.
      type: bool
reloaded:
  description: Whether nginx was reloaded, or would be.
  returned: success
  type: bool
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import nginx_remove


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(nginx_remove)


if __name__ == "__main__":
    main()
