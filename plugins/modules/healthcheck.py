#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``healthcheck``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: healthcheck
short_description: A service is up, slow, failing or down
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Asks all targets at the same time, each several times, and says how each of them and the service in all is.
  - A target is V(up) when each attempt is as expected, V(slow) when one of them also takes longer than
    O(targets[].slow_seconds), V(failing) when some are not as expected, V(down) when none is.
  - The service is V(down) when all targets of the way in are down, else V(failing) when any target is failing or down,
    else V(slow) when any is slow, else V(up). The way in are the targets from V(proxy), where there are none those from
    V(outside), and else those from V(task). Only targets that are critical count.
  - Each check can write a line to a log, tell a webhook, and give a sign of life, so that a check that does not run is
    noticed.
options:
  group:
    description:
      - How the service is called in the log and in messages. A log may be shared by several.
    type: str
  targets:
    description:
      - What is asked.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - How the target is called in results.
        type: str
        required: true
      url:
        description:
          - Its address. What stands behind a question mark is sent, but never shown.
        type: str
        required: true
      from:
        description:
          - Whose view this is. A label, which decides how much the target counts in the verdict.
        type: str
        choices:
          - proxy
          - outside
          - task
        default: outside
      host_header:
        description:
          - The header C(Host) of the request. With https it is also the name that the certificate has to be for.
        type: str
      headers:
        description:
          - Headers of the request. For those with a secret take O(secret_headers).
        type: dict
        default: {}
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
          - A JMESPath expression that has to be true in the JSON of the answer, such as C(status == 'ok').
        type: str
      slow_seconds:
        description:
          - An answer that takes longer is slow, in seconds.
        type: float
        default: 1
      timeout:
        description:
          - How long one attempt may take in all, names and TLS included, in seconds.
        type: float
        default: 5
      critical:
        description:
          - Whether the target counts in the verdict. It is only shown otherwise.
        type: bool
        default: true
  measured:
    description:
      - Targets that were asked elsewhere, as the RV(targets) of another check has them. They count as if they were
        asked here.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - How the target is called.
        type: str
        required: true
      state:
        description:
          - How it was.
        type: str
        choices:
          - up
          - slow
          - failing
          - down
        required: true
      url:
        description:
          - Its address.
        type: str
      from:
        description:
          - Whose view it is.
        type: str
        choices:
          - proxy
          - outside
          - task
        default: outside
      critical:
        description:
          - Whether it counts in the verdict.
        type: bool
        default: true
      attempts:
        description:
          - How often it was asked.
        type: int
      failures:
        description:
          - How many of these were not as expected.
        type: int
      seconds:
        description:
          - How long the longest answer took, in seconds.
        type: float
      status:
        description:
          - The last status.
        type: int
      error:
        description:
          - What was not as expected.
        type: str
  attempts:
    description:
      - How often each target is asked.
    type: int
    default: 3
  attempt_pause:
    description:
      - The pause between two attempts at a target, in seconds.
    type: float
    default: 0.2
  secret_headers:
    description:
      - Headers of all requests to targets that must not be shown, neither in results nor in the log.
    type: dict
    default: {}
  fail_on:
    description:
      - For which verdicts the task fails. V(gap) is a check before this one that was too long ago, see
        O(heartbeat_max_age). An empty list never fails.
    type: list
    elements: str
    choices:
      - slow
      - failing
      - down
      - gap
    default:
      - failing
      - down
  log:
    description:
      - File to which RV(line) is appended, by one write. It is created readable for its group (0640); its folder has to
        be there.
      - Its last line about O(group) says what the state was before.
    type: path
  log_max_bytes:
    description:
      - Before a log would grow beyond this, in bytes, it is renamed, with V(.1) at its end; one that is called so is
        replaced. 0 is never.
    type: int
    default: 10485760
  text_log:
    description:
      - File to which a line for people is appended, as O(log).
    type: path
  webhook_url:
    description:
      - Address that gets the verdict by POST as JSON, with the keys of RV(line) and C(event=health). Its key C(text) is
        one line for people. One that does not listen is a warning; the next check tells it where there is a O(log).
    type: str
  webhook_headers:
    description:
      - Headers of that request.
    type: dict
    default: {}
  webhook_on:
    description:
      - When the webhook is told. V(change) is when the state is another one than in the last line of the O(log), when
        there is no such line, and after a gap; V(bad) is also each time the state is not V(up); V(always) is each time.
    type: str
    choices:
      - change
      - bad
      - always
    default: change
  webhook_timeout:
    description:
      - How long that request may take in all, in seconds.
    type: float
    default: 5
  heartbeat_url:
    description:
      - Address that gets a GET after each check that came to an end, whatever its verdict. Whoever waits there for it
        (a dead man's switch) notices when checks do not run. One that does not answer is a warning.
    type: str
  heartbeat_file:
    description:
      - File that is touched after each check that came to an end, whatever its verdict. Each service needs its own.
    type: path
  heartbeat_timeout:
    description:
      - How long the request to O(heartbeat_url) may take in all, in seconds.
    type: float
    default: 5
  heartbeat_max_age:
    description:
      - How long ago the check before this one may be, by the O(log) or the O(heartbeat_file), in seconds. A longer time
        is a gap, which is a warning, is in RV(gap_seconds) and in the log, is told to the webhook, and fails the task
        where O(fail_on) has V(gap). Nothing is said without it, nor at the very first check.
    type: float
  validate_certs:
    description:
      - Whether the certificates of servers are checked.
    type: bool
    default: true
  ca_path:
    description:
      - File with the certificates of authorities to trust, or a folder of such files.
      - Those of the system by default.
    type: path
  client_cert:
    description:
      - File with the certificate to show to servers, in PEM form; it may contain the key too.
    type: path
  client_key:
    description:
      - File with the key of O(client_cert).
    type: path
extends_documentation_fragment:
  - zdd.rollout.attributes.info
attributes:
  check_mode:
    description: Asks all targets in check mode, too; writes no file then, and calls neither webhook nor heartbeat.
    support: full
notes:
  - Needs the Python standard library only, so it can be delegated to any host with Python 3.11 or later.
  - Log, heartbeat and webhook are no changes of the host.
requirements:
  - jmespath for O(targets[].jmespath)
seealso:
  - module: zdd.rollout.tasks_check
"""

EXAMPLES = r"""
- name: The shop is up, as seen through both proxies
  zdd.rollout.healthcheck:
    group: shop
    targets:
      - name: lb1
        url: http://10.0.0.11/health
        from: proxy
        host_header: shop.example.com
      - name: lb2
        url: http://10.0.0.12/health
        from: proxy
        host_header: shop.example.com
      - name: the page itself
        url: https://shop.example.com/
        body_contains: Basket
        slow_seconds: 2
    log: /var/log/zdd/shop.jsonl
    webhook_url: "{{ chat_webhook }}"
    heartbeat_url: "{{ dead_mans_switch }}"
    heartbeat_max_age: 180
"""

RETURN = r"""
state:
  description: The verdict, V(up), V(slow), V(failing) or V(down).
  returned: when the targets were asked, also on failure
  type: str
  sample: failing
exit_code:
  description: The same as a number, 0, 1, 2 or 3.
  returned: when the targets were asked, also on failure
  type: int
  sample: 2
previous:
  description: The state before, by the log; V(null) when that has none.
  returned: when the targets were asked, also on failure
  type: str
change:
  description: Whether the state is another one than before.
  returned: when the targets were asked, also on failure
  type: bool
gap_seconds:
  description: How long ago the check before this one was, where that is longer than it may be; else V(null).
  returned: when the targets were asked, also on failure
  type: float
time:
  description: When the targets had been asked.
  returned: when the targets were asked, also on failure
  type: str
group:
  description: As in the options.
  returned: when the targets were asked, also on failure
  type: str
text:
  description: The verdict and what is not well, as one line for people.
  returned: when the targets were asked, also on failure
  type: str
  sample: 'shop is failing: 2 of 3 targets are up; proxy lb2 is down (Connection refused, 3 of 3 attempts)'
line:
  description: All of this as one line of JSON, as it is in the log.
  returned: when the targets were asked, also on failure
  type: str
targets:
  description: What was seen of each target.
  returned: when the targets were asked, also on failure
  type: list
  elements: dict
  contains:
    name:
      description: As in the options.
      type: str
    url:
      description: Its address, without what stands behind a question mark.
      type: str
    from:
      description: As in the options.
      type: str
    critical:
      description: As in the options.
      type: bool
    state:
      description: How it is.
      type: str
    attempts:
      description: How often it was asked.
      type: int
    failures:
      description: How many attempts were not as expected.
      type: int
    seconds:
      description: How long the longest answer took; V(null) when there was none.
      type: float
    status:
      description: Status of the last answer that was not as expected, or of the last one.
      type: int
    error:
      description: What was wrong with it; V(null) when all were as expected.
      type: str
failure:
  description: >-
    The code V(unhealthy) is a verdict of O(fail_on), V(gap) a check that did not run; V(not_logged) and
    V(no_heartbeat) are files that could not be written, C(detail) has the verdict then.
  returned: failure
  type: dict
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import healthcheck


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(healthcheck)


if __name__ == "__main__":
    main()
