# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one HTML page: nothing is loaded from elsewhere, nothing needs a script, all text is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .markup import Markup, element
from .merged import seconds_between
from .pictures import PERCENT, Band, Line, chart, clock, extent, legend
from .style import STYLE
from .text import heading, versions

Json = Mapping[str, Any]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_GOOD = ("promoted", "deployed", "upgraded", "created", "scaled", "unchanged")
_BAD = ("failed",)
_COLOURS = ("blue", "green")
_TONES = 6
_OPEN_AT_MOST = 3  # of many clusters, those that went well are folded


def page(report: Json) -> str:
    """Return the page of one rollout's report, or of many that were merged."""
    title = report.get("title") or (_title(report) if "reports" not in report else "Rollouts")
    body = _many(report, title) if "reports" in report else [_header(report, title, "h1"), _details(report)]
    head = element(
        "head",
        None,
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", None, f"{title}: {report['result']}"),
        element("style", None, Markup(STYLE)),
    )
    raw = element(
        "details",
        {"class": "raw"},
        element("summary", None, "All of it, as JSON"),
        element("pre", None, json.dumps(report, indent=1)),
    )
    main = element("main", None, body, raw)
    return "<!DOCTYPE html>\n" + element("html", {"lang": "en"}, head, element("body", None, main)) + "\n"


def _title(report: Json) -> str:
    return heading(report).replace("->", "\u2192")


def _many(report: Json, title: str) -> list[Markup]:
    """All clusters on one line of time, then each for itself."""
    reports = report["reports"]
    total = report["duration_s"]
    rows = []
    for number, one in enumerate(reports, 1):
        start = seconds_between(report["started"], one["started"])
        label = f"{_name(one, number)}: {one['result']}, {one['duration_s']:.1f} s"
        picture = extent(start, start + one["duration_s"], total, _tone_of_result(one["result"]), label)
        cells = (
            element("a", {"href": f"#r{number}"}, _name(one, number)),
            versions(one).replace("->", "\u2192") if one["from"] or one["to"] else None,
            [_badge(one["result"]), element("br"), element("small", None, one["failure"])]
            if one["failure"]
            else _badge(one["result"]),
            _seconds(one["duration_s"]),
        )
        rows.append(_row(*cells, picture))
    counts = ", ".join(f"{count} {result}" for result, count in report["results"].items())
    facts = {
        "Clusters": f"{len(reports)}: {counts}",
        "Time": f"{_span(report)} ({_seconds(total)})",
        **_cuts(report),
    }
    head = element("header", None, element("h1", None, title), _badge(report["result"]), _facts(facts))
    table = _table(("Cluster", "Versions", "Result", "Time", "When"), rows)
    few = len(reports) <= _OPEN_AT_MOST
    parts = [
        element(
            "details",
            {"id": f"r{number}", "class": "cluster", "open": "" if few or not _is_good(one["result"]) else None},
            element("summary", None, element("strong", None, _name(one, number)), " ", _badge(one["result"])),
            _header(one, _title(one), "h2"),
            _details(one),
        )
        for number, one in enumerate(reports, 1)
    ]
    return [head, element("section", {"class": "clusters"}, table), *parts]


def _header(report: Json, title: str, level: str) -> Markup:
    where = ", ".join([*report["marathon"], *report["load_balancers"]])
    facts = {
        "Cluster": " ".join(text for text in (report["cluster"], f"({where})" if where else "") if text),
        "By": report["owner"],
        "Time": _span(report),
        "Took": f"{_seconds(report['duration_s'])}, {len(report['steps'])} steps",
        "Instances": report["instances"],
        "Sessions that ended by themselves": report["sessions_drained"],
        **_cuts(report),
    }
    failure = None
    if report["failure"]:
        failure = element("p", {"class": "failure"}, element("strong", None, "Why: "), report["failure"])
    return element("header", None, element(level, None, title), _badge(report["result"]), failure, _facts(facts))


def _details(report: Json) -> list[Markup | None]:
    end = max(report["duration_s"], *(step["started_s"] + step["duration_s"] for step in report["steps"]), 0.0, 0.0)
    bands = [
        Band(step["started_s"], step["started_s"] + step["duration_s"], number, bool(step["failure"]))
        for number, step in enumerate(report["steps"], 1)
    ]
    return [*_pictures(report, bands, end), _steps(report, end), _decisions(report)]


def _pictures(report: Json, bands: Sequence[Band], end: float) -> list[Markup | None]:
    series = report["series"]
    if not bands:
        return []
    apps = _Apps(report)
    return [
        _figure(
            "Instances",
            "healthy tasks",
            apps.lines(series, "versions" if "versions" in series else "instances"),
            apps,
            bands,
            end,
        ),
        _figure("Share of the traffic", PERCENT, apps.lines(series, "share"), apps, bands, end),
        _figure(
            "Sessions draining, by load balancer",
            "open and queued, in the live workers",
            _plain(series, "sessions"),
            None,
            bands,
            end,
        ),
        _figure(
            "Workers from before a reload, by load balancer", "workers", _plain(series, "old_workers"), None, bands, end
        ),
        _figure("Pending operations of drained tasks", "operations", _plain(series, "pending"), None, bands, end),
        _errors(series, apps, bands, end),
    ]


class _Apps:
    """The colours and the names of the apps of one rollout."""

    def __init__(self, report: Json) -> None:
        self._apps = report["apps"]
        self._report = report
        self._others: list[str] = []

    def lines(self, series: Json, kind: str) -> list[Line]:
        """The new app first: of stacked ones it is at the bottom."""
        found = series.get(kind) or {}
        order = sorted(found, key=lambda name: (self._apps.get(name, {}).get("role") != "new", name))
        return [Line(name, [tuple(point) for point in found[name]], self.tone(name)) for name in order]

    def tone(self, name: str) -> str:
        """The colour of an app, by its own word for it, or of one of its versions."""
        colour = self._apps.get(name, {}).get("colour") or next(
            (app.get("colour") for app in self._apps.values() if app.get("version") == name), None
        )
        if colour not in _COLOURS:
            colour = name.rpartition("-")[2]
        if colour in _COLOURS:
            return colour
        if name not in self._others:
            self._others.append(name)
        return f"t{self._others.index(name) % _TONES}"

    def label(self, name: str) -> str:
        """The app with its version."""
        version = self._apps.get(name, {}).get("version")
        return f"{name}, version {version}" if version else name


def _plain(series: Json, kind: str) -> list[Line]:
    found = series.get(kind) or {}
    return [
        Line(name, [tuple(point) for point in points], f"t{number % _TONES}")
        for number, (name, points) in enumerate(sorted(found.items()))
    ]


def _figure(
    title: str,
    unit: str,
    lines: Sequence[Line],
    apps: _Apps | None,
    bands: Sequence[Band],
    end: float,
) -> Markup | None:
    """A picture with its legend; none of what nobody has seen, or was 0 all the time."""
    if not any(value for line in lines for _at, value in line.points):
        return None
    texts = [apps.label(line.name) if apps else line.name for line in lines]
    return element(
        "figure",
        None,
        element("figcaption", None, title, element("small", None, f" ({unit})")),
        legend(lines, texts),
        chart(lines, bands, end, unit=unit),
    )


def _errors(series: Json, apps: _Apps, bands: Sequence[Band], end: float) -> Markup | None:
    """Errors over time, and the numbers; a table alone where there was none."""
    found = series.get("errors") or {}
    counted = {name: points for name, points in found.items() if points[-1][1]}
    if not counted:
        return None
    rows = []
    for name, points in sorted(counted.items()):
        _at, requests, errors = points[-1]
        rows.append(_row(apps.label(name), f"{requests:g}", f"{errors:g}", f"{100 * errors / requests:.2f} %"))
    lines = [
        Line(name, [(at, errors) for at, _requests, errors in points], apps.tone(name))
        for name, points in sorted(counted.items())
    ]
    picture = None
    if any(errors for points in counted.values() for _at, _requests, errors in points):
        picture = [
            legend(lines, [apps.label(line.name) for line in lines]),
            chart(lines, bands, end, unit="errors", stacked=False),
        ]
    return element(
        "figure",
        None,
        element("figcaption", None, "Errors by version", element("small", None, " (answers 5xx, as counted)")),
        picture,
        _table(("Version", "Requests", "Errors", "Rate"), rows),
    )


def _steps(report: Json, end: float) -> Markup | None:
    if not report["steps"]:
        return None
    rows = []
    for number, step in enumerate(report["steps"], 1):
        finish = step["started_s"] + step["duration_s"]
        tone = "failed" if step["failure"] else "done"
        title = f"{step['name']}: {step['started_s']:g} s to {finish:g} s"
        said = [element("li", None, text) for text in step["evidence"]]
        failed = element("li", {"class": "failed"}, "failed: ", step["failure"]) if step["failure"] else None
        told = element("ul", None, said, failed) if said or failed else None
        rows.append(
            _row(
                number,
                [element("strong", None, step["name"]), element("br"), step["title"]],
                [_seconds(step["duration_s"]), extent(step["started_s"], finish, end, tone, title)],
                told,
            )
        )
    table = _table(("", "Step", "Time", "Evidence on which it went on"), rows)
    return element("section", {"class": "steps"}, element("h3", None, "Steps"), table)


def _decisions(report: Json) -> Markup | None:
    rows = [_row(clock(round(one["at_s"], 1)), one["text"], one["reason"]) for one in report["decisions"]]
    if not rows:
        return None
    return element("section", None, element("h3", None, "Decisions"), _table(("At", "Decision", "Reason"), rows))


def _table(head: Sequence[str], rows: Sequence[Markup]) -> Markup:
    names = element("tr", None, [element("th", {"scope": "col"}, name) for name in head])
    table = element("table", None, element("thead", None, names), element("tbody", None, rows))
    return element("div", {"class": "wide"}, table)


def _row(*cells: Any) -> Markup:
    return element("tr", None, [element("td", None, cell) for cell in cells])


def _facts(facts: Mapping[str, Any]) -> Markup:
    told = {name: value for name, value in facts.items() if value not in (None, "")}
    pairs = [element("div", None, element("dt", None, name), element("dd", None, told[name])) for name in told]
    return element("dl", None, pairs)


def _cuts(report: Json) -> dict[str, str]:
    cuts = {"Sessions cut": report["sessions_cut"], "Operations cut": report["operations_cut"]}
    told = {
        name: "nobody knows how many" if count is None else str(count) for name, count in cuts.items() if count != 0
    }
    return told or {"Sessions cut": "0"}


def _badge(result: str) -> Markup:
    return element("span", {"class": f"badge {_tone_of_result(result)}"}, result)


def _tone_of_result(result: str) -> str:
    return "done" if _is_good(result) else "failed" if result in _BAD else "warned"


def _is_good(result: str) -> bool:
    return result in _GOOD


def _name(report: Json, number: int) -> str:
    name = " ".join(str(report[key]) for key in ("cluster", "group") if report[key])
    return name or f"rollout {number}"


def _span(report: Json) -> str | None:
    """``2026-03-01 09:00:00 to 09:00:04 UTC``."""
    if not report["started"] or not report["ended"]:
        return None
    start, end = (str(report[key]).replace("T", " ").replace("+00:00", "") for key in ("started", "ended"))
    return f"{start} to {end.removeprefix(start[:11])} UTC"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s" if seconds < 120 else clock(seconds)
