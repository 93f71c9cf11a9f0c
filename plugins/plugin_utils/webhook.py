# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell a webhook what happens in a rollout. It can never harm the rollout: one attempt, a deadline, no exception.

Nothing of the address but scheme, host and port is ever shown: the rest of it often is the secret.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_NAME = "zdd.rollout"
_UNUSABLE = "its address or a header cannot be used"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is said to one host, headers and all, is not for another one."""

    def redirect_request(self, *_request: Any) -> None:
        """Follow nothing: the answer is an error then."""


def post(url: str, headers: Mapping[str, Any], event: Mapping[str, Any], timeout: float) -> str | None:
    """POST ``event`` as JSON; why it was not taken within ``timeout`` seconds, ``None`` when it was.

    The deadline is for all of it, names and TLS too, so the request runs in a thread that is left behind after it.
    """
    outcome: list[str | None] = []

    def send() -> None:
        outcome.append(_sent(url, headers, event, timeout))

    thread = threading.Thread(target=send, name="webhook", daemon=True)
    thread.start()
    thread.join(timeout)
    return outcome[0] if outcome else f"no answer within {timeout:g} s"


def shown(url: str) -> str:
    """The part of an address that is no secret."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(an address that is none)"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _sent(url: str, headers: Mapping[str, Any], event: Mapping[str, Any], timeout: float) -> str | None:
    given = {"Content-Type": "application/json", "User-Agent": _NAME, **{key: str(headers[key]) for key in headers}}
    try:
        request = urllib.request.Request(url, data=json.dumps(event).encode(), headers=given, method="POST")
        if request.type not in ("http", "https"):
            return _UNUSABLE
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except urllib.error.URLError as error:
        return f"no connection ({error.reason})"
    except OSError as error:
        return f"no answer ({error.strerror or type(error).__name__})"
    except Exception:  # noqa: BLE001 - what is wrong with an address or a header has it in its message
        return _UNUSABLE
