"""Charts as plain SVG for pages that are one file: lines, bars, points and matrices, read by eye, pointer or keyboard.

A group of charts has one legend whose buttons hide a series in all of them. Colours and dashes are classes of the
frame's style sheet, so that a chart is right in light, dark and print; `assets/page.js` reads values out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from .web import render

WIDTH, HEIGHT = 440, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 44
COLOURS = 8
"""Series of a higher place have the same colours and another dash."""

LONGEST_TICK = 14
"""Characters of a category's name that are written below a chart; the readout has all of it."""

MOST_CLASSES = 30
"""Classes up to which a matrix of them is written out."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Values that belong together.

    Attributes:
        name: plain text.
        x: numbers in rising order; of bars, the categories' places 0, 1, ….
        y: as many values; None or NaN where there is none.
        low: the lower edge of a band around the line; empty for no band.
        high: its upper edge.
        place: decides colour and dash, and which button of the group's legend hides it.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    place: int = 0


@dataclass(frozen=True)
class Axes:
    """What both axes of a chart span and are called.

    Attributes:
        x: name of the horizontal axis.
        y: name of the vertical one.
        x_range: None for that of the values.
        y_range: None for that of the values.
        digits: decimals of a value that is read out.
    """

    x: str = ""
    y: str = ""
    x_range: Range | None = None
    y_range: Range | None = None
    digits: int = 3


def group(names: Sequence[str], figures: Sequence[Markup]) -> Markup:
    """Charts side by side under one legend.

    Args:
        names: of the series, in the order of their places.
        figures: the charts.
    """
    return render("charts.html", names=names, figures=figures, shape=shape)


def shape(place: int) -> str:
    """The classes of a series' colour and dash."""
    return f"s{place % COLOURS} d{min(place // COLOURS, 3)}"


def line_chart(
    title: str, series: Sequence[Series], axes: Axes = Axes(), *, dots: bool = False, diagonal: bool = False
) -> Markup:
    """Lines, each with a band where it has one; a gap where a value is missing.

    Args:
        title: plain text.
        series: at least one.
        axes: names and ranges.
        dots: mark every value, not only those without neighbours.
        diagonal: draw the line y = x.
    """
    across, up = _scales(series, axes)
    drawn = [
        {
            "place": each.place,
            "lines": _line(each.x, each.y, across, up),
            "band": _band(each, across, up),
            "dots": _dots(each, across, up, every=dots),
        }
        for each in series
    ]
    places = sorted({x for each in series for x in each.x})
    labels = [_number(x) for x in places]
    shown = [_readable(each, places, axes.digits) for each in series]
    ticks = [(across(x), _number(x)) for x in nice_ticks(across.low, across.high, whole=_all_whole(places))]
    data = {"title": title, "axis": axes.x, "at": [across(x) for x in places], "labels": labels, "series": shown}
    line = f"M{_at(across, across.low)} {_at(up, across.low)}L{_at(across, across.high)} {_at(up, across.high)}"
    return _figure(
        title, axes, up, drawn=drawn, data=data, ticks=ticks, slanted=False, diagonal=line if diagonal else ""
    )


def bar_chart(title: str, categories: Sequence[str], series: Sequence[Series], axes: Axes = Axes()) -> Markup:
    """Bars side by side for each category.

    Args:
        title: plain text.
        categories: names, in the order of the series' places on the horizontal axis.
        series: at least one; their `x` is not looked at.
        axes: names and the range of values.
    """
    up = _Scale(*(axes.y_range or _span(series, zero=True)), HEIGHT - BOTTOM, TOP)
    across = _Scale(-0.5, len(categories) - 0.5, LEFT, WIDTH - RIGHT)
    slot = (across.end - across.start) / max(1, len(categories)) * 0.82
    width = slot / max(1, len(series))
    drawn = []
    for order, each in enumerate(series):
        bars = ""
        for place, value in enumerate(each.y):
            if _known(value):
                left = across(place) - slot / 2 + order * width
                top, foot = sorted((up(float(value or 0)), up(max(up.low, 0.0))))
                bars += f"M{left:.1f} {foot:.1f}V{top:.1f}h{max(width - 0.6, 0.5):.1f}V{foot:.1f}z"
        drawn.append({"place": each.place, "bars": bars})
    places = list(range(len(categories)))
    every = max(1, math.ceil(len(categories) / 24))
    ticks = [(across(place), _short(categories[place])) for place in places[::every]]
    slanted = len(ticks) * max((len(text) for _, text in ticks), default=0) > 52
    shown = [
        {"name": each.name, "place": each.place, "values": [_text(value, axes.digits) for value in each.y]}
        for each in series
    ]
    at = [across(place) for place in places]
    data = {"title": title, "axis": axes.x, "at": at, "labels": list(categories), "series": shown}
    return _figure(title, axes, up, drawn=drawn, data=data, ticks=ticks, slanted=slanted, diagonal="")


def scatter(title: str, series: Sequence[Series], axes: Axes = Axes()) -> Markup:
    """Points; who has very many thins them out before.

    Args:
        title: plain text.
        series: with `x` in any order.
        axes: names and ranges.
    """
    across, up = _scales(series, axes)
    drawn = [
        {
            "place": each.place,
            "points": "".join(
                f"M{_at(across, x)} {_at(up, y)}h0"
                for x, y in zip(each.x, each.y, strict=True)
                if y is not None and _known(x) and _known(y)
            ),
        }
        for each in series
    ]
    ticks = [(across(x), _number(x)) for x in nice_ticks(across.low, across.high)]
    return _figure(title, axes, up, drawn=drawn, data=None, ticks=ticks, slanted=False, diagonal="")


def heat_map(
    title: str,
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    notes: Sequence[Sequence[str]] = (),
    down: str = "true",
    across: str = "predicted",
    full: float = 1.0,
    digits: int = 2,
) -> Markup:
    """A matrix as a table whose cells are the darker the larger their value; its numbers can be read and copied.

    Args:
        title: plain text, the table's caption.
        values: a row each of `rows`, in [0, `full`] for the shade; None where there is none.
        rows: names.
        columns: names.
        notes: of every cell, a second small line, such as a count; empty for none.
        down: what the rows are.
        across: what the columns are.
        full: the value of the darkest shade.
        digits: decimals that are written.
    """
    cells = [
        [
            {
                "text": _text(value, digits) or "–",
                "shade": _shade(value, full),
                "note": notes[row][column] if notes else "",
            }
            for column, value in enumerate(found)
        ]
        for row, found in enumerate(values)
    ]
    return render("heat.html", title=title, cells=cells, rows=rows, columns=columns, down=down, across=across)


def nice_ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Round numbers from `low` to `high`, 1, 2 or 5 times a power of ten apart, at most `most` of them.

    Args:
        low: where the axis begins.
        high: where it ends.
        most: at least 2.
        whole: whether only whole numbers mean something.
    """
    if not 0 < high - low < math.inf:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    factors = iter((1, 2, 5, 10, 20, 50, 100))
    chosen = next(
        step * factor
        for factor in factors
        if math.floor(high / (step * factor) + 1e-9) - math.ceil(low / (step * factor) - 1e-9) < most
    )
    chosen = max(1.0, chosen) if whole else chosen
    first, last = math.ceil(low / chosen - 1e-9), math.floor(high / chosen + 1e-9)
    return [round(place * chosen, 12) for place in range(first, last + 1)]


@dataclass(frozen=True)
class _Scale:
    """From a value to its place in the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.end - self.start), 1)


def _scales(series: Sequence[Series], axes: Axes) -> tuple[_Scale, _Scale]:
    found = [x for each in series for x in each.x if _known(x)]
    x_range = axes.x_range or ((min(found), max(found)) if found else (0.0, 1.0))
    y_range = axes.y_range or _span(series)
    return _Scale(*x_range, LEFT, WIDTH - RIGHT), _Scale(*y_range, HEIGHT - BOTTOM, TOP)


def _span(series: Sequence[Series], *, zero: bool = False) -> Range:
    """From the lowest to the highest value with some air, or from zero."""
    found = [float(y) for each in series for y in (*each.y, *each.low, *each.high) if y is not None and _known(y)]
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    air = (high - low) * 0.04 or abs(high) * 0.05 or 1.0
    return (min(0.0, low), max(high + air, 0.0)) if zero else (low - air, high + air)


def _line(x: Sequence[float], y: Sequence[float | None], across: _Scale, up: _Scale) -> str:
    path, pen = "", "M"
    for place, value in zip(x, y, strict=True):
        if value is None or not _known(value):
            pen = "M"
            continue
        path += f"{pen}{_at(across, place)} {_at(up, value)}"
        pen = "L"
    return path


def _band(series: Series, across: _Scale, up: _Scale) -> str:
    edges = [
        (across(x), up(low), up(high))
        for x, low, high in zip(series.x, series.low, series.high, strict=bool(series.low))
        if low is not None and high is not None and _known(low) and _known(high)
    ]
    if len(edges) < 2 or all(low == high for _, low, high in edges):
        return ""
    there = [f"{x:g} {high:g}" for x, _, high in edges]
    back = [f"{x:g} {low:g}" for x, low, _ in reversed(edges)]
    return f"M{'L'.join([*there, *back])}z"


def _dots(series: Series, across: _Scale, up: _Scale, *, every: bool) -> list[tuple[float, float]]:
    """Values to be marked: all, or those whose line would have no length."""
    known = [_known(value) for value in series.y]
    found = []
    for place, value in enumerate(series.y):
        beside = (place and known[place - 1]) or (place + 1 < len(known) and known[place + 1])
        if value is not None and known[place] and (every or not beside):
            found.append((across(series.x[place]), up(value)))
    return found


def _readable(series: Series, places: Sequence[float], digits: int) -> dict[str, Any]:
    values = dict(zip(series.x, series.y, strict=True))
    return {
        "name": series.name,
        "place": series.place,
        "values": [_text(values.get(place), digits) for place in places],
    }


def _figure(title: str, axes: Axes, up: _Scale, **parts: Any) -> Markup:
    steps = [(up(y), _number(y)) for y in nice_ticks(up.low, up.high)]
    box = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "foot": HEIGHT - BOTTOM}
    return render("chart.html", title=title, axes=axes, steps=steps, box=box, shape=shape, **parts)


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _all_whole(values: Sequence[float]) -> bool:
    return all(float(value).is_integer() for value in values)


def _at(scale: _Scale, value: float) -> str:
    return f"{scale(value):g}"


def _text(value: float | None, digits: int) -> str | None:
    return f"{value:.{digits}f}" if value is not None and _known(value) else None


def _number(value: float) -> str:
    return f"{value:.6g}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_TICK else f"{name[: LONGEST_TICK - 1]}…"


def _shade(value: float | None, full: float) -> int:
    if value is None or not _known(value) or full <= 0:
        return 0
    return max(0, min(10, math.ceil(round(value / full * 10, 9) - 0.5)))
