# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide at a barrier what clusters and apps that are changed together do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .._errors import InvalidInput
from .._invocation.context import Context
from .._rollout.together import ON_FAILURE, Choice, Decision, Outcome, after_letting_in, after_planning

MOMENTS = ("planned", "let_in", "last")

ARGUMENT_SPEC: dict[str, Any] = {
    "moment": {"type": "str", "choices": list(MOMENTS), "required": True},
    "clusters": {"type": "dict", "required": True},
    "earlier": {"type": "dict", "default": {}},
    "on_failure": {"type": "str", "choices": list(ON_FAILURE), "default": "wave"},
    "keep_old": {"type": "bool", "default": False},
    "rollback": {"type": "bool", "default": True},
}


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    clusters = _outcomes("clusters", params["clusters"])
    choice = Choice(on_failure=params["on_failure"], keep_old=params["keep_old"], goes_back=params["rollback"])
    if params["moment"] == "planned":
        earlier = _outcomes("earlier", params["earlier"])
        decided = after_planning(clusters, earlier, choice, rehearses=context.check_mode)
    else:
        decided = after_letting_in(clusters, choice, last=params["moment"] == "last")
    decision = {
        host: {"next": one.what, "reason": one.reason, "outcomes": [asdict(outcome) for outcome in one.outcomes]}
        for host, one in decided.items()
    }
    return {"changed": False, "decision": decision, "lines": _lines(decided)}


def _outcomes(option: str, clusters: Mapping[str, Any]) -> dict[str, list[Outcome]]:
    """Plain data as outcomes; keys that they do not have are left out.

    :raises InvalidInput: an outcome without a result.
    """
    found: dict[str, list[Outcome]] = {}
    for host, given in clusters.items():
        if not isinstance(given, list) or not all(isinstance(one, Mapping) and one.get("result") for one in given):
            raise InvalidInput(
                "invalid_option", f"Option {option}: {host} needs a list of outcomes, each with a result."
            )
        found[host] = [
            Outcome(
                group=str(one.get("group") or ""),
                result=str(one["result"]),
                failure=str(one.get("failure") or ""),
                follows=bool(one.get("follows")),
            )
            for one in given
        ]
    return found


def _lines(decided: Decision) -> list[str]:
    """The decision for people: clusters that do the same for the same reason share a line."""
    shared: dict[tuple[str, str], list[str]] = {}
    for host, one in decided.items():
        shared.setdefault((one.what, one.reason), []).append(host)
    return [
        f"{what}: {', '.join(hosts)}" + (f" ({reason})" if reason else "") for (what, reason), hosts in shared.items()
    ]
