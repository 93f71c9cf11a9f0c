# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marathon's rolling upgrade of an app, followed live, and undone when it does not get well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import DeadlinePassed, Hopeless, InvalidInput, NotFound, OperationError
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._marathon.changing import change
from .._marathon.client import MARATHON_SPEC, Marathon
from .._marathon.definitions import normalise, wanted
from .._marathon.ending import ENDING_TYPES, Ending
from .._marathon.events import Events
from .._marathon.following import Following
from .._marathon.progress import is_current
from .._marathon.rolling import kept
from .._marathon.tally import Tally
from .._marathon.upgrade import (
    CHANGES,
    UPGRADE_RULES,
    UPGRADE_SPEC,
    Observed,
    described,
    observe_upgrade,
    refuse_unfinishable,
    wanted_definition,
)
from .._wait import WAIT_SPEC

ARGUMENT_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    **UPGRADE_SPEC,
    "wait_timeout": {**WAIT_SPEC["wait_timeout"], "default": 600},
    "offer_timeout": {"type": "float", "default": 60},
    "watch_seconds": {"type": "float"},
    "rollback": {"type": "bool", "default": True},
    "rollback_timeout": {"type": "float", "default": 300},
}
ARGUMENT_RULES: dict[str, Any] = UPGRADE_RULES

# Without a health check only time shows whether a task stays.
_WATCH_UNCHECKED = 10.0

# After these it is somebody else's app to decide on.
_TAKEN_AWAY = frozenset({"changed_meanwhile", "app_removed"})


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return ``{app, changed, diff?, upgrade, requests}``; a failure has ``upgrade`` in its ``detail``."""
    for option in ("wait_timeout", "offer_timeout", "watch_seconds", "rollback_timeout"):
        if (params[option] or 0) < 0:
            raise InvalidInput("invalid_option", f"Option {option}: a time is 0 seconds or more.")
    definition = wanted_definition(params)
    with Marathon.from_params(params, context) as marathon:
        seen = observe_upgrade(marathon, definition, agents=params["agents"], force=params["force"])
        plan = described(seen)
        before = normalise(seen.live) if seen.live is not None else None
        result = outcome(context, "app", before, wanted(definition, seen.live))
        for warning in plan["warnings"]:
            context.warn(warning)
        with marathon.blamed(changed=False):
            refuse_unfinishable(seen, plan, accept=params["accept_unfinishable"])
        if context.check_mode or seen.action == "unchanged":
            told = {**plan, **_told(seen, plan, "unchanged" if seen.action == "unchanged" else "planned")}
            return {**result, "upgrade": told, "requests": marathon.requests}
        ran = _Run(marathon, context, params, seen)
        app = ran.forward(plan)
        result["app"] = normalise(app)
        return {**result, "upgrade": ran.told(plan, ran.result), "requests": marathon.requests}


class _Run:
    """One upgrade on its way, and back."""

    def __init__(self, marathon: Marathon, context: Context, params: Mapping[str, Any], seen: Observed) -> None:
        self._marathon = marathon
        self._context = context
        self._params = params
        self._seen = seen
        self._started = context.now()
        self._deployment_id = seen.deployment_id
        self._rollback_id: str | None = None
        self._changes = seen.action in CHANGES
        self._tally = _tally(seen)
        self.result = {"upgrade": "upgraded", "follow": "upgraded", "create": "created", "scale": "scaled"}.get(
            seen.action, "unchanged"
        )

    def forward(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Begin the upgrade, or go on with the one that runs; return the app when all its tasks are well.

        :raises Hopeless: it was undone, or could not be; ``detail`` is what :meth:`told` returns.
        """
        seen, params = self._seen, self._params
        following = self._following()
        try:
            with following.events() as events:
                if self._changes:
                    self._deployment_id = change(
                        self._marathon, seen.app_id, seen.live, seen.definition, params["force"]
                    )
                with self._marathon.blamed(changed=self._changes):
                    app = following.wait(
                        events, timeout=params["wait_timeout"], definition=seen.definition, changed=self._changes
                    )
                    seconds = _watch_seconds(params, app)
                    return following.stay(events, seconds=seconds) if seconds and self._moves else app
        except (Hopeless, DeadlinePassed) as error:
            raise self._failure(plan, error) from error

    @property
    def _moves(self) -> bool:
        """Whether this run stands for the change, so that it may undo it: it began it, or follows an upgrade."""
        return self._changes or self._seen.action == "follow"

    def _failure(self, plan: Mapping[str, Any], error: OperationError) -> Hopeless:
        """What the upgrade ended with, after it was undone where that is wanted and possible."""
        why, back = error.message, self._seen.names[0]
        if not self._moves or error.code in _TAKEN_AWAY:
            result, head = "failed", why
        elif not self._params["rollback"]:
            result = "failed"
            head = f"{why}\nIt is left as it is, as was asked for (rollback is false); Marathon goes on with it."
        else:
            self._context.progress(f"{self._tally.picture()}  back to {back}: {why}")
            self._context.sample("decision", text=f"{self._seen.app_id} goes back to {back}", reason=why)
            try:
                self._back()
            except OperationError as second:
                result, head = "failed", f"{why}\nGoing back to {back} failed: {second.message}"
            else:
                result = "rolled_back"
                head = f"Rolled back to {back}: {why}" if self._seen.live is not None else f"Removed again: {why}"
        told = self.told(plan, result, why)
        for text in told["losses"]:
            self._context.sample("decision", text=text, reason="Marathon kills without draining")
        return Hopeless(
            error.code,
            "\n".join([head, *told["losses"]]),
            system=self._marathon.url,
            request=error.request,
            status=error.status,
            detail=told,
            changed=self._changes or self._rollback_id is not None,
        )

    def _back(self) -> None:
        """Marathon's own rollback where the deployment still runs; else the old definition is deployed again."""
        seen, timeout = self._seen, self._params["rollback_timeout"]
        if seen.live is None:
            self._remove_again(timeout)
            return
        live = self._marathon.app(seen.app_id)
        if seen.action != "scale":
            self._tally.begin(seen.names[0], seen.before or {}, after=live["version"])
        running = {deployment["id"] for deployment in live.get("deployments") or []}
        following = self._following(back=True)
        with following.events() as events, self._marathon.blamed(changed=True):
            if running == {self._deployment_id}:
                self._rollback_id = self._cancel()
            if self._rollback_id is None:
                if seen.before is None:
                    raise NotFound(
                        "not_found",
                        f"Marathon has no version of {seen.app_id} stored that it could go back to.",
                        system=self._marathon.url,
                    )
                # By force: whatever else runs at the app was begun after this upgrade.
                self._rollback_id = change(self._marathon, seen.app_id, live, seen.before, True)
            following.wait(events, timeout=timeout, definition=seen.before, changed=True)

    def _cancel(self) -> str | None:
        try:
            return self._marathon.cancel_deployment(str(self._deployment_id))
        except NotFound:
            return None  # it has ended in this moment

    def _remove_again(self, timeout: float) -> None:
        """There was nothing before, so the way back is to have nothing again."""
        ending = Ending(self._marathon, self._context, apps=[self._seen.app_id])
        with Events(self._marathon, ENDING_TYPES, ending.matters) as events, self._marathon.blamed(changed=True):
            try:
                self._rollback_id = self._marathon.delete_app(self._seen.app_id)
            except NotFound:
                return  # somebody else has removed it: what was wanted
            ending.wait(events, timeout=timeout, just_begun=True)

    def _following(self, *, back: bool = False) -> Following:
        """Going back is worth one healthy task less, and so is what was known to stand still.

        On the way back nothing is won by giving up before its time is over, so it waits for offers that long.
        """
        count = (self._seen.live or self._seen.definition).get("instances") or 1
        keep = kept(self._seen.definition, count)
        if back:
            keep = min(keep, kept(self._seen.before or {}, count))
        if back or self._params["accept_unfinishable"]:
            keep = max(1, min(keep, count - 1))
        graces = [
            one.get("taskKillGracePeriodSeconds") or 0 for one in (self._seen.definition, self._seen.before or {})
        ]
        return Following(
            self._marathon,
            self._seen.app_id,
            self._context,
            offer_timeout=self._params["rollback_timeout" if back else "offer_timeout"],
            tally=self._tally,
            keep=keep,
            grace=max(graces),
        )

    def told(self, plan: Mapping[str, Any], result: str, why: str | None = None) -> dict[str, Any]:
        """The plan with what came of it."""
        killed = self._tally.killed()
        spent = round(self._context.now() - self._started, 3)
        ids = {"deployment_id": self._deployment_id, "rollback_id": self._rollback_id}
        return {**plan, **ids, **_told(self._seen, plan, result, why, killed, spent)}


def _told(
    seen: Observed,
    plan: Mapping[str, Any],
    result: str,
    why: str | None = None,
    killed: Mapping[str, int] | None = None,
    spent: float = 0.0,
) -> dict[str, Any]:
    losses = _losses(killed or {})
    lines = list(plan["lines"])
    if result not in ("planned", "unchanged"):
        way = f"{plan['from']} -> {plan['to']}" if plan["from"] and plan["from"] != plan["to"] else plan["to"]
        lines = [f"{seen.app_id}: {way}: {result.replace('_', ' ')}, {plan['instances']} instances, {spent:.1f} s"]
        lines += losses
        lines += [f"because: {why}"] if why else []
    return {
        "result": result,
        "failure": why,
        "killed": dict(killed or {}),
        "duration_s": spent,
        "losses": losses,
        "lines": lines,
    }


def _losses(killed: Mapping[str, int]) -> list[str]:
    """How many tasks were killed that had served: what was in flight there is gone."""
    total = sum(killed.values())
    if not total:
        return []
    each = ", ".join(f"{count} of {name}" for name, count in killed.items())
    were = "tasks that served were" if total > 1 else "task that served was"
    return [f"{total} {were} killed without draining ({each}): requests in flight there may be lost."]


def _watch_seconds(params: Mapping[str, Any], app: Mapping[str, Any]) -> float:
    if params["watch_seconds"] is not None:
        return float(params["watch_seconds"])
    return 0.0 if app.get("healthChecks") else _WATCH_UNCHECKED


def _tally(seen: Observed) -> Tally:
    """The tasks of both versions, as they are before anything is done."""
    tally, (old, new), live = Tally(), seen.names, seen.live
    if live is None:
        tally.begin(new, seen.definition)
        return tally
    if seen.action not in ("upgrade", "follow"):
        tally.begin(new, live)
        tally.look(live)
        return tally
    tally.begin(old, seen.before or live)
    after = live["version"]
    if seen.action == "follow":
        stamps = [str(task.get("version") or "") for task in live.get("tasks") or []]
        after = max((stamp for stamp in stamps if not is_current(live, stamp)), default="")
        tally.begin(new, seen.definition, after=after)
        tally.look(live)
    else:
        tally.look(live)
        tally.begin(new, seen.definition, after=after)
    return tally
