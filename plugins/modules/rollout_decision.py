#!/usr/bin/python
# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_decision
short_description: Decide what clusters and apps that are changed together do next
version_added: "0.1.0"
description:
  - Decides at a barrier, from what came of each cluster and app so far, whether they go on, go back or stay.
  - Asks nothing and changes nothing.
options:
  moment:
    description:
      - At which barrier. At V(planned) the plans of a wave are made and nothing is changed; at V(let_in) each of its
        new versions takes the traffic and the old one is warm; V(last) is V(let_in) of the last wave.
    type: str
    choices:
      - planned
      - let_in
      - last
    required: true
  clusters:
    description:
      - What came of the clusters of the wave, lists of outcomes by cluster. An outcome has C(result), and may have
        C(group), C(failure), and C(follows) when it did not fail by itself but went back with others.
      - A cluster with an empty list counts as failed.
    type: dict
    required: true
  earlier:
    description: What came of the clusters of the waves before, in the same form.
    type: dict
    default: {}
  on_failure:
    description:
      - Who goes back when a cluster fails. V(host), this cluster only; V(wave), all clusters of its wave, and later
        waves are not begun; V(all), the clusters of earlier waves as well, whose old versions are kept warm for that
        until the last wave is in.
    type: str
    choices:
      - wave
      - all
      - host
    default: wave
  keep_old:
    description: Whether the old versions are kept when all went well, for a later promotion or rollback.
    type: bool
    default: false
  rollback:
    description: Whether anybody goes back at all when something fails.
    type: bool
    default: true
extends_documentation_fragment:
  - zdd.rollout.attributes.info
author:
  - The zdd.rollout contributors (@zdd-rollout)
"""

EXAMPLES = r"""
- name: Decide whether the wave goes on
  zdd.rollout.rollout_decision:
    moment: let_in
    clusters:
      frankfurt:
        - group: web_shop
          result: kept
      dublin:
        - group: web_shop
          result: rolled back
          failure: "Rolled back: 4 tasks were not healthy within 300 s"
"""

RETURN = r"""
decision:
  description:
    - What each cluster does next, V(begin), V(skip), V(promote), V(rollback) or V(stay), with the C(reason), and the
      C(outcomes) as they are after the decision.
  returned: success
  type: dict
  sample:
    frankfurt:
      next: rollback
      reason: "dublin (web_shop): Rolled back: 4 tasks were not healthy within 300 s"
      outcomes:
        - group: web_shop
          result: kept
          failure: ""
          follows: false
lines:
  description: The decision for people.
  returned: success
  type: list
  elements: str
"""

from ..module_utils._invocation.module import run_as_module
from ..module_utils._operations import rollout_decision


def main() -> None:
    """Run the operation with the arguments of this process."""
    run_as_module(rollout_decision)


if __name__ == "__main__":
    main()
