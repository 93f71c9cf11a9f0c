# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations for the report's pictures, of what an operation has asked for anyway. No request is made here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._haproxy.marathon_lb import LbView, Server, servers_of
from .._invocation.context import Context
from .progress import counts, is_healthy

Json = Mapping[str, Any]


def sample_instances(context: Context, apps: Iterable[Json]) -> None:
    """How many tasks of each app run and do not fail a check; ``apps`` were read with their tasks."""
    counts = {app["id"]: sum(_serves(app, task) for task in app.get("tasks") or ()) for app in apps}
    if counts:
        context.sample("instances", **counts)


def sample_settled(context: Context, app: Json) -> None:
    """That an app is as its definition says; :func:`unsettled` has said so."""
    sample_instances(context, [app])
    word = "healthy" if app.get("healthChecks") else "running"
    text = f"all {counts(app).settled} tasks of {app['id']} are {word}, and no deployment of it runs"
    context.sample("evidence", text=text)


def sample_share(context: Context, views: Sequence[LbView], servers: Mapping[str, Sequence[Server]]) -> None:
    """How much of the traffic each app gets, by the weights of its servers that the LBs admit; the mean of all LBs.

    ``servers`` has those of each app. Looked up by name alone, since this is done at each look: where an LB calls them
    otherwise nothing is sampled.
    """
    shares = [share for view in views if (share := _share(view, servers))]
    if shares:
        context.sample("share", **{app: round(sum(one[app] for one in shares) / len(shares), 1) for app in servers})


class Errors:
    """Requests and answers 5xx of apps since the first look; the counters of LBs begin at 0 in each new worker."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._sums: dict[str, tuple[int, int]] = {}

    def look(self, views: Sequence[LbView], servers: Mapping[str, Sequence[Server]]) -> None:
        """Count on, and sample the sums. ``servers`` has those of each app."""
        for app, of_app in servers.items():
            requests, errors = self._sums.get(app, (0, 0))
            for view in views:
                for server in of_app:
                    row = (view.rows or {}).get((server.backend, server.server))
                    if row is not None:
                        more = self._since_last((view.name, *server[:2]), (row.req_tot, row.errors_5xx))
                        requests, errors = requests + more[0], errors + more[1]
            self._sums[app] = requests, errors
        sums = {app: {"requests": requests, "errors": errors} for app, (requests, errors) in self._sums.items()}
        self._context.sample("errors", **sums)

    def _since_last(self, key: tuple[str, str, str], counts: tuple[int, int]) -> tuple[int, int]:
        before = self._last.get(key, counts)
        self._last[key] = counts
        if counts[0] < before[0]:
            return counts
        return counts[0] - before[0], max(0, counts[1] - before[1])


def servers_by_app(apps: Iterable[Json]) -> dict[str, list[Server]]:
    """The servers of all tasks of each app."""
    return {app["id"]: [server for task in app.get("tasks") or () for server in servers_of(app, task)] for app in apps}


def _serves(app: Json, task: Json) -> bool:
    return task.get("state", "TASK_RUNNING") == "TASK_RUNNING" and is_healthy(app, task) is not False


def _share(view: LbView, servers: Mapping[str, Sequence[Server]]) -> dict[str, float] | None:
    rows = view.rows or {}
    weights = {
        app: sum(
            row.weight
            for server in of_app
            if (row := rows.get((server.backend, server.server))) and (row.is_up or row.is_unchecked)
        )
        for app, of_app in servers.items()
    }
    total = sum(weights.values())
    return {app: 100 * weight / total for app, weight in weights.items()} if total else None
