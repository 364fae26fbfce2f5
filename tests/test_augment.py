"""Augmentation: every image by its own map, as a slow loop over pixels does it; and the feed that hands them out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from noisyfer.core.errors import UserError
from noisyfer.manifest import Labels
from noisyfer.training import augment
from noisyfer.training.augment import (
    CROP_PADDING,
    ROTATION,
    SHIFT,
    ZOOM,
    affine,
    crop_and_flip,
    source_matrices,
    transformed,
)
from noisyfer.training.data import SplitData
from noisyfer.training.feed import Feed, class_weights
from torch import Tensor

CPU = torch.device("cpu")
NONE = np.zeros(1)


def pictures(count: int, size: int, seed: int = 0) -> Tensor:
    drawn = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return torch.from_numpy(drawn).permute(0, 3, 1, 2)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=["channels_last", "contiguous"])
@pytest.mark.parametrize("size", [1, 5, 12])
def test_every_crop_mirrored_or_not_is_that_of_a_loop_over_images(size: int, layout: torch.memory_format) -> None:
    places = [(top, left, flip) for top in range(9) for left in range(9) for flip in (False, True)]
    images = pictures(len(places), size).contiguous(memory_format=layout)
    before = images.clone()
    tops, lefts, flips = map(torch.tensor, zip(*places, strict=True))
    found = crop_and_flip(images, tops, lefts, flips)
    assert found.dtype == torch.uint8
    assert found.permute(0, 2, 3, 1).is_contiguous()  # as the feed hands batches out
    assert torch.equal(images, before)
    for image, crop, (top, left, flip) in zip(images.permute(0, 2, 3, 1).numpy(), found, places, strict=True):
        padded = np.pad(image, [(CROP_PADDING, CROP_PADDING), (CROP_PADDING, CROP_PADDING), (0, 0)])
        expected = padded[top : top + size, left : left + size]
        assert np.array_equal(crop.permute(1, 2, 0).numpy(), expected[:, ::-1] if flip else expected)


def test_cropping_does_not_wait_to_know_where() -> None:
    """Tensors without numbers: whatever asked for one, and so would wait for a GPU, would fail."""
    images = torch.empty(6, 8, 8, 3, dtype=torch.uint8, device="meta").permute(0, 3, 1, 2)
    places, flips = (torch.empty(6, dtype=kind, device="meta") for kind in (torch.int64, torch.bool))
    found = crop_and_flip(images, places, places, flips)
    assert found.shape == images.shape
    assert found.is_contiguous(memory_format=torch.channels_last)


def slow(image: np.ndarray[Any, Any], angle: float, shift: tuple[float, float], zoom: float, flip: bool) -> Any:
    """One image (S×S×3), pixel by pixel: where does this place of the result come from, and what lies around there?"""
    size = len(image)
    result = np.zeros(image.shape)
    turn = math.radians(angle)
    for row in range(size):
        for column in range(size):
            # from the centre, in pixels; then each step undone, the last one first: move, zoom, turn, mirror
            x, y = column - (size - 1) / 2 - shift[0] * size, row - (size - 1) / 2 - shift[1] * size
            x, y = x / zoom, y / zoom
            x, y = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
            x = (-x if flip else x) + (size - 1) / 2
            y += (size - 1) / 2
            for near_y in (math.floor(y), math.floor(y) + 1):
                for near_x in (math.floor(x), math.floor(x) + 1):
                    if 0 <= near_x < size and 0 <= near_y < size:
                        share = (1 - abs(x - near_x)) * (1 - abs(y - near_y))
                        result[row, column] += share * image[near_y, near_x]
    return result


def test_a_batch_is_resampled_as_a_loop_over_pixels_does_it() -> None:
    draw = np.random.default_rng(1)
    images = pictures(6, 11)
    angles, zooms = draw.uniform(-60, 60, 6), draw.uniform(0.5, 2, 6)
    shifts, flips = draw.uniform(-0.4, 0.4, (6, 2)), np.array([True, False, True, False, True, False])
    found = transformed(images, source_matrices(angles, shifts, zooms, flips))
    assert found.dtype == torch.uint8
    assert found.is_contiguous(memory_format=torch.channels_last)
    for index in range(6):
        image = images[index].permute(1, 2, 0).numpy()
        expected = slow(image, angles[index], tuple(shifts[index]), zooms[index], bool(flips[index]))
        # a value that lies between two whole numbers may be rounded either way
        assert np.abs(found[index].permute(1, 2, 0).numpy() - expected).max() <= 0.5 + 1e-2


def one(
    images: Tensor, angle: float = 0, shift: tuple[float, float] = (0, 0), zoom: float = 1, flip: bool = False
) -> Tensor:
    return transformed(images, source_matrices(NONE + angle, np.array([shift]), NONE + zoom, np.array([flip])))


def test_simple_maps_are_what_they_say() -> None:
    images = pictures(1, 8)
    assert torch.equal(one(images), images)
    assert torch.equal(one(images, flip=True), images.flip(3))
    assert torch.equal(one(images, angle=90), images.rot90(-1, (2, 3)))  # clockwise
    moved = one(images, shift=(2 / 8, -1 / 8))  # right and up
    assert torch.equal(moved[:, :, :-1, 2:], images[:, :, 1:, :-2])
    assert moved[:, :, :, :2].eq(0).all()
    assert moved[:, :, -1].eq(0).all()
    twice = one(images.repeat_interleave(2, 2).repeat_interleave(2, 3), zoom=0.5)[:, :, 4:12, 4:12]
    assert torch.equal(twice, images)


def test_angles_shifts_zooms_and_mirroring_fill_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def remember(*values: Any) -> Tensor:
        seen.append(values)
        return source_matrices(*values)

    monkeypatch.setattr(augment, "source_matrices", remember)
    affine(pictures(2000, 2), np.random.default_rng(0))
    angles, shifts, zooms, flips = seen[0]
    for values, low, high in ((angles, -ROTATION, ROTATION), (shifts, -SHIFT, SHIFT), (zooms, *ZOOM)):
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high
    assert 0.45 < flips.mean() < 0.55
    assert (ROTATION, ZOOM) == (10, (0.9, 1.1))


def labelled(values: list[int], missing: tuple[int, ...] = ()) -> SplitData:
    images = np.broadcast_to(np.arange(len(values), dtype=np.uint8)[:, None, None, None], (len(values), 4, 4, 3)).copy()
    present = np.array([index not in missing for index in range(len(values))])
    return SplitData(images, {"expression_human": Labels(np.array(values), present)})


def test_affine_batches_repeat_with_seed_and_epoch_and_keep_their_labels() -> None:
    data = SplitData(pictures(8, 16).permute(0, 2, 3, 1).contiguous().numpy(), labelled([0] * 8).labels)
    feed = Feed(data, CPU, augment="affine")
    first, again, later = (next(feed.epoch(0, epoch, 8)) for epoch in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images[first.indices.argsort()], later.images[later.indices.argsort()])
    assert first.images.dtype == torch.uint8
    with pytest.raises(UserError, match=r"no augmentation named 'afine'\. Did you mean 'affine'"):
        Feed(data, CPU, augment="afine")


def test_a_feed_of_some_rows_hands_out_these_and_numbers_them_from_zero() -> None:
    data = labelled([5, 6, 7, 8, 9, 10])
    feed = Feed(data, CPU, rows=np.array([1, 3, 4]))
    assert len(feed) == 3
    assert feed.images.data_ptr() == data.images.ctypes.data
    for batch in (next(feed.epoch(0, 0, 3)), next(feed.in_order(3))):
        assert sorted(batch.indices.tolist()) == [0, 1, 2]
        pixels = batch.images[:, 0, 0, 0].long()
        assert torch.equal(pixels, torch.tensor([1, 3, 4])[batch.indices])
        assert torch.equal(batch.labels["expression_human"], pixels + 5)


def test_weights_draw_every_class_equally_often_and_the_same_again() -> None:
    values = [0] * 900 + [1] * 90 + [2] * 10 + [0] * 100
    data = labelled([value % 256 for value in values], missing=tuple(range(1000, 1100)))
    labels = data.labels["expression_human"]
    weights = class_weights(labels)
    feed = Feed(data, CPU)
    batch = next(feed.epoch(0, 0, 1100, weights))
    drawn = batch.labels["expression_human"][batch.masks["expression_human"]]
    shares = torch.bincount(drawn).float() / len(drawn)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.05)
    missing = (~batch.masks["expression_human"]).float().mean()
    assert float(missing) == pytest.approx(1 / 11, abs=0.03)  # as many as there are
    again = next(feed.epoch(0, 0, 1100, weights))
    assert torch.equal(batch.indices, again.indices)
    assert not torch.equal(batch.indices, next(feed.epoch(0, 1, 1100, weights)).indices)
