# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an operation and shape what it returns or raises, the same for a module and for an action plugin."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from .._errors import OperationError
from .context import Context

SAMPLES = "zdd_samples"


def execute(operation: ModuleType, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return the result of ``operation.run(params, context)``; a failure becomes ``failed``, ``msg`` and ``failure``.

    What the operation has sampled is in the result's key ``zdd_samples``, also of a failure; the action plugin takes it
    from there. No exception but those that end the process gets through: a user never sees a traceback.
    """
    try:
        result = operation.run(params, context)
    except OperationError as error:
        result = _failed(error, context)
    except Exception as error:  # noqa: BLE001 - a defect of the collection: name it, without the traceback
        name = operation.__name__.rpartition(".")[2]
        defect = OperationError("internal_error", f"Defect in {name}: {type(error).__name__}: {error}")
        result = _failed(defect, context)
    samples = context.samples.before(context.now())
    return {**result, SAMPLES: samples} if samples else result


def _failed(error: OperationError, context: Context) -> dict[str, Any]:
    changed = error.changed or bool(context.changes)
    return {"failed": True, "changed": changed, "msg": error.message, "failure": error.failure()}
