"""The noise models flip as many labels as asked, to the classes of their definition, and are found by name."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_builders import CIFAR, EXPRESSIONS, any_rate, balanced, numbered, refusal
from noisyfer.benchmark.noise import NOISE_MODELS, CleanLabels, measured_rate, noise_model, transition_matrix
from noisyfer.core.streams import rng
from scipy import stats

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
