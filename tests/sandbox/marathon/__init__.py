# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for Marathon 1.8: its REST API, its event stream and its behaviour, with real processes as tasks."""

from __future__ import annotations

from tests.sandbox.marathon.members import Request
from tests.sandbox.marathon.model import Agent
from tests.sandbox.marathon.standin import MarathonStandIn

__all__ = ["Agent", "MarathonStandIn", "Request"]
