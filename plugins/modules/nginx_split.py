#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``nginx_split``: its documentation, and the operation of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_split
short_description: A colour gets its share of the requests at an nginx
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Sends a share of the new requests to a colour, from the next request on, those on open connections included, and
    without a reload. What is in flight finishes where it is.
  - The files are changed one by one in an order in which the share only grows, or only shrinks. Then nginx itself is
    asked for each of the 100 buckets where it sends it.
  - With a share of 100 (or 0) the colour that gets everything becomes the live one, and the other one is what the
    preview shows. With a share between, live and preview stay.
options:
  colour:
    description:
      - The colour that O(share) is about. The other one gets the rest.
    type: str
    choices:
      - blue
      - green
    required: true
  share:
    description:
      - Percent of the new requests. A fraction is rounded to whole percent, with a warning, never to 0 or 100.
    type: float
    default: 100
  wait_timeout:
    description:
      - How long it may take until nginx shows the wanted shares, in seconds.
    type: float
    default: 10
extends_documentation_fragment:
  - zdd.rollout.nginx
  - zdd.rollout.attributes
seealso:
  - module: zdd.rollout.nginx_info
  - module: zdd.rollout.nginx_drain
"""

EXAMPLES = r"""
- name: Every fifth request goes to green
  zdd.rollout.nginx_split:
    name: shop
    config: /etc/nginx/conf.d/zdd-shop.conf
    state_dir: /var/lib/zdd-rollout/shop
    colour: green
    share: 20

- name: Green is live
  zdd.rollout.nginx_split:
    name: shop
    config: /etc/nginx/conf.d/zdd-shop.conf
    state_dir: /var/lib/zdd-rollout/shop
    colour: green
"""

RETURN = r"""
proxy:
  description: What this nginx does for the group, or would do in check mode.
  returned: success
  type: dict
  contains:
    name:
      description: O(proxy_name).
      type: str
    kind:
      description: V(nginx).
      type: str
    group:
      description: O(name).
      type: str
    share:
      description: Percent of the new requests by colour.
      type: dict
      sample: {blue: 80, green: 20}
    addresses:
      description: The addresses of the tasks by colour.
      type: dict
      sample: {blue: ["10.0.0.1:32768"], green: ["10.0.0.2:32769"]}
    old_workers:
      description: How many workers from before a reload still serve.
      type: int
    connections:
      description: By address of a task how many requests are in flight there.
      type: dict
      sample: {"10.0.0.1:32768": 3, "10.0.0.2:32769": 0}
    is_active:
      description: Whether nginx runs with the file as it is.
      type: bool
share:
  description: Percent of the new requests by colour, as wanted.
  returned: success
  type: dict
  sample: {blue: 80, green: 20}
failure:
  description:
    - What went wrong, for machines. The C(code) is one of V(no_tasks) (the colour has none in the configuration),
      V(not_seen) (nginx does not show the wanted shares), V(unreachable), V(unreadable_answer) (the status server),
      V(unwritable_file), V(not_found), V(foreign_configuration), V(other_group), V(other_state_dir) (the file is
      not what the options say) and V(invalid_option).
  returned: failure
  type: dict
  sample: {code: not_seen, system: nginx lb1, request: null, status: null, detail: null}
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import nginx_split


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(nginx_split)


if __name__ == "__main__":
    main()
