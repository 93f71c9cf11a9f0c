# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definition that an app had before is the newest stored one that differs in more than the count."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._http import Http
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.changing import definition_before
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.client import Marathon
from ansible_collections.zdd.rollout.tests.unit.plugins.module_utils.serving import Reply, Request, serving

LIVE = "2026-01-04T00:00:00.000Z"
STAMPS = [f"2026-01-0{day}T00:00:00.000Z" for day in (5, 4, 3, 2, 1)]


def stored(version: str, instances: int) -> dict[str, Any]:
    return {"id": "/web", "cmd": "serve", "env": {"VERSION": version}, "instances": instances}


def before(stored_versions: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    def answer(request: Request) -> Reply:
        stamp = request.path.rpartition("/")[2].replace("%3A", ":")
        if stamp == "versions":
            return 200, {"versions": list(stored_versions)}
        return 200, stored_versions[stamp]

    with serving(answer) as server:
        marathon = Marathon(Http("Marathon", [server.url], Context(), timeout=5, retry_timeout=0), Context())
        return definition_before(marathon, {**stored("3", 4), "version": LIVE})


def test_versions_that_only_scaled_are_passed_over() -> None:
    found = before(dict(zip(STAMPS[1:], [stored("3", 4), stored("3", 2), stored("2", 2), stored("1", 2)], strict=True)))

    assert found is not None
    assert found["env"]["VERSION"] == "2"


def test_what_is_newer_than_the_live_definition_is_none_to_go_back_to() -> None:
    found = before({STAMPS[0]: stored("4", 4), STAMPS[1]: stored("3", 4), STAMPS[2]: stored("1", 4)})

    assert found is not None
    assert found["env"]["VERSION"] == "1"


@pytest.mark.parametrize("only", [{}, {LIVE: stored("3", 4)}], ids=["none", "the live one"])
def test_there_may_be_none(only: dict[str, dict[str, Any]]) -> None:
    assert before(only) is None
