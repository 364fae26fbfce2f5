"""Charts: ticks, lines, bars, points and shades, worked out by hand on the drawing's own measures."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from noisyfer.core.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axes,
    Series,
    bar_chart,
    group,
    heat_map,
    line_chart,
    nice_ticks,
    scatter,
    shape,
)
from page_reading import Reading

FOOT, END = HEIGHT - BOTTOM, WIDTH - RIGHT
UNIT = Axes("x", "y", (0.0, 1.0), (0.0, 1.0))


def paths(svg: str, kind: str) -> list[str]:
    """The path data of every element of a class."""
    return [
        each["d"] or ""
        for name, each in Reading(svg).elements
        if name == "path" and (each["class"] or "").split()[0] == kind
    ]


def stored(svg: str) -> dict[str, Any]:
    """What a chart is read out from."""
    return dict(json.loads(Reading(svg).raw["script"][0]))


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1, 25, True, [5, 10, 15, 20, 25]),
        (1, 2, True, [1, 2]),
        (0.17, 0.53, False, [0.2, 0.3, 0.4, 0.5]),
        (-1, 1, False, [-1, -0.5, 0, 0.5, 1]),
        (3, 3, False, [3]),
        (-1e308, 1e308, False, [-1e308]),
        (0, 1e-6, False, [0, 2e-7, 4e-7, 6e-7, 8e-7, 1e-6]),
    ],
)
def test_ticks_are_round_numbers_inside_the_range(low: float, high: float, whole: bool, expected: list[float]) -> None:
    assert nice_ticks(low, high, whole=whole) == pytest.approx(expected)


def test_a_line_goes_from_corner_to_corner_and_breaks_where_a_value_is_missing() -> None:
    svg = line_chart("t", [Series("a", [0, 0.5, 1], [0, None, 1]), Series("b", [0, 1], [1, 0], place=1)], UNIT)
    assert paths(svg, "line") == [f"M{LEFT} {FOOT}M{END} {TOP}", f"M{LEFT} {TOP}L{END} {FOOT}"]
    # a value without neighbours would be a line of no length
    dots = [
        (float(each["cx"] or 0), float(each["cy"] or 0)) for name, each in Reading(svg).elements if name == "circle"
    ]
    assert dots == [(LEFT, FOOT), (END, TOP)]
    data = stored(svg)
    assert data["labels"] == ["0", "0.5", "1"]
    assert data["at"] == [LEFT, (LEFT + END) / 2, END]
    assert [each["values"] for each in data["series"]] == [["0.000", None, "1.000"], ["1.000", None, "0.000"]]


def test_nan_and_infinity_are_missing_and_never_in_the_drawing() -> None:
    svg = line_chart("t", [Series("a", [1, 2, 3, 4], [float("nan"), 1.0, float("inf"), 2.0])])
    assert "nan" not in svg
    assert "inf" not in svg
    assert stored(svg)["series"][0]["values"] == [None, "1.000", None, "2.000"]


def test_a_band_runs_along_its_upper_edge_and_back_along_the_lower() -> None:
    svg = line_chart("t", [Series("a", [0, 1], [0.5, 0.5], [0, 0.5], [1, 0.5])], UNIT)
    middle = (TOP + FOOT) / 2
    assert paths(svg, "band") == [f"M{LEFT} {TOP}L{END} {middle:g}L{END} {middle:g}L{LEFT} {FOOT}z"]
    assert paths(line_chart("t", [Series("a", [0, 1], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5])], UNIT), "band") == []


def test_a_chart_without_values_is_empty_axes() -> None:
    svg = line_chart("t", [Series("a", [], [])])
    assert paths(svg, "line") == []
    assert len(paths(svg, "axis")) == 7  # six steps and the frame


def test_bars_stand_side_by_side_on_zero() -> None:
    svg = bar_chart(
        "t", ["p", "q"], [Series("a", (), [1, 0.5]), Series("b", (), [None, 1], place=1)], Axes(y_range=(0, 1))
    )
    first, second = paths(svg, "bar")
    tops = [float(top) for top in re.findall(r"V([\d.]+)h", first)]
    assert tops == [TOP, (TOP + FOOT) / 2]
    lefts = [float(left) for left in re.findall(r"M([\d.]+) ", first + second)]
    slot = (END - LEFT) / 2 * 0.82
    # category p's slot begins (1 − 0.82) / 2 of half the width in; b stands half a slot after a
    assert lefts[0] == pytest.approx(LEFT + (END - LEFT) / 2 * 0.09, abs=0.06)
    assert lefts[1] - lefts[0] == pytest.approx((END - LEFT) / 2, abs=0.11)
    assert lefts[2] - lefts[1] == pytest.approx(slot / 2, abs=0.11)
    assert len(lefts) == 3
    assert stored(svg)["labels"] == ["p", "q"]


def test_bars_below_zero_hang_from_it() -> None:
    (bar,) = paths(bar_chart("t", ["p"], [Series("a", (), [-1.0])], Axes(y_range=(-1, 1))), "bar")
    foot, top = (float(found) for found in re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", bar)[0])
    assert (top, foot) == ((TOP + FOOT) / 2, FOOT)


def test_long_names_are_cut_below_the_bars_and_whole_where_they_are_read() -> None:
    name = "a very long name of a class"
    found = Reading(bar_chart("t", [name], [Series("a", (), [1.0])]))
    assert name not in found.text
    assert "a very long n…" in found.text
    assert json.loads(found.raw["script"][0])["labels"] == [name]


def test_points_are_where_both_values_are() -> None:
    svg = scatter("t", [Series("a", [0, 1, 0.5], [0, 1, None])], UNIT)
    assert paths(svg, "cloud") == [f"M{LEFT} {FOOT}h0M{END} {TOP}h0"]


def test_shades_of_a_matrix_are_tenths_of_the_full_value() -> None:
    html = heat_map(
        "m", [[0, 0.05, 0.06, 0.5], [1, 2, None, float("nan")]], ["r", "s"], list("abcd"), notes=[["1"] * 4] * 2
    )
    found = Reading(html)
    shades = [each.get("class") for name, each in found.elements if name == "td"][1:]
    assert shades == [None, None, "h1", "h5", "h10", "h10", None, None]
    (rows,) = found.tables.values()
    assert rows[1] == ["r", "0.001", "0.051", "0.061", "0.501"]
    assert rows[2] == ["s", "1.001", "2.001", "–1", "–1"]


def test_a_group_has_a_button_for_every_series_and_dashes_beyond_eight() -> None:
    found = Reading(group([str(place) for place in range(10)], []))
    buttons = [each for name, each in found.elements if name == "button"]
    assert [each["data-toggles"] for each in buttons] == [str(place) for place in range(10)]
    assert {each["aria-pressed"] for each in buttons} == {"true"}
    assert [shape(place) for place in (0, 7, 8, 17)] == ["s0 d0", "s7 d0", "s0 d1", "s1 d2"]
