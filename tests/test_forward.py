"""Forward correction against its equations, its estimate of the noise, and where known matrices come from."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import oracles
import pytest
import torch
from manifest_rows import HEADER, NET, rows
from method_builders import (
    AFFECT,
    CLASSES,
    EXPRESSION,
    MASKS,
    ROWS,
    SAMPLES,
    TinyTraining,
    build,
    equal_states,
    flat,
    make_batch,
    parameters,
    partly,
    same,
    settle,
)
from noisyfer.benchmark.choose import choose
from noisyfer.core.errors import UserError
from noisyfer.core.schema import LabelSet
from noisyfer.manifest import Manifest, write_manifest
from noisyfer.models.methods import Batch, LabelSetSpec
from noisyfer.models.methods.forward import Forward, anchor_transition, log_noisy
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")


def random_transition(seed: int) -> tuple[tuple[float, ...], ...]:
    """Row-stochastic, far from symmetric."""
    source = torch.Generator().manual_seed(seed)
    matrix = torch.rand(10, 10, generator=source) ** 3 + torch.eye(10)
    return tuple(tuple(row) for row in (matrix / matrix.sum(dim=1, keepdim=True)).tolist())


KNOWN = tuple(dataclasses.replace(found, transition=random_transition(n)) for n, found in enumerate(CLASSES))


def build_forward(sets: Sequence[LabelSetSpec], **settings: Any) -> Forward:
    """Without dropout, with logits that are far apart."""
    method = build("forward", tuple(sets), **settings)
    assert isinstance(method, Forward)
    settle(method.network, tuple(sets))
    return method


def literal_step(logits: Tensor, batch: Batch, matrices: dict[str, Tensor], least: float = 1e-6) -> Tensor:
    """Mean over the two sets with labels of the mean over samples of −log Σ_i T_iỹ·p_i, T at least `least`."""
    sets = []
    for name in (CLASSES[0].name, CLASSES[2].name):
        losses = []
        for n in range(ROWS):
            if MASKS[name][n]:
                probabilities, label = oracles.softmax(logits[n]), int(batch.labels[name][n])
                likelihood = sum(max(float(matrices[name][i, label]), least) * probabilities[i] for i in range(10))
                losses.append(-torch.log(torch.as_tensor(likelihood)))
        sets.append(torch.stack(losses).mean())
    return (sets[0] + sets[1]) / 2


def test_a_step_with_known_matrices_descends_the_literal_loss() -> None:
    method, batch = build_forward(KNOWN, transition="known"), partly()
    weights = oracles.leaves(method.network.state_dict())
    method.start_epoch(0)
    told = method.update(batch)
    logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    matrices = {found.name: torch.tensor(found.transition).double() for found in KNOWN}
    expected = literal_step(logits, batch, matrices)
    torch.testing.assert_close(told["loss"].double(), expected, rtol=1e-4, atol=1e-5)
    assert told["corrected"] == told["loss"] != told["cross_entropy"]
    gradients = oracles.gradients(expected, weights)
    for key, parameter in method.network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad.double(), gradients[key], rtol=2e-3, atol=2e-5, msg=key)


def test_pretraining_is_the_plain_cross_entropy_of_all_heads() -> None:
    method, batch = build_forward(CLASSES), partly()
    weights = oracles.leaves(method.network.state_dict())
    method.start_epoch(0)
    told = method.update(batch)
    outputs = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    identity = {found.name: torch.eye(10) for found in CLASSES}
    plain = literal_step(outputs[:, :10], batch, identity, least=0.0)
    losses = []
    for place in (0, 2):
        name, own = CLASSES[place].name, outputs[:, 10 * (place + 1) : 10 * (place + 2)]
        one = [-torch.log(oracles.softmax(own[n])[batch.labels[name][n]]) for n in range(ROWS) if MASKS[name][n]]
        losses.append(torch.stack(one).mean())
    torch.testing.assert_close(told["cross_entropy"].double(), plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(told["loss"].double(), plain + (losses[0] + losses[1]) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("percentile", [97.0, 60.0, 100.0])
def test_the_estimate_is_the_prediction_at_each_class_s_anchor_point(percentile: float) -> None:
    """Anchor points found by sorting, class by class, in the probabilities of each set's own head."""
    method = build_forward(CLASSES, pretrain_epochs=2, anchor_percentile=percentile)
    weights = oracles.leaves(method.network.state_dict())
    method.start_epoch(1)
    assert torch.equal(method.transitions[CLASSES[0].name], torch.eye(10))
    method.start_epoch(2)
    with torch.no_grad():
        outputs = oracles.classifier(weights, TinyTraining(CLASSES).batch.images.double() / 127.5 - 1)
    for place, found in enumerate(CLASSES):
        own = [oracles.softmax(row[10 * (place + 1) : 10 * (place + 2)]).tolist() for row in outputs]
        for i in range(10):
            anchor = sorted(own, key=lambda row: row[i])[int((SAMPLES - 1) * percentile / 100)]
            expected = torch.tensor(anchor)
            torch.testing.assert_close(method.transitions[found.name][i], expected, rtol=1e-3, atol=1e-5)


def test_anchor_points_find_the_noise_of_a_perfect_posterior() -> None:
    """Where P(ỹ | x) = T'·P(y | x) is exact and each class has clear images, T̂ is T."""
    truth, classes = torch.tensor(KNOWN[0].transition), torch.arange(1000) % 10
    posterior = torch.eye(10)[classes] @ truth
    torch.testing.assert_close(anchor_transition(posterior, 97), truth)


def test_after_the_estimate_the_loss_is_corrected_and_stays_so() -> None:
    method, batch = build_forward(CLASSES, pretrain_epochs=1), partly()
    method.start_epoch(0)
    assert "noisy_heads" in method.update(batch)
    method.start_epoch(1)
    matrices = {name: matrix.clone() for name, matrix in method.transitions.items()}
    weights = oracles.leaves(method.network.state_dict())
    told = method.update(batch)
    logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)[:, :10]
    torch.testing.assert_close(told["loss"].double(), literal_step(logits, batch, matrices), rtol=1e-4, atol=1e-5)
    assert "noisy_heads" not in told
    method.start_epoch(2)
    assert all(torch.equal(method.transitions[name], matrix) for name, matrix in matrices.items())


def test_a_run_resumed_on_either_side_of_the_estimate_goes_on_alike() -> None:
    for first in (1, 2):
        method = build_forward(CLASSES, pretrain_epochs=1)
        for epoch in range(first):
            method.start_epoch(epoch)
            method.update(partly())
        stored = io.BytesIO()
        torch.save(method.state_dict(), stored)
        stored.seek(0)
        other = build_forward(CLASSES, pretrain_epochs=1, seed=9)
        other.load_state_dict(torch.load(stored, weights_only=True))
        for each in (method, other):
            each.start_epoch(first)
            each.update(partly())
        assert equal_states(flat(method.state_dict()), flat(other.state_dict()))
        assert not torch.equal(method.transitions[CLASSES[0].name], torch.eye(10))


def test_a_label_that_the_matrix_excludes_costs_a_finite_loss_and_gradient() -> None:
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    loss = -log_noisy(logits, torch.eye(3))
    torch.testing.assert_close(loss[0, 1:], torch.full((2,), 13.815511))
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_batch_without_labels_changes_nothing() -> None:
    for settings in ({"transition": "known"}, {}):
        method, batch = build_forward(KNOWN, **settings), make_batch(CLASSES)
        before = parameters(method.network)
        told = method.update(dataclasses.replace(batch, masks={key: mask & False for key, mask in MASKS.items()}))
        assert told["loss"] == 0
        assert same(before, parameters(method.network))


def test_known_matrices_are_needed_for_every_set_of_classes() -> None:
    with pytest.raises(UserError, match=r"none for class_flip30, class_flip40\. Choose other sets"):
        build("forward", (KNOWN[0], *CLASSES[1:]), transition="known")
    expression = dataclasses.replace(EXPRESSION, transition=tuple(map(tuple, torch.eye(7).tolist())))
    told = build("forward", (expression, AFFECT), transition="known").update(make_batch((EXPRESSION, AFFECT)))
    torch.testing.assert_close(told["loss"], told["corrected"] + told["similarity"])


def test_the_digits_manifest_tells_how_its_noise_was_made(digits_manifest: Path) -> None:
    specs = choose(Manifest.open(digits_manifest), "forward").specs
    assert [found.name for found in specs] == [found.name for found in CLASSES]
    for found, rate in zip(specs, (0.2, 0.3, 0.4), strict=True):
        assert found.transition is not None
        matrix = torch.tensor(found.transition)
        torch.testing.assert_close(matrix.sum(dim=1), torch.ones(10), atol=1e-4, rtol=0)
        assert matrix.diagonal().mean() == pytest.approx(1 - rate, abs=0.03)


GOOD = torch.eye(3).roll(1, dims=1).tolist()


@pytest.mark.parametrize(
    ("stored", "taken"),
    [
        (GOOD, True),
        (None, False),
        ("unknown", False),
        ([[1.0]], False),
        ([*GOOD[:2], [1.0]], False),
        ([*GOOD[:2], [0.5, 0.0, 0.0]], False),
        ([*GOOD[:2], [2.0, -1.0, 0.0]], False),
    ],
)
def test_only_a_row_stochastic_matrix_of_the_task_s_size_is_taken(tmp_path: Path, stored: Any, taken: bool) -> None:
    name, old = NET.name, NET
    provenance = dict(old.provenance) | {"transition_matrix": stored}
    label_sets: dict[str, LabelSet] = dict(HEADER.label_sets) | {name: dataclasses.replace(old, provenance=provenance)}
    header = dataclasses.replace(HEADER, label_sets=label_sets)
    manifest = write_manifest(tmp_path / "known.parquet", header, [rows(20)])
    (found,) = choose(manifest, "vgg-all", [name]).specs
    assert found.transition == (tuple(map(tuple, GOOD)) if taken else None)
