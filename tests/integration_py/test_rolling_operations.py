# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marathon's rolling upgrade: foretold, followed, undone when it fails, and never left standing still."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.execution import execute
from ansible_collections.zdd.rollout.plugins.module_utils._operations import rolling_preflight, rolling_upgrade
from tests.sandbox import launch

AGENT = "zdd.rollout"
ONE_MORE = {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}
HALF = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}

TWO = {"instances": 2}

Json = dict[str, Any]


class Scene:
    """One app of its own on the sandbox, and what an operation said while it worked at it."""

    def __init__(self, sandbox: launch.Running, app_id: str) -> None:
        self.sandbox = sandbox
        self.app_id = app_id
        self.progress: list[str] = []
        self.warnings: list[str] = []

    def definition(self, version: str, strategy: Json | None = None, **more: Any) -> Json:
        env = {"VERSION": version, **more.pop("env", {})}
        return self.sandbox.app(id=self.app_id, env=env, upgradeStrategy=strategy or HALF, **more)

    def run(self, operation: Any, app: Json, *, check_mode: bool = False, **options: Any) -> Json:
        given = {"marathon_url": self.sandbox.marathon, "app": app, **options}
        validation = ArgumentSpecValidator(operation.ARGUMENT_SPEC, **operation.ARGUMENT_RULES).validate(given)
        assert not validation.error_messages, validation.error_messages
        self.progress = []
        self.sandbox.forget_requests()
        context = Context(check_mode=check_mode, progress=self.progress.append)
        result = execute(operation, validation.validated_parameters, context)
        self.warnings = context.warnings
        return result

    def upgrade(self, app: Json, **options: Any) -> Json:
        return self.run(rolling_upgrade, app, **options)

    def begin_with(self, app: Json) -> None:
        result = self.upgrade(app, watch_seconds=0)
        assert result.get("upgrade", {}).get("result") == "created", result

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.sandbox.marathon[0]}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "person"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def live(self) -> Json:
        return self.ask("GET", f"/v2/apps{self.app_id}")["app"]

    def serving(self) -> tuple[str, int, int]:
        """The version that is defined, how many tasks are healthy, and how many deployments run."""
        app = self.live()
        return app["env"]["VERSION"], app["tasksHealthy"], len(app["deployments"])

    def written(self) -> list[str]:
        """What the collection has asked Marathon to change since the operation began."""
        return [
            f"{entry['method']} {entry['path'].partition('?')[0]}"
            for entry in self.sandbox.requests()["log"]
            if str(entry["agent"]).startswith(AGENT) and entry["method"] != "GET"
        ]

    def until(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.05)


NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[launch.Running]:
    with launch.start(agents=4) as running:
        yield running


@pytest.fixture
def scene(sandbox: launch.Running) -> Iterator[Scene]:
    made = Scene(sandbox, f"/rolling/app-{next(NUMBERS)}")
    yield made
    sandbox.clear_faults()
    try:
        made.ask("DELETE", f"/v2/apps{made.app_id}?force=true")
    except urllib.error.HTTPError as error:
        assert error.code == 404
    made.until(lambda: not made.ask("GET", "/v2/deployments"), "the app is removed")


def test_it_goes_as_it_was_foretold(scene: Scene) -> None:
    """As low, as high, with as many kills; the picture is there before and meanwhile; then nothing is left to do."""
    scene.begin_with(scene.definition("0.9", ONE_MORE))
    foretold = scene.run(rolling_preflight, scene.definition("1.0", ONE_MORE))
    rehearsed = scene.upgrade(scene.definition("1.0", ONE_MORE), check_mode=True)
    assert not foretold["changed"] and rehearsed["changed"]
    assert rehearsed["upgrade"]["lines"] == foretold["upgrade"]["lines"]
    assert rehearsed["upgrade"]["result"] == "planned"
    assert scene.written() == []
    assert foretold["upgrade"]["lines"][1:3] == [
        "[0.9] [0.9] [0.9] [0.9]        now",
        "[0.9] [0.9] [0.9] [0.9] (1.0)  1 new started",
    ]

    seen: list[tuple[int, int]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            app = scene.live()
            running = sum(task["state"] == "TASK_RUNNING" for task in app["tasks"])
            seen.append((app["tasksHealthy"], running))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        done = scene.upgrade(scene.definition("1.0", ONE_MORE))
    finally:
        ended.set()
        watcher.join()

    plan = done["upgrade"]
    assert (done["changed"], plan["result"]) == (True, "upgraded")
    assert min(healthy for healthy, _running in seen) >= plan["least_healthy"] == 4
    assert max(running for _healthy, running in seen) <= plan["most_tasks"] == 5
    assert plan["killed"] == {"0.9": plan["kills"]} == {"0.9": 4}
    assert "4 tasks that served were killed without draining (4 of 0.9)" in "\n".join(plan["lines"])
    assert any(line.startswith("[0.9] [0.9] [0.9] (1.0) [1.0]") or "[0.9] [0.9]" in line for line in scene.progress)
    assert scene.written() == [f"PUT /v2/apps{scene.app_id}"]
    assert done["requests"] <= 10

    again = scene.upgrade(scene.definition("1.0", ONE_MORE))
    assert (again["changed"], again["upgrade"]["result"], scene.written()) == (False, "unchanged", [])


def test_a_crash_loop_is_undone_and_the_kills_are_told(scene: Scene) -> None:
    """Marathon's own rollback would wait for ever: its list of what to kill has the crashed task on it."""
    scene.begin_with(scene.definition("1", **TWO))

    broken = scene.definition("2", env={"CRASH_AFTER": "0.2"}, **TWO)
    failed = scene.upgrade(broken, rollback_timeout=120)

    told = failed["failure"]["detail"]
    assert failed["failure"]["code"] == "crash_loop", failed["msg"]
    assert failed["changed"] and told["result"] == "rolled_back", failed["msg"]
    assert failed["msg"].startswith("Rolled back to 1: ")
    assert scene.serving() == ("1", 2, 0)
    # Marathon replaces the old tasks that are left, too, so none of the first ones is there any more.
    assert told["killed"]["1"] == 2
    assert "killed without draining" in failed["msg"] and "2 of 1" in failed["msg"]
    assert scene.written()[:2] == [f"PUT /v2/apps{scene.app_id}", f"DELETE /v2/deployments/{told['deployment_id']}"]


def test_what_takes_too_long_is_undone_also_where_no_place_is_left_for_the_way_back(scene: Scene) -> None:
    """An old task and a new one that never gets healthy: the old version gets no place until that one is killed."""
    scene.begin_with(scene.definition("1", **TWO))

    slow = scene.definition("2", env={"HEALTHY_AFTER": "600"}, **TWO)
    failed = scene.upgrade(slow, wait_timeout=2, rollback_timeout=120)

    assert failed["failure"]["code"] == "deadline_passed"
    assert failed["failure"]["detail"]["result"] == "rolled_back", failed["msg"]
    assert scene.serving() == ("1", 2, 0)
    assert any("stands still: kill" in line for line in scene.progress)


def test_failing_checks_are_undone(scene: Scene) -> None:
    scene.begin_with(scene.definition("1", ONE_MORE, **TWO))
    checks = [{**launch.APP["healthChecks"][0], "gracePeriodSeconds": 1, "maxConsecutiveFailures": 1}]

    sick = scene.definition("2", ONE_MORE, env={"HEALTHY_AFTER": "600"}, healthChecks=checks, **TWO)
    failed = scene.upgrade(sick)

    assert failed["failure"]["code"] in ("checks_fail", "crash_loop"), failed["msg"]
    assert failed["failure"]["detail"]["result"] == "rolled_back", failed["msg"]
    assert scene.serving() == ("1", 2, 0)


def test_one_that_finds_no_agent_is_undone(scene: Scene) -> None:
    scene.begin_with(scene.definition("1", ONE_MORE, **TWO))

    failed = scene.upgrade(scene.definition("2", ONE_MORE, cpus=1000, **TWO), offer_timeout=1)

    assert failed["failure"]["code"] == "no_offers", failed["msg"]
    assert "InsufficientCpus" in failed["msg"]
    assert failed["failure"]["detail"]["result"] == "rolled_back", failed["msg"]
    assert scene.serving() == ("1", 2, 0)


def test_without_rollback_it_is_left_and_the_next_run_follows_it(scene: Scene) -> None:
    scene.begin_with(scene.definition("1", **TWO))
    slow = scene.definition("2", env={"HEALTHY_AFTER": "2"}, **TWO)

    failed = scene.upgrade(slow, wait_timeout=1, rollback=False)
    assert failed["failure"]["detail"]["result"] == "failed"
    assert scene.live()["deployments"]

    followed = scene.upgrade(slow)
    assert followed["upgrade"]["action"] == "follow"
    assert followed["upgrade"]["deployment_id"] == failed["failure"]["detail"]["deployment_id"]
    assert followed["upgrade"]["from"] == "1"
    assert (followed["changed"], followed["upgrade"]["result"]) == (False, "upgraded")
    assert scene.written() == []
    assert scene.serving() == ("2", 2, 0)


def test_a_followed_upgrade_is_undone_too(scene: Scene) -> None:
    """The run that began it is dead; the definition to go back to is the one before in Marathon's own list."""
    scene.begin_with(scene.definition("1", ONE_MORE, **TWO))
    broken = scene.definition("2", ONE_MORE, env={"CRASH_AFTER": "0.2"}, **TWO)
    scene.ask("PUT", f"/v2/apps{scene.app_id}", broken)

    failed = scene.upgrade(broken)

    assert failed["failure"]["detail"]["action"] == "follow"
    assert failed["msg"].startswith("Rolled back to 1: "), failed["msg"]
    assert scene.serving() == ("1", 2, 0)


def test_without_a_health_check_it_is_watched_and_the_old_definition_is_deployed_again(scene: Scene) -> None:
    """Marathon calls it a success, as each process ran for a moment."""
    unchecked = {"healthChecks": []}
    scene.begin_with(scene.definition("1", **unchecked))

    failed = scene.upgrade(scene.definition("2", env={"CRASH_AFTER": "2.5"}, **unchecked))

    told = failed["failure"]["detail"]
    assert told["result"] == "rolled_back", failed["msg"]
    assert failed["failure"]["code"] in ("crashed", "crash_loop")
    assert scene.written()[:2] in (
        [f"PUT /v2/apps{scene.app_id}"] * 2,
        [f"PUT /v2/apps{scene.app_id}", f"DELETE /v2/deployments/{told['deployment_id']}"],
    )
    assert scene.live()["env"]["VERSION"] == "1"
    assert scene.live()["tasksRunning"] == 4
    assert any("no health check" in warning for warning in scene.warnings)


def test_what_can_never_end_is_refused_before_anything_is_written(scene: Scene) -> None:
    """Four agents, one task on each, all four to be kept."""
    tight = {"constraints": [["hostname", "UNIQUE"]]}
    scene.begin_with(scene.definition("1", ONE_MORE, **tight))
    wanted = scene.definition("2", ONE_MORE, **tight)

    for refused in (scene.upgrade(wanted, agents=4), scene.run(rolling_preflight, wanted, agents=4)):
        assert refused["failure"]["code"] == "unfinishable"
        assert not refused["changed"]
        assert "hostname UNIQUE" in refused["msg"] and "minimumHealthCapacity 0.75" in refused["msg"]
        assert scene.written() == []
    assert not scene.run(rolling_preflight, wanted, agents=5).get("failed")

    accepted = scene.upgrade(wanted, agents=4, accept_unfinishable=True, offer_timeout=1, rollback_timeout=2)
    assert accepted["failure"]["code"] == "no_offers"
    assert accepted["failure"]["detail"]["result"] == "failed", "the way back has no place either"
    assert "Going back to 1 failed" in accepted["msg"]
    assert scene.live()["tasksHealthy"] == 4, "nothing was killed"


def test_a_changed_count_alone_replaces_no_task(scene: Scene) -> None:
    scene.begin_with(scene.definition("1", instances=2))
    before = {task["id"] for task in scene.live()["tasks"]}

    scaled = scene.upgrade(scene.definition("1", instances=3))

    assert (scaled["changed"], scaled["upgrade"]["result"], scaled["upgrade"]["killed"]) == (True, "scaled", {})
    assert before < {task["id"] for task in scene.live()["tasks"]}


def test_a_first_version_that_fails_is_removed_again(scene: Scene) -> None:
    failed = scene.upgrade(scene.definition("1", env={"CRASH_AFTER": "0.2"}))

    assert failed["failure"]["detail"]["result"] == "rolled_back", failed["msg"]
    assert failed["msg"].startswith("Removed again: ")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        scene.live()


def test_a_change_by_others_is_refused_and_is_not_undone(scene: Scene) -> None:
    scene.begin_with(scene.definition("1", instances=1))
    scene.ask("PUT", f"/v2/apps{scene.app_id}", scene.definition("3", instances=1, env={"HEALTHY_AFTER": "600"}))

    refused = scene.upgrade(scene.definition("2", instances=1))
    assert (refused["failure"]["code"], scene.written()) == ("app_locked", [])

    forced = scene.upgrade(scene.definition("2", instances=1), force=True)
    assert forced["upgrade"]["result"] == "upgraded"
    assert scene.serving() == ("2", 1, 0)


def test_no_app_is_created_beside_the_colours_of_its_group(scene: Scene) -> None:
    """It would take their traffic."""
    coloured = scene.definition("1", instances=0)
    labels = {**coloured["labels"], "HAPROXY_DEPLOYMENT_GROUP": scene.app_id.strip("/").replace("/", "_")}
    scene.ask("POST", "/v2/apps", {**coloured, "id": f"{scene.app_id}-blue", "labels": labels})
    try:
        refused = scene.upgrade(scene.definition("2"))
    finally:
        scene.ask("DELETE", f"/v2/apps{scene.app_id}-blue?force=true")

    assert (refused["failure"]["code"], scene.written()) == ("other_apps_of_group", [])
    assert f"{scene.app_id}-blue" in refused["msg"]


def test_a_cluster_that_has_no_room_for_others_is_warned_of(scene: Scene) -> None:
    scene.begin_with(scene.definition("1", ONE_MORE, instances=1))
    scene.ask("POST", "/v2/apps", {**scene.definition("1", cpus=1000), "id": f"{scene.app_id}-big"})
    try:
        scene.until(
            lambda: scene.ask("GET", "/v2/queue")["queue"][0]["processedOffersSummary"]["unusedOffersCount"], ""
        )
        scene.run(rolling_preflight, scene.definition("2", ONE_MORE, instances=1))
    finally:
        scene.ask("DELETE", f"/v2/apps{scene.app_id}-big?force=true")

    assert any(f"none for {scene.app_id}-big (InsufficientCpus" in warning for warning in scene.warnings)


def test_without_events_it_is_followed_by_looks_and_the_kills_are_counted_all_the_same(scene: Scene) -> None:
    scene.begin_with(scene.definition("1", ONE_MORE, **TWO))
    scene.sandbox.fault("events_off", seconds=60)

    done = scene.upgrade(scene.definition("2", ONE_MORE, **TWO))

    assert done["upgrade"]["result"] == "upgraded", done
    assert done["upgrade"]["killed"] == {"1": 2}
    assert scene.serving() == ("2", 2, 0)


def test_a_new_leader_in_the_middle_is_no_failure(scene: Scene) -> None:
    scene.begin_with(scene.definition("1", ONE_MORE, **TWO))
    timer = threading.Timer(1.0, lambda: scene.sandbox.fault("leader_change", seconds=1))
    timer.start()
    try:
        done = scene.upgrade(scene.definition("2", ONE_MORE, env={"HEALTHY_AFTER": "1"}, **TWO))
    finally:
        timer.join()

    assert done.get("upgrade", {}).get("result") == "upgraded", done
    assert scene.serving() == ("2", 2, 0)
