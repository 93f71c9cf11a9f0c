# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that Ansible does not find itself: parts of ``no_log`` dictionaries, and passwords inside of addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/?#:@]*:(?P<password>[^\s/?#]+)@", re.IGNORECASE)


def secrets_of(spec: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any]) -> set[str]:
    """Return what has to be masked in a result beside the ``no_log`` values that Ansible collects from the input."""
    return secrets_in_options(spec, params) | secrets_in_addresses(params)


def secrets_in_options(spec: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any]) -> set[str]:
    """Return all texts in the ``no_log`` options of ``params``, as validated; those of several lines line by line too.

    A dictionary that was given as JSON text (in an environment variable, say) is one secret to Ansible, the whole text;
    its parts are none. A key of several lines is written with other line ends where it is printed as JSON.
    """
    found: set[str] = set()
    for option, rules in spec.items():
        if rules.get("no_log"):
            for text in _texts(params.get(option)):
                found.add(text)
                found.update(line.strip() for line in text.splitlines())
    return found - {""}


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
