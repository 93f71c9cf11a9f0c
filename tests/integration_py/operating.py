# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an operation in this process, with its options validated as Ansible would."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.execution import execute


def operate(operation: ModuleType, *, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """Return the result of an operation, failed or not, always with a diff where it has one."""
    rules = getattr(operation, "ARGUMENT_RULES", {})
    validation = ArgumentSpecValidator(operation.ARGUMENT_SPEC, **rules).validate(options)
    assert not validation.error_messages, validation.error_messages
    context = Context(check_mode=check_mode, diff_mode=True)
    return execute(operation, validation.validated_parameters, context)
