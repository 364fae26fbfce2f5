"""What the discriminator of `proposed` is shown, and what the weight of each of its scores does."""

from __future__ import annotations

from typing import Any

import oracles
import pytest
import torch
from method_builders import AFFECT, CLASSES, ROWS, build, build_proposed, make_batch, same, slopes
from noisyfer.models.methods.proposed import Proposed, ProposedConfig
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize("label_input", ["raw", "softmax"])
def test_d_sees_the_encoders_outputs_as_asked_and_exact_labels_of_the_decoder(label_input: str) -> None:
    sets = (*CLASSES[:2], AFFECT)
    method = build_proposed(sets, label_input=label_input)
    batch = make_batch(sets)
    encodings: list[Any] = []
    shown: list[Any] = []
    drawn: list[tuple[Any, Tensor]] = []
    method.encoder.register_forward_hook(lambda _, __, output: encodings.append(output))
    method.discriminator.register_forward_pre_hook(lambda _, inputs: shown.append(inputs))
    method.decoder.register_forward_hook(lambda _, inputs, output: drawn.append((inputs, output)))
    method.update(batch)
    assert len(encodings) == len(drawn) == 1
    assert len(shown) == 3
    (noise, given), pictures = drawn[0]
    for images, latent, labels in shown:
        assert len(images) == len(latent) == 2 * ROWS
        torch.testing.assert_close(images[:ROWS], batch.images.float() / 127.5 - 1, rtol=0, atol=1e-6)
        assert torch.equal(images[ROWS:], pictures)
        assert torch.equal(latent[ROWS:], noise)
        for label, output, label_set, handed in zip(labels, encodings[0].outputs, sets, given, strict=True):
            truth = batch.labels[label_set.name]
            exact = truth if label_set.continuous else oracles.one_hot(truth.tolist(), label_set.width).float()
            assert torch.equal(handed, exact)
            assert torch.equal(label[ROWS:], exact)
            raw = label_set.continuous or label_input == "raw"
            wanted = output if raw else oracles.softmax(output)
            torch.testing.assert_close(label[:ROWS], wanted, rtol=1e-5, atol=1e-6)
            if not label_set.continuous:
                sums = label[:ROWS].sum(dim=1)
                assert torch.allclose(sums, torch.ones(ROWS), atol=1e-5) is not raw


def test_the_default_hands_d_raw_outputs() -> None:
    defaults = ProposedConfig()
    assert (defaults.label_input, defaults.lambda_, defaults.gamma) == ("raw", 0.8, 1.0)
    assert (defaults.discriminator_updates, defaults.start_epoch, defaults.learning_rate) == (2, 1, 1e-4)
    assert (defaults.width, defaults.hidden) == (1.0, 512)
    weights = (defaults.weight_image, defaults.weight_latent, defaults.weight_labels, defaults.weight_joint)
    assert weights == (1.0, 1.0, 1.0, 1.0)
    method = build("proposed", CLASSES[:1])
    for optimizer in method.optimizers.values():
        assert all(group["betas"] == (0.9, 0.999) for group in optimizer.param_groups)


def scramble_joint(method: Proposed) -> None:
    source = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.discriminator.joint.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=source) * 0.3)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_joint_weight_of_zero_takes_the_joint_scores_influence_away(weight: float) -> None:
    found = []
    for scrambled in (False, True):
        method = build_proposed(CLASSES[:2], weight_joint=weight)
        if scrambled:
            scramble_joint(method)
        torch.manual_seed(1)
        method.update(make_batch(CLASSES[:2]))
        joint = [parameter.grad for parameter in method.discriminator.joint.parameters()]
        others = [
            parameter.grad
            for name, parameter in method.discriminator.named_parameters()
            if not name.startswith("joint.")
        ]
        assert any(slope.any() for slope in joint) is (weight > 0)
        assert any(slope.any() for slope in others)
        found.append([*slopes(method.encoder, method.decoder), *others])
    assert same(*found) is (weight == 0)


@pytest.mark.parametrize(
    ("name", "stream"),
    [("weight_image", "image.score"), ("weight_latent", "latent.score"), ("weight_joint", "joint.score")]
    + [("weight_labels", f"labels.{index}.score") for index in (0, 1)],
)
def test_each_weight_silences_its_own_score(name: str, stream: str) -> None:
    method = build_proposed(CLASSES[:2], **{name: 0.0})
    method.update(make_batch(CLASSES[:2]))
    scores = {key: value for key, value in method.discriminator.named_parameters() if ".score." in key}
    streams = {"image.score", "latent.score", "labels.0.score", "labels.1.score", "joint.score"}
    family = {"labels.0.score", "labels.1.score"} if name == "weight_labels" else {stream}
    for other in streams:
        moved = any(value.grad.any() for key, value in scores.items() if key.startswith(other))
        assert moved is (other not in family)
