#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: bluegreen_create
short_description: Create the new version of an app without traffic
version_added: "0.1.0"
description:
  - Creates the app of the new version and, right after it, makes the old app the one of the deployment group that was
    scaled last, so that marathon-lb keeps all traffic there while the new tasks warm up.
  - Does not wait for the new tasks; M(zdd.rollout.marathon_app) does.
options:
  group:
    description: Name of the deployment group.
    type: str
    required: true
  app:
    description: The definition of the new app, with its colour, as M(zdd.rollout.bluegreen_plan) returns it.
    type: dict
    required: true
  keep_app_id:
    description: The app that keeps the traffic. Without it the new app takes traffic as soon as its tasks are healthy.
    type: str
  wait_timeout:
    description: How many seconds an earlier deployment of the kept app may still lock it.
    type: float
    default: 60
  offer_timeout:
    description:
      - How many seconds to wait for an agent that takes the extra instance. The traffic is kept without it too.
    type: float
    default: 10
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.attributes
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: Green warms up
  zdd.rollout.bluegreen_create:
    marathon_url: http://marathon.example.com:8080
    group: shop_web
    app: "{{ planned.plan.app }}"
    keep_app_id: /shop/web-blue
"""

RETURN = r"""
app:
  description: The definition in its normal form.
  returned: success
  type: dict
extra_task:
  description:
    - A task too many of the kept app that was left, V(null) for none, V(pending) for one that no agent has taken yet.
  returned: success
  type: str
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import bluegreen_create


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(bluegreen_create)


if __name__ == "__main__":
    main()
