# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``marathon_tasks_delete``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: marathon_tasks_delete
short_description: Given tasks of Marathon are gone
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Kills exactly the given tasks, in one request or in batches, and waits until they are gone and the deployment of the
    scaling has ended, also when an earlier run has killed them.
  - Ids that no app has are reported, and otherwise ignored.
options:
  ids:
    description:
      - Ids of tasks, of one app or of several.
    type: list
    elements: str
    required: true
  scale:
    description:
      - Whether the apps get smaller by the killed tasks. Otherwise Marathon replaces them.
    type: bool
    default: false
  wipe:
    description:
      - Whether to give up the volumes and reservations of the tasks. Not together with O(scale).
    type: bool
    default: false
  force:
    description:
      - Cancel a running deployment that holds an app. Without it the task fails and names that deployment.
    type: bool
    default: false
  batch:
    description:
      - How many tasks are killed at a time; each batch has to end before the next begins. All at once by default.
    type: int
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.wait.events
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.marathon_app
"""

EXAMPLES = r"""
- name: Two drained tasks are gone, and the app is smaller by two
  zdd.rollout.marathon_tasks_delete:
    marathon_url: http://marathon.mesos:8080
    ids:
      - shop_web.instance-8b1d8d6c-7d2f-11ee-b962-0242ac120002._app.1
      - shop_web.instance-8b1d8d6c-7d2f-11ee-b962-0242ac120003._app.1
    scale: true
"""

RETURN = r"""
tasks:
  description: Those of the ids that are left to be killed.
  returned: success
  type: list
  elements: str
  sample: []
killed:
  description: Ids of the tasks that were killed, or would be in check mode.
  returned: success
  type: list
  elements: str
unknown:
  description: Ids that no app has, or has no more.
  returned: success
  type: list
  elements: str
deployment_ids:
  description: The deployments that scaled the apps down, one for each batch.
  returned: success
  type: list
  elements: str
requests:
  description: How many requests were sent to Marathon.
  returned: success
  type: int
  sample: 4
failure:
  description:
    - What went wrong, for machines, as in M(zdd.rollout.marathon_app).
  returned: failure
  type: dict
"""


from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import marathon_tasks_delete


def main() -> None:
    """Run the operation."""
    run_as_module(marathon_tasks_delete)


if __name__ == "__main__":
    main()
