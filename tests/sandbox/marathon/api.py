# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which function answers which request of the REST API."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.sandbox.marathon.api_apps import AppsApi
from tests.sandbox.marathon.api_groups import GroupsApi
from tests.sandbox.marathon.api_tasks import TasksApi
from tests.sandbox.marathon.core import Marathon
from tests.sandbox.marathon.definitions import absolute
from tests.sandbox.marathon.errors import ApiError, refused
from tests.sandbox.marathon.exchange import Ask, Reply, deployment_reply

VERSION = "1.8.244"
Handler = Callable[..., Reply]


class Api:
    """All of the API but the event stream; ``leader`` tells the leader's "host:port", ``abdicate`` takes it away."""

    def __init__(self, marathon: Marathon, leader: Callable[[], str | None], abdicate: Callable[[], None]) -> None:
        self._marathon = marathon
        self._leader = leader
        self._abdicate = abdicate
        apps, tasks, groups = AppsApi(marathon), TasksApi(marathon), GroupsApi(marathon)
        self._routes: list[tuple[re.Pattern[str], dict[str, Handler]]] = [
            (re.compile(pattern), handlers)
            for pattern, handlers in (
                (
                    r"/v2/apps/?",
                    {
                        "GET": apps.listed,
                        "POST": apps.create,
                        "PUT": apps.update_many,
                        "PATCH": apps.update_many,
                    },
                ),
                (r"/v2/apps/+(.+)/restart/?", {"POST": apps.restart}),
                (r"/v2/apps/+(.+)/versions/?", {"GET": apps.versions}),
                (r"/v2/apps/+(.+)/versions/([^/]+)", {"GET": apps.version}),
                (r"/v2/apps/+(.+)/tasks/?", {"GET": tasks.of_app, "DELETE": tasks.delete_of_app}),
                (r"/v2/apps/+(.+)/tasks/([^/]+)", {"DELETE": tasks.delete_one_of_app}),
                (
                    r"/v2/apps/+(.+)",
                    {"GET": apps.one, "PUT": apps.update, "PATCH": apps.update, "DELETE": apps.delete},
                ),
                (r"/v2/tasks/delete/?", {"POST": tasks.delete}),
                (r"/v2/tasks/?", {"GET": tasks.listed}),
                (r"/v2/deployments/?", {"GET": self._deployments}),
                (r"/v2/deployments/([^/]+)", {"DELETE": self._cancel}),
                (r"/v2/queue/?", {"GET": self._queue}),
                (r"/v2/queue/+(.+)/delay", {"DELETE": self._reset_delay}),
                (
                    r"/v2/groups((?:/.*)?)",
                    {"GET": groups.one, "PUT": groups.put, "POST": groups.put, "DELETE": groups.delete},
                ),
                (r"/v2/info/?", {"GET": self._info}),
                (r"/v2/leader/?", {"GET": self._show_leader, "DELETE": self._delete_leader}),
                (r"/v2/pods/?", {"GET": self._pods, "HEAD": self._pods}),
                (r"/ping/?", {"GET": self._ping}),
                (r"/metrics/?", {"GET": self._metrics}),
            )
        ]

    def answer(self, ask: Ask) -> Reply:
        """The answer, errors included."""
        try:
            for pattern, handlers in self._routes:
                match = pattern.fullmatch(ask.path)
                if match is not None:
                    if ask.method not in handlers:
                        raise refused(405, "HTTP 405 Method Not Allowed")
                    return handlers[ask.method](ask, *match.groups())
            raise refused(500, "URI not found")
        except ApiError as error:
            return Reply(error.status, error.body)

    def _deployments(self, _ask: Ask) -> Reply:
        return Reply(body=[one.shown() for one in self._marathon.deployments.running.values()])

    def _cancel(self, ask: Ask, deployment_id: str) -> Reply:
        deployment = self._marathon.deployments.running.get(deployment_id)
        if deployment is None:
            raise refused(404, f"DeploymentPlan {deployment_id} does not exist")
        if ask.flag("force"):
            self._marathon.deployments.cancel(deployment_id)
            return Reply(202)
        return deployment_reply(self._marathon.change("/", lambda draft: draft.revert(deployment.plan), force=True))

    def _queue(self, ask: Ask) -> Reply:
        entries = self._marathon.queue.shown()
        if "lastUnusedOffers" in ask.query.get("embed", ()):
            entries = [{**one, "lastUnusedOffers": []} for one in entries]
        return Reply(body={"queue": entries})

    def _reset_delay(self, _ask: Ask, app_id: str) -> Reply:
        app_id = absolute(app_id)
        if not self._marathon.queue.waits(app_id):
            raise refused(404, f"Application {app_id} not found in tasks queue.")
        self._marathon.queue.reset_delays_of(app_id)
        return Reply(204)

    def _info(self, _ask: Ask) -> Reply:
        body: dict[str, Any] = {
            "name": "marathon",
            "version": VERSION,
            "buildref": "unknown",
            "elected": True,
            "leader": self._leader(),
            "frameworkId": "00000000-0000-0000-0000-000000000000-0000",
            "marathon_config": {
                "features": [],
                "local_port_min": 10000,
                "local_port_max": 20000,
                "max_instances_per_offer": 5,
                "mesos_role": None,
                "task_launch_timeout": 300000,
            },
            "zookeeper_config": {"zk": "zk://localhost:2181/marathon", "zk_timeout": 10000},
            "http_config": {"http_port": 8080, "https_port": 8443},
        }
        return Reply(body=body)

    def _show_leader(self, _ask: Ask) -> Reply:
        leader = self._leader()
        if leader is None:
            raise refused(404, "There is no leader")
        return Reply(body={"leader": leader})

    def _delete_leader(self, _ask: Ask) -> Reply:
        self._abdicate()
        return Reply(body={"message": "Leadership abdicated"})

    @staticmethod
    def _pods(_ask: Ask) -> Reply:
        return Reply(body=[])

    @staticmethod
    def _ping(ask: Ask) -> Reply:
        if "json" in ask.accept:
            return Reply(body="pong")
        if not ask.accept or "*/*" in ask.accept or "text/" in ask.accept:
            return Reply(body=b"pong", headers={"Content-Type": "text/plain"})
        return Reply(204)

    def _metrics(self, _ask: Ask) -> Reply:
        gauges = {
            "marathon.apps.active.gauge": {"value": len(self._marathon.apps)},
            "marathon.deployments.active.gauge": {"value": len(self._marathon.deployments.running)},
            "marathon.instances.running.gauge": {
                "value": sum(one.condition == "Running" for one in self._marathon.tracker.all())
            },
        }
        others: dict[str, Any] = {"counters": {}, "histograms": {}, "meters": {}, "timers": {}}
        return Reply(body={"version": "4.0.0", "gauges": gauges, **others})
