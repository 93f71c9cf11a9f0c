# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each playbook in check mode, then for real, then again; changed counts, batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import Service, all_from, names


def test_each_playbook_tells_its_plan_does_it_and_then_changes_nothing(service: MakeService) -> None:
    """Check mode asks only for what is there and prints the plan; the second run of each has ``changed=0``."""
    app = service()
    plan = app.rehearse("bluegreen", "1")
    assert f"create {app.app_id}-blue with 4 instances" in plan.output
    assert app.deploy("1").result == "deployed"

    with app.traffic() as traffic:
        again = app.deploy("1")
        assert (again.result, again.changed) == ("unchanged", 0)
        assert app.rehearse("bluegreen", "1").changed == 0

        plan = app.rehearse("bluegreen", "2", bluegreen_keep_old=True)
        assert f"create {app.app_id}-green with 4 instances, without traffic" in plan.output
        assert plan.changed
        assert app.deploy("2", bluegreen_keep_old=True).result == "kept"
        assert app.counts() == {"1": 4, "2": 4}
        assert all_from(traffic, "2")
        before = app.state()
        again = app.play("bluegreen", "2", bluegreen_keep_old=True)
        assert (again.code, again.changed) == (0, 0), again.output
        assert app.state() == before

        assert f"remove {app.app_id}-blue" in app.rehearse("promote", "2").output
        promoted = app.play("promote", "2")
        assert promoted.code == 0 and promoted.result == "promoted", promoted.output
        assert app.counts() == {"2": 4}
        before = app.tasks()
        promoted = app.play("promote", "2")
        assert (promoted.code, promoted.result, promoted.changed) == (0, "unchanged", 0)

        assert app.deploy("3", bluegreen_keep_old=True).result == "kept"
        assert f"remove {app.app_id}-blue" in app.rehearse("rollback", "3").output
        assert app.play("rollback", "3").result == "rolled back"
        assert app.tasks() == before
        back = app.play("rollback", "3")
        assert (back.code, back.result, back.changed) == (0, "unchanged", 0)
        assert app.tasks() == before


@pytest.mark.parametrize(("before", "after"), [(2, 4), (4, 2)])
def test_the_count_may_change_with_the_version(service: MakeService, before: int, after: int) -> None:
    """More instances come after the switch, fewer are reached in shares; then nothing is left to do."""
    app = service(instances=before)
    app.deploy("1")
    with app.traffic() as traffic:
        wanted = app.definition("2", instances=after)
        run = app.deploy(wanted)
        assert run.result == "promoted"
        assert app.counts() == {"2": after}
        assert all_from(traffic, "2")
        again = app.deploy(wanted)
        assert (again.result, again.changed) == ("unchanged", 0), again.output


def test_the_count_alone_may_grow_but_not_shrink(live: Service) -> None:
    """The same version with more instances is scaled; with fewer the run refuses, since it would cut requests."""
    with live.traffic():
        assert live.deploy(live.definition("1", instances=5)).changed
        assert live.counts() == {"1": 5}
        refused = live.play("bluegreen", live.definition("1", instances=4))
        assert refused.code != 0
        assert "cannot be made smaller without cutting requests" in refused.output
        assert live.counts() == {"1": 5}


@pytest.mark.parametrize(("instances", "batch", "size"), [(3, "2", 2)])
def test_batches_never_need_more_room_than_one_of_them(
    service: MakeService, instances: int, batch: str, size: int
) -> None:
    """Both versions together never have more than the target and one batch, with the extra instance of a touch."""
    app = service(instances=instances)
    app.deploy("1")
    given: dict[str, Any] = {"bluegreen_batch_size": batch}
    with app.traffic() as traffic:
        with app.counted() as most:
            run = app.deploy("2", **given)
        assert run.result == "promoted"
        assert names(run).count("reduce") > 0
        assert app.counts() == {"2": instances}
        assert all_from(traffic, "2")
        assert most["alive"] <= instances + size
        assert most["instances"] <= instances + size + 1
        again = app.deploy("2", **given)
        assert (again.result, again.changed) == ("unchanged", 0), again.output


def test_batches_are_rolled_back_from_the_middle(service: MakeService, tmp_path: Path) -> None:
    """When a batch fails, the old version gets its full count back and all the traffic."""
    hook, marker = tmp_path / "hook.yml", tmp_path / "seen"
    hook.write_text(
        "- name: It is known whether this is the first batch\n"
        f"  ansible.builtin.stat:\n    path: {marker}\n"
        "  register: seen\n"
        "- name: The second batch fails\n"
        "  ansible.builtin.fail:\n    msg: the second batch is bad\n"
        "  when: seen.stat.exists\n"
        "- name: The first batch is noted\n"
        f"  ansible.builtin.file:\n    path: {marker}\n    state: touch\n"
    )
    app = service()
    app.deploy("1")
    with app.traffic() as traffic, app.counted() as most:
        run = app.play("bluegreen", "2", bluegreen_batch_size="25%", bluegreen_hooks={"reduce": [str(hook)]})
        assert run.code != 0
        assert run.result == "rolled back", run.output
        assert "the second batch is bad" in run.report["failure"]
        assert app.counts() == {"1": 4}
        assert all_from(traffic, "1")
    assert most["alive"] <= 5
