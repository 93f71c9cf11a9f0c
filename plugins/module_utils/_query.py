# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath, where the library is there."""

from __future__ import annotations

import traceback
from typing import Any

try:
    import jmespath
except ImportError:
    HAS_JMESPATH = False
    JMESPATH_ERROR: str | None = traceback.format_exc()
else:
    HAS_JMESPATH = True
    JMESPATH_ERROR = None

from ._errors import InvalidInput, OperationError


class Query:
    """One expression.

    :raises InvalidInput: it is no JMESPath. :raises OperationError: the library is missing.
    """

    def __init__(self, expression: str) -> None:
        if not HAS_JMESPATH:
            raise OperationError(
                "missing_library", "The Python library jmespath is needed on the host that runs this task."
            )
        self.expression = expression
        try:
            self._compiled = jmespath.compile(expression)
        except jmespath.exceptions.JMESPathError as error:
            reason = " ".join(str(error).split())
            raise InvalidInput("invalid_option", f"{expression!r} is no JMESPath expression: {reason}") from None

    def of(self, data: Any) -> Any:
        """What the expression finds in ``data``; ``None`` when it finds nothing.

        :raises ValueError: it cannot be applied to this data (``sum()`` of a text, say).
        """
        try:
            return self._compiled.search(data)
        except jmespath.exceptions.JMESPathError as error:
            raise ValueError(" ".join(str(error).split())) from None

    def is_true(self, data: Any) -> bool:
        """Whether it finds something true, by JMESPath's own rule: a number, 0 too, is true."""
        found = self.of(data)
        return found is not None and found is not False and found not in ("", [], {})
