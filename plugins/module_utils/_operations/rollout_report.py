# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what a rollout did: lines for people, a dictionary for machines, files where they are wanted.

What the rollout did is what counts: a file that cannot be written is a warning, and no failure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._errors import InvalidInput
from .._invocation.context import Context
from .._report.course import course
from .._report.merged import merged
from .._report.page import page
from .._report.text import full_text, lines_of
from .._rollout.lock import owner_name

ARGUMENT_SPEC: dict[str, Any] = {
    "plan": {"type": "dict"},
    "journal": {"type": "list", "elements": "dict", "default": []},
    "started": {"type": "float"},
    "ended": {"type": "float"},
    "result": {"type": "str"},
    "failure": {"type": "str"},
    "failed_at": {"type": "float"},
    "cluster": {"type": "str"},
    "marathon": {"type": "list", "elements": "str", "default": []},
    "load_balancers": {"type": "list", "elements": "str", "default": []},
    "owner": {"type": "str"},
    "reports": {"type": "list", "elements": "dict"},
    "title": {"type": "str"},
    "path": {"type": "list", "elements": "path", "default": []},
}
ARGUMENT_RULES: dict[str, Any] = {
    "mutually_exclusive": [("plan", "reports")],
    "required_one_of": [("plan", "reports")],
    "required_by": {"plan": ("started", "ended", "result")},
}

_PAGES = (".html", ".htm")
_TEXTS = (".txt", ".text")


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """See the module's documentation."""
    if params["reports"] is not None:
        if not params["reports"]:
            raise InvalidInput("invalid_option", "Option reports is empty.")
        report = merged(params["reports"], params["title"])
    else:
        report = course({**params, "owner": params["owner"] or owner_name()})
    changed = [_write(Path(path), report, context) for path in params["path"] if path]
    return {"changed": any(changed), "report": report, "lines": lines_of(report)}


def _write(path: Path, report: Mapping[str, Any], context: Context) -> bool:
    """Write the file whole or not at all; whether it changed."""
    text = _content(path, report)
    try:
        if path.exists() and path.read_bytes() == text.encode():
            return False
        if context.check_mode:
            return True
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.{os.getpid()}")
        staged.write_bytes(text.encode())
        staged.replace(path)
    except OSError as error:
        context.warn(f"The report {path} could not be written: {error.strerror or error}.")
        return False
    return True


def _content(path: Path, report: Mapping[str, Any]) -> str:
    suffix = path.suffix.lower()
    if suffix in _PAGES:
        return page(report)
    if suffix in _TEXTS:
        return full_text(report).encode(errors="backslashreplace").decode()
    return json.dumps(report, indent=2) + "\n"
