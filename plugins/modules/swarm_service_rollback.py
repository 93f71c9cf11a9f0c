#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``swarm_service_rollback``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_service_rollback
short_description: A Swarm service has the definition from before its last change
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Puts back the definition that a service had before its last change, as C(docker service rollback) does. The swarm
    keeps one, so a second run goes forward again.
  - Does not wait for the tasks; M(zdd.rollout.swarm_service_wait) does.
options:
  name:
    description:
      - Name of the service.
    type: str
    required: true
extends_documentation_fragment:
  - zdd.rollout.swarm
  - zdd.rollout.http_options
  - zdd.rollout.attributes
attributes:
  idempotent:
    description: A second run goes forward again to what was left.
    support: none
seealso:
  - module: zdd.rollout.swarm_service_wait
"""

EXAMPLES = r"""
- name: The preview is what it was
  zdd.rollout.swarm_service_rollback:
    docker_host: unix:///var/run/docker.sock
    name: shop-preview
"""

RETURN = r"""
name:
  description: Name of the service.
  returned: success
  type: str
image:
  description: The image that it has now.
  returned: success
  type: str
left:
  description: The image that it had.
  returned: success
  type: str
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import swarm_service_rollback


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(swarm_service_rollback)


if __name__ == "__main__":
    main()
