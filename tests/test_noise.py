"""Noise models, matrices, rates, names and votes, against their definitions."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noisyfer.benchmark.noise import (
    NOISE_MODELS,
    CleanLabels,
    MatrixNoise,
    annotator_names,
    majority_vote,
    measured_rate,
    noise_model,
    parse_rates,
    shipped_matrices,
    transition_matrix,
)
from noisyfer.benchmark.noise.base import draw
from noisyfer.core.errors import UserError
from noisyfer.core.streams import rng
from scipy import stats

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")

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


def balanced(count: int, classes: Sequence[str] = CIFAR) -> CleanLabels:
    return CleanLabels(np.arange(count) % len(classes), tuple(classes))


def numbered(labels: np.ndarray, classes: int) -> CleanLabels:
    return CleanLabels(labels, tuple(f"class {index}" for index in range(classes)))


@pytest.fixture
def write_matrix(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "mine.csv"
        path.write_text(text, encoding="utf-8")
        return f"matrix:{path}"

    return write


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    return str(caught.value)


# --- uniform, uniform-all, pairflip, asymmetric


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.4])
@pytest.mark.parametrize("name", ["uniform", "pairflip"])
def test_the_measured_rate_is_the_rate(name: str, rate: float) -> None:
    clean = balanced(50_000)
    noisy = noise_model(name).flip(clean, rate, rng(0, name))
    assert measured_rate(clean.labels, noisy) == rate
    assert noisy.dtype == np.int16


@st.composite
def any_labels(draw: st.DrawFn) -> CleanLabels:
    classes = draw(st.integers(2, 12))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=300))
    return numbered(np.array(labels), classes)


any_rate = st.floats(0, 1, exclude_max=True)


@given(any_labels(), any_rate, st.integers(0, 2**32), st.sampled_from(["uniform", "uniform-all", "pairflip"]))
@settings(deadline=None)  # a busy machine is no failure
def test_flips_are_exact_in_number_and_kind(clean: CleanLabels, rate: float, seed: int, name: str) -> None:
    before = clean.labels.copy()
    noisy = noise_model(name).flip(clean, rate, rng(seed))
    count, classes = len(before), len(clean.classes)
    flips = int(np.count_nonzero(noisy != before))
    assert noisy.min() >= 0
    assert noisy.max() < classes
    assert flips <= round(rate * count) if name == "uniform-all" else flips == round(rate * count)
    if name == "pairflip":
        moved = noisy != before
        assert np.array_equal(noisy[moved], (before[moved] + 1) % classes)
    assert np.array_equal(clean.labels, before)
    assert np.array_equal(noisy, noise_model(name).flip(clean, rate, rng(seed)))


def test_uniform_takes_every_other_class_alike() -> None:
    clean = balanced(60_000)
    noisy = noise_model("uniform").flip(clean, 0.4, rng(3, "uniform"))
    shift = (noisy - clean.labels) % 10
    counts = np.bincount(shift, minlength=10)
    assert counts[0] == 36_000
    assert stats.chisquare(counts[1:]).pvalue > 0.001
    # and the chosen samples are spread evenly over the classes and the file
    flipped = np.flatnonzero(shift)
    assert stats.chisquare(np.bincount(clean.labels[flipped], minlength=10)).pvalue > 0.001
    assert stats.chisquare(np.histogram(flipped, bins=20, range=(0, 60_000))[0]).pvalue > 0.001


def test_uniform_all_measures_eighteen_percent_of_twenty() -> None:
    clean = balanced(50_000)
    noisy = noise_model("uniform-all").flip(clean, 0.2, rng(1, "flipall"))
    rate = measured_rate(clean.labels, noisy)
    assert rate == pytest.approx(0.18, abs=0.002)  # 10,000 draws that each hit the old class with 1/10: σ = 0.0006
    others = np.bincount((noisy - clean.labels) % 10, minlength=10)[1:]
    assert stats.chisquare(others).pvalue > 0.001


def test_asymmetric_flips_the_look_alikes_only() -> None:
    clean = balanced(10_000)
    noisy = noise_model("asymmetric").flip(clean, 0.3, rng(0))
    expected = np.eye(10)
    for source, target in {
        "truck": "automobile",
        "bird": "airplane",
        "deer": "horse",
        "cat": "dog",
        "dog": "cat",
    }.items():
        i, j = CIFAR.index(source), CIFAR.index(target)
        expected[i, i], expected[i, j] = 0.7, 0.3
    assert np.array_equal(transition_matrix(clean.labels, noisy, 10), expected)
    assert measured_rate(clean.labels, noisy) == 0.15


def test_asymmetric_goes_by_names_and_knows_the_usual_short_ones() -> None:
    classes = ("Truck", "car", "plane", "bird", "cat", "dog", "horse", "deer")
    clean = CleanLabels(np.zeros(1000, int), classes)
    noisy = noise_model("asymmetric").flip(clean, 0.25, rng(0))
    assert Counter(noisy.tolist()) == {0: 750, 1: 250}


def test_asymmetric_refuses_other_vocabularies() -> None:
    message = refusal(lambda: noise_model("asymmetric").flip(balanced(70, EXPRESSIONS), 0.2, rng(0)))
    assert "no airplane, automobile, bird" in message
    assert "neutral, happy" in message
    assert "pairflip" in message


@pytest.mark.parametrize("name", ["uniform", "uniform-all", "pairflip", "asymmetric"])
@pytest.mark.parametrize("rate", [1.0, -0.1, 20.0, float("nan"), float("inf")])
def test_rates_out_of_range_are_refused(name: str, rate: float) -> None:
    assert "expected 0 or more and below 1" in refusal(lambda: noise_model(name).flip(balanced(10), rate, rng(0)))


def test_a_missing_rate_is_refused_where_one_is_needed() -> None:
    for name in NOISE_MODELS:
        assert f"'{name}' was given no rate" in refusal(
            lambda name=name: noise_model(name).flip(balanced(10), None, rng(0))
        )


def test_clean_labels_are_checked() -> None:
    assert "label is 10, expected 0 to 9" in refusal(lambda: CleanLabels(np.array([0, 10]), CIFAR))
    assert "label is -1, expected 0 to 9" in refusal(lambda: CleanLabels(np.array([0, -1]), CIFAR))
    assert "no clean labels" in refusal(lambda: CleanLabels(np.zeros(0, int), CIFAR))
    assert "2 to 32767 classes" in refusal(lambda: CleanLabels(np.zeros(3, int), ("only",)))
    with pytest.raises(ValueError, match="vector of integers"):
        CleanLabels(np.zeros(3), CIFAR)


# --- looking models up


def test_every_model_is_there_with_distinct_stems_and_a_source() -> None:
    assert list(NOISE_MODELS) == ["asymmetric", "instance", "pairflip", "uniform", "uniform-all"]
    models = [noise_model(name) for name in [*NOISE_MODELS, "matrix:raf-affectnet"]]
    assert [model.stem for model in models] == ["asym", "inst", "pair", "flip", "flipall", "raf-affectnet"]
    assert [model.name for model in models] == [*NOISE_MODELS, "matrix:raf-affectnet"]
    for model, source in zip(models, ["Patrini", "Xia", "Han", "Zhang", "Zhang", "Zhang"], strict=True):
        assert source in model.formula


@pytest.mark.parametrize(
    ("spec", "near"),
    [("unifrom", "uniform"), ("pair", "pairflip"), ("raf-affectnet", "matrix:raf-affectnet")],
)
def test_an_unknown_model_lists_all_and_the_nearest(spec: str, near: str) -> None:
    message = refusal(lambda: noise_model(spec))
    assert f"Did you mean '{near}'?" in message
    for name in [*NOISE_MODELS, "matrix:raf-affectnet", "matrix:FILE"]:
        assert name in message


def test_an_unknown_matrix_lists_the_shipped_ones() -> None:
    message = refusal(lambda: noise_model("matrix:raf-afectnet"))
    assert "Did you mean 'raf-affectnet'?" in message
    assert "path of a CSV file" in message
    assert "Known: raf-affectnet" in refusal(lambda: noise_model("matrix:"))


# --- matrices

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


# --- instance


def pictures(count: int, chunk: int, size: int = 6) -> tuple[np.ndarray, Callable[[], Iterator[np.ndarray]]]:
    images = rng(0, "pictures").integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return images, lambda: (images[start : start + chunk] for start in range(0, count, chunk))


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6])
def test_instance_is_near_its_rate(rate: float) -> None:
    labels = np.arange(20_000) % 10
    noisy = noise_model("instance").flip(CleanLabels(labels, CIFAR, pictures(20_000, 5000)[1]), rate, rng(0))
    expected = stats.truncnorm(-rate / 0.1, (1 - rate) / 0.1, rate, 0.1).mean()
    assert measured_rate(labels, noisy) == pytest.approx(expected, abs=0.015)  # σ is at most 0.0035


def test_low_instance_rates_are_the_truncated_means() -> None:
    labels = np.arange(20_000) % 10
    clean = CleanLabels(labels, CIFAR, pictures(20_000, 5000)[1])
    rates = {rate: measured_rate(labels, noise_model("instance").flip(clean, rate, rng(1))) for rate in (0.0, 0.1)}
    assert rates[0.0] == 0
    assert rates[0.1] == pytest.approx(0.1288, abs=0.01)


def test_instance_depends_on_the_image() -> None:
    # one class, two pictures shown 3000 times each: their noisy classes are distributed differently
    two = pictures(2, 2)[0]
    shown = np.tile(two, (3000, 1, 1, 1))
    clean = CleanLabels(np.full(6000, 3), CIFAR, lambda: iter([shown]))
    noisy = noise_model("instance").flip(clean, 0.4, rng(0))
    first, second = (np.bincount(noisy[start::2], minlength=10) for start in (0, 1))
    assert abs(int(first[3]) - int(second[3])) < 250  # both err as often: 1800 ± 27 stay
    others = np.arange(10) != 3
    assert stats.chi2_contingency(np.stack([first, second])[:, others] + 1).pvalue < 1e-6
    # and the same pictures under another clean class get yet another distribution
    other = noise_model("instance").flip(CleanLabels(np.full(6000, 5), CIFAR, clean.images), 0.4, rng(0))
    third = np.bincount(other[::2], minlength=10)
    free = others & (np.arange(10) != 5)
    assert stats.chi2_contingency(np.stack([first, third])[:, free] + 1).pvalue < 1e-6


def slow_instance_chances(images: np.ndarray, labels: np.ndarray, rate: float, seed: int, classes: int) -> np.ndarray:
    """P(noisy) of each sample, literally from the formula; the generator is read in the documented order."""
    generator = rng(seed)
    rates = generator.normal(rate, 0.1, len(labels))
    assert ((rates >= 0) & (rates <= 1)).all(), "choose a rate where nothing is truncated"
    generator.random(len(labels))
    size = images[0].size
    weights = generator.standard_normal((classes, size, classes), dtype=np.float32)
    vectors = [[float(value) for value in image.reshape(-1)] for image in images]
    mean = [sum(vector[p] for vector in vectors) / len(vectors) for p in range(size)]
    centred = [[vector[p] - mean[p] for p in range(size)] for vector in vectors]
    spread = (sum(value**2 for vector in centred for value in vector) / (len(vectors) * size)) ** 0.5
    chances = np.zeros((len(labels), classes))
    for i, label in enumerate(labels):
        scores = {
            j: sum(centred[i][p] / spread * float(weights[label, p, j]) for p in range(size))
            for j in range(classes)
            if j != label
        }
        top = max(scores.values())
        total = sum(np.exp(score - top) for score in scores.values())
        for j, score in scores.items():
            chances[i, j] = rates[i] * np.exp(score - top) / total
        chances[i, label] = 1 - rates[i]
    return chances


def test_instance_follows_the_slow_formula() -> None:
    images, chunks = pictures(600, 7, size=2)
    labels = np.arange(600) % 4
    clean = CleanLabels(labels, ("a", "b", "c", "d"), chunks)
    seed, rate = 5, 0.5
    chances = slow_instance_chances(images, labels, rate, seed, 4)
    generator = rng(seed)
    generator.normal(rate, 0.1, 600)
    expected = [next(j for j in range(4) if u < chances[i, : j + 1].sum()) for i, u in enumerate(generator.random(600))]
    noisy = noise_model("instance").flip(clean, rate, rng(seed))
    assert noisy.tolist() == expected
    assert 0 < measured_rate(labels, noisy) < 1


@pytest.mark.parametrize("chunk", [1, 7, 999, 5000])
def test_instance_does_not_see_the_chunks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noisyfer.benchmark.noise.instance._BLOCK_VALUES", 108 * 64)  # several blocks, not one
    labels = np.arange(2000) % 10
    whole = noise_model("instance").flip(CleanLabels(labels, CIFAR, pictures(2000, 2000)[1]), 0.4, rng(0))
    parts = noise_model("instance").flip(CleanLabels(labels, CIFAR, pictures(2000, chunk)[1]), 0.4, rng(0))
    assert np.array_equal(whole, parts)


def test_instance_survives_a_reader_that_uses_its_buffer_again() -> None:
    labels = np.arange(500) % 10
    images, chunks = pictures(500, 500)

    def same_buffer() -> Iterator[np.ndarray]:
        buffer = np.empty((50, 6, 6, 3), np.uint8)
        for start in range(0, 500, 50):
            buffer[:] = images[start : start + 50]
            yield buffer

    flips = [
        noise_model("instance").flip(CleanLabels(labels, CIFAR, source), 0.4, rng(0))
        for source in (chunks, same_buffer)
    ]
    assert np.array_equal(*flips)


def test_identical_images_are_no_division_by_zero() -> None:
    clean = CleanLabels(np.zeros(2000, int), CIFAR, lambda: iter([np.full((2000, 2, 2, 3), 7, np.uint8)]))
    noisy = noise_model("instance").flip(clean, 0.4, rng(0))
    assert stats.chisquare(np.bincount(noisy, minlength=10)[1:]).pvalue > 0.001  # no image differs: all classes alike


def test_instance_needs_its_images() -> None:
    model = noise_model("instance")
    assert "looks at the images" in refusal(lambda: model.flip(balanced(10), 0.2, rng(0)))
    with pytest.raises(ValueError, match="10 labels, but 9 images"):
        model.flip(CleanLabels(np.arange(10), CIFAR, pictures(9, 4)[1]), 0.2, rng(0))
    floats = CleanLabels(np.arange(10), CIFAR, lambda: iter([np.zeros((10, 2, 2, 3))]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uint8, not float64"):
        model.flip(floats, 0.2, rng(0))


def test_instance_streams_its_images() -> None:
    count = 12_000  # 37 MB of pixels, 295 MB as float64

    def chunks() -> Iterator[np.ndarray]:
        generator = rng(0)
        for _ in range(count // 500):
            yield generator.integers(0, 256, (500, 32, 32, 3), dtype=np.uint8)

    clean = CleanLabels(np.arange(count) % 10, CIFAR, chunks)
    tracemalloc.start()
    try:
        noise_model("instance").flip(clean, 0.4, rng(0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 120e6


# --- figures and votes


def test_the_measured_rate_counts_differences() -> None:
    assert measured_rate(np.array([0, 1, 2, 3]), np.array([0, 2, 2, 0], np.int16)) == 0.5
    with pytest.raises(ValueError, match="one length above 0"):
        measured_rate(np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(ValueError, match="got 3 and 1"):
        measured_rate(np.zeros(3, int), np.zeros(1, int))


def test_the_transition_matrix_by_hand() -> None:
    clean, noisy = np.array([0, 0, 0, 0, 2], np.int16), np.array([0, 1, 1, 2, 0], np.int16)
    expected = [[0.25, 0.5, 0.25], [0, 1, 0], [1, 0, 0]]
    assert transition_matrix(clean, noisy, 3).tolist() == expected
    with pytest.raises(ValueError, match="0 to 3, expected 0 to 2"):
        transition_matrix(np.array([0, 3]), np.array([0, 0]), 3)


def slow_majority(votes: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> list[int | None]:
    """The winner of each sample: with m modal classes in ascending order, one draw u takes the floor(u·m)-th."""
    winners: list[int | None] = []
    for sample in range(votes.shape[1]):
        draw = generator.random()
        counts = Counter(int(votes[row, sample]) for row in range(votes.shape[0]) if mask[row, sample])
        if not counts:
            winners.append(None)
            continue
        modal = sorted(label for label, count in counts.items() if count == max(counts.values()))
        winners.append(modal[int(draw * len(modal))])
    return winners


@given(st.integers(1, 6), st.integers(1, 30), st.integers(2, 6), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_majority_agrees_with_the_slow_count_in_any_order(sets: int, samples: int, classes: int, seed: int) -> None:
    generator = rng(seed, "votes")
    votes = generator.integers(0, classes, (sets, samples)).astype(np.int16)
    mask = generator.random((sets, samples)) < 0.7
    votes[~mask] = -1  # whatever stands where there is no vote
    labels, voted = majority_vote(votes, mask, classes, rng(seed, "ties"))
    assert labels.dtype == np.int16
    found = [int(label) if valid else None for label, valid in zip(labels, voted, strict=True)]
    assert found == slow_majority(votes, mask, rng(seed, "ties"))
    assert (labels[~voted] == 0).all()
    order = generator.permutation(sets)
    again, _ = majority_vote(votes[order], mask[order], classes, rng(seed, "ties"))
    assert np.array_equal(labels, again)


def test_without_a_mask_all_vote() -> None:
    votes = np.array([[0, 1, 2], [0, 1, 1], [2, 1, 1]], np.int16)
    labels, voted = majority_vote(votes, None, 3, rng(0))
    assert labels.tolist() == [0, 1, 1]
    assert voted.all()


def test_ties_are_broken_uniformly() -> None:
    votes = np.array([[1], [4], [7]], np.int16).repeat(30_000, axis=1)
    labels, _ = majority_vote(votes, None, 10, rng(0, "majority"))
    counts = np.bincount(labels, minlength=10)
    assert counts[[1, 4, 7]].sum() == 30_000
    assert stats.chisquare(counts[[1, 4, 7]]).pvalue > 0.001


def test_one_sample_s_votes_do_not_change_another_s_tie() -> None:
    votes = rng(0).integers(0, 4, (3, 500)).astype(np.int16)
    before, _ = majority_vote(votes, None, 4, rng(1))
    votes[:, :250] = 2
    after, _ = majority_vote(votes, None, 4, rng(1))
    assert np.array_equal(before[250:], after[250:])


@pytest.mark.parametrize("label", [-1, 3])
def test_votes_out_of_range_are_refused(label: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to 2"):
        majority_vote(np.array([[0, label]]), None, 3, rng(0))


# --- rates and names


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
