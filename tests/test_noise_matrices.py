"""A noise matrix gives its frequencies, scaled to a rate if asked; a file that is none gets a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_builders import EXPRESSIONS, balanced, numbered, refusal
from noisyfer.benchmark.noise import (
    CleanLabels,
    MatrixNoise,
    measured_rate,
    noise_model,
    shipped_matrices,
    transition_matrix,
)
from noisyfer.benchmark.noise.base import draw
from noisyfer.core.streams import rng

# FACTS.md, "The real noise of machine labels", in RAF-DB's order as it is printed there
RAF_ORDER = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")
RAF_TABLE = (
    (0.65, 0.19, 0.00, 0.02, 0.02, 0.02, 0.09),
    (0.13, 0.49, 0.02, 0.12, 0.09, 0.10, 0.05),
    (0.01, 0.04, 0.31, 0.06, 0.12, 0.29, 0.17),
    (0.01, 0.00, 0.00, 0.90, 0.01, 0.01, 0.05),
    (0.01, 0.02, 0.02, 0.03, 0.71, 0.05, 0.16),
    (0.02, 0.04, 0.10, 0.04, 0.04, 0.73, 0.04),
    (0.03, 0.01, 0.01, 0.03, 0.07, 0.05, 0.81),
)
RAF_COUNTS = {
    "surprise": 1290,
    "fear": 281,
    "disgust": 717,
    "happy": 4772,
    "sad": 1982,
    "anger": 705,
    "neutral": 2524,
}


@pytest.fixture
def write_matrix(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "mine.csv"
        path.write_text(text, encoding="utf-8")
        return f"matrix:{path}"

    return write


THREE = "0.7,0.2,0.1\n0.05,0.9,0.05\n0.5,0.25,0.25\n"
THREE_VALUES = np.array([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.5, 0.25, 0.25]])


def test_a_matrix_gives_its_frequencies(write_matrix: Callable[[str], str]) -> None:
    clean = numbered(np.repeat([0, 1, 2], [20_000, 10_000, 30_000]), 3)
    noisy = noise_model(write_matrix(THREE)).flip(clean, None, rng(0))
    counted = transition_matrix(clean.labels, noisy, 3)
    np.testing.assert_allclose(counted, THREE_VALUES, atol=0.015)  # σ is at most 0.005


def test_draws_at_the_edges_skip_impossible_classes() -> None:
    chances = np.array([[0, 0.5, 0.5, 0], [0, 0, 1, 0]])
    assert draw(chances, np.zeros(2)).tolist() == [1, 2]
    assert draw(chances, np.full(2, np.nextafter(1, 0))).tolist() == [2, 2]


def test_zero_entries_never_happen(write_matrix: Callable[[str], str]) -> None:
    clean = numbered(np.arange(30_000) % 3, 3)
    noisy = noise_model(write_matrix("0,1,0\n0,0.5,0.5\n1,0,0\n")).flip(clean, None, rng(0))
    counted = transition_matrix(clean.labels, noisy, 3)
    assert np.array_equal(counted == 0, np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1]], bool))


def test_a_header_is_matched_by_name(write_matrix: Callable[[str], str]) -> None:
    clean = CleanLabels(np.arange(30_000) % 3, ("dog", "cat", "bird"))
    model = noise_model(write_matrix("# counted by hand\ncat, Bird ,dog\n" + THREE))
    assert isinstance(model, MatrixNoise)
    assert "counted by hand" in model.formula
    noisy = model.flip(clean, None, rng(0))
    order = [2, 0, 1]  # where dog, cat, bird stand in the file
    np.testing.assert_allclose(transition_matrix(clean.labels, noisy, 3), THREE_VALUES[np.ix_(order, order)], atol=0.02)


def test_a_header_may_be_of_numbers(write_matrix: Callable[[str], str]) -> None:
    model = noise_model(write_matrix("2,0,1\n" + THREE))
    assert isinstance(model, MatrixNoise)
    clean = CleanLabels(np.array([0, 1, 2]), ("0", "1", "2"))
    np.testing.assert_allclose(model.transition(clean, None), THREE_VALUES[np.ix_([1, 2, 0], [1, 2, 0])])


@given(st.data(), st.integers(2, 6), st.integers(0, 2**32))
@settings(deadline=None)  # a busy machine is no failure
def test_scaling_reaches_the_rate_and_keeps_the_proportions(data: st.DataObject, classes: int, seed: int) -> None:
    generator = rng(seed)
    matrix = generator.dirichlet(np.ones(classes), classes)
    clean = numbered(generator.integers(0, classes, 50), classes)
    model = MatrixNoise("m", matrix, None, "made here")
    present = np.bincount(clean.labels, minlength=classes) > 0
    shares = np.bincount(clean.labels, minlength=classes) / 50
    mass = 1 - np.diag(matrix)
    highest = float(shares @ mass / mass[present].max())
    rate = data.draw(st.floats(0, min(highest * 0.999, 0.999)))
    scaled = model.transition(clean, rate)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    assert (scaled >= 0).all()
    assert shares @ (1 - np.diag(scaled)) == pytest.approx(rate, abs=1e-9)
    factor = rate / (shares @ mass)
    off = present[:, None] & ~np.eye(classes, dtype=bool)
    np.testing.assert_allclose(scaled[off], factor * matrix[off], atol=1e-12)
    if highest * 1.01 < 1:
        assert "more than 1" in refusal(lambda: model.transition(clean, highest * 1.01))


def test_a_scaled_matrix_flips_near_the_rate(write_matrix: Callable[[str], str]) -> None:
    clean = numbered(np.arange(60_000) % 3, 3)
    noisy = noise_model(write_matrix(THREE)).flip(clean, 0.2, rng(0))
    assert measured_rate(clean.labels, noisy) == pytest.approx(0.2, abs=0.006)


def test_a_rate_that_a_matrix_cannot_reach_names_the_class_and_the_limit(write_matrix: Callable[[str], str]) -> None:
    clean = numbered(np.arange(30) % 3, 3)  # 0.3, 0.1 and 0.75 wrong: 0.3833 on average, times at most 1/0.75
    model = noise_model(write_matrix(THREE))
    message = refusal(lambda: model.flip(clean, 0.6, rng(0)))
    assert "'class 2'" in message
    assert "1.174" in message
    assert "highest rate on these labels is 0.511" in message
    assert measured_rate(clean.labels, model.flip(clean, 0.511, rng(0))) > 0


def test_absent_classes_do_not_limit_the_rate(write_matrix: Callable[[str], str]) -> None:
    model = noise_model(write_matrix(THREE))
    assert isinstance(model, MatrixNoise)
    scaled = model.transition(numbered(np.array([0, 1]), 3), 0.5)  # times 2.5, which the absent class 2 could not bear
    np.testing.assert_allclose(scaled, [[0.25, 0.5, 0.25], [0.125, 0.75, 0.125], [2 / 3, 1 / 3, 0]])


def test_a_matrix_without_errors_cannot_be_scaled(write_matrix: Callable[[str], str]) -> None:
    model = noise_model(write_matrix("1,0\n0,1\n"))
    clean = numbered(np.arange(10) % 2, 2)
    assert "never errs" in refusal(lambda: model.flip(clean, 0.2, rng(0)))
    assert np.array_equal(model.flip(clean, 0.0, rng(0)), clean.labels)
    assert np.array_equal(model.flip(clean, None, rng(0)), clean.labels)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["0 rows of numbers"]),
        ("# nothing here\n\n", ["0 rows of numbers"]),
        ("0.5,0.5\n0.5,high\n", ["'high' on line 2, column 2", "probability"]),
        ("0.5,0.5\nnan,1\n", ["'nan' on line 2, column 1"]),
        ("0.5,0.5\n1.5,-0.5\n", ["'-0.5' on line 2, column 2"]),
        ("0.5,0.5\n,1\n", ["'' on line 2, column 1"]),
        ("0.5,0.5\ninf,0\n", ["'inf' on line 2, column 1"]),
        ("0.5;0.5\n0.5;0.5\n", ["expected as many columns as rows", "commas"]),
        ("0.5,0.5\n0.5,0.4,0.1\n", ["2 rows", "3 columns on line 2"]),
        ("a,b,c\n0.5,0.5\n0.5,0.5\n", ["2 rows", "a header of 3 names"]),
        ("0.5,0.5\n0.5,0.5\n0.5,0.5\n", ["3 rows", "2 columns on line 1"]),
        ("0.4\n", ["1 rows", "two at least"]),
        ("a,b\n0.5,0.5\n", ["1 rows", "2 columns on line 2"]),
        ("a,A\n0.5,0.5\n0.5,0.5\n", ["a class twice", "a, A"]),
        ("a,b\n0.5,0.5\n0.5,0.45\n", ["Row 2 ('b')", "sums to 0.95, expected 1"]),
        ("0.5,0.498\n0.5,0.5\n", ["Row 1 of", "sums to 0.998, expected 1"]),
    ],
)
def test_a_file_that_is_no_noise_matrix_is_refused(
    text: str, words: list[str], write_matrix: Callable[[str], str]
) -> None:
    message = refusal(lambda: noise_model(write_matrix(text)))
    assert "mine.csv" in message
    for word in words:
        assert word in message


def test_rows_may_be_off_by_rounding(write_matrix: Callable[[str], str]) -> None:
    model = noise_model(write_matrix("0.5,0.499\n0.3333,0.6667\n"))
    assert isinstance(model, MatrixNoise)
    np.testing.assert_allclose(model.matrix.sum(axis=1), 1, rtol=1e-15)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    missing = tmp_path / "none.csv"
    message = refusal(lambda: noise_model(f"matrix:{missing}"))
    assert str(missing) in message
    assert "No such file" in message
    assert "raf-affectnet" in message
    binary = tmp_path / "matrix.npy"
    np.save(binary, np.full((2, 2), 0.5))
    assert "no CSV text in UTF-8" in refusal(lambda: noise_model(f"matrix:{binary}"))
    (tmp_path / "folder.csv").mkdir()
    assert "Is a directory" in refusal(lambda: noise_model(f"matrix:{tmp_path / 'folder.csv'}"))


def test_a_matrix_for_other_classes_is_refused(write_matrix: Callable[[str], str]) -> None:
    message = refusal(lambda: noise_model("matrix:raf-affectnet").flip(balanced(20), None, rng(0)))
    assert "7×7 (neutral, happy" in message
    assert "10 classes: airplane, automobile" in message
    model = noise_model(write_matrix("cat,dog,frog\n" + THREE))
    clean = CleanLabels(np.zeros(3, int), ("cat", "dog", "wolf"))
    message = refusal(lambda: model.flip(clean, None, rng(0)))
    assert "no row for wolf" in message
    assert "cat, dog, frog" in message


def test_a_matrix_file_names_its_annotators(tmp_path: Path) -> None:
    for file, stem in [("My Workers (v2).csv", "my-workers-v2"), ("é.csv", "matrix"), ("A_b.CSV", "a-b")]:
        path = tmp_path / file
        path.write_text(THREE)
        model = noise_model(f"matrix:{path}")
        assert model.stem == stem
        assert model.name == f"matrix:{file}"  # without the folder: the same noise wherever the file lies


def test_raf_affectnet_is_the_published_table_in_canonical_order() -> None:
    assert shipped_matrices() == ["raf-affectnet"]
    model = noise_model("matrix:raf-affectnet")
    assert isinstance(model, MatrixNoise)
    assert model.classes == EXPRESSIONS
    np.testing.assert_allclose(model.matrix.sum(axis=1), 1, rtol=1e-12)
    published = np.array(RAF_TABLE)
    order = [RAF_ORDER.index(name) for name in EXPRESSIONS]
    published = published[np.ix_(order, order)]
    np.testing.assert_allclose(np.diag(model.matrix), np.diag(published), atol=2e-6)
    # the rounded rows sum to 0.98 to 1.01; only their errors are scaled
    np.testing.assert_allclose(model.matrix, published, atol=0.0125 + 1e-6)
    assert np.array_equal(model.matrix == 0, published == 0)


def test_raf_affectnet_errs_as_often_as_published_on_raf_db() -> None:
    labels = np.repeat(np.arange(7), [RAF_COUNTS[name] for name in EXPRESSIONS])
    clean = CleanLabels(labels, EXPRESSIONS)
    noisy = noise_model("matrix:raf-affectnet").flip(clean, None, rng(0))
    assert measured_rate(labels, noisy) == pytest.approx(0.227, abs=0.01)
