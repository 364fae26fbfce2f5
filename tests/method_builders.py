"""Tiny problems, batches and methods on them, and comparisons of what training leaves behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from noisyfer.core.config import options
from noisyfer.models.methods import METHODS, Batch, LabelSetSpec, Method, Problem
from noisyfer.models.methods.proposed import Proposed
from noisyfer.models.networks import Classifier
from torch import Tensor, nn

CPU = torch.device("cpu")
SIZE = 32
WIDTH = 1 / 16
ROWS = 8
SAMPLES = 64
LATENT = 100

CLASSES = tuple(LabelSetSpec(f"class_flip{rate}", "class", 10) for rate in (20, 30, 40))
EXPRESSION = LabelSetSpec("expression_raf", "expression", 7)
AFFECT = LabelSetSpec("va_affectnet", "va", 2, continuous=True)

MASKS = {
    CLASSES[0].name: torch.arange(ROWS) % 3 > 0,
    CLASSES[1].name: torch.zeros(ROWS, dtype=torch.bool),  # a whole set is missing from this batch
    CLASSES[2].name: torch.arange(ROWS) < 6,
}
PLACES = torch.tensor([40, 3, 17, 63, 0, 22, 9, 31])

KINDS: dict[str, tuple[LabelSetSpec, ...]] = {
    "one": CLASSES[:1],
    "two": CLASSES[:2],
    "three": CLASSES,
    "expression-va": (EXPRESSION, AFFECT),
    "va": (AFFECT,),
}


WEIGHTS_ONLY = ("proposed-no-joint", "proposed-no-marginal")
"""`proposed` with other default weights of D's scores, and no code of their own."""


def kinds_of(name: str) -> list[str]:
    """The label sets that a method declares it can use; one kind where `proposed` has shown the others."""
    if name in WEIGHTS_ONLY:
        return ["three"]
    uses = METHODS[name].uses
    kinds = ["one"]
    if uses.labels == "chosen" and uses.several:
        kinds += ["two", "three"]
    if uses.continuous:
        kinds += ["va", *(["expression-va"] if uses.several else [])]
    return kinds


EVERY = [pytest.param(name, KINDS[kind], id=f"{name}-{kind}") for name in METHODS for kind in kinds_of(name)]
ONE_EACH = [pytest.param(name, KINDS[kinds_of(name)[-1]], id=name) for name in METHODS]


def make_batch(sets: tuple[LabelSetSpec, ...], rows: int = ROWS, seed: int = 1) -> Batch:
    source = torch.Generator().manual_seed(seed)
    labels = {
        label_set.name: torch.rand(rows, 2, generator=source) * 2 - 1
        if label_set.continuous
        else torch.randint(label_set.width, (rows,), generator=source)
        for label_set in sets
    }
    images = torch.randint(256, (rows, 3, SIZE, SIZE), generator=source, dtype=torch.uint8)
    masks = {label_set.name: torch.ones(rows, dtype=torch.bool) for label_set in sets}
    return Batch(images, labels, masks, torch.arange(rows))


class TinyTraining:
    """64 samples as a method's `prepare` is given them."""

    def __init__(self, sets: tuple[LabelSetSpec, ...], rows: int = SAMPLES) -> None:
        self.batch = make_batch(sets, rows, seed=17)
        self.labels, self.masks = self.batch.labels, self.batch.masks

    def __len__(self) -> int:
        return len(self.batch.indices)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        for first in range(0, len(self), batch_size):
            rows = slice(first, first + batch_size)
            labels = {name: values[rows] for name, values in self.labels.items()}
            masks = {name: mask[rows] for name, mask in self.masks.items()}
            yield Batch(self.batch.images[rows], labels, masks, self.batch.indices[rows])


def build(name: str, sets: tuple[LabelSetSpec, ...], seed: int = 3, **settings: Any) -> Method:
    method = METHODS[name]
    values = {"width": WIDTH, "hidden": 16, "learning_rate": 1e-3}
    if "start_epoch" in options(method.config_class):
        values["start_epoch"] = 0  # tests look at the game
    values |= settings
    torch.manual_seed(seed)
    built = method(Problem(SIZE, sets, SAMPLES), method.config_class(**values), CPU)
    built.prepare(TinyTraining(sets))
    return built


def without_dropout(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


@torch.no_grad()
def spread_out(layer: nn.Linear, features: Tensor, deviation: float) -> None:
    """Move what a layer says of these features apart, about 0: at first all outputs are nearly alike."""
    layer.weight.mul_(deviation / (features @ layer.weight.T).std(dim=0).mean())
    layer.bias.copy_(-(features @ layer.weight.T).mean(dim=0))


@torch.no_grad()
def settle(network: Classifier, sets: tuple[LabelSetSpec, ...] = CLASSES, deviation: float = 3) -> None:
    """Take dropout away, and move the logits of the usual images apart."""
    without_dropout(network)
    spread_out(network.head, network.trunk(make_batch(sets).images / 127.5 - 1), deviation)


def partly(seed: int = 1) -> Batch:
    """A batch of the three sets that lacks labels: some of the first and the third, all of the second."""
    return dataclasses.replace(make_batch(CLASSES, seed=seed), masks=MASKS, indices=PLACES)


def build_proposed(sets: tuple[LabelSetSpec, ...], seed: int = 3, **settings: Any) -> Proposed:
    """Without dropout, with attention on (its gain starts at 0), and with some scores beyond the hinges' corners."""
    method = build("proposed", sets, seed, **settings)
    assert isinstance(method, Proposed)
    without_dropout(method.encoder)
    with torch.no_grad():
        method.discriminator.image.blocks[1].gain.fill_(0.4)
        biases = [value for name, value in method.discriminator.named_parameters() if name.endswith("score.bias")]
        for bias, shift in zip(biases, torch.linspace(-1.1, 1.1, len(biases)).tolist(), strict=True):
            bias.add_(shift)
    return method


def parameters(*networks: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for network in networks for parameter in network.parameters()]


def slopes(*networks: nn.Module) -> list[Tensor | None]:
    found = [parameter.grad for network in networks for parameter in network.parameters()]
    return [None if slope is None else slope.clone() for slope in found]


def same(first: list[Any], second: list[Any]) -> bool:
    return all(
        (one is None and other is None) or (one is not None and other is not None and torch.equal(one, other))
        for one, other in zip(first, second, strict=True)
    )


def flat(state: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of a nested state by its path."""
    if isinstance(state, dict):
        return {path: leaf for key, value in state.items() for path, leaf in flat(value, f"{prefix}/{key}").items()}
    if isinstance(state, (list, tuple)):
        return flat(dict(enumerate(state)), prefix)
    return {prefix: state.clone() if isinstance(state, Tensor) else state}


def equal_states(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) if isinstance(first[key], Tensor) else first[key] == second[key]
        for key in first
    )
