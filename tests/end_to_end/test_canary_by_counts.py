# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A canary behind marathon-lb: its share of the traffic is its share of the instances."""

from __future__ import annotations

import json
from pathlib import Path

from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import Service, all_from, names, nothing_failed
from tests.sandbox.clients import clients

STEPS = [{"instances": 1, "bake": 0.5, "pause": True}, {"instances": 2}]


def test_a_canary_pauses_goes_on_and_gets_everything(service: MakeService) -> None:
    app = service()
    app.deploy("1")
    with app.traffic() as traffic:
        plan = app.rehearse("canary", "2", canary_steps=STEPS)
        assert "stays at this stage until a person decides" in plan.output
        paused = app.play("canary", "2", canary_steps=STEPS)
        assert (paused.code, paused.result) == (0, "paused"), paused.output
        assert app.counts() == {"1": 3, "2": 1}
        before = app.state()
        again = app.play("canary", "2", canary_steps=STEPS)
        assert (again.code, again.result, again.changed) == (0, "paused", 0), again.output
        assert app.state() == before
        promoted = app.play("promote", "2", canary_steps=STEPS)
        assert (promoted.code, promoted.result) == (0, "promoted"), promoted.output
        assert names(promoted).count("reduce") == 1, "the stage that was reached is not taken again"
        assert app.counts() == {"2": 4}
        assert all_from(traffic, "2")


def test_a_canary_at_a_pause_is_rolled_back_to_the_whole_old_version(service: MakeService) -> None:
    app = service(instances=3)
    app.deploy("1")
    with app.traffic() as traffic:
        assert app.play("canary", "2", canary_steps=STEPS).result == "paused"
        back = app.play("rollback", "2")
        assert back.result == "rolled back", back.output
        assert app.counts() == {"1": 3}
        assert all_from(traffic, "1")


def test_a_canary_that_fails_its_users_is_aborted_and_only_its_own_answers_failed(service: MakeService) -> None:
    app = service()
    app.deploy("1")
    bad = app.definition("2", environment={"ERROR_RATE": "0.3"})
    with clients(app.urls(), rate=60.0) as traffic:
        traffic.wait_until_flowing()
        run = app.play("canary", bad, canary_steps=STEPS, canary_analysis={"wait_timeout": 60})
        traffic.stop()
    assert run.result == "rolled back", run.output
    assert "The canary is aborted" in run.report["failure"]
    assert app.counts() == {"1": 4}
    causes = {cause for kind in traffic.causes().values() for cause in kind}
    assert causes == {"status_500"}, json.dumps(traffic.report()["failures"][:10])


def test_without_enough_requests_a_canary_is_held_where_it_is(service: MakeService) -> None:
    app = service()
    app.deploy("1")
    run = app.play("canary", "2", canary_steps=STEPS, canary_analysis={"wait_timeout": 1})
    assert (run.code != 0, run.result) == (True, "held"), run.output
    assert app.counts() == {"1": 4, "2": 1}, "the old version is whole until it is known"
    on = app.play("promote", "2", canary_steps=STEPS[:1])
    assert on.result == "promoted", on.output
    assert app.counts() == {"2": 4}


def test_a_canary_is_not_made_of_what_cannot_be(live: Service) -> None:
    for steps, said in (
        ([{"weight": 5}], "marathon-lb does not know"),
        ([{"instances": 9}], "the app has 4"),
        ([{"instances": 2}, {"instances": 1}], "goes back from 2 to 1"),
        ([], "canary_steps is empty"),
    ):
        refused = live.play("canary", "2", canary_steps=steps)
        assert refused.code != 0
        assert said in refused.output, refused.output
        assert {entry["method"] for entry in live.asked()} <= {"GET"}


def test_a_template_an_image_and_an_id_give_the_definition(live: Service, tmp_path: Path) -> None:
    template = tmp_path / "app.json.j2"
    definition = {**live.definition("{{ bluegreen_version }}"), "id": "/elsewhere"}
    definition["container"] = {"type": "DOCKER", "docker": {"image": "somewhere/app"}}
    template.write_text(json.dumps(definition))
    run = live.play(
        "canary",
        {},
        "--check",
        "-v",
        canary_steps=STEPS,
        bluegreen_app_template=str(template),
        bluegreen_app_id=live.app_id,
        bluegreen_image="registry.example.com/app",
        bluegreen_version="7",
    )
    assert run.code == 0, run.output
    assert f"create {live.app_id}-green with 1 instances" in run.output
    assert '"image": "registry.example.com/app:7"' in run.output
    assert '"VERSION": "7"' in run.output


def test_no_request_fails_whatever_the_size_of_the_step(service: MakeService) -> None:
    """Straight from one canary to everything, with ten instances."""
    app = service(instances=10)
    app.deploy("1")
    with clients(app.urls(), rate=60.0) as traffic:
        traffic.wait_until_flowing()
        run = app.play("canary", "2", canary_steps=[{"instances": "10%"}])
        assert run.result == "promoted", run.output
        traffic.stop()
        nothing_failed(traffic)
    assert app.counts() == {"2": 10}
