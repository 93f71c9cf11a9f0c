# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service has another count of tasks; those that go have no traffic, as seen at the proxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._errors import InvalidInput, NotFound, Rejected
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._swarm.client import SWARM_SPEC, Swarm
from .._swarm.observing import PROXIES_SPEC
from .._swarm.service_specs import colour_of, group_of, replicas_wanted, with_replicas
from .._swarm.tasks import ENDED_STATES, addresses, state_of, wanted
from .._swarm.views import View, views, views_of_haproxy
from .._swarm.waiting import (
    CONVERGENCE_SPEC,
    ENDPOINT_RULES,
    ENDPOINT_SPEC,
    Convergence,
    Look,
    Watch,
    converge,
    task_facts,
    warn_of_lost,
)
from .._wait import Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **SWARM_SPEC,
    **CONVERGENCE_SPEC,
    **ENDPOINT_SPEC,
    "name": {"type": "str", "required": True},
    "replicas": {"type": "int"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **PROXIES_SPEC,
    "addresses": {"type": "list", "elements": "str", "default": []},
    "cut": {"type": "bool", "default": False},
    "batch_size": {"type": "int"},
}

ARGUMENT_RULES: dict[str, Any] = {
    "required_if": [*ENDPOINT_RULES["required_if"], ("state", "present", ("replicas",))],
}

Json = Mapping[str, Any]


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    absent, batch = params["state"] == "absent", params["batch_size"]
    target = 0 if absent else params["replicas"]
    if target < 0:
        raise InvalidInput("invalid_option", f"Option replicas: {target} is less than 0.")
    if batch is not None and batch < 1:
        raise InvalidInput("invalid_option", f"Option batch_size: {batch} is less than 1.")
    convergence = Convergence.from_params(params)
    seen = views(params["proxies"])
    name, began = params["name"], context.now()
    deadline = began + params["wait_timeout"]
    with Swarm.from_params(params, context) as swarm:
        watch = Watch(swarm, name)
        try:
            look = watch.look()
        except NotFound:
            if not absent:
                raise
            return {**outcome(context, "service", None, None), "tasks": [], "seconds": 0.0}
        with swarm.blamed(changed=False):
            count = replicas_wanted(look.service)
            result = outcome(context, "service", _facts(name, count), None if absent else _facts(name, target))
            if target < count and not params["cut"]:
                _no_traffic(params, seen, look)
        if not context.check_mode:
            if target < count or absent:
                look = _shrunk(swarm, context, watch, params, (count, target), deadline)
            else:
                look = _grown(swarm, context, watch, params, convergence, deadline)
            if absent:
                swarm.remove_service(name)
        return {**result, "tasks": task_facts(look, convergence), "seconds": round(context.now() - began, 3)}


def _shrunk(
    swarm: Swarm, context: Context, watch: Watch, params: Json, counts: tuple[int, int], deadline: float
) -> Look:
    """Take tasks away, from the first of ``counts`` to the second, some at a time.

    The next ones go when those before are gone.
    """
    (count, target), changed = counts, False
    while True:
        count = max(target, count - (params["batch_size"] or count))
        changed = _set(swarm, params["name"], count, down=True) or changed
        with swarm.blamed(changed=changed):
            look = _ended(context, watch, params, count, deadline) if params["wait"] or count > target else watch.look()
        if count == target:
            warn_of_lost(context, look)
            return look


def _ended(context: Context, watch: Watch, params: Json, count: int, deadline: float) -> Look:
    """Wait until no more than ``count`` tasks are wanted, and none runs beside them."""

    def missing(look: Look) -> str | None:
        context.sample("instances", **{look.name: len(look.ready())})
        kept = [task for task in look.tasks if wanted(task) and state_of(task) not in ENDED_STATES]
        ending = [task for task in look.left_over() if not wanted(task)]
        extra = max(0, len(kept) - count) + len(ending)
        return f"{extra} tasks of {look.name} are still to end, {count} are to be left" if extra else None

    return wait_until(
        context,
        watch.look,
        missing,
        timeout=max(0.0, deadline - context.now()),
        pauses=Pauses(params["wait_sleep"]),
    )


def _grown(
    swarm: Swarm, context: Context, watch: Watch, params: Json, convergence: Convergence, deadline: float
) -> Look:
    """Set the count, and wait until all are ready; also where it is so already: an earlier run may have died here."""
    changed = _set(swarm, params["name"], params["replicas"], down=False)
    if not params["wait"]:
        return watch.look()
    if not changed:
        convergence.monitor = 0  # nothing new is there to be watched
    with swarm.blamed(changed=changed):
        return converge(
            swarm,
            context,
            params["name"],
            convergence,
            timeout=max(0.0, deadline - context.now()),
            pause=params["wait_sleep"],
        )


def _set(swarm: Swarm, name: str, count: int, *, down: bool) -> bool:
    """Set the count, unless somebody else has gone further down by now."""

    def change(service: dict[str, Any]) -> dict[str, Any] | None:
        now = replicas_wanted(service)
        if now == count or (down and now < count):
            return None
        return with_replicas(service["Spec"], count)

    return swarm.change_service(name, change)


def _no_traffic(params: Json, seen: Sequence[View], look: Look) -> None:
    """Whether the proxies say that nothing goes to this service any more.

    :raises Rejected: code ``still_serving``, or ``no_evidence`` where no proxy was asked.
    """
    name, colour = look.name, colour_of(look.service) or ""
    own = set(params["addresses"])
    if params["target_port"] is not None:
        own.update(addresses(look.tasks, look.nodes, params["target_port"], params["endpoint"], params["network"]))
    seen = (*seen, *views_of_haproxy(params["haproxy_lbs"], group_of(look.service) or "", {colour: frozenset(own)}))
    if not seen:
        raise Rejected(
            "no_evidence",
            f"Tasks of {name} would be ended, and it is not known whether they serve: give proxies or haproxy_lbs as "
            "they were just seen, or cut=true.",
        )
    reasons, detail = [], []
    for view in seen:
        share = view.share.get(colour, 0)
        known = own | view.addresses.get(colour, frozenset())
        busy = {at: count for at, count in sorted((view.connections or {}).items()) if count and at in known}
        if share:
            reasons.append(f"{view.name} sends it {share:g} % of the new requests")
        if busy:
            reasons.append(f"{view.name} has {sum(busy.values())} requests in flight at {', '.join(busy)}")
        if share or busy:
            detail.append({"proxy": view.name, "share": share, "connections": busy})
    if reasons:
        raise Rejected(
            "still_serving",
            f"The service {name} still serves: {'; '.join(reasons)}. Turn the traffic away and drain it first, or give "
            "cut=true.",
            detail=detail,
        )


def _facts(name: str, count: int) -> dict[str, Any]:
    return {"name": name, "replicas": count}
