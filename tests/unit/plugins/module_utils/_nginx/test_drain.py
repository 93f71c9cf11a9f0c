# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What forbids to stop tasks behind an nginx."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._operations.nginx_drain import Look, undrained

A = "10.0.0.1:80"


def test_a_request_in_flight_forbids_it_and_is_named() -> None:
    assert undrained(Look({A: 2, "10.0.0.2:80": 0}, 0, None), 3, "nginx lb1") == (
        "nginx lb1 has requests in flight (10.0.0.1:80: 2)"
    )


def test_one_look_that_finds_nothing_is_no_evidence() -> None:
    """A request may have been accepted and not yet sent on."""
    assert undrained(Look({A: 0}, 1, None), 3, "nginx lb1") == "nginx lb1 has been quiet for 1 of 3 looks"
    assert undrained(Look({A: 0}, 3, None), 3, "nginx lb1") is None


@given(st.integers(0, 3), st.integers(0, 10), st.none() | st.just("still sent"))
def test_it_is_allowed_only_when_nothing_is_in_flight_nothing_comes_and_it_was_quiet(
    count: int, quiet: int, reached: str | None
) -> None:
    allowed = undrained(Look({A: count}, quiet, reached), 3, "nginx") is None

    assert allowed == (count == 0 and quiet >= 3 and reached is None)
