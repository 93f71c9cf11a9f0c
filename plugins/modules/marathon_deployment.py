# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``marathon_deployment``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: marathon_deployment
short_description: A deployment of Marathon has ended, was rolled back, or was cancelled
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Waits for the end of a deployment, undoes it, or cancels it where it is.
  - Tells success from cancellation by Marathon's events; where those were missed, by what the deployment has left.
  - A deployment that Marathon does not list has ended, and Marathon does not remember how. That is no failure here, so
    that a second run changes nothing; the RV(deployment.result) is V(unknown) then.
options:
  deployment_id:
    description:
      - The deployment.
    type: str
  app_id:
    description:
      - The deployment that holds this app.
    type: str
  state:
    description:
      - V(done) waits for the end, and fails when that was a cancellation.
      - V(rolled_back) undoes it by a new deployment that brings the earlier definitions back. One that creates an app
        is undone by removing it.
      - V(cancelled) ends it where it is, and undoes nothing. Tasks of both definitions may be left.
    type: str
    choices: [done, rolled_back, cancelled]
    default: done
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.wait.events
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.marathon_app
"""

EXAMPLES = r"""
- name: The deployment that holds the app is over
  zdd.rollout.marathon_deployment:
    marathon_url: http://marathon.mesos:8080
    app_id: /shop/web
    wait_timeout: 120

- name: The bad deployment is undone
  zdd.rollout.marathon_deployment:
    marathon_url: http://marathon.mesos:8080
    deployment_id: 5ed4c0c5-9ff8-4a6f-a0cd-f57f59a34b43
    state: rolled_back
"""

RETURN = r"""
deployment:
  description: The deployment.
  returned: success
  type: dict
  contains:
    id:
      description: Its id; V(null) when O(app_id) was given and nothing holds that app.
      type: str
    result:
      description: V(running), V(success), V(cancelled) or V(unknown).
      type: str
    reason:
      description: Why it was cancelled.
      type: str
    version:
      description: The version of the apps that it makes, a time.
      type: str
    affected_apps:
      description: The apps that it changes.
      type: list
      elements: str
    rollback_id:
      description: The deployment that undoes it, when O(state=rolled_back) has begun one.
      type: str
  sample: {id: 5ed4c0c5-9ff8-4a6f-a0cd-f57f59a34b43, result: success, reason: null, affected_apps: [/shop/web]}
requests:
  description: How many requests were sent to Marathon.
  returned: success
  type: int
  sample: 4
failure:
  description:
    - What went wrong, for machines, as in M(zdd.rollout.marathon_app); also with the code V(deployment_cancelled).
  returned: failure
  type: dict
"""


from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import marathon_deployment


def main() -> None:
    """Run the operation."""
    run_as_module(marathon_deployment)


if __name__ == "__main__":
    main()
