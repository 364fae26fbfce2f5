"""The paper's ablations: which scores count, and what D's second side is."""

from __future__ import annotations

import pytest
import torch
from method_builders import CLASSES, build, make_batch, parameters, same, without_dropout
from noisyfer.models.losses import generator_adversarial
from noisyfer.models.methods.base import unit_images
from noisyfer.models.methods.proposed import Proposed
from torch import Tensor
from torch.nn import functional

pytestmark = pytest.mark.usefixtures("seeded")


def built(name: str) -> Proposed:
    method = build(name, CLASSES)
    assert isinstance(method, Proposed)
    without_dropout(method.encoder)
    method.start_epoch(0)
    return method


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("proposed", [1, 1, 1, 1, 1, 1]),
        ("proposed-no-joint", [1, 1, 1, 1, 1, 0]),
        ("proposed-no-marginal", [0, 0, 0, 0, 0, 1]),
        ("proposed-no-decoder", [1, 1, 1, 1, 1, 1]),
    ],
)
def test_the_scores_that_count(name: str, weights: list[int]) -> None:
    assert built(name).score_weights.tolist() == weights


@pytest.mark.parametrize(("name", "part"), [("proposed-no-joint", "joint"), ("proposed-no-marginal", "image.score")])
def test_a_score_of_weight_zero_teaches_nothing(name: str, part: str) -> None:
    """Adam leaves what has no gradient where it was."""
    method = built(name)
    silent = [value for found, value in method.discriminator.named_parameters() if found.startswith(part)]
    assert silent
    before = [value.detach().clone() for value in silent]
    method.update(make_batch(CLASSES))
    assert all(torch.equal(one, other) for one, other in zip(before, silent, strict=True))


def test_without_a_decoder_both_sides_of_d_have_the_real_images() -> None:
    method = built("proposed-no-decoder")
    assert set(method.networks) == {"encoder", "discriminator"}
    seen: list[tuple[Tensor, Tensor, tuple[Tensor, ...]]] = []
    method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    batch = make_batch(CLASSES)
    before = parameters(method.encoder)
    torch.manual_seed(4)
    method.update(batch)
    torch.manual_seed(4)
    noise = torch.randn(2, 8, 100)
    assert len(seen) == 3
    for pictures, latents, labels in seen:
        assert torch.equal(pictures, unit_images(batch.images).repeat(2, 1, 1, 1))
        assert torch.equal(latents[8:], noise[1])
        for label, label_set in zip(labels, CLASSES, strict=True):
            assert torch.equal(label[8:], functional.one_hot(batch.labels[label_set.name], 10).float())
    assert not same(before, parameters(method.encoder))
    assert method.synthesise(2, torch.Generator()) is None


def test_without_a_decoder_the_encoders_gradient_is_that_of_its_own_side() -> None:
    """s_dec hangs on no parameter of G: L_G's gradient is that of the cross entropies plus λ·mean(s_enc)."""
    method = built("proposed-no-decoder")
    method.discriminator.eval()  # no power iteration between the two ways
    batch = make_batch(CLASSES)
    images = unit_images(batch.images)
    encoding = method.encoder(images)
    noise = torch.randn(len(images), 100)
    real = method.discriminator(images, encoding.sample(noise), encoding.outputs)
    given = tuple(functional.one_hot(batch.labels[each.name], 10).float() for each in CLASSES)
    drawn = method.discriminator(images, torch.randn(len(images), 100), given)
    present = torch.ones(real.shape, dtype=torch.bool)
    weight = method.encoder.labels.weight
    both = torch.autograd.grad(generator_adversarial(real, drawn, present), weight, retain_graph=True)
    own = torch.autograd.grad(real.mean(), weight)
    torch.testing.assert_close(both[0], own[0])
