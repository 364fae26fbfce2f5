"""Rates are read from text, and annotators get names that are distinct and stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_builders import any_rate, refusal
from noisyfer.benchmark.noise import annotator_names, parse_rates


def test_rates_are_read() -> None:
    assert parse_rates("0.2,0.3,0.4") == (0.2, 0.3, 0.4)
    assert parse_rates(" 0 , .125,1e-3 ") == (0.0, 0.125, 0.001)
    assert str(parse_rates("-0.0")[0]) == "0.0"


@given(st.lists(any_rate, min_size=1, max_size=6))
@settings(deadline=None)  # a busy machine is no failure
def test_rates_round_trip(rates: list[float]) -> None:
    assert parse_rates(",".join(map(repr, rates))) == tuple(rates)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "are empty"),
        ("  ", "are empty"),
        ("0.2,,0.3", "'0.2,,0.3' have an empty item"),
        ("0.2,", "have an empty item"),
        ("high", "'high' is no number"),
        ("20%", "'20%' is no number"),
        ("nan", "'nan' is no number"),
        ("0.2,inf", "'inf' is out of range"),
        ("-0.1", "'-0.1' is out of range"),
        ("0.2,1", "'1' is out of range"),
        ("20", "'20' is out of range"),
        ("0.2 0.3", "'0.2 0.3' is no number"),
    ],
)
def test_bad_rates_are_refused(text: str, words: str) -> None:
    message = refusal(lambda: parse_rates(text))
    assert words in message
    assert "0.2" in message  # the remedy shows how


def test_annotators_are_named_by_rate_and_repeat() -> None:
    assert annotator_names("flip", [0.2, 0.3, 0.4]) == ["flip20", "flip30", "flip40"]
    assert annotator_names("flip", [0.2, 0.125, 0.2, 0.29, 0.2]) == [
        "flip20",
        "flip12p5",
        "flip20b",
        "flip29",
        "flip20c",
    ]
    assert annotator_names("flip", [0, 0.001, 1e-9, np.float64(0.07)]) == ["flip0", "flip0p1", "flip0p0000001", "flip7"]
    assert annotator_names("raf-affectnet", [None, 0.2, None]) == ["raf-affectnet", "raf-affectnet20", "raf-affectnetb"]
    assert annotator_names("m1", [0.02]) != annotator_names("m", [0.12])
    assert annotator_names("flip", [0.5] * 28)[24:] == ["flip50y", "flip50z", "flip50aa", "flip50ab"]


@given(st.lists(st.one_of(st.sampled_from([0.2, 0.3, 0.125, None]), any_rate), max_size=40), st.data())
@settings(deadline=None)  # a busy machine is no failure
def test_names_are_distinct_and_stay_when_other_rates_go(rates: list[float | None], data: st.DataObject) -> None:
    names = annotator_names("flip", rates)
    assert len(set(names)) == len(rates)
    kept = [rate for rate in rates if rate != 0.2]
    assert annotator_names("flip", kept) == [name for name, rate in zip(names, rates, strict=True) if rate != 0.2]
    cut = data.draw(st.integers(0, len(rates)))
    assert annotator_names("flip", rates[:cut]) == names[:cut]
