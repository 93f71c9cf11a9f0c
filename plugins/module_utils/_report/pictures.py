# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures over the time of a rollout, as SVG without text and HTML labels around it.

So they fill any width, a telephone's too, and their labels keep a readable size. Nothing in them needs a script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .markup import Markup, element

WIDTH, HEIGHT = 1000.0, 100.0
_NICE = (1, 2, 5)
_TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400)
_TICKS = 5
PERCENT = "percent"

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A value over time: each point, ``(seconds, value)``, holds until the next one, the last one until the end.

    ``tone`` is a CSS class that gives the colour, ``dashed`` tells a line from another one of the same colour.
    """

    name: str
    points: Sequence[Point]
    tone: str
    dashed: bool = False


@dataclass(frozen=True)
class Band:
    """A step of the rollout, from ``start`` to ``end`` seconds, by its number."""

    start: float
    end: float
    number: int
    failed: bool = False


def chart(lines: Sequence[Line], bands: Sequence[Band], end: float, *, unit: str, stacked: bool = True) -> Markup:
    """Return a picture of ``lines`` from 0 to ``end`` seconds, with the steps behind.

    ``unit`` is what the values count. ``stacked`` ones are areas that stand on each other: their height is the sum.
    """
    percent = unit == PERCENT
    peak = 100.0 if percent else _top(_highest(lines, stacked))
    shapes = _areas(lines, end, peak) if stacked else _lines(lines, end, peak)
    grid = [
        element("line", {"class": "grid", "x1": 0, "x2": _number(WIDTH), "y1": y, "y2": y})
        for y in (_number(HEIGHT * share) for share in (0, 0.5, 1))
    ]
    svg = element(
        "svg",
        {
            "viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}",
            "preserveAspectRatio": "none",
            "role": "img",
            "aria-label": f"{unit}: {', '.join(line.name for line in lines)}",
        },
        _bands(bands, end),
        grid,
        shapes,
    )
    return element(
        "div",
        {"class": "plot"},
        svg,
        [_label("y", f"top:{100 - share * 100:g}%", _value(peak * share, percent)) for share in (0, 0.5, 1)],
        [_label("x", f"left:{_percent(at, end)}", clock(at)) for at in ticks(end)],
        _numbers(bands, end),
    )


def legend(lines: Sequence[Line], texts: Sequence[str]) -> Markup:
    """Return what the colours stand for, with a text for each line."""
    items = [
        element("li", None, element("span", {"class": f"key {line.tone}{' dashed' if line.dashed else ''}"}), text)
        for line, text in zip(lines, texts, strict=True)
    ]
    return element("ul", {"class": "legend"}, items)


def extent(start: float, end: float, total: float, tone: str, title: str) -> Markup:
    """Return a bar from ``start`` to ``end`` on a line that stands for ``total`` seconds."""
    left = 0.0 if total <= 0 else min(1.0, max(0.0, start / total)) * WIDTH
    right = WIDTH if total <= 0 else min(1.0, max(0.0, end / total)) * WIDTH
    shape = {"class": f"bar {tone}", "x": _number(left), "y": 0, "width": _number(max(4.0, right - left)), "height": 10}
    svg = {"class": "line", "viewBox": f"0 0 {WIDTH:g} 10", "preserveAspectRatio": "none", "role": "img"}
    return element("svg", {**svg, "aria-label": title}, element("rect", shape, element("title", None, title)))


def ticks(end: float) -> list[float]:
    """Return round times from 0 to ``end`` seconds, some five of them."""
    if end <= 0:
        return [0.0]
    step = next((step for step in _TIME_STEPS if end / step <= _TICKS), end / _TICKS)
    return [round(count * step, 3) for count in range(int(end / step + 1e-9) + 1)]


def clock(seconds: float) -> str:
    """Return ``2 s``, ``1:05 min`` or ``1:05 h``."""
    if seconds < 120:
        return f"{seconds:g} s"
    unit, size = ("min", 60) if seconds < 7200 else ("h", 3600)
    return f"{int(seconds // size)}:{int(seconds % size * 60 / size):02d} {unit}"


def _lines(lines: Sequence[Line], end: float, peak: float) -> list[Markup]:
    drawn = []
    for line in lines:
        places = [(_x(at, end), HEIGHT * (1 - value / peak)) for at, value in line.points]
        if not places:
            continue
        path = f"M{_number(places[0][0])} {_number(places[0][1])}"
        path += "".join(f"H{_number(x)}V{_number(y)}" for x, y in places[1:]) + f"H{_number(WIDTH)}"
        area = f"{path}V{_number(HEIGHT)}H{_number(places[0][0])}Z"
        title = element("title", None, line.name)
        if not line.dashed:
            drawn.append(element("path", {"class": f"fill {line.tone}", "d": area}))
        kind = "stroke dashed" if line.dashed else "stroke"
        drawn.append(element("path", {"class": f"{kind} {line.tone}", "d": path}, title))
    return drawn


def _highest(lines: Sequence[Line], stacked: bool) -> float:
    if not stacked:
        return max((value for line in lines for _at, value in line.points), default=0.0)
    times = {at for line in lines for at, _value in line.points}
    return max((sum(_value_at(line.points, at) for line in lines) for at in times), default=0.0)


def _areas(lines: Sequence[Line], end: float, peak: float) -> list[Markup]:
    """Each line stands on the ones before it."""
    times = sorted({at for line in lines for at, _value in line.points})
    floor = dict.fromkeys(times, 0.0)
    drawn = []
    for line in lines:
        top = {at: floor[at] + _value_at(line.points, at) for at in times}
        upper = _stair([(_x(at, end), HEIGHT * (1 - min(peak, top[at]) / peak)) for at in times])
        lower = _stair([(_x(at, end), HEIGHT * (1 - min(peak, floor[at]) / peak)) for at in times])
        outline = "L".join(f"{_number(x)} {_number(y)}" for x, y in [*upper, *reversed(lower)])
        if outline:
            shape = {"class": f"area {line.tone}", "d": f"M{outline}Z"}
            drawn.append(element("path", shape, element("title", None, line.name)))
        floor = top
    return drawn


def _stair(places: Sequence[Point]) -> list[Point]:
    corners: list[Point] = []
    for place, following in zip(places, [*(x for x, _y in places[1:]), WIDTH], strict=False):
        corners += [place, (following, place[1])]
    return corners


def _value_at(points: Sequence[Point], at: float) -> float:
    return next((value for since, value in reversed(points) if since <= at), 0.0)


def _bands(bands: Sequence[Band], end: float) -> list[Markup]:
    drawn = []
    for band in bands:
        left, right = _x(band.start, end), _x(band.end, end)
        tone = "failed" if band.failed else "even" if band.number % 2 == 0 else "odd"
        place = {"x": _number(left), "y": 0, "width": _number(max(0.0, right - left)), "height": _number(HEIGHT)}
        drawn.append(element("rect", {"class": f"band {tone}", **place}))
    return drawn


def _numbers(bands: Sequence[Band], end: float) -> list[Markup]:
    """The number of each step that is wide enough for it."""
    wide = [band for band in bands if end > 0 and (band.end - band.start) / end >= 0.03]
    return [_label("n", f"left:{_percent((band.start + band.end) / 2, end)}", str(band.number)) for band in wide]


def _label(kind: str, place: str, text: str) -> Markup:
    return element("span", {"class": kind, "style": place}, text)


def _top(value: float) -> float:
    """The round number, 2 at least, that is not below ``value``; even, so that half of it is round too."""
    if value <= 2:
        return 2.0
    size = 10 ** math.floor(math.log10(value))
    top = float(next((nice * size for nice in (*_NICE, 10) if nice * size >= value), 10 * size))
    steps = [top * share for share in (0.6, 0.8) if top * share >= value and top * share % 2 == 0]
    return steps[0] if steps else top if top % 2 == 0 else top + 1


def _value(value: float, percent: bool) -> str:
    text = f"{value:.0f}" if value < 10_000 else f"{value / 1000:.0f}k"
    return f"{text} %" if percent else text


def _x(at: float, end: float) -> float:
    return 0.0 if end <= 0 else WIDTH * min(1.0, max(0.0, at / end))


def _percent(at: float, end: float) -> str:
    return f"{_x(at, end) / WIDTH * 100:.2f}%"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
