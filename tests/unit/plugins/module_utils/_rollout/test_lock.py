# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may change a group: the rules of the lock, without a Marathon."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._rollout.lock import (
    Lease,
    process_is_gone,
    process_name,
    refusal,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def lease(owner: str = "ann@there", process: str = "7/70", seconds: float = 900) -> Lease:
    return Lease("web", owner, process, NOW - timedelta(seconds=60), NOW + timedelta(seconds=seconds))


def never(_process: str) -> bool:
    return False


def always(_process: str) -> bool:
    return True


def test_a_lease_is_read_back_from_the_labels_that_it_writes() -> None:
    assert Lease.from_labels(lease().labels()) == lease()


@pytest.mark.parametrize("broken", ["ZDD_LOCK_OWNER", "ZDD_LOCK_UNTIL"])
def test_labels_of_another_app_are_no_lease(broken: str) -> None:
    labels = lease().labels()

    assert Lease.from_labels({name: text for name, text in labels.items() if name != broken}) is None
    assert Lease.from_labels({**labels, "ZDD_LOCK_SINCE": "yesterday"}) is None


def test_the_refusal_says_who_since_when_and_what_to_do() -> None:
    text = refusal(lease(), lease("bob@here"), NOW, never)

    assert text is not None
    for part in ("web", "ann@there", "process 7", "2026-01-02T03:03:05", "900 s", "bluegreen_lock_takeover=true"):
        assert part in text


def test_a_run_is_not_refused_by_itself() -> None:
    assert refusal(lease(), lease(), NOW, never) is None


def test_a_lease_that_is_over_refuses_nobody() -> None:
    assert refusal(lease(seconds=0), lease("bob@here"), NOW, never) is None


def test_a_dead_process_counts_only_where_it_can_be_seen() -> None:
    """Process 7 of another host is not the one that is looked for here."""
    assert refusal(lease(), lease(process="8/80"), NOW, always) is None
    assert refusal(lease(), lease(process="8/80"), NOW, never) is not None
    assert refusal(lease(), lease("bob@here"), NOW, always) is not None


@given(st.sampled_from(["ann@there", "bob@here"]), st.sampled_from(["7/70", "8/80"]), st.integers(1, 10**6))
def test_a_holder_that_lives_is_never_robbed(owner: str, process: str, seconds: int) -> None:
    mine, held = lease(owner, process), lease(seconds=seconds)

    assert (refusal(held, mine, NOW, never) is None) == held.is_of(mine)


def test_a_process_is_known_by_its_start_as_well() -> None:
    """Another process may have got the id since."""
    mine = process_name(os.getpid())

    assert not process_is_gone(mine)
    assert process_is_gone(f"{os.getpid()}/1")


def test_a_process_that_has_ended_is_gone() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        name = process_name(child.pid)
        assert not process_is_gone(name)
        child.kill()

    assert process_is_gone(name)


def test_a_name_that_a_user_gave_is_never_taken_for_dead() -> None:
    assert not process_is_gone("job-42")
