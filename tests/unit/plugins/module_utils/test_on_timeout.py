# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in flight when the time is over: hold, cut or fail."""

from __future__ import annotations

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import DeadlinePassed
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._on_timeout import settle, settled

LEFT = [{"lb": "lb1", "sessions": 2}]


def end(choice: str, count: int | None = 2) -> tuple[dict[str, object], list[str]]:
    context = Context()
    result = settle(context, choice, DeadlinePassed("deadline_passed", "After 5 s: lb1: 2 open"), LEFT, count)
    return result, context.warnings


def test_cut_goes_on_with_a_warning_and_the_count() -> None:
    result, warnings = end("cut")
    assert result == {"deadline_passed": True, "sessions_cut": 2}
    assert warnings == ["After 5 s: lb1: 2 open. Going on as told by on_timeout=cut: 2 sessions will be cut."]


def test_an_unknown_count_is_not_zero() -> None:
    result, warnings = end("cut", None)
    assert result["sessions_cut"] is None
    assert "an unknown number of sessions" in warnings[0]


@pytest.mark.parametrize(("choice", "code"), [("hold", "held"), ("fail", "deadline_passed")])
def test_hold_and_fail_say_what_is_left(choice: str, code: str) -> None:
    with pytest.raises(DeadlinePassed) as failure:
        end(choice)
    assert failure.value.code == code
    assert failure.value.detail == LEFT
    assert "lb1: 2 open" in failure.value.message


def test_what_still_gets_requests_is_held_and_not_cut() -> None:
    """To cut would not end: new requests would be cut for as long as they come."""
    with pytest.raises(DeadlinePassed, match=r"in spite of on_timeout=cut: .*lb2 is away") as failure:
        settle(Context(), "cut", DeadlinePassed("deadline_passed", "After 5 s: x"), LEFT, 2, reached="lb2 is away")
    assert failure.value.code == "held"


def test_a_result_has_the_same_keys_however_it_ends() -> None:
    assert settled().keys() == end("cut")[0].keys()
