# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens when connections are still in flight and the time for waiting is over: the user's choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._errors import DeadlinePassed, InvalidInput
from ._invocation.context import Context

ON_TIMEOUT_SPEC: dict[str, Any] = {
    "on_timeout": {"type": "str", "choices": ["hold", "cut", "fail"], "default": "hold"},
}


def settle(
    context: Context,
    choice: str,
    deadline: DeadlinePassed,
    left: Sequence[dict[str, Any]],
    count: int | None,
    *,
    unit: str = "sessions",
    changed: bool = False,
    reached: str | None = None,
) -> dict[str, Any]:
    """Follow ``choice`` after ``deadline`` has passed with ``left`` in flight; return what belongs into the result.

    * ``hold``: stop here. Nothing was harmed, all is still served, the same task run again goes on.
    * ``cut``: go on. The result says how many ``unit`` will be cut: ``count``, ``None`` when that is not known.
    * ``fail``: the rollout goes back.

    ``reached`` says why new requests may still come: to cut would not end then, so ``cut`` is ``hold``.

    :raises DeadlinePassed: with the code ``held`` or ``deadline_passed``; ``detail`` is ``left``.
    """
    if choice == "cut" and reached is None:
        known = "an unknown number of" if count is None else str(count)
        context.warn(f"{deadline.message}. Going on as told by on_timeout=cut: {known} {unit} will be cut.")
        return {"deadline_passed": True, f"{unit}_cut": count}
    if choice == "cut":
        code, advice = "held", f" Nothing was cut, in spite of on_timeout=cut: new requests may still come ({reached})."
    elif choice == "hold":
        code, advice = "held", " Nothing was cut; run this again to go on waiting."
    elif choice == "fail":
        code, advice = "deadline_passed", ""
    else:
        raise InvalidInput("invalid_option", f"Option on_timeout: {choice!r} is none of hold, cut, fail.")
    raise DeadlinePassed(
        code,
        f"{deadline.message}.{advice}",
        system=deadline.system,
        request=deadline.request,
        detail=list(left),
        changed=changed,
    ) from None


def settled(unit: str = "sessions") -> dict[str, Any]:
    """The keys of :func:`settle` when the wait has ended well."""
    return {"deadline_passed": False, f"{unit}_cut": 0}
