#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``canary_analysis``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: canary_analysis
short_description: A canary is shown to be good enough, or bad
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Watches a canary beside the old version, and ends as soon as there is a verdict. All counts begin with the first
    look.
  - V(promote), and the task succeeds, when the canary's error rate is shown to be low enough. That needs requests; no
    error in few of them shows nothing.
  - V(abort), and the task fails with the code C(canary_aborted), when the canary is shown to be worse than the old
    version, by a test that may be looked at all the time, or when it meets one of the hard stops.
  - V(inconclusive) when neither was shown before O(wait_timeout); what happens then is O(on_inconclusive).
  - How it decides, and how many requests that takes, is told in the collection's C(docs/canary-analysis.md).
options:
  source:
    description:
      - Where the numbers come from. V(haproxy) takes HAProxy's own counters of the servers, V(prometheus) asks
        O(queries), V(command) runs O(command).
    type: str
    choices:
      - haproxy
      - prometheus
      - command
    default: haproxy
  stats_url:
    description:
      - With O(source=haproxy), addresses of statistics pages instead of, or beside, O(socket), such as those of
        marathon-lb, C(http://marathon-lb.example.com:9090); the page itself is C(/haproxy?stats) there. A host name
        stands for all the addresses that it has.
    type: list
    elements: str
  backend:
    description:
      - The backend whose servers are counted. By default those of all backends that have one of the addresses.
    type: str
  servers:
    description:
      - Servers that are kept as they are described here while the canary is watched, as
        M(zdd.rollout.haproxy_backend) takes them. What a reload of HAProxy undoes is done again. Needs O(socket) and
        O(backend). Nothing is kept by default.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the server if it has to be added.
        type: str
        required: true
      address:
        description:
          - Address as C(ip:port).
        type: str
        required: true
      weight:
        description:
          - Weight, from 0 to 256.
        type: int
        default: 100
      state:
        description:
          - V(ready) takes traffic, V(drain) gets no new clients, V(maint) gets nobody.
        type: str
        choices:
          - ready
          - drain
          - maint
        default: ready
  master_socket:
    description:
      - The master sockets of the O(socket) list, in its order. Used for O(servers).
    type: list
    elements: str
  placement:
    description:
      - How O(servers) are added that are not there, as in M(zdd.rollout.haproxy_backend).
    type: str
    choices:
      - auto
      - dynamic
      - template
    default: auto
  canary_addresses:
    description:
      - Addresses of the canary's tasks as the load balancers know them, such as V(10.0.0.7:31001). Needed with
        O(source=haproxy).
    type: list
    elements: str
  baseline_addresses:
    description:
      - Addresses of the old version's tasks that take traffic beside the canary. Needed with O(source=haproxy). An
        empty list leaves nothing to compare with, so that only O(max_error_rate) and the hard stops decide.
    type: list
    elements: str
  prometheus_url:
    description:
      - Addresses of Prometheus, tried in order, such as C(http://prometheus.example.com:9090). Needed with
        O(source=prometheus).
    type: list
    elements: str
  prometheus_username:
    description:
      - User for HTTP basic authentication at Prometheus.
    type: str
  prometheus_password:
    description:
      - Password of O(prometheus_username).
    type: str
  prometheus_token:
    description:
      - A bearer token for Prometheus.
    type: str
  queries:
    description:
      - PromQL that gives one number each, a sum of counters without C(rate()) or C(increase()), whatever it began with.
        Needed with O(source=prometheus).
      - No number is not 0. Where a counter may not be there yet, say so in the query, C(... or vector(0\)).
    type: dict
    suboptions:
      canary_requests:
        description:
          - All requests that the canary has answered.
        type: str
        required: true
      canary_errors:
        description:
          - Those of them that failed.
        type: str
        required: true
      baseline_requests:
        description:
          - All requests that the old version has answered.
        type: str
        required: true
      baseline_errors:
        description:
          - Those of them that failed.
        type: str
        required: true
      canary_slow:
        description:
          - Requests to the canary that took too long, the requests less those in a bucket of a histogram, for example.
        type: str
      baseline_slow:
        description:
          - Likewise for the old version.
        type: str
  command:
    description:
      - A command and its arguments that prints a JSON object with the keys of O(queries), whole numbers that only grow.
        It runs without a shell at each look, and may take O(timeout) seconds. Needed with O(source=command).
    type: list
    elements: str
  app_id:
    description:
      - The canary's app in Marathon. When one of its tasks ends, the canary is aborted at once. Nobody watches for that
        by default.
    type: str
  marathon_url:
    description:
      - Addresses of the members of a Marathon cluster, tried in order. Needed with O(app_id).
      - The environment variable E(MARATHON_URL) (separated by commas) is used when this is not set.
    type: list
    elements: str
    required: false
  canary_name:
    description:
      - How the report calls the canary, its version or its app for example.
    type: str
    default: canary
  baseline_name:
    description:
      - How the report calls the old version.
    type: str
    default: baseline
  alpha:
    description:
      - The probability with which a canary that is as good as the old version may be aborted, over all looks together,
        between 0 and 1.
    type: float
    default: 0.01
  confidence:
    description:
      - How sure it has to be that the error rate is low enough, between 0 and 1.
    type: float
    default: 0.95
  max_error_rate:
    description:
      - The canary is good enough when its error rate is shown to be below this, between 0 and 1. 0.01 by default where
        O(margin) is not set either. Where both are set, one of them is enough.
    type: float
  margin:
    description:
      - The canary is good enough when its error rate is shown to be below the old version's plus this, between 0 and 1.
    type: float
  max_slow_share:
    description:
      - The canary is good enough only when its share of slow requests is shown to be below this, too, between 0 and 1.
        Needs slow requests to be counted, which HAProxy does not do, so not with O(source=haproxy).
    type: float
  hard_error_rate:
    description:
      - The canary is aborted at once when this share of its requests failed, from 0 to 1, whatever the old version
        does. V(0) is for no such stop.
    type: float
    default: 0.5
  hard_min_requests:
    description:
      - Of how many requests at least, for O(hard_error_rate).
    type: int
    default: 20
  seconds:
    description:
      - For how many seconds it is watched at least before it is promoted.
    type: float
    default: 0
  wait_timeout:
    description:
      - How long to watch, in seconds, until O(on_inconclusive) decides; O(seconds) at least. 600 more than O(seconds)
        by default.
    type: float
  interval:
    description:
      - Seconds between two looks. 0.5 by default with O(source=haproxy), 1 with the other ones.
    type: float
  stale_after:
    description:
      - The numbers are stale when the canary gets no new request for so long, in seconds. Nothing is promoted on stale
        numbers. With O(source=prometheus) it has to be longer than the pause between two scrapes.
    type: float
    default: 60
  on_inconclusive:
    description:
      - What happens when nothing was shown in O(wait_timeout) seconds. With V(hold) the task fails with the code
        C(held), and everything stays as it is. With V(abort) it fails as for a bad canary. With V(promote) it succeeds,
        unless the source is silent or the canary has got no requests lately, which holds.
    type: str
    choices:
      - hold
      - promote
      - abort
    default: hold
extends_documentation_fragment:
  - zdd.rollout.marathon
  - zdd.rollout.http_options
  - zdd.rollout.haproxy
  - zdd.rollout.haproxy.statistics
  - zdd.rollout.attributes.info
attributes:
  check_mode:
    description: Watches nothing in check mode, and says so in the verdict, V(inconclusive).
  idempotent:
    description: Only watches. A second run watches anew.
seealso:
  - module: zdd.rollout.haproxy_info
"""

EXAMPLES = r"""
- name: The canary is good enough, by the counters of two balancers
  zdd.rollout.canary_analysis:
    socket:
      - 10.0.0.2:9999
      - 10.0.0.3:9999
    backend: shop
    canary_addresses: ["10.0.0.7:31001"]
    baseline_addresses: ["10.0.0.5:31004", "10.0.0.6:31002"]
    max_error_rate: 0.01
    seconds: 120
  register: canary

- name: The canary is not worse than the old version by more than half a percent, by marathon-lb
  zdd.rollout.canary_analysis:
    stats_url: http://marathon-lb.example.com:9090
    canary_addresses: "{{ canary_tasks }}"
    baseline_addresses: "{{ old_tasks }}"
    margin: 0.005
    marathon_url: http://marathon.example.com:8080
    app_id: /shop/web-green

- name: Neither errors nor slow requests, by Prometheus
  zdd.rollout.canary_analysis:
    source: prometheus
    prometheus_url: http://prometheus.example.com:9090
    queries:
      canary_requests: sum(http_requests_total{version="1.1"}) or vector(0)
      canary_errors: sum(http_requests_total{version="1.1",code=~"5.."}) or vector(0)
      canary_slow: >-
        (sum(http_request_seconds_count{version="1.1"}) or vector(0))
        - (sum(http_request_seconds_bucket{version="1.1",le="0.5"}) or vector(0))
      baseline_requests: sum(http_requests_total{version="1.0"})
      baseline_errors: sum(http_requests_total{version="1.0",code=~"5.."}) or vector(0)
      baseline_slow: >-
        sum(http_request_seconds_count{version="1.0"})
        - sum(http_request_seconds_bucket{version="1.0",le="0.5"})
    max_slow_share: 0.05

- name: By what a command of one's own prints
  zdd.rollout.canary_analysis:
    source: command
    command: [/usr/local/bin/canary-numbers, --version, "1.1"]
"""

RETURN = r"""
analysis:
  description:
    - The verdict with the numbers behind it. A task that fails with C(canary_aborted) or C(held) has the same in
      C(failure.detail).
  returned: success
  type: dict
  contains:
    verdict: {description: "V(promote), V(abort) or V(inconclusive).", type: str, sample: promote}
    cause:
      description: >-
        What an abort rests on. V(errors) and V(slow) are the tests, V(hard_error_rate), V(lb_down) and V(crashed) the
        hard stops. V(inconclusive) when O(on_inconclusive) has decided, V(null) otherwise.
      type: str
    reason:
      description: The reason in words.
      type: str
      sample: >-
        0 of 312 requests to the canary failed, so its error rate is 0.956 % at most, below 1 % (the limit)
    looks: {description: How often the source was asked., type: int}
    seconds: {description: For how many seconds it was watched., type: float}
    alpha: {description: As O(alpha)., type: float}
    confidence: {description: As O(confidence)., type: float}
    max_error_rate: {description: "As O(max_error_rate), with its default.", type: float}
    margin: {description: As O(margin)., type: float}
    canary:
      description: What was counted of the canary since the first look.
      type: dict
      contains:
        requests: {description: Requests that were answered or failed., type: int}
        errors: {description: Those that failed., type: int}
        error_rate: {description: "Errors by requests, V(null) without any.", type: float}
        slow: {description: "Those that were slow, V(null) where that is not counted.", type: int}
        upper_bound: {description: The error rate that it has at most with O(confidence)., type: float}
        lower_bound: {description: The error rate that it has at least with O(confidence)., type: float}
    baseline: {description: The same of the old version., type: dict}
    likelihood_ratio: {description: How much the errors speak against the canary., type: float}
    slow_likelihood_ratio: {description: "How much the slow requests do, V(null) where not counted.", type: float}
    ratio_needed: {description: The likelihood ratio at which the canary is aborted., type: float}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import canary_analysis


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(canary_analysis)


if __name__ == "__main__":
    main()
