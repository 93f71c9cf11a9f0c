# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for marathon-lb 1.15: it follows Marathon's events and drives a real HAProxy."""

from __future__ import annotations

from tests.sandbox.marathon_lb.standin import MarathonLbStandIn

__all__ = ["MarathonLbStandIn"]
