# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of everything that waits."""

from __future__ import annotations


class ModuleDocFragment:
    """``wait`` is ``WAIT_SPEC``; ``wait.events`` is it without the pause, as Marathon's events say when to look."""

    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Whether to wait for the end of what was begun, now or by an earlier run.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait, in seconds. The task fails after that, and names what is missing.
    type: float
    default: 300
  wait_sleep:
    description:
      - The first pause between two looks, in seconds; later ones grow.
    type: float
    default: 0.05
"""

    EVENTS = r"""
options:
  wait:
    description:
      - Whether to wait for the end of what was begun, now or by an earlier run.
      - Marathon's events tell when to look, so the number of requests does not grow with the time.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait, in seconds. The task fails after that, and names what is missing.
    type: float
    default: 300
"""
