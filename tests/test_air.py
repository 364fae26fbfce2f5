"""The auxiliary image regularizer: ADMM's steps, the minimum they lead to, and its schedule."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
import torch
from method_builders import CLASSES, ROWS, SAMPLES, TinyTraining, build, make_batch
from noisyfer.models.methods.air import AIR, Splitting, admm_step, count_nonzero
from torch import Tensor
from torch.nn import functional

pytestmark = pytest.mark.usefixtures("seeded")


def build_air(**settings: Any) -> AIR:
    method = build("air", CLASSES, **({"pretrain_epochs": 1, "auxiliary_images": 12} | settings))
    assert isinstance(method, AIR)
    return method


def state_of(auxiliary: Tensor, classes: int, rho: float = 1.0) -> Splitting:
    flat = torch.zeros(auxiliary.shape[1], classes)
    deep = torch.zeros(*auxiliary.shape, classes)
    return Splitting(auxiliary, flat, flat.clone(), deep, deep.clone(), rho)


def random_state() -> Splitting:
    state = state_of(torch.rand(5, 7) * (torch.rand(5, 7) > 0.3), 3, rho=1.7)
    state.weights, state.average = torch.randn(7, 3), torch.randn(7, 3)
    state.split, state.dual, state.steps = torch.randn(5, 7, 3) * 0.3, torch.randn(5, 7, 3) * 0.2, 4
    return state


def test_a_step_is_the_papers_one_number_after_the_other() -> None:
    state, gradient, thresholds = random_state(), torch.randn(7, 3) * 0.1, torch.rand(5) * 2
    x, w, v, u = (one.double() for one in (state.auxiliary, state.weights, state.split, state.dual))
    average, rho, eta = state.average.double(), 1.7, 0.6
    norms = admm_step(state, gradient, thresholds, eta)

    new = torch.zeros(7, 3, dtype=torch.float64)
    for j in range(7):
        diagonal = sum(x[i, j] ** 2 for i in range(5)) / 5
        for k in range(3):
            pulled = sum(x[i, j] * (rho * v[i, j, k] + u[i, j, k]) for i in range(5)) / 5
            new[j, k] = (-gradient[j, k] + pulled + w[j, k] / eta) / (rho * diagonal + 1 / eta)
    torch.testing.assert_close(state.weights.double(), new, rtol=1e-5, atol=1e-6)
    empty = 0
    for i in range(5):
        for k in range(3):
            raw = [x[i, j] * new[j, k] - u[i, j, k] / rho for j in range(7)]
            size = sum(entry**2 for entry in raw) ** 0.5
            shrunk = max(0.0, 1 - thresholds[i].item() / rho / size.item())
            empty += shrunk == 0
            assert norms[i, k].item() == pytest.approx(shrunk * size.item(), rel=1e-4, abs=1e-7)
            for j in range(7):
                assert state.split[i, j, k].item() == pytest.approx(shrunk * raw[j].item(), rel=1e-4, abs=1e-6)
                dual = u[i, j, k] - rho * (x[i, j] * new[j, k] - shrunk * raw[j])
                assert state.dual[i, j, k].item() == pytest.approx(dual.item(), rel=1e-4, abs=1e-6)
    assert 0 < empty < 15
    torch.testing.assert_close(state.average.double(), (1 - 2 / 6) * average + 2 / 6 * new, rtol=1e-5, atol=1e-6)
    assert state.steps == 5


def problem() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(2)
    labels = torch.arange(60) % 3
    places = torch.rand(3, 8, generator=source)[labels] + 0.3 * torch.rand(60, 8, generator=source)
    features = functional.normalize(places * (torch.rand(60, 8, generator=source) > 0.4), dim=1)
    auxiliary = features[:20].abs()
    return features, labels, auxiliary, 0.5 / (3 * count_nonzero(auxiliary).sqrt())


def objective(weights: Tensor, features: Tensor, labels: Tensor, auxiliary: Tensor, thresholds: Tensor) -> Tensor:
    """What is to be minimised, as the docstring has it; 1e-12 under the root for a gradient at 0."""
    groups = ((auxiliary[:, :, None] * weights).square().sum(dim=1) + 1e-12).sqrt()
    return functional.cross_entropy(features @ weights, labels) + (thresholds[:, None] * groups).sum(dim=1).mean()


def test_admm_comes_to_the_minimum_that_another_solver_finds() -> None:
    features, labels, auxiliary, thresholds = problem()
    other = torch.zeros(8, 3, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([other], max_iter=2000, line_search_fn="strong_wolfe", tolerance_change=1e-14)
    given = (features.double(), labels, auxiliary.double(), thresholds.double())

    def closure() -> Tensor:
        solver.zero_grad()
        value = objective(other, *given)
        value.backward()
        return value

    solver.step(closure)
    best = objective(other.detach(), *given).item()
    state = state_of(auxiliary, 3, rho=1.0)
    for _ in range(3000):
        weights = state.weights.requires_grad_(True)
        (gradient,) = torch.autograd.grad(functional.cross_entropy(features @ weights, labels), weights)
        state.weights = weights.detach()
        admm_step(state, gradient, thresholds, 2.0)
    start = objective(torch.zeros(8, 3, dtype=torch.float64), *given).item()
    assert start - best > 0.02
    assert objective(state.weights.double(), *given).item() == pytest.approx(best, abs=1e-4)
    assert objective(state.average.double(), *given).item() == pytest.approx(best, abs=1e-3)
    residual = auxiliary[:, :, None] * state.weights - state.split
    assert residual.abs().max().item() < 1e-3  # V = M·W


def test_a_large_weight_empties_every_group_and_none_leaves_plain_regression() -> None:
    features, labels, auxiliary, thresholds = problem()
    norms = {}
    for factor in (0.0, 1.0, 100.0):
        state = state_of(auxiliary, 3)
        for _ in range(300):
            weights = state.weights.requires_grad_(True)
            (gradient,) = torch.autograd.grad(functional.cross_entropy(features @ weights, labels), weights)
            state.weights = weights.detach()
            found = admm_step(state, gradient, factor * thresholds, 2.0)
        norms[factor] = found
    assert norms[0.0].mean() > norms[1.0].mean() > 0
    assert (norms[100.0] == 0).all()


def test_the_network_is_frozen_after_its_training() -> None:
    method, batch = build_air(), make_batch(CLASSES)
    method.start_epoch(0)
    told = method.update(batch)
    assert "regularizer" not in told
    assert method.splitting is None
    method.start_epoch(1)
    frozen = {name: value.clone() for name, value in method.network.state_dict().items()}
    state = method.splitting
    assert state is not None
    first = method.update(batch)
    chosen = state.auxiliary.clone()
    method.start_epoch(2)
    method.update(batch)
    assert all(torch.equal(value, frozen[name]) for name, value in method.network.state_dict().items())
    assert method.splitting is state
    assert torch.equal(state.auxiliary, chosen)
    assert state.steps == 2
    assert {"regularizer", "empty_groups", "cross_entropy"} <= first.keys()


def test_a_step_of_the_method_uses_unit_features_masks_and_the_thresholds() -> None:
    method = build_air(group_weight=4.0, rho=2.0, rho_growth=3.0, rho_limit=5.0, admm_step=0.7)
    method.start_epoch(1)
    state = method.splitting
    assert state is not None
    method.update(make_batch(CLASSES, seed=3))
    assert state.rho == 5.0  # 2·3 is beyond the limit
    masks = {
        CLASSES[0].name: torch.arange(ROWS) % 3 > 0,
        CLASSES[1].name: torch.zeros(ROWS, dtype=torch.bool),
        CLASSES[2].name: torch.arange(ROWS) < 3,
    }
    batch = dataclasses.replace(make_batch(CLASSES), masks=masks)
    twin = dataclasses.replace(state)
    told = method.update(batch)

    with torch.no_grad():
        raw = method.network.trunk(batch.images / 127.5 - 1)
    features = raw / raw.square().sum(dim=1, keepdim=True).sqrt()
    weights = twin.weights.clone().requires_grad_(True)
    losses = []
    for one in (CLASSES[0], CLASSES[2]):
        rows = masks[one.name]
        losses.append(functional.cross_entropy((features @ weights)[rows], batch.labels[one.name][rows]))
    entropy = sum(losses) / 2
    (gradient,) = torch.autograd.grad(entropy, weights)
    features_each = torch.tensor([int((row != 0).sum()) for row in twin.auxiliary])
    thresholds = 4.0 / (10 * features_each.clamp(min=1) ** 0.5)
    norms = admm_step(twin, gradient, thresholds, 0.7)
    for name in ("weights", "average", "split", "dual"):
        torch.testing.assert_close(getattr(state, name), getattr(twin, name), rtol=1e-4, atol=1e-6)
    regularizer = sum(thresholds[i] * norms[i].sum() for i in range(12)) / 12
    assert told["cross_entropy"].item() == pytest.approx(entropy.item(), rel=1e-5)
    assert told["regularizer"].item() == pytest.approx(regularizer.item(), rel=1e-4)
    assert told["loss"].item() == pytest.approx((entropy + regularizer).item(), rel=1e-5)
    expected = torch.softmax(features @ state.average, dim=1)
    torch.testing.assert_close(method.predict(batch.images)["class"], expected, rtol=1e-4, atol=1e-6)


def test_auxiliary_images_are_training_images_and_no_more_than_there_are() -> None:
    method = build_air(auxiliary_images=1000)
    method.start_epoch(1)
    state = method.splitting
    assert state is not None
    everything = method._features(TinyTraining(CLASSES).batch.images)
    torch.testing.assert_close(state.auxiliary, everything.abs(), rtol=1e-4, atol=1e-6)
    assert len(state.auxiliary) == SAMPLES
    few = []
    for seed in (1, 2):
        method = build_air()
        torch.manual_seed(seed)
        method.start_epoch(1)
        assert method.splitting is not None
        few.append(method.splitting.auxiliary)
    assert few[0].shape[0] == 12
    assert not torch.equal(few[0], few[1])


def test_it_resumes_bit_for_bit_in_its_second_part_and_predicts_before_an_epoch_starts() -> None:
    method, batch = build_air(), make_batch(CLASSES)
    method.start_epoch(0)
    method.update(batch)
    method.start_epoch(1)
    method.update(batch)
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    fresh = build_air()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh.predict(batch.images)["class"], method.predict(batch.images)["class"])
    told = []
    for going in (method, fresh):
        going.start_epoch(2)
        told.append([going.update(make_batch(CLASSES, seed=seed))["loss"] for seed in range(3)])
    assert told[0] == told[1]
    assert method.splitting is not None
    assert fresh.splitting is not None
    for name in ("auxiliary", "weights", "average", "split", "dual"):
        assert torch.equal(getattr(method.splitting, name), getattr(fresh.splitting, name)), name
    assert (method.splitting.rho, method.splitting.steps) == (fresh.splitting.rho, fresh.splitting.steps)


def test_nothing_breaks_over_many_steps_or_without_labels() -> None:
    method, batch = build_air(), make_batch(CLASSES)
    method.start_epoch(1)
    state = method.splitting
    assert state is not None
    state.rho, state.steps = 9.9, 10_000_000  # ρ is multiplied, not raised to a power
    nothing = {name: torch.zeros(ROWS, dtype=torch.bool) for name in batch.masks}
    told = method.update(dataclasses.replace(batch, masks=nothing))
    assert told["cross_entropy"] == 0
    assert state.rho == 10.0
    for _ in range(20):
        told = method.update(batch)
    assert all(torch.isfinite(value) for value in told.values())
    assert torch.isfinite(method.predict(batch.images)["class"]).all()
