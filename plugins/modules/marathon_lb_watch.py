#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: marathon_lb_watch
short_description: Watch an app that has got the traffic
version_added: "0.1.0"
description:
  - Watches an app for a given time, in Marathon and at every load balancer, and fails at once when a task of it ends or
    gets unhealthy, when a load balancer stops sending it requests, or when somebody turns the traffic away from it.
options:
  group:
    description: Name of the deployment group.
    type: str
    required: true
  app_id:
    description: The app to watch.
    type: str
    required: true
  instances:
    description: How many healthy tasks it has to have. Default is the count of its definition.
    type: int
  shared:
    description:
      - Whether another version shares the traffic by its count, as beside a canary. Then it does not matter which of
        them was scaled last.
    type: bool
    default: false
  seconds:
    description: For how many seconds.
    type: float
    required: true
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.marathon_lb
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: Green is fine for two minutes
  zdd.rollout.marathon_lb_watch:
    marathon_url: http://marathon.example.com:8080
    marathon_lb_url: http://marathon-lb.example.com:9090
    group: shop_web
    app_id: /shop/web-green
    seconds: 120
"""

RETURN = r"""
watched:
  description: What was watched.
  returned: success
  type: dict
  contains:
    app_id: {description: The app., type: str}
    seconds: {description: For how many seconds., type: float}
    looks: {description: How often Marathon was asked., type: int}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import marathon_lb_watch


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(marathon_lb_watch)


if __name__ == "__main__":
    main()
