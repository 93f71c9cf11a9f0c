# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``marathon_app_info``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: marathon_app_info
short_description: What Marathon knows of apps
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Returns definitions, tasks with their health, versions and deployments of one app, of the apps that a label selector
    matches, of the apps of a deployment group, or of all apps.
options:
  app_id:
    description:
      - One app. The list is empty when it does not exist.
      - An app that was rolled out has a colour in its id, which changes with each rollout. Find it by O(group).
    type: str
  label:
    description:
      - A label selector of Marathon, such as V(tier==web,stage in (test, live\)).
    type: str
  group:
    description:
      - A deployment group - the apps whose label C(HAPROXY_DEPLOYMENT_GROUP) is this.
      - The role C(bluegreen) names the group after the id without the colour, with C(_) for each C(/) inside, such as
        V(web_shop) for C(/web/shop), unless the definition has that label or C(bluegreen_group) is set.
    type: str
  versions:
    description:
      - Whether to list the stored versions of each app. This costs one request for each.
    type: bool
    default: false
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.attributes.info
seealso:
  - module: zdd.rollout.marathon_app
"""

EXAMPLES = r"""
- name: Read the apps of a deployment group
  zdd.rollout.marathon_app_info:
    marathon_url: http://marathon.mesos:8080
    group: web
  register: __group

- name: Show which tasks are healthy
  ansible.builtin.debug:
    msg: "{{ __group.apps | map(attribute='tasks') | flatten | selectattr('healthy') | map(attribute='id') }}"
"""

RETURN = r"""
apps:
  description: The apps, sorted by id.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The id of the app.
      type: str
      sample: /shop/web
    definition:
      description: Its normalised definition, the form that M(zdd.rollout.marathon_app) compares.
      type: dict
    service_ports:
      description: The ports on which marathon-lb serves it, by port index.
      type: list
      elements: int
      sample: [10000]
    version:
      description: Its version, a time.
      type: str
      sample: "2026-03-01T10:00:00.000Z"
    version_info:
      description: When it was last scaled (C(lastScalingAt)) and last configured (C(lastConfigChangeAt)).
      type: dict
    versions:
      description: Its stored versions, newest first; V(null) unless O(versions=true).
      type: list
      elements: str
    counts:
      description: Counts of its tasks, as RV(zdd.rollout.marathon_app#module:tasks).
      type: dict
    tasks:
      description: Its tasks.
      type: list
      elements: dict
      contains:
        id:
          description: The id of the task.
          type: str
        host:
          description: The agent that it runs on.
          type: str
        ports:
          description: Its ports on that host.
          type: list
          elements: int
        ip_addresses:
          description: Its own addresses.
          type: list
          elements: str
        state:
          description: Its state in Mesos.
          type: str
          sample: TASK_RUNNING
        healthy:
          description: Whether all its health checks pass; V(null) for an app without checks.
          type: bool
        current:
          description: Whether it was started with the present definition.
          type: bool
        version:
          description: The version of the app that it was started with.
          type: str
        started_at:
          description: When it was started.
          type: str
    deployments:
      description: The ids of the deployments that hold the app.
      type: list
      elements: str
    last_task_failure:
      description: How a task of the present definition failed last; V(null) if none did.
      type: dict
requests:
  description: How many requests were sent to Marathon.
  returned: success
  type: int
  sample: 1
failure:
  description:
    - What went wrong, for machines, as in M(zdd.rollout.marathon_app).
  returned: failure
  type: dict
"""


from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import marathon_app_info


def main() -> None:
    """Run the operation."""
    run_as_module(marathon_app_info)


if __name__ == "__main__":
    main()
