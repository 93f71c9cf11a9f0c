# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the operation ``swarm_dispose_plan`` inside the controller's process."""

from __future__ import annotations

from ..module_utils._operations import swarm_dispose_plan
from ..plugin_utils.operation_action import OperationAction


class ActionModule(OperationAction):
    """The action plugin of ``swarm_dispose_plan``."""

    operation = swarm_dispose_plan
