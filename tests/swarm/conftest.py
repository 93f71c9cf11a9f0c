# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swarms of these tests, each started once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.sandbox.swarm import launch, why_not


@pytest.hookimpl(tryfirst=True)  # before what is serial is put last
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs an engine is a load on the whole machine."""
    for item in items:
        if "engine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.serial)


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine can run here. Otherwise the test is skipped, and fails in the CI, where none may be skipped."""
    reason = why_not()
    if reason is not None and os.environ.get("CI") == "true":
        pytest.fail(reason)
    elif reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def swarm(engine: None) -> Iterator[launch.Swarm]:
    """Three managers and two nginx."""
    with launch.start() as running:
        yield running


@pytest.fixture(scope="session")
def swarm_haproxy(engine: None) -> Iterator[launch.Swarm]:
    """Three managers and two HAProxy."""
    with launch.start(proxy="haproxy") as running:
        yield running
