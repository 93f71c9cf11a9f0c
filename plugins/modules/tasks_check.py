#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``tasks_check``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tasks_check
short_description: Tasks answer as expected at their own addresses
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Sends requests to each task of an app at its own address, before any user is sent there, and fails when an answer
    is not as expected. All failures are listed, with the task, what was expected and what came.
  - All tasks are asked at the same time. Changes nothing itself; whether a request changes anything is up to the app.
options:
  marathon_url:
    description:
      - Addresses of the members of a Marathon cluster, tried in order. Needed with O(app_id).
      - The environment variable E(MARATHON_URL) (separated by commas) is used when this is not set.
    type: list
    elements: str
    required: false
  app_id:
    description:
      - The app whose tasks are asked. Marathon tells their addresses, those of host, bridge and container networks
        alike.
    type: str
  tasks:
    description:
      - Ids of the tasks that are asked. All running ones of O(app_id) by default.
    type: list
    elements: str
  urls:
    description:
      - Addresses that are asked instead of the tasks of an app, such as C(http://10.0.0.7:31001).
    type: list
    elements: str
  checks:
    description:
      - The requests, and what their answers have to be.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - How the check is called in results. Method and path by default.
        type: str
      path:
        description:
          - Path of the request, with a query where wanted.
        type: str
        default: /
      port_index:
        description:
          - Which port of the tasks of O(app_id) is asked, counted from 0.
        type: int
        default: 0
      scheme:
        description:
          - How the tasks of O(app_id) are asked.
        type: str
        choices:
          - http
          - https
        default: http
      method:
        description:
          - Method of the request.
        type: str
        default: GET
      headers:
        description:
          - Headers of the request. For those with a secret take O(secret_headers).
        type: dict
        default: {}
      body:
        description:
          - Body of the request, sent as JSON.
        type: raw
      status:
        description:
          - The status that the answer has to have, one or a list of them. Redirects are not followed.
        type: list
        elements: int
        default:
          - 200
      body_contains:
        description:
          - Text that has to be in the body of the answer.
        type: str
      body_matches:
        description:
          - A regular expression (of Python) that has to match somewhere in the body of the answer.
        type: str
      jmespath:
        description:
          - A JMESPath expression that has to be true in the JSON of the answer, such as C(version == '2').
        type: str
      timeout:
        description:
          - How long one request may take to connect, and how long it may get no answer, in seconds.
        type: float
        default: 5
  secret_headers:
    description:
      - Headers of all requests that must not be shown in results.
    type: dict
    default: {}
  wait_timeout:
    description:
      - How long checks that fail are repeated, in seconds. Each is done once by default.
    type: float
    default: 0
  wait_sleep:
    description:
      - The first pause before failed checks are repeated, in seconds; later ones grow.
    type: float
    default: 0.5
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.attributes.info
requirements:
  - jmespath for O(checks[].jmespath)
seealso:
  - module: zdd.rollout.marathon_app
"""

EXAMPLES = r"""
- name: Green says that it is version 2, on all its tasks
  zdd.rollout.tasks_check:
    marathon_url: http://marathon.mesos:8080
    app_id: /shop/web-green
    checks:
      - path: /
        jmespath: version == '2'
      - name: an order can be placed
        method: POST
        path: /orders?dry_run=true
        body:
          article: 1
        status: [200, 202]
        body_contains: accepted
"""

RETURN = r"""
checks:
  description: How many checks were made.
  returned: success
  type: int
  sample: 8
tasks:
  description: Ids of the tasks, or the addresses, that were checked.
  returned: success
  type: list
  elements: str
failure:
  description: >-
    With the code V(check_failed), C(detail) lists the failed checks, each with C(task), C(url), C(request), C(check),
    C(expected), C(got) and C(status).
  returned: failure
  type: dict
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import tasks_check


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(tasks_check)


if __name__ == "__main__":
    main()
