#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``canary_check``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: canary_check
short_description: Which versions clients see, and how many of them
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Asks through the load balancers as many clients would do, each with a connection of its own, and counts which
    version answers. The message is like C(Out of 100 clients 80 saw 0.9 and 20 saw 1.0).
  - Compares the shares with expected ones where there are any, counts what fails by its cause, and looks whether
    clients stay on a version that they have seen.
  - Sends GET requests, in check mode too, and changes nothing itself; whether a request changes anything is up to the
    app.
options:
  urls:
    description:
      - Addresses at which clients reach the app, with a path where wanted, such as C(http://lb.example.com:10000/). The
        clients are spread over them evenly.
      - Of a host name that has several addresses, the first one that answers is asked. Name the load balancers one by
        one to have all of them asked.
    type: list
    elements: str
    required: true
  clients:
    description:
      - How many clients ask. The more they are the narrower is the confidence interval; around a share of 20 % it is
        16 percentage points wide with 100 clients, 5 with 1000.
    type: int
    default: 100
  requests_per_client:
    description:
      - How many requests each client sends, one after the other, each over a new connection. It sends the cookies that
        it was given.
    type: int
    default: 1
  parallel:
    description:
      - How many clients ask at the same time, 100 at most.
    type: int
    default: 10
  requests_per_second:
    description:
      - How many requests all clients together send per second at most. As many as they can by default.
    type: float
  host_header:
    description:
      - The header C(Host) of the requests, for load balancers that choose the app by it. The host of the address by
        default. With HTTPS, the certificate has to be one for the host of the address.
    type: str
  headers:
    description:
      - Headers of the requests. For those with a secret take O(secret_headers).
    type: dict
    default: {}
  secret_headers:
    description:
      - Headers of the requests that must not be shown in results.
    type: dict
    default: {}
  status:
    description:
      - The status that an answer has to have, one or a list of them. Any other one is a failure. Redirects are not
        followed.
    type: list
    elements: int
    default:
      - 200
  version_header:
    description:
      - The header of the answers that has the version, such as C(X-Version).
      - One of O(version_header), O(version_jmespath) and O(version_regex) is needed.
    type: str
  version_jmespath:
    description:
      - A JMESPath expression for the version in the JSON of the answers, such as C(version). It has to find a text or a
        number.
    type: str
  version_regex:
    description:
      - A regular expression (of Python) for the version in the body of the answers. The group called C(version) is
        taken, or else the first group, as in C(<!-- release (.*?) -->).
    type: str
  expect:
    description:
      - The shares in percent that are expected, by version. Quote versions that look like numbers, such as C("1.10").
      - What is left of 100 is for all other versions together, so none of them must be seen when nothing is left.
    type: dict
  tolerance:
    description:
      - How far the shares that were seen may be from those of O(expect), in percentage points.
      - By default the expected share has to lie within the confidence interval of the one that was seen. Where an LB
        deals requests out at random, one check of twenty fails by chance then with a O(confidence) of V(0.95), one of
        thousand with V(0.999).
    type: float
  confidence:
    description:
      - How sure the confidence intervals are, more than 0 and less than 1.
    type: float
    default: 0.95
  sticky_versions:
    description:
      - Versions that no client may leave. The task fails when a client that has been answered by one of them is
        answered by another version afterwards. Needs O(requests_per_client) to be 2 or more.
    type: list
    elements: str
    default: []
  max_failures:
    description:
      - How many requests may fail, by no answer, another status than O(status), or no version in the answer. The task
        fails when there are more.
    type: int
    default: 0
  wait_timeout:
    description:
      - How long all of it may take, in seconds. When it is over before all clients have asked, the task fails.
    type: float
    default: 300
  validate_certs:
    description:
      - Whether the certificates of servers are checked.
    type: bool
    default: true
  ca_path:
    description:
      - File with the certificates of authorities to trust, or a folder of such files.
      - The ones that come with the Python library C(requests) by default.
    type: path
  client_cert:
    description:
      - File with the certificate to show to servers, in PEM form; it may contain the key too.
    type: path
  client_key:
    description:
      - File with the key of O(client_cert).
    type: path
  timeout:
    description:
      - How long one request may take to connect, and how long its whole answer may take, in seconds. Nothing is asked
        twice.
    type: float
    default: 10
extends_documentation_fragment:
  - zdd.rollout.attributes.info
requirements:
  - requests
  - jmespath for O(version_jmespath)
seealso:
  - module: zdd.rollout.tasks_check
    description: Asks each task at its own address.
"""

EXAMPLES = r"""
- name: A fifth of the clients sees the canary
  zdd.rollout.canary_check:
    urls: http://lb.example.com:10000/
    version_header: X-Version
    expect:
      "0.9": 80
      "1.0": 20

- name: The split by weight is exact to a percentage point at both load balancers
  zdd.rollout.canary_check:
    urls:
      - http://10.0.0.1:10000/
      - http://10.0.0.2:10000/
    host_header: shop.example.com
    version_jmespath: version
    clients: 2000
    expect:
      "1.0": 5
    tolerance: 1

- name: A client that has seen the canary stays on it
  zdd.rollout.canary_check:
    urls: http://lb.example.com:10000/
    version_regex: 'release (\S+)'
    requests_per_client: 5
    sticky_versions: "1.0"
"""

RETURN = r"""
msg:
  description: What clients saw; on failure followed by what is wrong.
  returned: always
  type: str
  sample: Out of 100 clients 80 saw 0.9 and 20 saw 1.0
split:
  description: >-
    The counts. On failure they are in C(failure.detail).
  returned: success
  type: dict
  contains:
    text:
      description: What clients saw, the shares with their confidence intervals, and the failures, for people.
      type: list
      elements: str
      sample:
        - Out of 100 clients 80 saw 0.9 and 20 saw 1.0.
        - "0.9: 80 %, 70.8 % to 87.3 % at a confidence of 95 %"
        - "1.0: 20 %, 12.7 % to 29.2 % at a confidence of 95 %"
    clients:
      description: How many clients there were.
      type: int
      sample: 100
    answered:
      description: How many of them saw a version. Shares are shares of these.
      type: int
      sample: 100
    requests:
      description: How many requests were sent.
      type: int
      sample: 100
    confidence:
      description: How sure the confidence intervals are.
      type: float
      sample: 0.95
    versions:
      description: The versions, the one that most clients saw at the front.
      type: list
      elements: dict
      contains:
        version:
          description: The version.
          type: str
          sample: "1.0"
        clients:
          description: How many clients it answered first. A client counts once, for the first version that it saw.
          type: int
          sample: 20
        requests:
          description: How many requests it answered.
          type: int
          sample: 20
        left:
          description: How many clients were answered by another version after it.
          type: int
          sample: 0
        share_percent:
          description: Its share of the clients.
          type: float
          sample: 20.0
        low_percent:
          description: The lower end of the confidence interval (by Clopper and Pearson) of this share.
          type: float
          sample: 12.666
        high_percent:
          description: The upper end of it.
          type: float
          sample: 29.184
    failures:
      description: The requests that failed, by cause, the most frequent one at the front.
      type: list
      elements: dict
      contains:
        cause:
          description: >-
            V(unreachable), no whole answer in time; V(status), another status than O(status); V(unreadable), a body
            that is no JSON; or V(no_version).
          type: str
          sample: status
        message:
          description: The same for people.
          type: str
          sample: http://lb.example.com:10000 answered GET / with 500
        status:
          description: The status of the answers, if there were any.
          type: int
          sample: 500
        version:
          description: The version that answered so, where the answer says it.
          type: str
          sample: "1.0"
        count:
          description: How many requests failed like this.
          type: int
          sample: 3
failure:
  description: >-
    The code is V(too_many_failures), V(not_sticky), V(unexpected_split) or V(deadline_passed); C(detail) is as
    RV(split).
  returned: failure
  type: dict
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import canary_check


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(canary_check)


if __name__ == "__main__":
    main()
