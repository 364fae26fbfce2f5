"""`proposed` predicts with the mean of its heads, and synthesises a picture a class."""

from __future__ import annotations

import dataclasses
from typing import Any

import oracles
import pytest
import torch
from method_builders import AFFECT, CLASSES, EXPRESSION, LATENT, SIZE, build_proposed, make_batch
from noisyfer.models.methods.base import unit_images

pytestmark = pytest.mark.usefixtures("seeded")


def test_prediction_is_the_mean_of_the_heads_softmaxes() -> None:
    sets = (*CLASSES[:2], EXPRESSION, AFFECT, dataclasses.replace(AFFECT, name="va_human"))
    method = build_proposed(sets)
    images = make_batch(sets).images
    method.encoder.eval()
    with torch.no_grad():
        outputs = method.encoder(unit_images(images)).outputs
    method.encoder.train()
    predicted, heads = method.predict(images), method.predict_sets(images)
    assert list(heads) == [label_set.name for label_set in sets]
    for label_set, output in zip(sets, outputs, strict=True):
        wanted = output if label_set.continuous else oracles.softmax(output)
        torch.testing.assert_close(heads[label_set.name], wanted)
    assert set(predicted) == {"class", "expression", "va"}
    torch.testing.assert_close(predicted["class"], (heads[sets[0].name] + heads[sets[1].name]) / 2)
    torch.testing.assert_close(predicted["expression"], heads[sets[2].name])
    torch.testing.assert_close(predicted["va"], (heads[sets[3].name] + heads[sets[4].name]) / 2)


def test_synthesis_has_a_column_a_class_and_a_latent_vector_a_row() -> None:
    sets = (AFFECT, *CLASSES[:2], EXPRESSION)
    method = build_proposed(sets)
    method.update(make_batch(sets))
    given: list[Any] = []
    handle = method.decoder.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    drawn = method.synthesise(3, torch.Generator().manual_seed(4))
    handle.remove()
    assert drawn is not None
    assert drawn.task == "class"
    assert drawn.images.shape == (3, 10, 3, SIZE, SIZE)
    assert drawn.images.abs().max() <= 1
    assert drawn.images.std() > 0

    ((latent, labels),) = given
    latent = latent.reshape(3, 10, LATENT)
    assert torch.equal(latent, latent[:, :1].expand(3, 10, LATENT))
    assert not torch.equal(latent[0], latent[1])
    columns = torch.eye(10).repeat(3, 1)
    assert torch.equal(labels[1], columns)
    assert torch.equal(labels[2], columns)
    assert torch.equal(labels[0], torch.zeros(30, 2))
    assert labels[3].shape == (30, 7)
    # a picture does not hang on its neighbours: batch norm's running statistics
    with torch.no_grad():
        alone = method.decoder.eval()(latent[1, 4:5], tuple(label[14:15] for label in labels))
    torch.testing.assert_close(drawn.images[1, 4:5], alone, rtol=0, atol=1e-5)
    # the class shows
    assert not torch.allclose(drawn.images[0, 0], drawn.images[0, 1], atol=1e-6)


def test_synthesis_follows_its_generator_and_nothing_else() -> None:
    method = build_proposed(CLASSES[:2])
    images = []
    for seed, noise in ((4, 0), (4, 1), (5, 0)):
        torch.manual_seed(noise)
        drawn = method.synthesise(2, torch.Generator().manual_seed(seed))
        assert drawn is not None
        images.append(drawn.images)
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_without_a_categorical_set_there_is_nothing_to_synthesise() -> None:
    assert build_proposed((AFFECT,)).synthesise(2, torch.Generator()) is None
