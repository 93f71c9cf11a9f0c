# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of everything that has to do with Marathon's rolling upgrade."""

from __future__ import annotations


class ModuleDocFragment:
    """``UPGRADE_SPEC``."""

    DOCUMENTATION = r"""
options:
  app:
    description:
      - The wanted definition, as in Marathon's API. It replaces the live one as a whole; what is left out goes back
        to its default, but the count of instances and assigned service ports are kept.
    type: dict
  src:
    description:
      - File with the definition, in JSON or YAML, on the host that runs the task.
    type: path
  agents:
    description:
      - How many agents of the cluster can run this app. Marathon does not tell. It decides whether tasks that exclude
        each other on an agent (a fixed host port, C(hostname UNIQUE), C(MAX_PER)) can be replaced at all.
      - When this is not set, such an upgrade is not refused, but warned of where fewer agents were seen than it
        needs.
    type: int
  accept_unfinishable:
    description:
      - Whether an upgrade that by Marathon's arithmetic can never end is begun nevertheless. What it needs then has
        to come from outside, such as more agents; only old tasks that serve nobody are killed for it.
    type: bool
    default: false
  force:
    description:
      - Cancel a running deployment that changes the app to another definition. Without it the task fails and names
        that deployment. The deployment of an upgrade to the wanted definition is followed in any case.
    type: bool
    default: false
"""
