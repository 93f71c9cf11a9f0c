#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``marathon_lb_wait``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: marathon_lb_wait
short_description: All marathon-lb instances admit given tasks, or have drained them
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Waits for evidence at every marathon-lb instance, and changes nothing. All service ports of the app count.
  - C(admitted) means that each task has a server that is UP in the statistics (C(no check) where nothing checks it) and
    enabled in the live configuration.
  - C(drained) means that each server is in MAINT without sessions, or absent; that the live configuration says the
    same; and that the workers from before the reload are gone. Counters alone prove nothing, as those of a new worker
    start at 0 while the old one still serves.
  - Counting the workers (C(/_haproxy_getpids)) forks inside HAProxy, which can break connections of clients when it
    runs with several threads. So it is done last, seldom, and not at all with O(count_workers=false). An old worker
    also waits for the connections of other apps. Where that is too long, take the tasks' own evidence with
    M(zdd.rollout.pending_operations_wait).
  - An instance that does not answer for a while is waited for. One that does not answer at the begin, for
    O(retry_timeout) seconds, is a failure.
options:
  app_id:
    description:
      - The app whose tasks are meant. At least one of O(app_id) and O(group) is needed.
    type: str
  group:
    description:
      - The deployment group (label C(HAPROXY_DEPLOYMENT_GROUP)) whose tasks are meant. Together with O(app_id) it is
        only checked that the app belongs to it.
    type: str
  tasks:
    description:
      - The tasks that are meant, each an id, or a dict as Marathon shows it, with at least C(id), C(host), C(ports) and
        for container networks C(ipAddresses). All running ones by default.
      - With O(state=drained) an id that no app has any more needs no drain; see RV(gone).
    type: list
    elements: raw
  state:
    description:
      - What is waited for.
    type: str
    choices:
      - admitted
      - drained
    required: true
  count_workers:
    description:
      - Whether the workers from before the reload have to be gone, with O(state=drained).
      - When it is V(false) the evidence is only that no instance sends new connections to the tasks. What is in flight
        has to be seen at the tasks themselves then, as long as RV(lbs[].keep_alive_seconds), because an old worker may
        forward one more request of each connection that was idle at the reload. With services in mode tcp there is no
        such limit.
    type: bool
    default: true
  idle_processes:
    description:
      - How many HAProxy processes an idle instance has, as C(/_haproxy_getpids) shows them. The master and one worker
        are two. One that runs without a master has one; with 2 an old worker of it would be taken for the master.
      - Where the live worker is seen to be the only process, there is no master, and a warning says so.
    type: int
    default: 2
  wait:
    description:
      - Whether to wait. Otherwise, and in check mode, there is one look, and RV(fulfilled) tells what it has shown.
    type: bool
    default: true
  wait_sleep:
    description:
      - The first pause between two looks at the statistics, in seconds; later ones grow.
    type: float
    default: 0.02
  on_timeout:
    description:
      - What happens with O(state=drained) when O(wait_timeout) is over and something is still in flight.
      - V(hold) fails with the code V(held). Nothing is cut, all is still served, and the same task run again goes on.
      - V(cut) succeeds with a warning and reports what will be cut. While a balancer still sends new requests there, or
        cannot be asked, it does what V(hold) does, since what comes in anew would be cut without end.
      - V(fail) fails with the code V(deadline_passed), for a C(rescue) that rolls back.
    type: str
    choices:
      - hold
      - cut
      - fail
    default: hold
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.marathon_lb
  - zdd.rollout.http_options
  - zdd.rollout.wait
  - zdd.rollout.attributes.info
seealso:
  - module: zdd.rollout.marathon_lb_switch
  - module: zdd.rollout.pending_operations_wait
"""

EXAMPLES = r"""
- name: All load balancers send requests to green
  zdd.rollout.marathon_lb_wait:
    marathon_url: http://marathon.mesos:8080
    marathon_lb_url: http://marathon-lb.example.com:9090
    app_id: /shop/web-green
    state: admitted

- name: Nothing of blue is in flight any more
  zdd.rollout.marathon_lb_wait:
    marathon_url: http://marathon.mesos:8080
    marathon_lb_url:
      - http://10.0.0.1:9090
      - http://10.0.0.2:9090
    app_id: /shop/web-blue
    state: drained
    wait_timeout: 600
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
  sample: "lb 10.0.0.1:9090: 1 old worker serves connections from before the reload"
deadline_passed:
  description: Whether O(wait_timeout) passed and O(on_timeout=cut) let the task succeed.
  returned: success
  type: bool
  sample: false
tasks:
  description: Ids of the tasks that are meant.
  returned: success
  type: list
  elements: str
gone:
  description: Ids among O(tasks) that no app has any more.
  returned: success
  type: list
  elements: str
lbs:
  description: What each instance has shown last.
  returned: success
  type: list
  elements: dict
  contains:
    lb:
      description: Its address.
      type: str
      sample: 10.0.0.1:9090
    servers:
      description: >-
        The servers of the tasks, with C(backend), C(server), C(address) and C(status), V(none) for an absent one.
      type: list
      elements: dict
      sample:
        - backend: shop_web_10000
          server: 10_0_0_7_31001
          address: 10.0.0.7:31001
          status: MAINT
    sessions:
      description: Open and queued ones of the servers in the live worker.
      type: int
    old_workers:
      description: How many workers from before a reload are left; V(none) when they were not counted.
      type: int
    processes:
      description: How many HAProxy processes there are; V(none) when they were not counted.
      type: int
    keep_alive_seconds:
      description: >-
        How long a connection that was idle at a reload may still bring one more request to the old worker, by the live
        configuration; V(none) when it sets no limit, or was not read.
      type: float
    error:
      description: Why it could not be asked at last.
      type: str
keep_alive_seconds:
  description: The longest of RV(lbs[].keep_alive_seconds); V(none) when one of them is.
  returned: success
  type: float
evidence:
  description: What was judged.
  returned: success
  type: dict
  contains:
    state:
      description: O(state).
      type: str
    servers:
      description: How many servers each instance was asked for.
      type: int
    workers_counted:
      description: Whether workers from before a reload were counted.
      type: bool
sessions_cut:
  description: >-
    How many sessions will be cut when the tasks are killed now. V(none) when that is not known, as how many an old
    worker has cannot be asked over HTTP.
  returned: success
  type: int
  sample: 0
failure:
  description:
    - What went wrong, for machines. The C(code) is V(held) when O(wait_timeout) passed with O(on_timeout=hold), or with
      O(on_timeout=cut) while an instance still sends new requests there, and V(deadline_passed) when it passed with
      O(on_timeout=fail) or O(state=admitted).
  returned: failure
  type: dict
  sample: {code: held, system: null, request: null, status: null, detail: []}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import marathon_lb_wait


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(marathon_lb_wait)


if __name__ == "__main__":
    main()
