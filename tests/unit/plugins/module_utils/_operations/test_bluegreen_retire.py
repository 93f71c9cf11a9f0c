# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plain HAProxy has to show before a version is removed behind it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import OperationError
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._operations import bluegreen_retire
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import serving

GONE = {
    "id": "/web-blue",
    "instances": 1,
    "labels": {"HAPROXY_DEPLOYMENT_GROUP": "web", "HAPROXY_DEPLOYMENT_STARTED_AT": "2026-01-01T00:00:00"},
    "tasks": [{"id": "task.1", "host": "127.0.0.1", "ports": [31001], "state": "TASK_RUNNING"}],
}


def retire(state: str, sessions: int, *, cut: bool) -> dict[str, Any]:
    """In check mode, with one load balancer that has the server of the only task so."""
    server = {"address": "127.0.0.1:31001", "weight": 100, "state": state, "status": "MAINT", "queued": 0}
    given = {
        "lb_mode": "haproxy",
        "haproxy_lbs": [{"lb": "lb", "servers": {"task.1": {**server, "sessions": sessions}}}],
        "group": "web",
        "app_id": GONE["id"],
        "cut": cut,
    }
    defaults = {name: option.get("default") for name, option in bluegreen_retire.ARGUMENT_SPEC.items()}
    with serving(lambda _request: (200, {"apps": [GONE]})) as marathon:
        return bluegreen_retire.run({**defaults, "marathon_url": [marathon.url], **given}, Context(check_mode=True))


@pytest.mark.parametrize(("sessions", "cut"), [(0, False), (3, True)])
def test_what_is_idle_or_to_be_cut_is_removed(sessions: int, cut: bool) -> None:
    assert retire("maint", sessions, cut=cut)["changed"]


@pytest.mark.parametrize(("state", "sessions", "cut"), [("maint", 3, False), ("drain", 0, True), ("ready", 3, True)])
def test_what_is_busy_or_may_get_new_requests_is_held(state: str, sessions: int, cut: bool) -> None:
    """Also where it is to be cut: that would not end."""
    with pytest.raises(OperationError, match="still has its server") as held:
        retire(state, sessions, cut=cut)

    assert held.value.code == "held"
