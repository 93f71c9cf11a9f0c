# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandboxes of the end-to-end tests, and the apps on them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.stage import Service
from tests.sandbox import launch

PORTS = itertools.count(10000, 10)  # service ports: some for each app

MakeService = Callable[..., Service]


@pytest.fixture(scope="session")
def sandboxes() -> Iterator[Callable[..., launch.Running]]:
    """Sandboxes by their options; one that is there already is used again."""
    running: dict[str, launch.Running] = {}
    with ExitStack() as stack:

        def given(**options: Any) -> launch.Running:
            key = repr(sorted(options.items()))
            if key not in running:
                running[key] = stack.enter_context(launch.start(**options))
            return running[key]

        yield given


@pytest.fixture
def sandbox(sandboxes: Callable[..., launch.Running]) -> launch.Running:
    """Four agents and two load balancers."""
    return sandboxes(lbs=2, agents=4)


@pytest.fixture(scope="session")
def standing(sandboxes: Callable[..., launch.Running], tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(sandboxes(lbs=2, agents=4), tmp_path_factory.mktemp("live"), "/shop/live", next(PORTS))


@pytest.fixture
def live(standing: Service) -> Iterator[Service]:
    """An app in a folder that runs version 1 with four instances, from the test before where that has left it so."""
    if standing.counts() != {"1": 4}:
        standing.remove()
        standing.deploy("1")
    yield standing
    standing.sandbox.clear_faults()


@pytest.fixture
def service(sandbox: launch.Running, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeService]:
    """Make an app of the test's own, which is gone afterwards. ``on``: another sandbox than the usual one."""
    made: list[Service] = []

    def make(app_id: str | None = None, on: launch.Running | None = None, **given: Any) -> Service:
        port = next(PORTS)
        own = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
        one = Service(
            on or sandbox, tmp_path / str(len(made)), app_id or f"/{own[:40].strip('-')}-{port}", port, **given
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.sandbox.clear_faults()
        one.remove()
