# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label selectors of ``GET /v2/apps?label=``: ``a``, ``a==b``, ``a!=b``, ``a in (x,y)``, ``a notin (x,y)``, commas."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.sandbox.marathon.errors import refused

TERM = re.compile(r"(?:\\.|[-A-Za-z0-9_.])+")
Selector = Callable[[Mapping[str, str]], bool]


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def found(self) -> str:
        return f"'{self.text[self.at]}' found" if self.at < len(self.text) else "end of source found"

    def fail(self, expected: str) -> Exception:
        return refused(422, f"Can not parse label selector {self.text}. Reason: {expected} expected but {self.found()}")

    def take(self, literal: str) -> bool:
        self.skip()
        if self.text.startswith(literal, self.at):
            self.at += len(literal)
            return True
        return False

    def term(self) -> str | None:
        self.skip()
        match = TERM.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return re.sub(r"\\(.)", r"\1", match.group())

    def wanted_term(self) -> str:
        term = self.term()
        if term is None:
            raise self.fail(r"string matching regex '(\\.|[-A-Za-z0-9_.])+'")
        return term

    def values(self) -> set[str]:
        if not self.take("("):
            raise self.fail("'('")
        values = set()
        first = self.term()
        if first is not None:
            values.add(first)
            while self.take(","):
                values.add(self.wanted_term())
        if not self.take(")"):
            raise self.fail("')'")
        return values

    def selector(self) -> Selector:
        label = self.wanted_term()
        if self.take("=="):
            value = self.wanted_term()
            return lambda labels: labels.get(label) == value
        if self.take("!="):
            value = self.wanted_term()
            return lambda labels: label in labels and labels[label] != value
        if self.take("notin"):
            values = self.values()
            return lambda labels: label in labels and labels[label] not in values
        if self.take("in"):
            values = self.values()
            return lambda labels: labels.get(label) in values
        return lambda labels: label in labels


def parsed(text: str) -> Selector:
    """A function that tells whether labels are selected; raises the 422 of a selector that cannot be read."""
    parser = _Parser(text)
    selectors = [parser.selector()]
    while parser.take(","):
        selectors.append(parser.selector())
    parser.skip()
    if parser.at < len(text):
        raise parser.fail("end of input")
    return lambda labels: all(selector(labels) for selector in selectors)
