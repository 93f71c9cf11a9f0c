# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take or give back the lock of a deployment group.

The lock is an app without instances: Marathon creates an app for one of two callers only, so no other store is needed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from .._errors import InvalidInput, Locked, NotFound, Rejected
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import app_path
from .._rollout.lock import Lease, owner_name, process_is_gone, process_name, refusal

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "group": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "held", "absent"], "default": "present"},
    "lease": {"type": "float", "default": 3600},
    "takeover": {"type": "bool", "default": False},
    "folder": {"type": "str", "default": "/zdd-rollout-locks"},
    "owner": {"type": "str"},
    "process": {"type": "str"},
}


_REMOVAL = 10.0  # seconds that Marathon may take to remove an app without instances


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    app_id = app_path(f"{params['folder']}/{_segment(params['group'])}")
    with Marathon.from_params(params, context) as marathon:
        held = _held(marathon, app_id)
        if params["state"] == "absent":
            return _give_back(marathon, context, app_id, held, _lease(params, context))
        if params["state"] == "held":
            return _keep(marathon, context, app_id, held, _lease(params, context))
        return _take(marathon, context, app_id, held, _lease(params, context), params["takeover"])


def _keep(marathon: Marathon, context: Context, app_id: str, held: Lease | None, mine: Lease) -> dict[str, Any]:
    """Go on holding it; what was taken over in the meantime is lost, also where the other run has ended already."""
    if held is None or not held.is_of(mine):
        by = f"is held by {held.owner} since {held.since.isoformat(timespec='seconds')}" if held else "was given back"
        raise Locked(
            "group_locked",
            f"The lock of the deployment group {mine.group} was taken from this run, and {by}. This run stops here.",
            system=marathon.url,
            detail=held.as_dict() if held else None,
        )
    return _renew(marathon, context, app_id, held, mine)


def _take(
    marathon: Marathon, context: Context, app_id: str, held: Lease | None, mine: Lease, takeover: bool
) -> dict[str, Any]:
    if held is not None:
        why = refusal(held, mine, mine.since, _is_gone(context, mine))
        if why is not None and not takeover:
            raise Locked("group_locked", why, system=marathon.url, detail=held.as_dict())
        if held.is_of(mine):
            return _renew(marathon, context, app_id, held, mine)
    result = outcome(context, "lock", held.as_dict() if held else None, mine.as_dict())
    result["taken_from"] = held.as_dict() if held else None
    if context.check_mode:
        return result
    # Another one now: then the create is refused, by the name of who was faster.
    if held is not None and _held(marathon, app_id) == held:
        _remove(marathon, app_id)
    definition = {
        "id": app_id,
        "cmd": "sleep 1",
        "instances": 0,
        "cpus": 0.01,
        "mem": 16,
        "portDefinitions": [],  # or Marathon gives it a service port, which a user's app may need
        "labels": mine.labels(),
    }
    try:
        _create(marathon, context, definition)
    except Rejected as error:
        if error.code != "already_exists":
            raise
        winner = _held(marathon, app_id)
        who = winner.owner if winner else "somebody else"
        raise Locked(
            "group_locked",
            f"The deployment group {mine.group} was locked by {who} in this very moment.",
            system=marathon.url,
            detail=winner.as_dict() if winner else None,
        ) from None
    kept = _held(marathon, app_id)
    if kept is None or not kept.is_of(mine):  # two runs saw the same dead one, and the other removed ours with it
        raise Locked(
            "group_locked",
            f"The deployment group {mine.group} was taken over by {kept.owner if kept else 'another run'} in this very "
            "moment.",
            system=marathon.url,
            detail=kept.as_dict() if kept else None,
            changed=True,
        )
    return result


def _renew(marathon: Marathon, context: Context, app_id: str, held: Lease, mine: Lease) -> dict[str, Any]:
    """Make the lease longer when more than half of it is over."""
    renewed = replace(mine, since=held.since)
    if held.until - mine.since > (mine.until - mine.since) / 2:
        renewed = held
    result = {**outcome(context, "lock", held.as_dict(), renewed.as_dict()), "taken_from": None}
    if result["changed"] and not context.check_mode:
        marathon.update_app(app_id, {"labels": renewed.labels()}, force=True)
    return result


def _give_back(marathon: Marathon, context: Context, app_id: str, held: Lease | None, mine: Lease) -> dict[str, Any]:
    """Only one's own lock is given back: a run whose lock was taken over must not open the door for a third one.

    The lock of a run that is dead goes too: nobody else would remove it where there is nothing left to do.
    """
    own = held is not None and refusal(held, mine, mine.since, _is_gone(context, mine)) is None
    before = held.as_dict() if held else None
    result = {**outcome(context, "lock", before, None if own else before), "taken_from": None}
    if held is not None and not own:
        context.warn(f"The lock of the deployment group {held.group} is held by {held.owner}; it is left alone.")
    if own and not context.check_mode:
        _remove(marathon, app_id)
    return result


def _held(marathon: Marathon, app_id: str) -> Lease | None:
    try:
        app = marathon.app(app_id, embed=())
    except NotFound:
        return None
    lease = Lease.from_labels(app.get("labels") or {})
    if lease is None:
        raise Locked(
            "group_locked",
            f"The app {app_id} is no lock of this collection; remove it, or choose another folder for locks.",
            system=marathon.url,
        )
    return lease


def _create(marathon: Marathon, context: Context, definition: Mapping[str, Any]) -> None:
    """Create the lock; that Marathon is still removing the one before is waited for."""
    deadline = context.now() + _REMOVAL
    while True:
        try:
            marathon.create_app(definition)
        except Locked:
            if context.now() >= deadline:
                raise
            context.sleep(0.1)
        else:
            return


def _remove(marathon: Marathon, app_id: str) -> None:
    try:
        marathon.delete_app(app_id)
    except NotFound:
        return  # somebody else has removed it: what was wanted


def _lease(params: Mapping[str, Any], context: Context) -> Lease:
    process = params["process"] or (process_name(context.controller_pid) if context.controller_pid else None)
    if process is None:
        raise InvalidInput(
            "invalid_option",
            "Option process is needed where the module runs without its action plugin: the name of the run.",
        )
    now = datetime.now(UTC)
    return Lease(
        group=params["group"],
        owner=params["owner"] or owner_name(),
        process=process,
        since=now,
        until=now + timedelta(seconds=params["lease"]),
    )


def _is_gone(context: Context, mine: Lease) -> Callable[[str], bool]:
    """How to tell that a run of this owner is dead: only on the host where the owner's processes are."""
    here = context.controller_pid is not None or mine.owner.rpartition("@")[2] == socket.gethostname()
    return process_is_gone if here else lambda _process: False


def _segment(group: str) -> str:
    """A group as one segment of an app id: lower case letters, digits, ``-`` and ``.`` (reference B2).

    Anything else is written as its code, so that two groups never share a lock.
    """
    return "".join(
        char if char.isascii() and (char.islower() or char.isdigit()) else f"-{ord(char):x}-" for char in group
    ).strip("-")
