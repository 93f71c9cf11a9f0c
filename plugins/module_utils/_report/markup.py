# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML and SVG that cannot be broken by what is put into it: all text is escaped unless it was made here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

Attributes = Mapping[str, Any]
Child = Any  # text, a number, Markup, None, or an iterable of these

_EMPTY = frozenset({"meta", "br", "hr", "path", "rect", "line"})

# Control characters, halves of surrogate pairs (which no file can hold), and what turns the direction of a text around.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, attributes: Attributes | None = None, /, *children: Child) -> Markup:
    """Return one element. ``name`` and the keys of ``attributes`` are ours; their values and all text are escaped.

    An attribute that is ``None`` is left out.
    """
    given = "".join(f' {key}="{escaped(value)}"' for key, value in (attributes or {}).items() if value is not None)
    if name in _EMPTY and not children:
        return Markup(f"<{name}{given}>" if name in ("meta", "br", "hr") else f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Markup:
    """Return the children one after the other."""
    return Markup("".join(_child(child) for child in children))


def escaped(value: Any) -> str:
    """Return ``value`` as text that is fit for an element and for an attribute in double quotes."""
    return html.escape(_UNFIT.sub("\ufffd", str.__str__(value) if isinstance(value, str) else str(value)), quote=True)


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return str.__str__(child)
    if isinstance(child, (str, int, float)):
        return escaped(child)
    return joined(child)
