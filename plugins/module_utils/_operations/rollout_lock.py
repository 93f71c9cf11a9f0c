# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take or give back the lock of a deployment group. It lies in the platform of the group: no other store is needed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from .._errors import InvalidInput, Locked, NotFound, Rejected
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.lock_store import MarathonLockStore
from .._rollout.lock import Lease, owner_name, process_is_gone, process_name, refusal
from .._swarm.client import SWARM_SPEC, Swarm
from .._swarm.lock_store import SwarmLockStore

ARGUMENT_SPEC: dict[str, Any] = {
    **SWARM_SPEC,
    **MARATHON_SPEC,
    # Without a default and an environment variable: which one is given says where the lock is.
    "docker_host": {"type": "list", "elements": "str"},
    "marathon_url": {**MARATHON_SPEC["marathon_url"], "required": False},
    "group": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "held", "absent"], "default": "present"},
    "lease": {"type": "float", "default": 3600},
    "takeover": {"type": "bool", "default": False},
    "folder": {"type": "str", "default": "/zdd-rollout-locks"},
    "owner": {"type": "str"},
    "process": {"type": "str"},
}

ARGUMENT_RULES: dict[str, Any] = {"required_one_of": [["marathon_url", "docker_host"]]}


class LockStore(Protocol):
    """Where the lock of one group is kept. ``takeover`` is the variable of the role with which a run takes it over."""

    takeover: str

    @property
    def url(self) -> str:
        """The address of the system, for messages."""

    def held(self) -> Lease | None:
        """Look who holds it; raise ``Locked`` where something that is no lock has its name."""

    def create(self, mine: Lease) -> None:
        """Make the lock; raise ``Rejected`` with the code ``already_exists`` when another one was faster."""

    def renew(self, lease: Lease) -> None:
        """Write another lease into the lock that ``held`` has seen.

        Raise ``NotFound``, or ``Rejected`` with the code ``version_conflict``, where it is not as it was seen.
        """

    def remove(self) -> None:
        """Remove the lock that ``held`` has seen; that it is gone is no error."""


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    with _store(params, context) as store:
        held = store.held()
        mine = _lease(params, context)
        if params["state"] == "absent":
            return _give_back(store, context, held, mine)
        if params["state"] == "held":
            return _keep(store, context, held, mine)
        return _take(store, context, held, mine, params["takeover"])


@contextmanager
def _store(params: Mapping[str, Any], context: Context) -> Iterator[LockStore]:
    if params["docker_host"]:
        with Swarm.from_params(params, context) as swarm:
            yield SwarmLockStore(swarm, params["group"])
    else:
        with Marathon.from_params({**params, "marathon_url": params["marathon_url"] or []}, context) as marathon:
            yield MarathonLockStore(marathon, params["folder"], params["group"])


def _keep(store: LockStore, context: Context, held: Lease | None, mine: Lease) -> dict[str, Any]:
    """Go on holding it; what was taken over in the meantime is lost, also where the other run has ended already."""
    if held is None or not held.is_of(mine):
        raise _lost(store, held, mine)
    return _renew(store, context, held, mine)


def _lost(store: LockStore, held: Lease | None, mine: Lease) -> Locked:
    by = f"is held by {held.owner} since {held.since.isoformat(timespec='seconds')}" if held else "was given back"
    return Locked(
        "group_locked",
        f"The lock of the deployment group {mine.group} was taken from this run, and {by}. This run stops here.",
        system=store.url,
        detail=held.as_dict() if held else None,
    )


def _take(store: LockStore, context: Context, held: Lease | None, mine: Lease, takeover: bool) -> dict[str, Any]:
    if held is not None:
        why = refusal(held, mine, mine.since, _is_gone(context, mine), store.takeover)
        if why is not None and not takeover:
            raise Locked("group_locked", why, system=store.url, detail=held.as_dict())
        if held.is_of(mine):
            return _renew(store, context, held, mine)
    result = outcome(context, "lock", held.as_dict() if held else None, mine.as_dict())
    result["taken_from"] = held.as_dict() if held else None
    if context.check_mode:
        return result
    # Another one now: then the create is refused, by the name of who was faster.
    if held is not None and store.held() == held:
        store.remove()
    try:
        store.create(mine)
    except Rejected as error:
        if error.code != "already_exists":
            raise
        winner = store.held()
        who = winner.owner if winner else "somebody else"
        raise Locked(
            "group_locked",
            f"The deployment group {mine.group} was locked by {who} in this very moment.",
            system=store.url,
            detail=winner.as_dict() if winner else None,
        ) from None
    kept = store.held()
    if kept is None or not kept.is_of(mine):  # two runs saw the same dead one, and the other removed ours with it
        raise Locked(
            "group_locked",
            f"The deployment group {mine.group} was taken over by {kept.owner if kept else 'another run'} in this very "
            "moment.",
            system=store.url,
            detail=kept.as_dict() if kept else None,
            changed=True,
        )
    return result


def _renew(store: LockStore, context: Context, held: Lease, mine: Lease) -> dict[str, Any]:
    """Make the lease longer when more than half of it is over."""
    renewed = replace(mine, since=held.since)
    if held.until - mine.since > (mine.until - mine.since) / 2:
        renewed = held
    result = {**outcome(context, "lock", held.as_dict(), renewed.as_dict()), "taken_from": None}
    if result["changed"] and not context.check_mode:
        try:
            store.renew(renewed)
        except (NotFound, Rejected) as error:
            if isinstance(error, Rejected) and error.code != "version_conflict":
                raise
            now = store.held()
            if now is None or not now.is_of(mine):
                raise _lost(store, now, mine) from None
            return {**result, "lock": now.as_dict()}  # another task of this run was faster
    return result


def _give_back(store: LockStore, context: Context, held: Lease | None, mine: Lease) -> dict[str, Any]:
    """Only one's own lock is given back: a run whose lock was taken over must not open the door for a third one.

    The lock of a run that is dead goes too: nobody else would remove it where there is nothing left to do.
    """
    own = held is not None and refusal(held, mine, mine.since, _is_gone(context, mine)) is None
    before = held.as_dict() if held else None
    result = {**outcome(context, "lock", before, None if own else before), "taken_from": None}
    if held is not None and not own:
        context.warn(f"The lock of the deployment group {held.group} is held by {held.owner}; it is left alone.")
    if own and not context.check_mode:
        store.remove()
    return result


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
