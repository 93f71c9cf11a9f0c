# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""App definitions in files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# PyYAML may be missing where a module runs; this wrapper is there in any case.
from ansible.module_utils.common.yaml import HAS_YAML, yaml_load

from .._errors import InvalidInput


def read_definition(path: str | Path, what: str = "app definition") -> dict[str, Any]:
    """Return the definition of a file in JSON or YAML; what is in it is not checked further. ``what`` is its name.

    :raises InvalidInput: the file cannot be read, or holds no mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise InvalidInput("unreadable_file", f"Option src: {path} cannot be read: {why}.") from None
    definition = _parse(path, text)
    if not isinstance(definition, Mapping):
        raise InvalidInput("invalid_definition", f"{path} holds no {what}, which is a mapping.")
    return dict(definition)


def _parse(path: str | Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        not_json = str(error)
    if not HAS_YAML:
        raise InvalidInput("unreadable_file", f"{path} is no JSON ({not_json}), and to read YAML needs PyYAML.")
    try:
        return yaml_load(text)
    except Exception as error:  # noqa: BLE001  PyYAML's error class has no name where PyYAML may be missing
        why = " ".join(str(error).split())
        raise InvalidInput("unreadable_file", f"{path} is neither JSON nor YAML: {why}") from None
