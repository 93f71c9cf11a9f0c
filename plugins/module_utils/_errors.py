# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in an operation.

.. code-block:: text

    OperationError
      + InvalidInput       the user's option or definition; nothing was changed
      + NotFound           the system says that it does not exist
      + Locked             Marathon's deployment lock, or the rollout lock of a group
      + Rejected           the system understood the request and refuses it
      + Unreachable        no answer, or none that can be read: says nothing about what exists
      + DeadlinePassed     a wait ended without its condition
      + Hopeless           a wait was ended early: what it waits for cannot come any more
"""

from __future__ import annotations

from typing import Any


class OperationError(Exception):
    """An operation failed; ``code`` is for machines, the message for people.

    ``system`` is the address that was asked, ``request`` its method and path, ``status`` the HTTP status,
    ``detail`` whatever structured data the answer had (plain types). ``changed`` says whether the operation had
    changed anything before it failed.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        system: str | None = None,
        request: str | None = None,
        status: int | None = None,
        detail: Any = None,
        changed: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.system = system
        self.request = request
        self.status = status
        self.detail = detail
        self.changed = changed

    def failure(self) -> dict[str, Any]:
        """The ``failure`` key of a failed result: the same keys each time, ``None`` where one does not apply."""
        return {
            "code": self.code,
            "system": self.system,
            "request": self.request,
            "status": self.status,
            "detail": self.detail,
        }


class InvalidInput(OperationError):
    """An option or a definition cannot be used; raised before anything is changed."""


class NotFound(OperationError):
    """The system answered that the thing does not exist."""


class Locked(OperationError):
    """Somebody else holds the app or the deployment group."""


class Rejected(OperationError):
    """The system refuses the request; repeating it would not help."""


class Unreachable(OperationError):
    """The system could not be asked, or its answer could not be read."""


class DeadlinePassed(OperationError):
    """The time for a wait is over and its condition was not seen."""


class Hopeless(OperationError):
    """What is waited for cannot happen any more (a crash loop, a cancelled deployment)."""
