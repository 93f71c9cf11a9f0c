# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``zdd.yml`` does what zdd.py does, by zdd.py's own input."""

from __future__ import annotations

import json
from typing import Any

from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import Service, all_from
from tests.rehearsal.playbook import Run

HOOK = """#!/bin/sh
printf '%s\\n' "$#" "$1" "$2" "$3" >> {log}
"""


class Zdd:
    """An app with the labels that zdd.py needs, and a hook that writes down what it is given."""

    def __init__(self, app: Service) -> None:
        self.app = app
        self.file = app.folder / "app.json"
        self.log = app.folder / "hook.log"
        self.hook = app.folder / "hook"
        self.hook.write_text(HOOK.format(log=self.log))
        self.hook.chmod(0o755)

    def play(self, version: str, *options: str, **variables: Any) -> Run:
        """Run the playbook for a version; all that a survey gives is a text."""
        definition = self.app.definition(version)
        group = {"HAPROXY_DEPLOYMENT_GROUP": self.app.group, "HAPROXY_DEPLOYMENT_ALT_PORT": str(self.app.port + 1)}
        definition["labels"] |= group
        self.file.write_text(json.dumps({**definition, "executor": None}))
        self.app.sandbox.forget_requests()
        given = {"zdd_json": self.file.name, "zdd_pre_kill_hook": str(self.hook), "zdd_step_delay": "1", **variables}
        return self.app.cluster.play("zdd", given, *options, timeout=240)

    def kills(self) -> list[tuple[str, int, str]]:
        """What the hook was given since it was asked last: app, number of tasks, the app that stays."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        found = []
        for count, app, tasks, other in zip(lines[::4], lines[1::4], lines[2::4], lines[3::4], strict=True):
            assert count == "3"
            found.append((json.loads(app)["id"], len(json.loads(tasks)), json.loads(other)["id"]))
        return found


def test_a_hybrid_is_reached_and_completed(service: MakeService) -> None:
    """As with zdd.py, at a fraction of its 300 s a step, and without a lost request."""
    app = service()
    zdd = Zdd(app)
    blue, green = f"{app.app_id}-blue", f"{app.app_id}-green"
    assert zdd.play("1").code == 0
    assert app.counts() == {"1": 4}

    with app.traffic() as traffic:
        reached = zdd.play("2", zdd_new_instances="2", zdd_initial_instances="1")
        assert (reached.code, reached.result) == (0, "paused"), reached.output
        assert "step_delay has no effect" in reached.output
        assert app.counts() == {"1": 2, "2": 2}
        assert zdd.kills() == [(blue, 1, green)] * 2

        before = app.state()
        again = zdd.play("2", zdd_new_instances="2")
        assert (again.code, app.state(), zdd.kills()) == (0, before, []), again.output
        refused = zdd.play("3")
        assert refused.code != 0 and "complete_prev" in refused.output
        assert app.state() == before

        done = zdd.play("2", zdd_complete_cur="true")
        assert (done.code, done.result) == (0, "promoted"), done.output
        assert app.counts() == {"2": 4}
        assert zdd.kills() == [(blue, 2, green)]
        assert all_from(traffic, "2")


def test_a_dry_run_changes_nothing_and_shows_the_plan(service: MakeService) -> None:
    app = service(instances=2)
    zdd = Zdd(app)

    run = zdd.play("1", zdd_dry_run="true")

    assert run.code == 0, run.output
    assert "create: create" in run.output
    assert app.apps() == []
    assert {entry["method"] for entry in app.asked()} == {"GET"}


def test_a_hook_that_says_no_holds_and_the_way_back_asks_it_again(service: MakeService) -> None:
    app = service(instances=2)
    zdd = Zdd(app)
    assert zdd.play("1").code == 0
    agrees = zdd.hook.read_text()
    zdd.hook.write_text("#!/bin/sh\necho 'not now' >&2\nexit 3\n")

    run = zdd.play("2")

    assert run.code != 0
    assert run.result == "held"
    assert "ended with status 3: not now" in run.output
    assert app.counts() == {"1": 2, "2": 2}
    zdd.hook.write_text(agrees)
    back = zdd.play("2", zdd_complete_prev="true")
    assert (back.code, back.result) == (0, "rolled back"), back.output
    assert app.counts() == {"1": 2}
    assert zdd.kills() == [(f"{app.app_id}-green", 2, f"{app.app_id}-blue")]
