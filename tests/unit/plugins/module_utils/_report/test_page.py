# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that is put into a page can be more than text there, and nothing is loaded from elsewhere."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from ansible_collections.zdd.rollout.plugins.module_utils._report.course import course
from ansible_collections.zdd.rollout.plugins.module_utils._report.markup import Markup, element, escaped
from ansible_collections.zdd.rollout.plugins.module_utils._report.merged import merged
from ansible_collections.zdd.rollout.plugins.module_utils._report.page import page
from ansible_collections.zdd.rollout.plugins.module_utils._report.pictures import PERCENT, Band, Line, chart, ticks
from ansible_collections.zdd.rollout.plugins.module_utils._report.text import full_text

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-->]]></style><b>",
    "&amp;&#60;",
    "\u202eevil\x00",
]
VOID = {"meta", "br"}
ANY_TEXT = st.one_of(st.sampled_from(EVIL), st.text(max_size=40)).map(lambda text: text or "x")


class Parsed(HTMLParser):
    """The elements with their attributes' names, the values, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.open: list[str] = []
        self.values: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _value in attrs)))
        self.values += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _value in attrs)))
        self.values += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def report(text: str, **options: Any) -> dict[str, Any]:
    """A report of all that there can be, with ``text`` wherever a text can be."""
    samples = [
        [1.5, "instances", {text: 4, "/web-green": 2}],
        [1.2, "share", {text: 75, "/web-green": 25}],
        [1.0, "sessions", {text: 3}],
        [0.9, "old_workers", {text: 1}],
        [0.8, "pending", {text: 5}],
        [0.7, "errors", {text: {"requests": 100, "errors": 5}}],
        [0.5, "evidence", {"text": text}],
        [0.4, "decision", {"text": text, "reason": text}],
    ]
    entry = {"name": text, "title": text, "ended": 102.0, "samples": json.dumps(samples)}
    failed = {"name": text, "title": text + "!", "ended": 103.0, "failed": True, "msg": text}
    plan = {"group": text, "from": text, "to": text, "target": 4, "goal": "deploy", "new_id": "/web-green",
            "old": {"app_id": text, "colour": text, "version": text, "traffic": "all"}, "notes": [text]}  # fmt: skip
    given = {"started": 100.0, "ended": 104.0, "result": text, "failure": text, "failed_at": None, "cluster": text}
    places = {"marathon": [text], "load_balancers": [text], "owner": text}
    return course({"plan": plan, "journal": [entry, failed], **given, **places, **options})


@settings(deadline=None)
@given(text=ANY_TEXT)
def test_no_text_changes_what_a_page_is_made_of(text: str) -> None:
    """The elements and attributes are those of the same report with a harmless word."""
    safe, evil = Parsed(page(report("harmless"))), Parsed(page(report(text)))

    assert sorted(evil.elements) == sorted(safe.elements)
    assert not evil.open
    assert not {"script", "img", "iframe", "link", "object"} & {tag for tag, _names in evil.elements}
    assert not [name for _tag, names in evil.elements for name in names if name.startswith("on") or name == "src"]


@settings(deadline=None)
@given(text=ANY_TEXT)
def test_no_text_changes_what_a_merged_page_is_made_of(text: str) -> None:
    def both(word: str) -> Parsed:
        return Parsed(page(merged([report(word, result="failed"), report("other")], word)))

    assert sorted(both(text).elements) == sorted(both("harmless").elements)


@settings(deadline=None)
@given(text=ANY_TEXT)
def test_any_report_can_be_written_as_a_file(text: str) -> None:
    one = report(text)

    page(one).encode()
    page(merged([one], text)).encode()
    full_text(one).encode(errors="backslashreplace")


def test_nothing_is_loaded_from_elsewhere() -> None:
    """Links lead into the page only; the policy in its head forbids all the rest, scripts too."""
    found = Parsed(page(merged([report("https://example.com/a"), report("b")], None)))

    assert all(value.startswith("#") for name, value in found.values if name == "href")
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.values
    assert "url(" not in "".join(found.words)


def test_each_kind_of_what_was_seen_has_its_picture() -> None:
    text = page(report("seen"))

    for title in ("Instances", "Share of the traffic", "Sessions draining", "Workers from before", "Pending", "Errors"):
        assert title in text
    assert "5.00 %" in text


def test_what_nobody_has_seen_has_no_picture() -> None:
    assert "<figure" not in page(report("none", journal=[{"name": "a", "title": "b", "ended": 102.0}], plan={}))


def test_a_report_of_nothing_to_do_is_a_page_too() -> None:
    idle = report("idle", journal=[], started=0.0, ended=0.0, failure=None)

    assert "nothing" not in Parsed(page(idle)).open
    assert "<svg" not in page(idle)


@pytest.mark.parametrize("text", EVIL)
def test_elements_escape_texts_and_values_but_not_each_other(text: str) -> None:
    inner = element("b", {"title": text}, text)

    assert Markup(inner) in element("p", None, [inner, None])
    assert escaped(text) in inner
    assert "<script" not in inner and "<img" not in inner


def test_areas_stand_on_each_other() -> None:
    """Half of the height is half of the traffic."""
    lines = [Line("new", [(0.0, 0.0), (5.0, 50.0)], "green"), Line("old", [(0.0, 100.0), (5.0, 50.0)], "blue")]

    drawn = chart(lines, [Band(0.0, 5.0, 1)], 10.0, unit=PERCENT)

    assert 'class="area green" d="M0 100L500 100L500 50L1000 50L1000 100L500 100L500 100L0 100Z"' in drawn
    assert 'class="area blue" d="M0 0L500 0L500 0L1000 0L1000 50L500 50L500 100L0 100Z"' in drawn
    assert "100 %" in drawn


@given(end=st.floats(0, 1e6))
def test_times_on_the_axis_are_few_and_within_it(end: float) -> None:
    found = ticks(end)

    assert found[0] == 0
    assert len(found) <= 12
    assert all(0 <= at <= end * 1.001 + 1e-6 for at in found)
