# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs never hold one group: what a lock says, and what is read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.zdd.rollout.plugins.module_utils._errors import Locked
from ansible_collections.zdd.rollout.plugins.module_utils._operations import rollout_lock
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.lock import Lease
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import Clock, Reply, Request, serving

DEAD = "999999999/1"  # beyond the largest process id of Linux


def lease(owner: str, process: str) -> dict[str, str]:
    now = datetime.now(UTC)
    return Lease("web", owner, process, now, now + timedelta(hours=1)).labels()


def store(labels: Mapping[str, str] | None, after_create: Callable[[dict[str, Any]], Any]) -> Any:
    """A Marathon with at most one app, of ``labels``; ``after_create`` changes one that was just created."""
    apps = [] if labels is None else [{"id": "/zdd-rollout-locks/web", "labels": dict(labels)}]

    def answer(request: Request) -> Reply:
        if request.method == "GET":
            return (200, {"app": apps[0]}) if apps else (404, {"message": "no app"})
        if request.method == "DELETE":
            apps.clear()
            return 200, {"deploymentId": "d"}
        apps.append(request.body)
        after_create(request.body)
        return 201, request.body

    return answer


def lock(url: str, **options: Any) -> dict[str, Any]:
    given = {"marathon_url": [url], "group": "web", "process": "1/1", **options}
    params = ArgumentSpecValidator(rollout_lock.ARGUMENT_SPEC).validate(given).validated_parameters
    return rollout_lock.run(params, Clock().context())


def test_a_lock_takes_no_service_port() -> None:
    """Marathon gives an app without port definitions one, which somebody's app may need."""
    with serving(store(None, lambda _app: None)) as server:
        lock(server.url)

        (created,) = [request.body for request in server.got if request.method == "POST"]
    assert created["portDefinitions"] == []


def test_a_run_whose_new_lock_was_taken_over_at_once_does_not_go_on() -> None:
    """Two runs found the same lease over; the other one removed it after this one had taken its place."""

    def overtake(app: dict[str, Any]) -> None:
        app["labels"] = lease("bob@there", "5/5")

    with serving(store(None, overtake)) as server, pytest.raises(Locked, match=r"taken over by bob@there") as failure:
        lock(server.url)
    assert failure.value.changed


def test_a_process_that_is_not_here_is_not_dead_where_the_owner_is_of_another_host() -> None:
    """The module runs on another host then, and the processes of the owner are not to be seen there."""
    with serving(store(lease("me@controller", DEAD), lambda _app: None)) as server, pytest.raises(Locked):
        lock(server.url, owner="me@controller")
