# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of everything that looks at an nginx of the role swarm_proxy."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``NGINX_SPEC``."""

    DOCUMENTATION = r"""
options:
  name:
    description:
      - Name of the group.
    type: str
    required: true
  proxy_name:
    description:
      - How this load balancer is called in results and messages. The name of the host on which the task runs when not
        given.
    type: str
  config:
    description:
      - The file that the role C(zdd.rollout.swarm_proxy) has rendered for the group.
      - Paths are those of the host on which the task runs.
    type: path
    required: true
  state_dir:
    description:
      - The folder with the files that nginx looks for at each request, C(live/green) and C(share/COLOUR/bN).
    type: path
    required: true
  status:
    description:
      - Where the status server of the group listens, V(ip:port).
    type: str
    default: 127.0.0.1:8099
  timeout:
    description:
      - How long one question to the status server may take to be answered, in seconds.
    type: float
    default: 5
"""
