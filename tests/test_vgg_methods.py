"""The three plain classifiers learn, by Adam's steps on the mean of the cross entropies."""

from __future__ import annotations

import dataclasses
import math

import oracles
import pytest
import torch
from method_builders import AFFECT, CLASSES, EVERY, EXPRESSION, ROWS, build, make_batch, without_dropout
from noisyfer.models.methods import LabelSetSpec

pytestmark = pytest.mark.usefixtures("seeded")

VGG = [
    param
    for param in EVERY
    if param.values[0] in ("vgg-clean", "vgg-majority", "vgg-all")
    and not any(one.continuous for one in param.values[1])
]


@pytest.mark.parametrize(("name", "sets"), VGG)
def test_vgg_learns_a_fixed_batch(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    method = build(name, sets, hidden=128, learning_rate=3e-3)
    batch = make_batch(sets)
    labels = torch.arange(ROWS) % 4
    for image, label in zip(batch.images, labels, strict=True):
        for channel in range(3):
            if (label + 1) >> channel & 1:  # each class in its colour, on noise
                image[channel] = 255
    batch = dataclasses.replace(batch, labels={label_set.name: labels for label_set in sets})

    def measured() -> float:
        predicted = method.predict(batch.images)["class"]
        return -predicted[torch.arange(ROWS), labels].log().mean().item()

    before = measured()
    for _ in range(80):
        told = method.update(batch)
    # below ln 4, all that the frequencies of the labels give away
    assert measured() < 0.9 * math.log(4) < math.log(4) < before
    assert torch.equal(told["loss"], told["cross_entropy"])


def test_vgg_takes_adams_steps_on_the_mean_of_the_cross_entropies() -> None:
    sets = CLASSES
    method = build("vgg-all", sets, learning_rate=1e-2)
    network = method.networks["classifier"]
    without_dropout(network)
    weights, adam = oracles.leaves(network.state_dict()), oracles.Adam(1e-2)
    masks = {
        CLASSES[0].name: torch.arange(ROWS) != 2,
        CLASSES[1].name: torch.zeros(ROWS, dtype=torch.bool),  # a set without a label in this batch is left out
        CLASSES[2].name: torch.arange(ROWS) < 3,
    }
    for step in range(2):
        batch = dataclasses.replace(make_batch(sets, seed=step), masks=masks)
        loss = method.update(batch)["loss"]
        logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
        losses = [
            oracles.cross_entropy(logits, batch.labels[one.name].tolist(), masks[one.name].tolist()) for one in sets
        ]
        expected = (losses[0] + losses[2]) / 2
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
        gradients = oracles.gradients(expected, weights)
        for name, parameter in network.named_parameters():
            size = gradients[name].abs().max().item()
            assert size > 0
            torch.testing.assert_close(parameter.grad.double(), gradients[name], rtol=1e-2, atol=1e-3 * size)
        weights = adam.step(weights, gradients)
    with torch.no_grad():
        wanted = oracles.softmax(oracles.classifier(weights, batch.images.double() / 127.5 - 1))
    torch.testing.assert_close(method.predict(batch.images)["class"].double(), wanted, rtol=0, atol=5e-3)


@pytest.mark.parametrize("weight", [0.0, 1.0, 0.3])
def test_multi_task_vgg_descends_the_cross_entropy_plus_gamma_times_one_minus_ccc_and_range(weight: float) -> None:
    sets = (AFFECT, EXPRESSION)
    method = build("vgg-all", sets, gamma=0.6, range_weight=weight)
    network = method.networks["classifier"]
    without_dropout(network)
    with torch.no_grad():
        network.head.weight.mul_(40)  # values beyond [-1, 1]
    weights = oracles.leaves(network.state_dict())
    mask = torch.arange(ROWS) % 3 > 0
    batch = dataclasses.replace(make_batch(sets), masks={AFFECT.name: mask, EXPRESSION.name: ~mask})
    told = method.update(batch)
    outputs = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    apart = oracles.similarity(outputs[:, :2], batch.labels[AFFECT.name].double(), mask.tolist())
    entropy = oracles.cross_entropy(outputs[:, 2:], batch.labels[EXPRESSION.name].tolist(), (~mask).tolist())
    beyond = oracles.out_of_range(outputs[:, :2], mask.tolist())
    assert beyond > 0.01
    expected = 0.6 * (apart + weight * beyond) + entropy
    assert told["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert told["similarity"].item() == pytest.approx(apart.item(), rel=1e-4)
    assert told["cross_entropy"].item() == pytest.approx(entropy.item(), rel=1e-4)
    gradients = oracles.gradients(expected, weights)
    for name, parameter in network.named_parameters():
        size = gradients[name].abs().max().item()
        torch.testing.assert_close(parameter.grad.double(), gradients[name], rtol=1e-2, atol=2e-3 * size)


def test_label_sets_that_share_the_trunk_alone_have_a_head_each() -> None:
    sets = (*CLASSES, AFFECT)
    method = build("vgg-all", sets, share="trunk", gamma=0.5)
    network = method.networks["classifier"]
    without_dropout(network)
    weights = oracles.leaves(network.state_dict())
    mask = torch.arange(ROWS) % 3 > 0
    masks = {one.name: mask for one in sets} | {CLASSES[1].name: torch.zeros(ROWS, dtype=torch.bool)}
    batch = dataclasses.replace(make_batch(sets), masks=masks)
    outputs = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    heads = dict(zip((one.name for one in sets), outputs.split([10, 10, 10, 2], dim=1), strict=True))

    by_task, by_set = method.predict_with_sets(batch.images)
    softened = [oracles.softmax(heads[one.name]) for one in CLASSES]
    for one, wanted in zip(CLASSES, softened, strict=True):
        torch.testing.assert_close(by_set[one.name].double(), wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(by_task["class"].double(), sum(softened) / 3, rtol=0, atol=1e-5)
    torch.testing.assert_close(by_task["va"].double(), heads[AFFECT.name], rtol=0, atol=1e-5)
    torch.testing.assert_close(method.predict(batch.images)["class"], by_task["class"])

    told = method.update(batch)
    # the second set labels nothing here
    losses = [
        oracles.cross_entropy(heads[CLASSES[place].name], batch.labels[CLASSES[place].name].tolist(), mask.tolist())
        for place in (0, 2)
    ]
    apart = oracles.similarity(heads[AFFECT.name], batch.labels[AFFECT.name].double(), mask.tolist())
    assert told["loss"].item() == pytest.approx((sum(losses) / 2 + 0.5 * apart).item(), rel=1e-4)
    gradients = oracles.gradients(sum(losses) / 2 + 0.5 * apart, weights)
    for name, parameter in network.named_parameters():
        size = gradients[name].abs().max().item()
        torch.testing.assert_close(parameter.grad.double(), gradients[name], rtol=1e-2, atol=2e-3 * size)
