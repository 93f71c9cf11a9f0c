# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What marathon-lb will make of a plan, asked of its model before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._errors import Rejected
from .._haproxy.marathon_lb import ipv4_of, servers_of
from .._haproxy.marathon_lb_decision import NEW_INSTANCES, Undecidable
from .._rollout.planner import Plan
from .deployment_group import alive_tasks, disabled_by
from .observation import Observation

Json = Mapping[str, Any]

_BEFORE, _AFTER = "1970-01-01T00:00:00.000Z", "9999-01-01T00:00:00.000Z"


def _scaled(app: Json, moment: str) -> dict[str, Any]:
    return {**app, "versionInfo": {**(app.get("versionInfo") or {}), "lastScalingAt": moment}}


def taken_out(apps: Sequence[Json], app: Json) -> tuple[int, int]:
    """How many tasks of ``app`` marathon-lb would take out, were these the apps, and how many it has alive.

    :raises Rejected: marathon-lb would write no configuration any more.
    """
    try:
        disabled = disabled_by(apps, ipv4_of)
    except Undecidable as error:
        raise Rejected(
            "no_configuration",
            f"marathon-lb would stop writing configurations for all apps: {error}. Nothing was changed.",
        ) from None
    tasks = alive_tasks(app)
    gone = [task for task in tasks if all((row.backend, row.server) in disabled for row in servers_of(app, task))]
    return len(gone), len(tasks)


def unwanted_outcome(apps: Sequence[Json], receiver_id: str, other_id: str, *, everything: bool) -> str | None:
    """What marathon-lb would do instead of turning the traffic to ``receiver_id``; ``None`` when it would turn it.

    ``everything``: no healthy task of the other app may keep traffic. Tasks that are dying count for marathon-lb: while
    there are any, it may leave live ones in service.

    :raises Rejected: marathon-lb would write no configuration any more.
    """
    after = [_scaled(app, _AFTER if app["id"] == receiver_id else _BEFORE) for app in apps]
    by_id = {app["id"]: app for app in after}
    lost, _alive = taken_out(after, by_id[receiver_id])
    if lost:
        return f"marathon-lb would take out {lost} tasks of {receiver_id}, which is to receive the traffic"
    gone, alive = taken_out(after, by_id[other_id])
    if everything and gone < alive:
        return (
            f"marathon-lb would leave {alive - gone} of {alive} tasks of {other_id} with traffic when {receiver_id} is "
            "to receive all of it"
        )
    return None


def check_prediction(observed: Observation, made: Plan, app: Json) -> None:
    """Ask the model what becomes of the group when the new colour is created, and when the traffic is turned to it.

    The tasks of the new colour do not exist yet: they are imagined, all alive.

    :raises Rejected: the outcome would not be the wanted one.
    """
    old = observed.app(made.old.app_id) if made.old else None
    if old is None or not any(step.name == "create" for step in made.steps):
        return
    new = imagined(app)
    apps = [old, new]
    taken_out(apps, old)
    unwanted = unwanted_outcome(apps, old["id"], new["id"], everything=True) if made.warm else None
    if unwanted is None and NEW_INSTANCES in new["labels"]:
        unwanted = unwanted_outcome(apps, new["id"], old["id"], everything=_turns_everything(made, old))
    if unwanted is not None:
        raise Rejected("wrong_outcome", f"{unwanted}. Nothing was changed.")


def _turns_everything(made: Plan, old: Json) -> bool:
    """Whether the first switch leaves nothing to the old app: not in batches, nor while that has a task too many."""
    first = next((step for step in made.steps if step.name in ("switched", "scale")), None)
    if first is None or first.name == "scale":
        return False
    return first.all_traffic and old["instances"] <= first.other_count


def imagined(app: Json) -> dict[str, Any]:
    """``app`` as Marathon would show it with all its tasks alive, at addresses that nobody has."""
    ports = max(1, len(app.get("portDefinitions") or app.get("ports") or ()), len(_mappings(app)))
    tasks = [
        {
            "id": f"imagined.{number}",
            "appId": app["id"],
            "host": f"0.0.{number // 256}.{number % 256}",
            "ports": [1 + index for index in range(ports)],
            "ipAddresses": [{"ipAddress": f"0.1.{number // 256}.{number % 256}", "protocol": "IPv4"}],
            "state": "TASK_RUNNING",
            "healthCheckResults": [{"alive": True}],
        }
        for number in range(app["instances"])
    ]
    checks = [{"protocol": "HTTP", "timeoutSeconds": 20, "intervalSeconds": 60, "gracePeriodSeconds": 300,
               "maxConsecutiveFailures": 3, "portIndex": 0, **check} for check in app["healthChecks"]]  # fmt: skip
    return {**_scaled(app, _AFTER), "tasks": tasks, "healthChecks": checks}


def _mappings(app: Json) -> Sequence[Any]:
    container = app.get("container") or {}
    return (container.get("docker") or {}).get("portMappings") or container.get("portMappings") or ()
