"""Instance-dependent noise follows its formula, whatever the chunks in which it is shown the images."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from noise_builders import CIFAR, balanced, refusal
from noisyfer.benchmark.noise import CleanLabels, measured_rate, noise_model
from noisyfer.core.streams import rng
from scipy import stats


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
