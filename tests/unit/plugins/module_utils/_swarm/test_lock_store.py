# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of a group's lock: one that Docker takes, and another one for each group."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._swarm.lock_store import config_name

TAKEN = re.compile(r"[a-z0-9]+(?:[a-z0-9-_.]*[a-z0-9])?")
# Much alike, so that two of them meet where an encoding is careless.
GROUPS = st.text(alphabet="aAzh_-.5f é", max_size=70) | st.text(max_size=70)


@given(GROUPS)
def test_docker_takes_the_name(group: str) -> None:
    """At most 64 letters, digits, ``-``, ``_`` and ``.``, a letter or a digit at both ends."""
    name = config_name(group)

    assert TAKEN.fullmatch(name) and len(name) <= 64


@given(GROUPS, GROUPS)
def test_two_groups_have_two_names(one: str, other: str) -> None:
    assert (config_name(one) == config_name(other)) == (one == other)


def test_a_name_that_is_written_out_is_never_that_of_a_hash() -> None:
    long = "shop" * 20

    assert config_name(config_name(long).removeprefix("zdd-rollout-lock-")) != config_name(long)


def test_a_simple_group_is_read_in_the_name() -> None:
    assert config_name("shop-web.2") == "zdd-rollout-lock-shop-web.2"
    assert config_name("shop" * 20).startswith("zdd-rollout-lock-shopshop")
