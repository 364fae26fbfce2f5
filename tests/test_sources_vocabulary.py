"""Names of expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noisyfer.relabel.sources import EXPRESSIONS
from noisyfer.relabel.sources.vocabulary import expression_name, ids_of, order_classes, same_class, vocabulary

ALIKE = [
    ("happy", "happiness", "joy"),
    ("sad", "sadness"),
    ("surprise", "surprised"),
    ("fear", "fearful", "scared"),
    ("anger", "angry"),
    ("disgust", "disgusted"),
    ("neutral", "neutrality"),
    ("contempt", "contemptuous"),
]
NAMES = [name for group in ALIKE for name in group]


def test_spellings_mean_the_same_in_any_case_and_no_others() -> None:
    for a in NAMES:
        for b in NAMES:
            together = any(a in group and b in group for group in ALIKE)
            assert same_class(a.upper(), f" {b.title()} ") == together, (a, b)


@given(st.text(max_size=8), st.text(max_size=8))
def test_other_names_are_equal_only_but_for_case(a: str, b: str) -> None:
    assert same_class(a, a.upper()) or a.upper().casefold() != a.casefold()
    if expression_name(a) is None and expression_name(b) is None:
        assert same_class(a, b) == (a.strip().casefold() == b.strip().casefold())
    assert same_class(a, b) == same_class(b, a)


def test_the_canonical_order_is_affectnets() -> None:
    assert EXPRESSIONS == ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
    assert vocabulary(contempt=True) == (*EXPRESSIONS, "contempt")


@given(st.permutations([group[-1].title() for group in ALIKE]))
def test_expressions_are_put_in_order_under_their_canonical_names(classes: list[str]) -> None:
    assert order_classes(classes) == vocabulary(contempt=True)
    assert order_classes(classes[:3]) == tuple(
        name for name in vocabulary(contempt=True) if any(same_class(name, other) for other in classes[:3])
    )


@pytest.mark.parametrize("classes", [("cat", "dog"), ("Happy", "cat"), ("sad", "sadness", "happy"), ()])
def test_other_classes_stay_as_they_are(classes: tuple[str, ...]) -> None:
    assert order_classes(classes) == classes


def test_ids_are_found_by_name() -> None:
    names = ("Surprise", "contempt", "joy")
    assert ids_of(names, contempt=False) == {"Surprise": 3, "contempt": None, "joy": 1}
    assert ids_of(names, contempt=True)["contempt"] == 7
