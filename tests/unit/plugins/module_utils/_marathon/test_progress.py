# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far an app has come, and when to give it up."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import Hopeless
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.progress import counts, unsettled

OLD, NOW = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"


def task(number: int, *, state: str = "TASK_RUNNING", alive: bool | None = True, version: str = NOW) -> dict[str, Any]:
    results = [] if alive is None else [{"alive": alive}]
    return {"id": f"web.{number}", "state": state, "version": version, "healthCheckResults": results}


def app(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "/web",
        "instances": 4,
        "version": NOW,
        "versionInfo": {"lastScalingAt": NOW, "lastConfigChangeAt": NOW},
        "healthChecks": [{"protocol": "HTTP"}],
        "tasks": list(tasks),
        "deployments": [],
        **fields,
    }


def four(**fields: Any) -> list[dict[str, Any]]:
    return [task(number, **fields) for number in range(4)]


def test_all_tasks_alive_and_no_deployment_is_settled() -> None:
    assert unsettled(app(*four())) is None


@pytest.mark.parametrize(
    ("seen", "missing"),
    [
        (app(*four()[:3], task(4, state="TASK_STAGING")), "/web: 3 of 4 tasks healthy, 1 staging"),
        (app(*four()[:3]), "/web: 3 of 4 tasks healthy"),
        (app(*four()[:3], task(4, alive=None)), "/web: 3 of 4 tasks healthy, 1 not healthy"),
        (app(*four(), deployments=[{"id": "d1"}]), "/web: 4 of 4 tasks healthy, deployment d1 runs"),
        (app(*four(), task(5, version=OLD)), "/web: 4 of 4 tasks healthy, 1 old"),
        (app(*four(), task(5, state="TASK_KILLING")), "/web: 4 of 4 tasks healthy, 1 ending"),
        (app(*four(), healthChecks=[], instances=5), "/web: 4 of 5 tasks running"),
        (app(*four()[:3], task(4, state="TASK_FAILED")), "/web: 3 of 4 tasks healthy"),
    ],
)
def test_what_is_missing_is_said_with_counts(seen: dict[str, Any], missing: str) -> None:
    assert unsettled(seen) == missing


def test_an_app_without_checks_is_settled_when_its_tasks_run() -> None:
    assert unsettled(app(*four(alive=None), healthChecks=[])) is None


def test_tasks_from_before_a_scaling_are_not_old() -> None:
    scaled = {"version": NOW, "versionInfo": {"lastScalingAt": NOW, "lastConfigChangeAt": OLD}}

    assert unsettled(app(*four(version=OLD), **scaled)) is None


def test_a_task_that_is_not_ready_is_missing() -> None:
    checks = {
        "readinessChecks": [{}],
        "readinessCheckResults": [{"taskId": "web.0", "ready": False}, {"taskId": "web.1", "ready": True}],
        "deployments": [{"id": "d1"}],
    }

    assert counts(app(*four(), **checks)).ready == 1, "two were not even asked yet"
    assert unsettled(app(*four(), readinessChecks=[{}])) is None, "asked during deployments only"


FAILURE = {
    "taskId": "web.9",
    "state": "TASK_FAILED",
    "host": "10.0.0.1",
    "message": "Command exited with status 3",
    "version": NOW,
}
BACKED_OFF = {"count": 1, "delay": {"overdue": False, "timeLeftSeconds": 2}}


def test_a_crash_loop_ends_the_wait_with_the_last_failure() -> None:
    with pytest.raises(Hopeless) as given_up:
        unsettled(app(*four()[:3], lastTaskFailure=FAILURE), BACKED_OFF, failures=2)

    assert given_up.value.code == "crash_loop"
    assert "TASK_FAILED of web.9 on 10.0.0.1: Command exited with status 3" in given_up.value.message
    assert "3 of 4 tasks healthy" in given_up.value.message


def test_one_failure_ends_the_wait_only_when_marathon_itself_waits_long() -> None:
    seen = app(*four()[:3], lastTaskFailure=FAILURE)

    assert unsettled(seen, BACKED_OFF, failures=1)
    with pytest.raises(Hopeless):
        unsettled(seen, {"count": 1, "delay": {"overdue": False, "timeLeftSeconds": 60}}, failures=1)


def test_a_failure_of_an_earlier_definition_says_nothing_of_this_one() -> None:
    seen = app(*four()[:3], lastTaskFailure={**FAILURE, "version": OLD})

    assert unsettled(seen, BACKED_OFF, failures=5)


def test_a_settled_app_is_settled_however_its_tasks_ended_before() -> None:
    assert unsettled(app(*four(), lastTaskFailure=FAILURE), BACKED_OFF, failures=9) is None


def test_checks_that_kill_again_and_again_end_the_wait() -> None:
    killed = {**FAILURE, "message": "Task was killed since health check failed. Reason: 503 Service Unavailable"}

    with pytest.raises(Hopeless) as given_up:
        unsettled(app(*four()[:3], lastTaskFailure=killed), failures=2)

    assert given_up.value.code == "checks_fail"
    assert "503 Service Unavailable" in given_up.value.message


WAITING = {
    "count": 2,
    "delay": {"overdue": True, "timeLeftSeconds": 0},
    "processedOffersSummary": {
        "processedOffersCount": 8,
        "rejectSummaryLastOffers": [
            {"reason": "UnfulfilledRole", "declined": 0, "processed": 4},
            {"reason": "InsufficientCpus", "declined": 3, "processed": 4},
            {"reason": "InsufficientMemory", "declined": 1, "processed": 1},
        ],
    },
}


def test_an_app_that_no_agent_can_take_is_given_up_with_the_reasons_after_a_while() -> None:
    seen = app(*four()[:2])

    assert unsettled(seen, WAITING, waited=59, offer_timeout=60)
    with pytest.raises(Hopeless) as given_up:
        unsettled(seen, WAITING, waited=61, offer_timeout=60)

    assert given_up.value.code == "no_offers"
    assert "InsufficientCpus (3 of 4 offers), InsufficientMemory (1 of 1 offers); 2 to be launched" in str(
        given_up.value
    )


def test_no_offers_at_all_is_said_as_such() -> None:
    entry = {"count": 2, "delay": {"overdue": True}, "processedOffersSummary": {"processedOffersCount": 0}}

    with pytest.raises(Hopeless, match="Marathon got no offers for /web"):
        unsettled(app(*four()[:2]), entry, waited=61)
