#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``pending_operations_wait``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pending_operations_wait
short_description: No task has pending operations
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Asks each task how many operations it has pending, at a metrics endpoint of its own, until each has told 0 several
    times in a row. Changes nothing.
  - This is the best evidence for a kill, as it does not depend on a load balancer, on what else it serves, or on how
    long other clients stay connected. It holds once no load balancer sends new requests to the tasks; see
    O(quiet_seconds).
  - A task that does not answer, or whose answer cannot be read, is not idle. Only when Marathon says that it is gone it
    counts as done.
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
  path:
    description:
      - Path of the metrics endpoint, added to the addresses.
    type: str
    default: ""
  scheme:
    description:
      - How the tasks of O(app_id) are asked.
    type: str
    choices:
      - http
      - https
    default: http
  port_index:
    description:
      - Which port of the tasks of O(app_id) is asked, counted from 0.
    type: int
    default: 0
  jmespath:
    description:
      - A JMESPath expression that gives the number of pending operations in an answer of JSON, such as C(pending), or
        C(sum(values(queues))).
      - Exactly one of O(jmespath) and O(metric) is needed.
    type: str
  metric:
    description:
      - Name of a gauge in an answer of Prometheus' text format. All its samples that have the O(metric_labels) are
        added. When there is none the task does not count as idle.
      - Needs the Python library C(prometheus_client).
    type: str
  metric_labels:
    description:
      - Labels that a sample has to have.
    type: dict
    default: {}
  consecutive:
    description:
      - How many times in a row a task has to tell 0.
    type: int
    default: 3
  quiet_seconds:
    description:
      - How long a task has to tell 0, in seconds.
      - Behind a load balancer with C(option idle-close-on-response) this has to be longer than its
        C(timeout http-keep-alive), as an old worker forwards one more request of each connection that was idle when it
        was replaced. M(zdd.rollout.marathon_lb_wait) returns it. Services in mode tcp have no such limit.
    type: float
    default: 0
  wait:
    description:
      - Whether to wait. Otherwise, and in check mode, there is one look, and RV(fulfilled) tells what it has shown.
    type: bool
    default: true
  on_timeout:
    description:
      - What happens when O(wait_timeout) is over and something is still in flight.
      - V(hold) fails with the code V(held). Nothing is cut, all is still served, and the same task run again goes on.
      - V(cut) succeeds with a warning and reports what will be cut.
      - V(fail) fails with the code V(deadline_passed), for a C(rescue) that rolls back.
    type: str
    choices:
      - hold
      - cut
      - fail
    default: hold
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.wait
  - zdd.rollout.attributes.info
requirements:
  - jmespath for O(jmespath)
  - prometheus_client for O(metric)
seealso:
  - module: zdd.rollout.marathon_lb_wait
"""

EXAMPLES = r"""
- name: The tasks of blue have done all that they have accepted
  zdd.rollout.pending_operations_wait:
    marathon_url: http://marathon.mesos:8080
    app_id: /shop/web-blue
    path: /pending
    jmespath: pending
    quiet_seconds: 1.5
    wait_timeout: 600

- name: Two queues of a worker are empty
  zdd.rollout.pending_operations_wait:
    urls:
      - http://10.0.0.7:9100/metrics
    metric: pending_operations
    metric_labels:
      tier: web
    on_timeout: cut
"""

RETURN = r"""
fulfilled:
  description: Whether the evidence is there.
  returned: success
  type: bool
  sample: true
missing:
  description: What is missing, V(none) when nothing is.
  returned: success
  type: str
  sample: "3 pending in 1 of 4 tasks; shop_web.instance-1 has 3"
deadline_passed:
  description: Whether O(wait_timeout) passed and O(on_timeout=cut) let the task succeed.
  returned: success
  type: bool
  sample: false
tasks:
  description: What each task has told last.
  returned: success
  type: list
  elements: dict
  contains:
    task:
      description: Its id; V(none) with O(urls).
      type: str
    url:
      description: The address that was asked; V(none) for a task that was gone at the begin.
      type: str
    pending:
      description: The number of pending operations; V(none) when it did not tell.
      type: float
    zeros:
      description: How many times in a row it has told 0.
      type: int
    gone:
      description: Whether Marathon says that it is gone.
      type: bool
    error:
      description: Why it did not tell.
      type: str
operations_cut:
  description: How many operations will be cut when the tasks are killed now; V(none) when that is not known.
  returned: success
  type: float
  sample: 0
failure:
  description:
    - What went wrong, for machines. The C(code) is V(held) when O(wait_timeout) passed with O(on_timeout=hold), and
      V(deadline_passed) when it passed with O(on_timeout=fail).
  returned: failure
  type: dict
  sample: {code: held, system: null, request: null, status: null, detail: []}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import pending_operations_wait


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(pending_operations_wait)


if __name__ == "__main__":
    main()
