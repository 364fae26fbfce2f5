"""The losses against the loop-by-loop references in `oracles.py`, values and gradients, and worked examples."""

from __future__ import annotations

import math
from collections.abc import Callable

import oracles
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from noisyfer.models.losses import (
    concordance,
    cross_entropy,
    discriminator_hinge,
    generator_adversarial,
    masked_mean,
    mean_over_sets,
    out_of_range,
    similarity,
)
from torch import Tensor


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def table(values: list[list[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def agree(
    loss: Callable[..., Tensor], reference: Callable[..., Tensor], *inputs: Tensor, tolerance: float = 1e-9
) -> None:
    """Value and gradients with respect to all inputs."""
    ours = [tensor.clone().requires_grad_(True) for tensor in inputs]
    theirs = [tensor.clone().requires_grad_(True) for tensor in inputs]
    actual, expected = loss(*ours), reference(*theirs)
    assert actual.shape == ()
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
    actual.backward()
    expected.backward()
    for mine, other in zip(ours, theirs, strict=True):
        slope = torch.zeros_like(other) if other.grad is None else other.grad
        torch.testing.assert_close(mine.grad, slope, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------------------------------------------- cross entropy


@st.composite
def labelled_logits(draw: st.DrawFn) -> tuple[Tensor, list[int], list[bool]]:
    count, classes = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    rows = st.lists(floats(-30, 30), min_size=classes, max_size=classes)
    logits = table(draw(st.lists(rows, min_size=count, max_size=count)))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    return logits, labels, draw(st.lists(st.booleans(), min_size=count, max_size=count))


@settings(deadline=None, max_examples=60)
@given(labelled_logits())
def test_cross_entropy_is_the_literal_one(case: tuple[Tensor, list[int], list[bool]]) -> None:
    logits, labels, mask = case
    agree(
        lambda z: cross_entropy(z, torch.tensor(labels), torch.tensor(mask)),
        lambda z: oracles.cross_entropy(z, labels, mask) + 0 * z.sum(),
        logits,
    )


def test_cross_entropy_by_hand() -> None:
    # softmax of (0, ln 3) is (1/4, 3/4)
    logits = table([[0, math.log(3)], [0, math.log(3)], [5, -5]])
    labels = torch.tensor([0, 1, 1])
    everything = cross_entropy(logits, labels, torch.tensor([True, True, True])).item()
    assert everything == pytest.approx((math.log(4) + math.log(4 / 3) + 10 + math.log1p(math.exp(-10))) / 3)
    two = cross_entropy(logits, labels, torch.tensor([True, True, False])).item()
    assert two == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)


def test_cross_entropy_at_which_matching_one_hot_labels_settles() -> None:
    # raw outputs that equal the one-hot labels have ln(1 + 9/e) for ten classes
    loss = cross_entropy(torch.eye(10), torch.arange(10), torch.ones(10, dtype=torch.bool))
    assert loss.item() == pytest.approx(math.log(1 + 9 / math.e))
    assert loss.item() == pytest.approx(1.46, abs=0.005)


def test_cross_entropy_of_huge_logits_is_finite() -> None:
    loss = cross_entropy(table([[1e4, -1e4]]), torch.tensor([1]), torch.tensor([True]))
    assert loss.item() == pytest.approx(2e4)


def test_without_any_label_cross_entropy_and_its_gradient_are_zero() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(4, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_keep_their_type(dtype: torch.dtype) -> None:
    mask = torch.tensor([True, False, True])
    assert cross_entropy(torch.randn(3, 4, dtype=dtype), torch.tensor([0, 1, 2]), mask).dtype == dtype
    assert similarity(torch.randn(3, 2, dtype=dtype), torch.rand(3, 2, dtype=dtype), mask).dtype == dtype


# -------------------------------------------------------------------------------------------------- means over sets


def test_masked_mean_by_hand() -> None:
    values = torch.tensor([1.0, 2.0, 6.0])
    assert masked_mean(values, torch.tensor([True, False, True])).item() == 3.5
    assert masked_mean(values, torch.tensor([False, False, False])).item() == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(floats(-9, 9), st.lists(st.booleans(), min_size=3, max_size=3)), min_size=1, max_size=4))
def test_mean_over_sets_is_the_literal_one(sets: list[tuple[float, list[bool]]]) -> None:
    masks = [mask for _, mask in sets]
    agree(
        lambda *losses: mean_over_sets(losses, [torch.tensor(mask) for mask in masks]),
        lambda *losses: oracles.mean_over_sets(losses, masks) + 0 * sum(losses),
        *[torch.tensor(value, dtype=torch.float64) for value, _ in sets],
    )


def test_mean_over_sets_leaves_out_a_set_without_labels() -> None:
    some, none = torch.tensor([True, False]), torch.tensor([False, False])
    losses = [torch.tensor(2.0), torch.tensor(0.0), torch.tensor(5.0)]
    assert mean_over_sets(losses, [some, none, some]).item() == 3.5
    assert mean_over_sets(losses, [none, none, none]).item() == 0


# ------------------------------------------------------------------------------------------------------ concordance


def ccc(predicted: list[float], labels: list[float], mask: list[bool] | None = None) -> float:
    chosen = [True] * len(labels) if mask is None else mask
    return concordance(table([predicted])[0], table([labels])[0], torch.tensor(chosen)).item()


def test_concordance_by_hand() -> None:
    # means 2, 2; variances 2/3, 2/3: with n, not n − 1, in both, which cancels only where the means agree
    assert ccc([1, 2, 3], [1, 2, 3]) == pytest.approx(1)
    assert ccc([3, 2, 1], [1, 2, 3]) == pytest.approx(-1)
    # means 2, 3; cov = var = 2/3: 2·(2/3) / (2/3 + 2/3 + 1) = 4/7; unbiased variances would give 2/3
    assert ccc([1, 2, 3], [2, 3, 4]) == pytest.approx(4 / 7)
    # means 0, 0; var 1/4, 1, cov 1/2: 1 / (5/4) = 4/5 though the correlation is 1
    assert ccc([-0.5, 0.5], [-1, 1]) == pytest.approx(4 / 5)
    # means 3/2, 1/2; var 5/4, 1/4; cov = 5/4 − 3/4 = 1/2: 1 / (5/4 + 1/4 + 1) = 2/5
    assert ccc([0, 1, 2, 3], [0, 0, 1, 1]) == pytest.approx(2 / 5)
    # only the first two count
    assert ccc([-0.5, 0.5, 9], [-1, 1, -9], [True, True, False]) == pytest.approx(4 / 5)
    assert ccc([1, 1, 1], [-1, 0, 1]) == pytest.approx(0)


@pytest.mark.parametrize("mask", [[False, False, False], [False, True, False]])
def test_concordance_of_fewer_than_two_labels_is_zero(mask: list[bool]) -> None:
    predicted = table([[0.3, -0.8, 0.1]])[0].requires_grad_(True)
    value = concordance(predicted, table([[0.3, 0.5, 0.2]])[0], torch.tensor(mask))
    value.backward()
    assert value.item() == 0
    assert torch.equal(predicted.grad, torch.zeros(3, dtype=torch.float64))


def test_concordance_of_constants_is_zero_and_finite() -> None:
    predicted = torch.full((4,), 0.25, requires_grad=True)
    value = concordance(predicted, torch.full((4,), 0.25), torch.ones(4, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(predicted.grad).all()


@st.composite
def affect(draw: st.DrawFn) -> tuple[Tensor, Tensor, list[bool]]:
    count = draw(st.integers(2, 6))
    pairs = st.lists(st.lists(floats(-1, 1), min_size=2, max_size=2), min_size=count, max_size=count)
    mask = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return table(draw(pairs)), table(draw(pairs)), mask


def _defined(predicted: Tensor, labels: Tensor, mask: list[bool]) -> bool:
    """Whether the formula's denominator is well away from 0, for valence and arousal."""
    chosen = torch.tensor(mask)
    if sum(mask) < 2:
        return True
    p, y = predicted[chosen], labels[chosen]
    spread = p.var(dim=0, correction=0) + y.var(dim=0, correction=0) + (p.mean(dim=0) - y.mean(dim=0)).square()
    return bool((spread > 1e-3).all())


@settings(deadline=None, max_examples=80)
@given(affect())
def test_similarity_is_the_literal_one(case: tuple[Tensor, Tensor, list[bool]]) -> None:
    predicted, labels, mask = case
    assume(_defined(predicted, labels, mask))
    agree(
        lambda p, y: similarity(p, y, torch.tensor(mask)),
        lambda p, y: oracles.similarity(p, y, mask) + 0 * p.sum() + 0 * y.sum(),
        predicted,
        labels,
        tolerance=1e-7,
    )


@settings(deadline=None, max_examples=60)
@given(affect())
def test_concordance_is_symmetric_and_between_minus_one_and_one(case: tuple[Tensor, Tensor, list[bool]]) -> None:
    predicted, labels, mask = case
    chosen = torch.tensor(mask)
    value = concordance(predicted[:, 0], labels[:, 0], chosen).item()
    assert -1 - 1e-9 <= value <= 1 + 1e-9
    assert value == pytest.approx(concordance(labels[:, 0], predicted[:, 0], chosen).item(), abs=1e-12)


def test_values_out_of_range_cost_their_squared_distance() -> None:
    predicted = torch.tensor([[1.0, -1.0], [3.0, 0.2], [0.5, -1.5], [9.0, 9.0]])
    mask = torch.tensor([True, True, True, False])
    assert out_of_range(predicted, mask).item() == pytest.approx((2**2 + 0.5**2) / 2 / 3)
    assert out_of_range(predicted, mask).item() == pytest.approx(oracles.out_of_range(predicted, mask.tolist()).item())
    assert out_of_range(predicted[:1], mask[:1]) == out_of_range(predicted, mask & False) == 0


def test_far_from_all_labels_the_range_has_a_slope_and_the_concordance_hardly_any() -> None:
    labels = torch.rand(64, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = torch.ones(64, dtype=torch.bool)

    def slope(loss: Callable[[Tensor], Tensor], factor: float) -> Tensor:
        predicted = (factor * (1 + labels.flip(1))).requires_grad_()
        (found,) = torch.autograd.grad(loss(predicted), predicted)
        return found

    concordant = [slope(lambda p: similarity(p, labels, mask), factor).norm() for factor in (1.0, 100.0)]
    assert concordant[1] < concordant[0] / 5000
    back = slope(lambda p: out_of_range(p, mask), 100.0)
    assert back.norm() > 1
    assert (back >= 0).all()  # down, to the labels


def test_similarity_by_hand_and_at_its_ends() -> None:
    labels = table([[-1, 1], [0, 0], [1, -1]])
    mask = torch.ones(3, dtype=torch.bool)
    assert similarity(labels, labels, mask).item() == pytest.approx(0)
    assert similarity(-labels, labels, mask).item() == pytest.approx(2)
    # valence halved: 2·(1/3) / (1/6 + 2/3) = 4/5; arousal shifted by 1: 2·(2/3) / (4/3 + 1) = 4/7
    moved = torch.stack([labels[:, 0] / 2, labels[:, 1] + 1], dim=1)
    assert similarity(moved, labels, mask).item() == pytest.approx(1 - (4 / 5 + 4 / 7) / 2)
    assert similarity(moved, labels, torch.zeros(3, dtype=torch.bool)).item() == 1


# ------------------------------------------------------------------------------------------------ adversarial losses


@st.composite
def score_tables(draw: st.DrawFn) -> tuple[Tensor, Tensor, list[list[bool]]]:
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    # away from the hinges' corners at ±1, where the gradient is a choice
    score = floats(-4, 4).filter(lambda z: abs(abs(z) - 1) > 1e-6)
    tables = st.lists(st.lists(score, min_size=columns, max_size=columns), min_size=rows, max_size=rows)
    flags = draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    flags[draw(st.integers(0, rows * columns - 1))] = True  # S_x, S_y0 and S_joint always count
    present = [flags[row * columns : (row + 1) * columns] for row in range(rows)]
    return table(draw(tables)), table(draw(tables)), present


@settings(deadline=None, max_examples=80)
@given(score_tables())
def test_adversarial_losses_are_those_of_equations_9_and_10(scores: tuple[Tensor, Tensor, list[list[bool]]]) -> None:
    *sides, present = scores
    counts = torch.tensor(present)
    for ours, literal in (
        (discriminator_hinge, oracles.discriminator_loss),
        (generator_adversarial, oracles.generator_loss),
    ):
        agree(lambda *s, f=ours: f(*s, counts), lambda *s, f=literal: f(*s, present), *sides)


def test_adversarial_losses_by_hand() -> None:
    encoder_scores, decoder_scores = table([[2.0, 0.5], [-1.0, 1.5]]), table([[-3.0, 0.0], [1.0, -0.5]])
    every, some = torch.ones(2, 2, dtype=torch.bool), torch.tensor([[True, False], [True, True]])
    # relu(1 − s): 0, 0.5, 2, 0; relu(1 + s): 0, 1, 2, 0.5
    assert discriminator_hinge(encoder_scores, decoder_scores, every).item() == pytest.approx(2.5 / 4 + 3.5 / 4)
    assert discriminator_hinge(encoder_scores, decoder_scores, some).item() == pytest.approx(2 / 3 + 2.5 / 3)
    # means 0.75 and −0.625
    assert generator_adversarial(encoder_scores, decoder_scores, every).item() == pytest.approx(0.75 + 0.625)
    assert generator_adversarial(encoder_scores, decoder_scores, some).item() == pytest.approx((2.5 + 2.5) / 3)


def test_discriminator_wants_high_encoder_scores_and_the_generator_low_ones() -> None:
    high, low, counts = table([[5.0]]), table([[-5.0]]), torch.ones(1, 1, dtype=torch.bool)
    assert discriminator_hinge(high, low, counts).item() == 0
    assert discriminator_hinge(low, high, counts).item() == 12
    assert generator_adversarial(low, high, counts).item() == -10
    assert generator_adversarial(high, low, counts).item() == 10
