# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app is there as its definition says, has so many instances, or is absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import InvalidInput, NotFound
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._marathon.changing import change
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definition_files import read_definition
from .._marathon.definitions import (
    app_path,
    check_definition,
    editable,
    normalise,
    wanted,
)
from .._marathon.ending import ENDING_TYPES, Ending
from .._marathon.events import Events
from .._marathon.progress import counts, unsettled
from .._marathon.sampling import sample_settled
from .._marathon.settling import Settling
from .._wait import WAIT_SPEC

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "wait": WAIT_SPEC["wait"],
    "wait_timeout": WAIT_SPEC["wait_timeout"],
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "app": {"type": "dict"},
    "src": {"type": "path"},
    "app_id": {"type": "str"},
    "instances": {"type": "int"},
    "force": {"type": "bool", "default": False},
    "offer_timeout": {"type": "float", "default": 60},
}

ARGUMENT_RULES: dict[str, Any] = {
    "mutually_exclusive": [["app", "src"]],
    "required_one_of": [["app", "src", "app_id"]],
}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return ``{app, changed, diff?, version, deployment_id, tasks, requests}``; ``tasks`` has counts."""
    definition = _definition(params)
    app_id = app_path(params["app_id"] if params["app_id"] is not None else definition["id"])
    if app_id == "/":
        raise InvalidInput("invalid_option", "Option app_id: / is the root group, not an app.")
    with Marathon.from_params(params, context) as marathon:
        live = _live(marathon, app_id)
        if params["state"] == "absent":
            return _absent(marathon, app_id, live, params, context)
        if definition is None:
            definition = _scaled(marathon, app_id, live, params["instances"])
        return _present(marathon, app_id, live, definition, params, context)


def _present(
    marathon: Marathon,
    app_id: str,
    live: Mapping[str, Any] | None,
    definition: Mapping[str, Any],
    params: Mapping[str, Any],
    context: Context,
) -> dict[str, Any]:
    before = normalise(live) if live is not None else None
    result = outcome(context, "app", before, wanted(definition, live))
    if context.check_mode:
        return _with_facts(result, marathon, live, None)
    if not result["changed"] and (not params["wait"] or live is None or unsettled(live) is None):
        if live is not None and unsettled(live) is None:
            sample_settled(context, live)
        return _with_facts(result, marathon, live, None)
    deployment, app = None, live
    settling = Settling(marathon, app_id, context, offer_timeout=params["offer_timeout"])
    if params["wait"]:
        with settling.events() as events:
            if result["changed"]:
                deployment = change(marathon, app_id, live, definition, params["force"])
            with marathon.blamed(changed=result["changed"]):
                app = settling.wait(
                    events, timeout=params["wait_timeout"], definition=definition, changed=result["changed"]
                )
    else:
        deployment = change(marathon, app_id, live, definition, params["force"])
        app = marathon.app(app_id)
    result["app"] = normalise(app)
    return _with_facts(result, marathon, app, deployment)


def _absent(
    marathon: Marathon,
    app_id: str,
    live: Mapping[str, Any] | None,
    params: Mapping[str, Any],
    context: Context,
) -> dict[str, Any]:
    """Marathon takes the app from its list at once and kills the tasks afterwards: so wait for the deployment."""
    result = outcome(context, "app", normalise(live) if live is not None else None, None)
    deployment = None
    if context.check_mode:
        return _with_facts(result, marathon, None, None)
    if not params["wait"]:
        if live is not None:
            deployment = marathon.delete_app(app_id, params["force"])
        return _with_facts(result, marathon, None, deployment)
    ending = Ending(marathon, context, apps=[app_id])
    if live is None and not ending.running():
        return _with_facts(result, marathon, None, None)
    with Events(marathon, ENDING_TYPES, ending.matters) as events:
        if live is not None:
            deployment = marathon.delete_app(app_id, params["force"])
        with marathon.blamed(changed=live is not None):
            ending.wait(events, timeout=params["wait_timeout"], just_begun=live is not None)
    return _with_facts(result, marathon, None, deployment)


def _with_facts(
    result: dict[str, Any], marathon: Marathon, app: Mapping[str, Any] | None, deployment: str | None
) -> dict[str, Any]:
    return {
        **result,
        "version": app.get("version") if app is not None else None,
        "deployment_id": deployment,
        "tasks": counts(app).as_dict() if app is not None else None,
        "requests": marathon.requests,
    }


def _live(marathon: Marathon, app_id: str) -> dict[str, Any] | None:
    try:
        return marathon.app(app_id)
    except NotFound:
        return None


def _scaled(marathon: Marathon, app_id: str, live: Mapping[str, Any] | None, instances: int | None) -> dict[str, Any]:
    if live is None:
        raise NotFound(
            "not_found",
            f"There is no app {app_id} at {marathon.url}; to create it, give its definition in app or src.",
            system=marathon.url,
        )
    # As it is, but for the count: then nothing but the count can differ.
    count = live["instances"] if instances is None else instances
    return {**editable(live), "instances": count}


def _definition(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """The definition with the count of ``instances``; ``None`` where only an id is given.

    :raises InvalidInput: it cannot be read or used.
    """
    definition = params["app"]
    if params["src"] is not None:
        definition = read_definition(params["src"])
    if params["instances"] is not None and params["instances"] < 0:
        raise InvalidInput("invalid_option", "Option instances: a count is 0 or more.")
    if definition is None:
        return None
    if params["app_id"] is not None:
        given = definition.get("id", params["app_id"])
        if isinstance(given, str) and app_path(given) != app_path(params["app_id"]):
            raise InvalidInput(
                "invalid_option", f"The definition has the id {given}, the option app_id is {params['app_id']}."
            )
        definition = {**definition, "id": given}
    if params["instances"] is not None:
        definition = {**definition, "instances": params["instances"]}
    if params["state"] == "present":
        check_definition(definition)
    elif not isinstance(definition.get("id"), str):
        raise InvalidInput("invalid_definition", "The app definition has no id.")
    return dict(definition)
