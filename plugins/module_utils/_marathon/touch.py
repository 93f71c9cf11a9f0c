# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Touch an app: make it the one of its deployment group that was scaled last, and change nothing else.

Scale it by one, and take the new task away by its id before it is healthy (reference A13). The request to scale alone
turns the traffic. Never is the count put back by a number while the new instance is not launched: Marathon would kill a
running task and keep the scheduled instance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .._errors import DeadlinePassed, Locked
from .._invocation.context import Context
from .._wait import Pauses, wait_until
from .client import Marathon
from .deployment_group import is_alive
from .events import Events

PENDING = "pending"

_TYPES = ("status_update_event", "instance_changed_event")
_LAUNCH_PAUSES = Pauses(0.25, 2.0, 5.0)
_LOCK_PAUSES = Pauses(0.1, 1.8, 5.0)

Json = Mapping[str, Any]


class Touch:
    """Touches one app. ``left()`` is how many seconds the caller has for it, ``offer_timeout`` how many an agent has.

    A context manager: events are subscribed to before the first request that matters.
    """

    def __init__(
        self, marathon: Marathon, app: Json, context: Context, *, offer_timeout: float, left: Callable[[], float]
    ) -> None:
        self._marathon = marathon
        self._app = app
        self._context = context
        self._offer_timeout = offer_timeout
        self._left = left
        self._known = {instance_of(task["id"]) for task in app.get("tasks") or ()}
        self._events = Events(marathon, _TYPES, self._is_new)

    def __enter__(self) -> Touch:
        self._events.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._events.__exit__(*exception)

    def scale(self) -> None:
        """Ask for one instance more: from now on the app receives."""
        scale(self._marathon, self._app, self._app["instances"] + 1, self._context, self._left)

    def take_away(self) -> str | None:
        """Remove the new task; ``None`` when it is gone, its id when it serves already, ``PENDING`` when there is none.

        A pending instance does no harm: it is removed when it is launched, by whoever comes next.
        """
        new = wait_for_task(
            self._marathon,
            self._app["id"],
            lambda task: instance_of(task["id"]) not in self._known,
            self._context,
            timeout=min(self._offer_timeout, self._left()),
            rest=self._events.rest,
        )
        if new is None:
            self._context.warn(
                f"No agent has taken the extra instance of {self._app['id']} within {self._offer_timeout:g} s. The "
                "traffic has turned all the same. It does no harm, and is removed as soon as it is launched."
            )
            return PENDING
        if is_alive(new):
            return str(new["id"])
        counts = {self._app["id"]: self._app["instances"] + 1}
        self._marathon.kill_and_scale([new["id"]], counts, force=True)
        return None

    def _is_new(self, event: Json) -> bool:
        if self._app["id"] not in (event.get("appId"), event.get("runSpecId")):
            return False
        name = event.get("taskId") or event.get("instanceId") or ""
        return instance_of(name) not in self._known


def wait_for_task(
    marathon: Marathon,
    app_id: str,
    wanted: Callable[[Json], bool],
    context: Context,
    *,
    timeout: float,
    rest: Callable[[float], object] | None = None,
) -> dict[str, Any] | None:
    """A task of the app that is ``wanted`` and not being killed; ``None`` when there is none in ``timeout`` seconds."""

    def found() -> dict[str, Any] | None:
        tasks = marathon.tasks(app_id)
        return next((task for task in tasks if wanted(task) and task["state"] != "TASK_KILLING"), None)

    try:
        return wait_until(
            context,
            found,
            lambda task: None if task else f"the extra instance of {app_id} is not launched yet",
            timeout=timeout,
            pauses=_LAUNCH_PAUSES,
            rest=rest,
        )
    except DeadlinePassed:
        return None


def scale(marathon: Marathon, app: Json, count: int, context: Context, left: Callable[[], float]) -> None:
    """Scale an app; one that is still locked by the end of an earlier change is waited for, ``left()`` seconds at most.

    An app that is locked only because an instance of it finds no offer is scaled by force (reference A13).
    """
    pause: float | None = None
    while True:
        try:
            marathon.scale_app(app["id"], count, app=app)
            return
        except Locked as error:
            if _is_pending(app):
                marathon.scale_app(app["id"], count, force=True, app=app)
                return
            if left() <= 0:
                raise
            context.progress(f"{error.message} ({left():.0f} s left)")
        pause = _LOCK_PAUSES.after(pause)
        context.sleep(min(pause, left()))


def instance_of(task_id: str) -> str:
    """The instance of a task: a relaunched one keeps it, with another incarnation (Marathon 1.8 and newer)."""
    return re.sub(r"\._app\.\d+$", "", task_id).replace(".instance-", ".").replace(".marathon-", ".")


def _is_pending(app: Json) -> bool:
    return app["instances"] > len([task for task in app.get("tasks") or () if task["state"] != "TASK_KILLING"])
