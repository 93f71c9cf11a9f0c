# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a deployment group: what Marathon says of its apps, and what every marathon-lb shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import Unreachable
from .._haproxy.configuration import parse
from .._haproxy.endpoints import MarathonLb
from .._haproxy.marathon_lb import LB_PAUSES, LbView
from .._haproxy.marathon_lb_decision import GROUP
from .._invocation.context import Context
from .._parallel import each
from .._rollout.state import Group
from .client import Marathon
from .deployment_group import by_age, observe
from .sampling import sample_instances


@dataclass(frozen=True)
class Observation:
    """``apps`` with their tasks, the first started one at the front; ``heads``: the live configurations as text."""

    apps: list[dict[str, Any]]
    views: list[LbView]
    heads: list[str]
    known_hosts: frozenset[str]
    group: Group

    def app(self, app_id: str) -> dict[str, Any] | None:
        """The app of that id, ``None`` when it is not in the group."""
        return next((app for app in self.apps if app["id"] == app_id), None)


def observe_group(
    marathon: Marathon, lbs: Sequence[MarathonLb], name: str, context: Context, patience: float
) -> Observation:
    """Ask Marathon once (twice where an app has constraints), and each LB twice.

    An LB that does not answer is asked again for ``patience`` seconds.

    :raises Unreachable: one of them cannot be asked: nothing can be said then.
    :raises InvalidInput: the group is none that a rollout can work on.
    """
    apps = by_age(group_apps(marathon, name))
    hosts = _known_hosts(marathon) if any(app.get("constraints") for app in apps) else frozenset()
    deadline = context.now() + patience
    seen = each(lambda lb: _seen(lb, context, deadline), lbs)
    views, heads = [view for view, _text in seen], [text for _view, text in seen]
    return Observation(apps, views, heads, hosts, observe(name, apps, views, heads, hosts))


def group_apps(marathon: Marathon, name: str) -> list[dict[str, Any]]:
    """The apps whose group label is ``name``, or ``name`` with the leading slash that marathon-lb adds itself."""
    word = name.replace("/", r"\/")
    apps = marathon.apps(label=rf"{GROUP} in ({word},\/{word})")
    sample_instances(marathon.context, apps)
    return apps


def _seen(lb: MarathonLb, context: Context, deadline: float) -> tuple[LbView, str]:
    pause = LB_PAUSES.first
    while True:
        try:
            text = lb.config()
            return LbView(lb.name, lb.stats(), parse(text)), text
        except Unreachable:
            left = deadline - context.now()
            if left <= 0:
                raise
            context.sleep(min(pause, left))
            pause = LB_PAUSES.after(pause)


def _known_hosts(marathon: Marathon) -> frozenset[str]:
    return frozenset(
        task["host"]
        for app in marathon.apps(embed=("apps.tasks",))
        for task in app.get("tasks") or ()
        if task.get("host")
    )
