# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rolling upgrade would do, from what Marathon shows; nothing is changed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import Hopeless, InvalidInput, Locked, NotFound, Rejected
from .changing import definition_before
from .client import Marathon
from .definition_files import read_definition
from .definitions import app_path, check_definition, differences, wanted
from .deployment_group import group_name, version_of
from .observation import group_apps
from .progress import rejections, unsettled
from .rolling import Assessment, assess, names, rows, tightness

Json = Mapping[str, Any]

# The actions that change the app; the others are "unchanged", "wait" until it is settled, and "follow" the upgrade that
# runs already.
CHANGES = frozenset({"create", "scale", "upgrade"})

UPGRADE_SPEC: dict[str, Any] = {
    "app": {"type": "dict"},
    "src": {"type": "path"},
    "agents": {"type": "int"},
    "accept_unfinishable": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
}
UPGRADE_RULES: dict[str, Any] = {
    "mutually_exclusive": [["app", "src"]],
    "required_one_of": [["app", "src"]],
}


@dataclass(frozen=True)
class Observed:
    """An app and what is wanted of it.

    ``live``: the app with its tasks, ``None`` where there is none. ``before``: the definition to go back to, ``None``
    where there is none or nobody knows it. ``deployment_id``: the upgrade that runs. ``names``: of both versions.
    """

    app_id: str
    definition: Json
    live: dict[str, Any] | None
    before: Json | None
    action: str
    deployment_id: str | None
    assessment: Assessment | None
    names: tuple[str, str]


def wanted_definition(params: Json) -> dict[str, Any]:
    """The definition of the options ``app`` or ``src``.

    :raises InvalidInput: it cannot be read or used.
    """
    if params["agents"] is not None and params["agents"] < 1:
        raise InvalidInput("invalid_option", "Option agents: a cluster has 1 or more of them.")
    definition = read_definition(params["src"]) if params["src"] is not None else params["app"]
    check_definition(definition)
    return dict(definition)


def observe_upgrade(marathon: Marathon, definition: Json, *, agents: int | None, force: bool) -> Observed:
    """Look at the app and judge the way from there to ``definition``.

    :raises Locked: another deployment holds the app, and ``force`` does not say to cancel it.
    :raises Rejected: the app does not exist, since others of its deployment group are what is live.
    """
    app_id = app_path(definition["id"])
    try:
        live = marathon.app(app_id)
    except NotFound:
        _refuse_third_colour(marathon, app_id, definition)
        return Observed(app_id, definition, None, None, "create", None, None, ("nothing", _version(definition)))
    changed = differences(definition, live).keys()
    running = [deployment["id"] for deployment in live.get("deployments") or []]
    if changed and running and not force:
        raise Locked(
            "app_locked",
            f"Deployment {running[0]} is changing {app_id} to another definition. Wait for its end, undo it, or use "
            "force to cancel it.",
            system=marathon.url,
            detail=running,
        )
    followed = None
    if changed:
        action = "scale" if changed == {"instances"} else "upgrade"
    elif not running and unsettled(live) is None:
        action = "unchanged"
    else:
        followed = _upgrade_that_runs(marathon, app_id, running)
        action = "follow" if followed else "wait"
    before = definition_before(marathon, live) if action == "follow" else live
    assessment = None
    if action in ("follow", "upgrade"):
        assessment = _assessed(marathon, live, definition, agents)
    old, new = _version(before or {}), _version(definition)
    called = names(old, new) if assessment is not None else (old, new)
    return Observed(app_id, definition, live, before, action, followed, assessment, called)


def _refuse_third_colour(marathon: Marathon, app_id: str, definition: Json) -> None:
    """An app beside the colours of its group would take their traffic, and leave them running."""
    group = group_name(definition)
    others = [app["id"] for app in group_apps(marathon, group)]
    if others:
        raise Rejected(
            "other_apps_of_group",
            f"There is no app {app_id}, but the deployment group {group} has {', '.join(others)}: it is rolled out by "
            "colours, with the role bluegreen or with rolling_drain. To upgrade one of these apps itself, give its id.",
            system=marathon.url,
            detail=others,
        )


def _version(definition: Json) -> str:
    """What people call it; Marathon's own name for a version, a time, says nothing to them."""
    return version_of({**definition, "version": None})


def _upgrade_that_runs(marathon: Marathon, app_id: str, running: Sequence[str]) -> str | None:
    """The deployment that replaces the tasks of this app and of no other one."""
    restart = {"action": "RestartApplication", "app": app_id}
    for deployment in marathon.deployments() if running else ():
        actions = [action for step in deployment.get("steps", []) for action in step.get("actions", [])]
        shown = [{key: action.get(key) for key in restart} for action in actions]
        if deployment["id"] in running and shown == [restart]:
            return deployment["id"]
    return None


def _assessed(marathon: Marathon, live: Json, definition: Json, agents: int | None) -> Assessment:
    hosts = 0
    tight = tightness(wanted(definition, live), live)
    if tight.per_agent is not None and tight.places(agents) is None:
        apps = marathon.apps(embed=("apps.tasks",))
        hosts = len({task.get("host") for app in apps for task in app.get("tasks") or []} - {None})
    # All that Marathon tells of what is free is for whom it is not enough.
    refused = {entry["app"]["id"]: _rejections(entry) for entry in marathon.queue() if "app" in entry}
    return assess(
        live,
        definition,
        agents=agents,
        hosts=hosts,
        rejected=refused.pop(live["id"], ()),
        crowded=[
            f"{app_id} ({', '.join(reasons)})"
            for app_id, reasons in sorted(refused.items())
            if any(reason.startswith("Insufficient") for reason in reasons)
        ],
    )


def _rejections(entry: Json) -> list[str]:
    """Why offers were declined for what waits in an entry of ``/v2/queue``; none where it waits for something else."""
    if not entry.get("count") or not (entry.get("delay") or {}).get("overdue", True):
        return []
    return rejections((entry.get("processedOffersSummary") or {}).get("rejectSummaryLastOffers") or [])


def described(observed: Observed) -> dict[str, Any]:
    """The plan of an upgrade as plain data, with its ``lines`` for people."""
    old, new = observed.names
    found = observed.assessment
    target = wanted(observed.definition, observed.live)
    plan: dict[str, Any] = {
        "app_id": observed.app_id,
        "group": group_name(observed.definition),
        "from": old if observed.live is not None else None,
        "to": new,
        "action": observed.action,
        "instances": target["instances"],
        "deployment_id": observed.deployment_id,
        "can_finish": found is None or not found.reasons,
        "reasons": list(found.reasons) if found else [],
        "warnings": list(found.warnings) if found else [],
        "least_healthy": found.course.least_healthy if found else None,
        "most_tasks": found.course.most_tasks if found else None,
        "kills": found.course.killed if found else None,
        "steps": [stage.as_dict() for stage in found.course.stages] if found else [],
    }
    return {**plan, "lines": _lines(observed, plan)}


def refuse_unfinishable(observed: Observed, plan: Json, *, accept: bool) -> None:
    """Refuse an upgrade that can never end, unless that is accepted; one that runs already is no news.

    :raises Hopeless: with the plan in ``detail``.
    """
    if observed.action != "upgrade" or plan["can_finish"] or accept:
        return
    raise Hopeless(
        "unfinishable",
        "\n".join(
            [
                f"The rolling upgrade of {observed.app_id} can never end, so it is not begun; nothing was changed.",
                *plan["lines"],
            ]
        ),
        detail=dict(plan),
    )


def _lines(observed: Observed, plan: Json) -> list[str]:
    app_id, count = observed.app_id, plan["instances"]
    if observed.assessment is None:
        live = (observed.live or {}).get("instances")
        return {
            "unchanged": [f"{app_id}: nothing to do, {plan['to']} runs with {count} instances."],
            "wait": [f"{app_id}: {plan['to']} is what is wanted; wait until all its tasks are well."],
            "create": [f"{app_id}: create {plan['to']} with {count} instances; nothing is there yet."],
            "scale": [f"{app_id}: scale {plan['to']} from {live} to {count}; no task is replaced."],
        }[observed.action]
    start, found = observed.assessment.start, observed.assessment.course
    strategy = f"minimumHealthCapacity {start.minimum:g}, maximumOverCapacity {start.maximum:g}"
    if observed.action == "follow":
        head = f"{app_id}: {plan['from']} -> {plan['to']}, follow the rolling upgrade that runs ({strategy})"
    else:
        head = f"{app_id}: {plan['from']} -> {plan['to']}, rolling upgrade of {count} tasks ({strategy})"
    lines = [head, *rows(found, *observed.names)]
    if plan["can_finish"]:
        lines.append(
            f"Never fewer than {found.least_healthy} healthy, never more than {found.most_tasks} tasks, {count} wanted."
        )
    else:
        lines += [f"It can never end: {plan['reasons'][0]}", *plan["reasons"][1:]]
    if found.killed:
        lines.append(
            f"Marathon kills {found.killed} old task{'s' * (found.killed > 1)} without draining: requests in flight at "
            "them may be lost."
        )
    return lines
