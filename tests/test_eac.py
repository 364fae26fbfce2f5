"""Erasing Attention Consistency against its equations, place by place, and its erased rectangles."""

from __future__ import annotations

import dataclasses
from typing import Any

import oracles
import pytest
import torch
from method_builders import AFFECT, CLASSES, EXPRESSION, ROWS, build, make_batch
from noisyfer.models.methods import LabelSetSpec
from noisyfer.models.methods.eac import EAC, erase
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")

S = 32


def build_eac(sets: tuple[LabelSetSpec, ...] = CLASSES, **settings: Any) -> EAC:
    method = build("eac", sets, **settings)
    assert isinstance(method, EAC)
    return method


def feature_maps(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """Thirteen convolutions, with max pooling after all blocks but the last."""
    count = 0
    for block, repeats in enumerate((2, 2, 3, 3, 3)):
        if block:
            images, count = oracles.max_pool(images), count + 1
        for _ in range(repeats):
            name = f"trunk.convolutions.{count}"
            images = oracles.relu(oracles.convolution(images, weights[f"{name}.weight"], weights[f"{name}.bias"]))
            count += 2
    return images


def attention(weights: dict[str, Tensor], maps: Tensor) -> Tensor:
    """M_k = Σ_c W_kc·F_c, one class and channel after the other."""
    head = weights["head.weight"].detach()
    return torch.stack([sum(head[k, c] * maps[:, c] for c in range(maps.shape[1])) for k in range(len(head))], dim=1)


def logits_of(weights: dict[str, Tensor], maps: Tensor) -> Tensor:
    pooled = sum(maps[:, :, row, column] for row in range(2) for column in range(2)) / 4
    return oracles.linear(pooled, weights["head.weight"], weights["head.bias"])


def consistency_of(straight: Tensor, mirrored: Tensor) -> Tensor:
    terms = []
    size = straight.shape[3]
    for row in range(straight.shape[2]):
        for column in range(size):
            terms.append((straight[:, :, row, column] - mirrored[:, :, row, size - 1 - column]).square().mean())
    return sum(terms) / len(terms)


def test_a_step_descends_the_cross_entropy_and_the_attentions_consistency() -> None:
    method = build_eac(erase_share=0.0, consistency=7.0)
    with torch.no_grad():
        method.network.head.weight.mul_(3)
    masks = {
        CLASSES[0].name: torch.arange(ROWS) % 3 > 0,
        CLASSES[1].name: torch.zeros(ROWS, dtype=torch.bool),
        CLASSES[2].name: torch.arange(ROWS) < 3,
    }
    batch = dataclasses.replace(make_batch(CLASSES), masks=masks)
    weights = oracles.leaves(method.network.state_dict())
    told = method.update(batch)

    images = batch.images.double() / 127.5 - 1
    maps, mirrored = feature_maps(weights, images), feature_maps(weights, images.flip(3))
    logits = logits_of(weights, maps)
    entropies = [
        oracles.cross_entropy(logits, batch.labels[name].tolist(), mask.tolist()) for name, mask in masks.items()
    ]
    entropy = (entropies[0] + entropies[2]) / 2
    consistency = consistency_of(attention(weights, maps), attention(weights, mirrored))
    assert consistency.item() > 1e-3
    assert told["cross_entropy"].item() == pytest.approx(entropy.item(), rel=1e-4)
    assert told["consistency"].item() == pytest.approx(consistency.item(), rel=1e-4)
    total = entropy + 7 * consistency
    assert told["loss"].item() == pytest.approx(total.item(), rel=1e-4)
    slopes = oracles.gradients(total, weights)
    assert dict(method.network.named_parameters()).keys() == slopes.keys()  # no layer that nothing comes from
    for name, parameter in method.network.named_parameters():
        size = slopes[name].abs().max().item()
        assert size > 0
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad.double(), slopes[name], rtol=1e-2, atol=2e-3 * size)
    with torch.no_grad():
        after = oracles.leaves(method.network.state_dict())
        expected = oracles.softmax(logits_of(after, feature_maps(after, images)))
    torch.testing.assert_close(method.predict(batch.images)["class"].double(), expected, rtol=0, atol=1e-4)


def test_symmetric_images_in_a_symmetric_network_are_consistent() -> None:
    method = build_eac(erase_share=0.0)
    for parameter in method.network.parameters():
        if parameter.dim() == 4:  # kernels that look the same in the mirror
            parameter.data.add_(parameter.data.flip(3)).mul_(0.5)
    batch = make_batch(CLASSES)
    alike = torch.cat([batch.images[:, :, :, :16], batch.images[:, :, :, :16].flip(3)], dim=3)
    assert method.update(dataclasses.replace(batch, images=alike))["consistency"].item() < 1e-12


def test_both_tasks_and_missing_labels() -> None:
    method = build_eac((EXPRESSION, AFFECT))
    batch = make_batch((EXPRESSION, AFFECT))
    told = method.update(batch)
    assert {"cross_entropy", "similarity", "consistency"} <= told.keys()
    nothing = {name: torch.zeros(ROWS, dtype=torch.bool) for name in batch.masks}
    told = method.update(dataclasses.replace(batch, masks=nothing))
    assert told["cross_entropy"] == 0
    assert all(torch.isfinite(value) for value in told.values())
    assert told["loss"].item() == pytest.approx((5 * told["consistency"] + told["similarity"]).item(), rel=1e-5)


def rectangle(image: Tensor) -> tuple[int, int, int, int]:
    """First row and column, height and width of what is 0; nothing else may be."""
    rows, columns = torch.nonzero(image[0] == 0, as_tuple=True)
    top, left = int(rows.min()), int(columns.min())
    height, width = int(rows.max()) - top + 1, int(columns.max()) - left + 1
    assert len(rows) == height * width
    assert torch.equal(image == 0, (image[0] == 0).expand_as(image))
    return top, left, height, width


def test_erased_rectangles_by_hand() -> None:
    images = torch.ones(5, 3, S, S)
    numbers = torch.tensor(
        [
            # chosen, area, aspect, down, right
            [0.0, 0.0, 0.5, 0.0, 0.0],  # 2 % of 1024, square: √20.48 = 4.53 → 5
            [0.4, 1.0, 0.5, 0.9999, 0.9999],  # a quarter: 16×16 in the last corner
            [0.4, 1.0, 1.0, 0.5, 0.0],  # √(256·10/3) = 29.2 high, √(256·0.3) = 8.76 wide; ⌊0.5·4⌋ rows down
            [0.4, 1.0, 0.0, 0.0, 0.5],
            [0.5, 1.0, 0.5, 0.0, 0.0],  # not chosen
        ]
    ).T
    # log 0.3 and log 10/3 differ in sign only, so 0.5 is a square
    found = erase(images, numbers, 0.5, 0.25)
    assert rectangle(found[0]) == (0, 0, 5, 5)
    assert rectangle(found[1]) == (16, 16, 16, 16)
    assert rectangle(found[2]) == (2, 0, 29, 9)
    assert rectangle(found[3]) == (0, 2, 9, 29)
    assert torch.equal(found[4], images[4])
    assert torch.equal(images, torch.ones_like(images))


def test_erased_rectangles_are_as_often_and_as_large_as_asked() -> None:
    images = torch.ones(6000, 3, S, S)
    found = erase(images, torch.rand(5, len(images)), 0.3, 0.25)
    share = (found[:, 0] == 0).float().mean(dim=(1, 2))
    assert (share > 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    erased = share[share > 0]
    assert erased.mean().item() == pytest.approx((0.02 + 0.25) / 2, abs=0.01)
    assert erased.min() > 0.01
    assert erased.max() < 0.27
    everywhere = (found[:, 0] == 0).any(dim=0)
    assert everywhere.all()  # every place is reached


def test_the_largest_rectangle_fits() -> None:
    images = torch.ones(500, 3, S, S)
    found = erase(images, torch.rand(5, len(images)), 1.0, 1.0)
    for image in found:
        rectangle(image)


def test_images_are_erased_in_training_and_not_when_predicting() -> None:
    seen: list[Tensor] = []
    method = build_eac(erase_share=1.0)
    method.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    batch = dataclasses.replace(make_batch(CLASSES), images=torch.full((ROWS, 3, S, S), 255, dtype=torch.uint8))
    method.update(batch)
    method.predict(batch.images)
    training, predicting = seen
    boxes = [rectangle(image) for image in training[:ROWS]]
    assert len(set(boxes)) > 1
    assert torch.equal(training[ROWS:], training[:ROWS].flip(3))  # the mirror image has the same hole, mirrored
    assert predicting.min() == 1
