# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an operation as an ordinary module."""

from __future__ import annotations

from types import ModuleType

from ansible.module_utils.basic import AnsibleModule

from .context import Context
from .execution import execute
from .secrets import secrets_of


def run_as_module(operation: ModuleType) -> None:
    """Run ``operation`` (``ARGUMENT_SPEC``, optional ``ARGUMENT_RULES``, ``run``) with the arguments of this process.

    ``ARGUMENT_RULES`` has the keyword arguments of ``AnsibleModule`` that relate options to each other
    (``mutually_exclusive``, ``required_if`` and so on).
    """
    module = AnsibleModule(
        argument_spec=operation.ARGUMENT_SPEC,
        supports_check_mode=True,
        **getattr(operation, "ARGUMENT_RULES", {}),
    )
    module.no_log_values.update(secrets_of(operation.ARGUMENT_SPEC, module.params))
    context = Context(check_mode=module.check_mode, diff_mode=module._diff)
    result = execute(operation, module.params, context)
    for text in context.warnings:
        module.warn(text)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
