# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blue-green and rollback of several sizes under load: what clients, load balancers and Marathon saw of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import Service, all_from, names
from tests.sandbox import launch

MOST_REQUESTS = 10  # of Marathon, for each step
MOST_CHANGES = 3  # of an LB's configuration: warm, switched, retired
STARTED_TOGETHER = 10  # more tasks than these get healthy one after the other, and are more than one change as they do
REQUESTS: dict[int, dict[str, int]] = {}  # of Marathon by instances and run


def room(sandboxes: Callable[..., launch.Running], instances: int, lbs: int) -> launch.Running:
    """A sandbox where two copies and some more fit."""
    if instances > 20:
        return sandboxes(lbs=lbs, agents=4, agent_cpus=instances, agent_mem=instances * 256)
    return sandboxes(lbs=lbs, agents=4)


def within_budget(service: Service, run: Any) -> int:
    """Assert that no step asks Marathon too much; the number of all requests."""
    by_step = service.requests_by_step(run)
    assert all(count <= MOST_REQUESTS for _name, count in by_step), by_step
    return sum(count for _name, count in by_step)


@pytest.mark.parametrize(("instances", "lbs"), [(4, 1), (10, 2), (50, 2), (1, 1)])
def test_no_request_fails_in_a_blue_green_and_in_its_rollback(
    service: MakeService, sandboxes: Callable[..., launch.Running], instances: int, lbs: int
) -> None:
    """Not one request fails, none reaches the new version before the switch, none the old one when it is removed."""
    app = service(on=room(sandboxes, instances, lbs), instances=instances)
    first = app.deploy("1")
    assert first.result == "deployed"
    blue, green = f"{app.app_id}-blue", f"{app.app_id}-green"
    assert app.ids() == [blue]
    requests = REQUESTS.setdefault(instances, {})

    with app.traffic() as traffic:
        before = app.changes()
        run = app.deploy("2")
        changes = [now - then for now, then in zip(app.changes(), before, strict=True)]
        assert run.result == "promoted"
        assert names(run) == ["create", "healthy", "switched", "drained", "retire"]
        assert app.counts() == {"2": instances}
        assert all(count <= MOST_CHANGES + instances // (2 * STARTED_TOGETHER) for count in changes), changes
        requests["bluegreen"] = within_budget(app, run)
        assert all_from(traffic, "2")
        met, last = traffic.first_met("2"), traffic.last_sent_to("1")
        assert met is not None and met > app.turned_to(green)
        assert last is not None and last < app.removed(blue)

        kept = app.deploy("3", bluegreen_keep_old=True)
        assert kept.result == "kept"
        assert app.counts() == {"2": instances, "3": instances}
        assert all_from(traffic, "3")
        met = traffic.first_met("3")
        assert met is not None and met > app.turned_to(blue)

        back = app.play("rollback", "3")
        assert back.code == 0 and back.result == "rolled back", back.output
        requests["rollback"] = within_budget(app, back)
        assert app.counts() == {"2": instances}
        assert all_from(traffic, "2")
        last = traffic.last_sent_to("3")
        assert last is not None and last < app.removed(blue)


def test_requests_to_marathon_do_not_grow_with_the_instances() -> None:
    """A rollout of 50 instances asks Marathon as little as one of 4, but for the looks that a longer start takes."""
    if not {4, 50} <= REQUESTS.keys():
        pytest.skip("needs the rollouts of 4 and of 50 instances above")
    few, many = REQUESTS[4], REQUESTS[50]
    assert many["rollback"] <= few["rollback"] + 3, REQUESTS
    assert many["bluegreen"] <= few["bluegreen"] + MOST_REQUESTS / 2, REQUESTS
