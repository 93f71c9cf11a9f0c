# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the operation ``nginx_remove`` inside the controller's process."""

from __future__ import annotations

from ..module_utils._operations import nginx_remove
from ..plugin_utils.operation_action import OperationAction


class ActionModule(OperationAction):
    """The action plugin of ``nginx_remove``."""

    operation = nginx_remove
