# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole rollouts on the sandbox: the demo, the benchmark, and the physical floor that it compares with."""

from __future__ import annotations

from tests import collection_path

collection_path.ensure()
