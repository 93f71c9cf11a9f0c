# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that no ``no_log`` option announces: passwords inside of addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/?#:@]*:(?P<password>[^\s/?#]+)@", re.IGNORECASE)


def secrets_in_addresses(value: Any) -> set[str]:
    """Return the passwords of all addresses like ``http://user:password@host`` anywhere in ``value``, as written and
    decoded.
    """
    found = {match["password"] for text in _texts(value) for match in _PASSWORD.finditer(text)}
    return found | {unquote(password) for password in found}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
