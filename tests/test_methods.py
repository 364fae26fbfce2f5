"""Every registered method on tiny data: it trains, predicts, resumes, and is found by its name."""

from __future__ import annotations

import io

import pytest
import torch
from method_builders import EVERY, KINDS, ONE_EACH, build, equal_states, flat, kinds_of, make_batch, parameters, same
from noisyfer.core.errors import UserError
from noisyfer.models.methods import METHODS, LabelSetSpec
from noisyfer.models.methods.base import unit_images
from noisyfer.models.methods.proposed import Proposed
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")


def test_the_first_four_methods_are_registered() -> None:
    assert {"vgg-clean", "vgg-majority", "vgg-all", "proposed"} <= set(METHODS)
    assert METHODS["vgg-clean"].uses.labels == "truth"
    assert METHODS["vgg-majority"].uses.labels == "majority"
    assert METHODS["vgg-all"].uses.labels == METHODS["proposed"].uses.labels == "chosen"
    assert METHODS["proposed"].uses.continuous
    assert [kind for kind in KINDS if kind not in kinds_of("proposed")] == []


@pytest.mark.parametrize(("name", "sets"), EVERY)
def test_update_returns_finite_detached_scalars_and_trains(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    method = build(name, sets)
    method.start_epoch(0)
    before = {key: parameters(network) for key, network in method.networks.items()}
    for step in range(2):
        scalars = method.update(make_batch(sets, seed=step))
        assert "loss" in scalars
        for key, value in scalars.items():
            assert value.shape == (), key
            assert not value.requires_grad, key
            assert torch.isfinite(value), key
    assert method.networks
    assert all(not same(before[key], parameters(network)) for key, network in method.networks.items())


@pytest.mark.parametrize(("name", "sets"), EVERY)
def test_predict_gives_probabilities_a_task(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    method = build(name, sets)
    images = make_batch(sets, rows=16).images
    method.update(make_batch(sets))
    predicted = method.predict(images)
    assert set(predicted) == {label_set.task for label_set in sets}
    for label_set in sets:
        values = predicted[label_set.task]
        assert values.shape == (16, label_set.width)
        assert torch.isfinite(values).all()
        if not label_set.continuous:
            assert values.min() >= 0
            torch.testing.assert_close(values.sum(dim=1), torch.ones(16), rtol=0, atol=1e-6)
    again = method.predict(images)
    assert all(torch.equal(predicted[task], again[task]) for task in predicted)  # no dropout
    # a sample's prediction does not hang on its batch
    alone = method.predict(images[3:4])
    assert all(torch.allclose(predicted[task][3:4], alone[task], atol=1e-5) for task in predicted)

    both = method.predict_with_sets(images)
    assert all(torch.equal(both[0][task], predicted[task]) for task in predicted)
    by_set = method.predict_sets(images)
    assert by_set.keys() == both[1].keys()
    assert set(by_set) <= set(method.heads)
    assert all(torch.equal(by_set[key], both[1][key]) for key in by_set)


@pytest.mark.parametrize(("name", "sets"), EVERY)
def test_a_saved_state_goes_on_bit_for_bit(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    method = build(name, sets)
    method.start_epoch(0)
    for step in range(2):
        method.update(make_batch(sets, seed=step))
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    fresh = build(name, sets, seed=99)
    assert not equal_states(flat(method.state_dict()), flat(fresh.state_dict()))
    fresh.load_state_dict(torch.load(file, weights_only=True))
    fresh.start_epoch(1)
    method.start_epoch(1)
    assert equal_states(flat(method.state_dict()), flat(fresh.state_dict()))

    told: list[list[dict[str, Tensor]]] = []
    for going in (method, fresh):
        torch.manual_seed(11)
        told.append([going.update(make_batch(sets, seed=step)) for step in (5, 6, 7)])
    for one, other in zip(*told, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert equal_states(flat(method.state_dict()), flat(fresh.state_dict()))


@pytest.mark.parametrize(("name", "sets"), ONE_EACH)
def test_looking_at_predictions_changes_nothing(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    states = []
    for looks in (False, True):
        method = build(name, sets)
        torch.manual_seed(11)
        for step in range(2):
            method.update(make_batch(sets, seed=step))
            before = flat(method.state_dict())
            if looks:
                method.predict(make_batch(sets, rows=5).images)
                method.predict_sets(make_batch(sets, rows=5).images)
                if isinstance(method, Proposed):
                    method.synthesise(2, torch.Generator().manual_seed(0))
            assert equal_states(before, flat(method.state_dict()))
        states.append(flat(method.state_dict()))
    assert equal_states(*states)


def test_an_unknown_method_is_answered_with_all_names_and_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        METHODS["vgg-cleen"]
    message = str(caught.value)
    assert "'vgg-cleen'" in message
    assert "Did you mean 'vgg-clean'?" in message
    assert all(name in message for name in METHODS)


def test_a_name_is_registered_once() -> None:
    held = METHODS["vgg-all"]
    with pytest.raises(ValueError, match="'vgg-all' is registered twice"):
        METHODS.register("vgg-all")(Proposed)
    assert METHODS["vgg-all"] is held


def test_images_become_minus_one_to_one() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(2, 3, 1, 1)
    kept = images.clone()
    units = unit_images(images)
    assert units.dtype == torch.float32
    expected = torch.tensor([2 * value / 255 - 1 for value in range(256)]).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    torch.testing.assert_close(units, expected, rtol=0, atol=1e-6)
    assert units.min() == -1
    assert units.max() == 1
    assert torch.equal(images, kept)
