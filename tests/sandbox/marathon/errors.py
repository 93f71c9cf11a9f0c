# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API refuses, as Marathon words it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

LOCKED = (
    "App is locked by one or more deployments. Override with the option '?force=true'. "
    "View details at '/v2/deployments/<DEPLOYMENT_ID>'."
)


class ApiError(Exception):
    """An answer other than success: ``status`` and the JSON ``body``."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(body.get("message"))
        self.status = status
        self.body = body


def refused(status: int, message: str) -> ApiError:
    return ApiError(status, {"message": message})


def no_app(app_id: str, version: str | None = None) -> ApiError:
    suffix = f" in version {version}" if version else ""
    return refused(404, f"App '{app_id}' does not exist{suffix}")


def locked(deployment_ids: Sequence[str]) -> ApiError:
    return ApiError(409, {"message": LOCKED, "deployments": [{"id": one} for one in deployment_ids]})


def _details(violations: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    by_path: dict[str, list[str]] = {}
    for path, text in violations:
        by_path.setdefault(path, []).append(text)
    return [{"path": path, "errors": texts} for path, texts in sorted(by_path.items())]


def invalid_json(violations: Iterable[tuple[str, str]]) -> ApiError:
    """The body is JSON, but not of the right types; ``violations`` are pairs of path and text."""
    return ApiError(422, {"message": "Invalid JSON", "details": _details(violations)})


def invalid_object(violations: Iterable[tuple[str, str]]) -> ApiError:
    """The body has the right types and makes no sense."""
    return ApiError(422, {"message": "Object is not valid", "details": _details(violations)})
