# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far an app has come, and whether it will ever arrive. Pure: decided from what Marathon showed.

A deployment never fails by itself: tasks that crash, stay unhealthy or find no agent keep it waiting for ever
(reference B5). So the reasons for which it will not end are looked for here:

* the back-off in ``/v2/queue`` together with ``lastTaskFailure`` of the present version: a crash loop (B10);
* ``rejectSummaryLastOffers`` in ``/v2/queue``: no agent has what the app asks for;
* ``lastTaskFailure`` by a failed health check, again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import Hopeless

Json = Mapping[str, Any]

# A task in one of these states is there no more, whatever the list says: Marathon keeps the instance to relaunch it.
ENDED = frozenset(
    f"TASK_{state}"
    for state in ("FINISHED", "FAILED", "KILLED", "ERROR", "DROPPED", "GONE", "GONE_BY_OPERATOR", "LOST", "UNKNOWN")
)

# One failure with a shorter back-off (s) may be an accident; Marathon tries again at once.
_LONG_BACKOFF = 5.0
_LOOP = 2

# What Marathon's message of such a failure says.
KILLED_BY_CHECK = "health check failed"


@dataclass(frozen=True)
class Counts:
    """Tasks of an app. ``running``, ``healthy``, ``ready`` and ``staging`` are those of the present definition.

    ``settled``: running, passing every check that the app has, and ready. ``old``: tasks of an earlier definition.
    ``ending``: tasks that are being killed.
    """

    instances: int
    staging: int
    running: int
    healthy: int
    ready: int
    settled: int
    old: int
    ending: int

    def as_dict(self) -> dict[str, int]:
        """The counts as plain data, for a result."""
        return dict(vars(self))


def is_current(app: Json, version: str | None) -> bool:
    """Whether a task or a failure with this ``version`` belongs to the present definition of the app.

    Scaling makes a new version too, but the tasks from before stay what they are. Marathon's times compare as text.
    """
    since = (app.get("versionInfo") or {}).get("lastConfigChangeAt") or app.get("version")
    return version is None or since is None or version >= since


def is_healthy(app: Json, task: Json) -> bool | None:
    """Whether all checks of a task pass; ``None`` for an app without checks. No result yet is not healthy."""
    if not app.get("healthChecks"):
        return None
    results = task.get("healthCheckResults") or []
    return bool(results) and all(result.get("alive") for result in results)


def counts(app: Json) -> Counts:
    """Count the tasks of an app that was read with ``app.tasks`` and ``app.readiness``."""
    waiting_for = {
        result["taskId"] for result in app.get("readinessCheckResults") or [] if not result.get("ready", False)
    }
    checked_for_readiness = bool(app.get("readinessChecks") and app.get("deployments"))
    answered = {result["taskId"] for result in app.get("readinessCheckResults") or []}
    staging = running = healthy = ready = settled = old = ending = 0
    for task in app.get("tasks") or []:
        state = task.get("state", "TASK_RUNNING")
        if state in ENDED:
            continue
        if state == "TASK_KILLING":
            ending += 1
        elif not is_current(app, task.get("version")):
            old += 1
        elif state != "TASK_RUNNING":
            staging += 1
        else:
            running += 1
            alive = is_healthy(app, task)
            is_ready = task["id"] not in waiting_for and (
                not checked_for_readiness or task["id"] in answered or _was_there_before(app, task)
            )
            healthy += alive is True
            ready += is_ready
            settled += alive is not False and is_ready
    return Counts(app["instances"], staging, running, healthy, ready, settled, old, ending)


def _was_there_before(app: Json, task: Json) -> bool:
    """Marathon asks only the tasks that a deployment starts whether they are ready."""
    return bool(task.get("version") and app.get("version") and task["version"] < app["version"])


def unsettled(
    app: Json,
    entry: Json | None = None,
    *,
    waited: float = 0.0,
    failures: int = 0,
    offer_timeout: float = 60.0,
) -> str | None:
    """Return what is missing until the app is as its definition says, ``None`` when nothing is.

    ``entry``: its entry of ``/v2/queue``, if one was asked for and is there. ``waited``: seconds in which no further
    task was launched. ``failures``: how many tasks of the present definition were seen to end by themselves or by a
    failed check. ``offer_timeout``: how long (s) to wait for an agent that has what the app asks for.

    :raises Hopeless: it will not get there without another change; the message says why.
    """
    now = counts(app)
    missing = _missing(app, now)
    if missing is None:
        return None
    reason = _crash_loop(app, entry, failures) or _failing_checks(app, failures)
    if reason is None and waited >= offer_timeout:
        reason = _no_offers(app, entry, waited)
    if reason:
        code, text = reason
        raise Hopeless(code, f"{text} ({missing})", detail={"counts": now.as_dict(), "queue": _queue_detail(entry)})
    return missing


def launched(app: Json) -> int:
    """How many tasks of the present definition were ever launched and are there: it grows while there is progress."""
    now = counts(app)
    return now.staging + now.running


def present_failure(app: Json) -> Json | None:
    """``lastTaskFailure``, if it is one of the present definition."""
    failure = app.get("lastTaskFailure")
    return failure if failure and is_current(app, failure.get("version")) else None


def _missing(app: Json, now: Counts) -> str | None:
    deployments = app.get("deployments") or []
    others = now.staging + now.old + now.ending
    if not deployments and not others and now.settled == now.running == now.instances:
        return None
    word = "healthy" if app.get("healthChecks") else "running"
    parts = [f"{now.healthy if app.get('healthChecks') else now.running} of {now.instances} tasks {word}"]
    if app.get("healthChecks") and now.running > now.healthy:
        parts.append(f"{now.running - now.healthy} not healthy")
    if app.get("readinessChecks") and now.ready < now.running:
        parts.append(f"{now.running - now.ready} not ready")
    for count, what in ((now.staging, "staging"), (now.old, "old"), (now.ending, "ending")):
        if count:
            parts.append(f"{count} {what}")
    if deployments:
        parts.append(f"deployment {deployments[0]['id']} runs")
    return f"{app['id']}: {', '.join(parts)}"


def _crash_loop(app: Json, entry: Json | None, failures: int) -> tuple[str, str] | None:
    failure = present_failure(app)
    delay = (entry or {}).get("delay") or {}
    if failure is None or delay.get("overdue", True):
        return None
    left = delay.get("timeLeftSeconds") or 0
    if failures < _LOOP and left < _LONG_BACKOFF:
        return None
    return "crash_loop", f"{app['id']} crash-loops: {_told(failure)}; Marathon tries again in {left:.0f} s"


def _failing_checks(app: Json, failures: int) -> tuple[str, str] | None:
    failure = present_failure(app)
    if failure is None or failures < _LOOP or KILLED_BY_CHECK not in (failure.get("message") or ""):
        return None
    return "checks_fail", f"{app['id']} fails its health checks, so Marathon kills its tasks: {_told(failure)}"


def _no_offers(app: Json, entry: Json | None, waited: float) -> tuple[str, str] | None:
    if not entry or not entry.get("count") or not (entry.get("delay") or {}).get("overdue", True):
        return None
    summary = entry.get("processedOffersSummary") or {}
    reasons = rejections(summary.get("rejectSummaryLastOffers") or [])
    if reasons:
        why = f"no agent has what {app['id']} asks for: {', '.join(reasons)}"
    elif summary.get("processedOffersCount"):
        why = f"no agent's offer was good enough for {app['id']}"
    else:
        why = f"Marathon got no offers for {app['id']}"
    return "no_offers", f"After {waited:.0f} s {why}; {entry['count']} to be launched"


def rejections(summary: Iterable[Json]) -> list[str]:
    """The reasons of a reject summary that declined anything: ``InsufficientCpus (3 of 4 offers)``."""
    return [
        f"{item['reason']} ({item['declined']} of {item['processed']} offers)" for item in summary if item["declined"]
    ]


def _told(failure: Json) -> str:
    message = (failure.get("message") or "").strip() or "no message"
    return f"{failure.get('state')} of {failure.get('taskId')} on {failure.get('host')}: {message}"


def _queue_detail(entry: Json | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {key: entry[key] for key in ("count", "delay", "processedOffersSummary") if key in entry}
