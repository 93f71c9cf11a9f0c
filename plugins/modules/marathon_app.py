# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``marathon_app``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: marathon_app
short_description: An app of Marathon is there as defined, scaled, or absent
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Creates, updates, scales and removes an app of Marathon.
  - What differs is found by comparing normalised definitions - defaults filled in, order of sets ignored, the
    networking keys of Marathon 1.4 and older taken for those of 1.5 and newer - so that a second run sends nothing.
  - Waits for the deployment B(and) for all tasks to be running, healthy and ready, also when nothing was changed, since
    an earlier run may have died while it waited.
  - The wait ends early, with the reason, when the app crash-loops, when no agent has what it asks for, when its health
    checks make Marathon kill its tasks again and again, or when somebody else changes or removes it.
  - Without a health check Marathon takes a task for well as soon as it runs. An app without one whose tasks end a
    moment later is reported as changed, without a failure; give it a health check to have that noticed.
options:
  state:
    description:
      - V(present) creates or changes the app, V(absent) removes it with all its tasks.
    type: str
    choices: [present, absent]
    default: present
  app:
    description:
      - The definition, as in Marathon's API. It replaces the live one as a whole; what is left out goes back to its
        default, but the count of instances and assigned service ports are kept.
    type: dict
  src:
    description:
      - File with the definition, in JSON or YAML, on the host that runs the task.
    type: path
  app_id:
    description:
      - The app to scale or to remove when neither O(app) nor O(src) is given.
      - Beside a definition it is the id where that has none.
    type: str
  instances:
    description:
      - How many copies shall run. Alone with O(app_id) it scales, and restarts nothing.
      - Beside a definition it takes the place of the count there.
      - The live count is kept when this is not set and the definition has no count either.
    type: int
  force:
    description:
      - Cancel a running deployment that holds the app. Without it the task fails and names that deployment.
    type: bool
    default: false
  offer_timeout:
    description:
      - How long to wait for an agent that has what the app asks for, in seconds, counted from the last task that was
        launched. After that the task fails with the reasons that Marathon gives.
    type: float
    default: 60
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.wait.events
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.marathon_app_info
  - module: zdd.rollout.marathon_deployment
"""

EXAMPLES = r"""
- name: The web app runs as defined
  zdd.rollout.marathon_app:
    marathon_url: http://marathon.mesos:8080
    app:
      id: /shop/web
      cmd: exec ./web --port $PORT0
      cpus: 0.1
      mem: 64
      instances: 4
      portDefinitions:
        - name: http
          port: 10000
      healthChecks:
        - protocol: HTTP
          path: /health
          intervalSeconds: 2

- name: The definition is a file
  zdd.rollout.marathon_app:
    marathon_url: http://marathon.mesos:8080
    src: "{{ playbook_dir }}/web.json"

- name: Six copies run, and none of the four that run already is restarted
  zdd.rollout.marathon_app:
    marathon_url: http://marathon.mesos:8080
    app_id: /shop/web
    instances: 6

- name: The app is gone, and so are its tasks
  zdd.rollout.marathon_app:
    marathon_url: http://marathon.mesos:8080
    app_id: /shop/web
    state: absent
"""

RETURN = r"""
app:
  description:
    - The normalised definition of the app; as it would be, in check mode. V(null) when it is absent.
  returned: success
  type: dict
  sample: {id: /shop/web, instances: 4, cpus: 0.1, mem: 64}
version:
  description: The version of the app, a time. V(null) when it is absent.
  returned: success
  type: str
  sample: "2026-03-01T10:00:00.000Z"
deployment_id:
  description: The deployment that this task began, V(null) if it began none.
  returned: success
  type: str
  sample: 5ed4c0c5-9ff8-4a6f-a0cd-f57f59a34b43
tasks:
  description:
    - Counts of the tasks of the present definition (C(staging), C(running), C(healthy), C(ready), C(settled) - which is
      running, healthy and ready), of tasks of earlier definitions (C(old)), of tasks that are being killed (C(ending)),
      and the wanted number (C(instances)).
  returned: success
  type: dict
  sample: {instances: 4, staging: 0, running: 4, healthy: 4, ready: 4, settled: 4, old: 0, ending: 0}
requests:
  description: How many requests were sent to Marathon.
  returned: success
  type: int
  sample: 5
failure:
  description:
    - What went wrong, for machines. C(code) is one of V(invalid_definition), V(invalid_option), V(unreadable_file),
      V(not_found), V(app_locked), V(already_exists), V(rejected), V(not_authorized), V(unreachable), V(unavailable),
      V(deadline_passed), V(crash_loop), V(no_offers), V(checks_fail), V(changed_meanwhile), V(app_removed) and others.
  returned: failure
  type: dict
  sample: {code: app_locked, system: "http://m:8080", request: PUT /v2/apps/shop/web, status: 409, detail: []}
"""


from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import marathon_app


def main() -> None:
    """Run the operation."""
    run_as_module(marathon_app)


if __name__ == "__main__":
    main()
