# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What marathon-lb will make of a plan, asked of its model before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import InvalidInput, Rejected
from .._haproxy.marathon_lb import ipv4_of, servers_of
from .._haproxy.marathon_lb_decision import NEW_INSTANCES, Undecidable, services
from .._rollout.planner import Plan
from .deployment_group import enabled_by, lb_groups, listed_tasks
from .observation import Observation

Json = Mapping[str, Any]

_BEFORE, _AFTER = "1970-01-01T00:00:00.000Z", "9999-01-01T00:00:00.000Z"


def _scaled(app: Json, moment: str) -> dict[str, Any]:
    return {**app, "versionInfo": {**(app.get("versionInfo") or {}), "lastScalingAt": moment}}


@dataclass(frozen=True)
class Served:
    """Of the tasks of an app that marathon-lb lists: how many it serves on all of their ports, and how many on none."""

    tasks: int
    whole: int
    none: int


def served(apps: Sequence[Json], app: Json) -> Served:
    """What marathon-lb would make of the tasks of ``app``, were these the apps.

    :raises Rejected: it would write no configuration any more.
    """
    try:
        enabled = enabled_by(apps, ipv4_of)
    except Undecidable as error:
        raise Rejected(
            "no_configuration",
            f"marathon-lb would stop writing configurations for all apps: {error}. Nothing was changed.",
        ) from None
    tasks = [[(row.backend, row.server) in enabled for row in servers_of(app, task)] for task in listed_tasks(app)]
    return Served(len(tasks), sum(all(ports) for ports in tasks), sum(not any(ports) for ports in tasks))


def unwanted_outcome(apps: Sequence[Json], receiver_id: str, other_id: str, *, everything: bool) -> str | None:
    """What marathon-lb would do instead of turning the traffic to ``receiver_id``; ``None`` when it would turn it.

    ``everything``: no healthy task of the other app may keep traffic. Tasks that are dying count for marathon-lb: while
    there are any, it may leave live ones in service.

    :raises Rejected: marathon-lb would write no configuration any more.
    """
    after, by_id = _turned(apps, receiver_id)
    gets = served(after, by_id[receiver_id])
    if gets.whole < gets.tasks:
        return (
            f"marathon-lb would not serve {gets.tasks - gets.whole} of {gets.tasks} tasks of {receiver_id}, which is "
            "to receive the traffic"
        )
    keeps = served(after, by_id[other_id])
    if everything and keeps.none < keeps.tasks:
        return (
            f"marathon-lb would leave {keeps.tasks - keeps.none} of {keeps.tasks} tasks of {other_id} with traffic "
            f"when {receiver_id} is to receive all of it"
        )
    return None


def kept_in_service(apps: Sequence[Json], receiver_id: str, other_id: str) -> int:
    """How many tasks of the other app marathon-lb would leave in service, were the traffic turned to ``receiver_id``.

    :raises Rejected: marathon-lb would write no configuration any more.
    """
    after, by_id = _turned(apps, receiver_id)
    return served(after, by_id[other_id]).whole


def _turned(apps: Sequence[Json], receiver_id: str) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The apps, and by id, as if ``receiver_id`` had been scaled last."""
    after = [_scaled(app, _AFTER if app["id"] == receiver_id else _BEFORE) for app in apps]
    return after, {app["id"]: app for app in after}


def check_prediction(observed: Observation, made: Plan, app: Json, *, accept_check_change: bool) -> None:
    """Ask the model what becomes of the group when the new colour is created, and when the traffic is turned to it.

    The tasks of the new colour do not exist yet: they are imagined, all alive.

    :raises Rejected: the outcome would not be the wanted one.
    :raises InvalidInput: the two versions cannot share a backend without losing requests.
    """
    old = observed.app(made.old.app_id) if made.old else None
    if old is None or not any(step.name == "create" for step in made.steps):
        return
    new = imagined(app)
    apps = [old, new]
    served(apps, old)
    _refuse_different_services(old, new, accept_check_change=accept_check_change)
    unwanted = unwanted_outcome(apps, old["id"], new["id"], everything=True) if made.warm else None
    if unwanted is None and NEW_INSTANCES in new["labels"]:
        unwanted = unwanted_outcome(apps, new["id"], old["id"], everything=_turns_everything(made, old))
    if unwanted is not None:
        raise Rejected("wrong_outcome", f"{unwanted}. Nothing was changed.")


def _refuse_different_services(old: Json, new: Json, *, accept_check_change: bool) -> None:
    """Both versions share one backend, made from the app that does *not* receive (reference A9-6): it has to fit both.

    With another port the live one would be gone from the LBs. With another check each version is checked by the
    other's while both are there, and is DOWN when it does not answer that.
    """
    before, after = _shapes(old), _shapes(new)
    if not before:
        return  # nothing of the old app is served, so nothing can be lost
    if before.keys() != after.keys():
        raise InvalidInput(
            "ports_changed",
            f"The service ports of {new['id']} are {_listed(after)}, those of {old['id']} are {_listed(before)}. "
            "Both share the load balancers' frontends: change ports by an app of its own, in no deployment group.",
        )
    for backend, (mode, check) in before.items():
        if mode != after[backend][0]:
            raise InvalidInput(
                "mode_changed",
                f"{backend} has the mode {mode} with {old['id']} and {after[backend][0]} with {new['id']}; both "
                "versions share it (label HAPROXY_n_MODE).",
            )
        if check != after[backend][1] and not accept_check_change:
            raise InvalidInput(
                "health_check_changed",
                f"{backend} is checked by {_told(check)} with {old['id']} and by {_told(after[backend][1])} with "
                f"{new['id']}. While both are there, the load balancers check each version by the other's check. Roll "
                "out a version that answers both first; when both versions do, say so with accept_check_change "
                "(bluegreen_accept_check_change=true).",
            )


def _shapes(app: Json) -> dict[str, tuple[str, tuple[Any, ...] | None]]:
    """Mode and check (protocol, path, port, port index) of each backend of an app."""
    shapes = {}
    for service in services([app], groups=lb_groups([app]), health_check=False, resolve=ipv4_of):
        check = service.check
        seen = None
        if check is not None:
            path = check.get("path", "/") if service.checks_by_http else None
            seen = (check["protocol"], path, check.get("port"), check.get("portIndex"))
        shapes[service.backend.rpartition("_")[2]] = (service.mode, seen)
    return shapes


def _listed(shapes: Mapping[str, Any]) -> str:
    return ", ".join(sorted(shapes)) or "none"


def _told(check: tuple[Any, ...] | None) -> str:
    return "nothing" if check is None else " ".join(str(word) for word in check[:2] if word)


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
