"""Decoded images and the feed: the right pixels with the right labels, every sample once, the same order again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from noisyfer.core.errors import UserError
from noisyfer.images.digits import Digits
from noisyfer.manifest import Labels, Manifest
from noisyfer.training import data as data_module
from noisyfer.training.data import CROP_PADDING, Feed, SplitData, crop_and_flip, decode, load_split

CPU = torch.device("cpu")


def numbered(count: int, size: int = 4) -> SplitData:
    """Images whose every pixel tells the sample's number, and labels that do too."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, size, size, 3)).copy()
    values = np.arange(count, dtype=np.int64)
    return SplitData(images, {"class_a": Labels(values, values % 3 > 0)})


def test_crop_and_flip_equals_a_loop_over_images() -> None:
    draw = np.random.default_rng(0)
    images = torch.from_numpy(draw.integers(0, 256, (9, 3, 6, 6), dtype=np.uint8))
    tops, lefts = torch.from_numpy(draw.integers(0, 2 * CROP_PADDING + 1, (2, 9)))
    flips = torch.from_numpy(draw.integers(0, 2, 9)).bool()
    found = crop_and_flip(images, tops, lefts, flips)
    for sample in range(9):
        padded = np.zeros((3, 6 + 2 * CROP_PADDING, 6 + 2 * CROP_PADDING), np.uint8)
        padded[:, CROP_PADDING:-CROP_PADDING, CROP_PADDING:-CROP_PADDING] = images[sample]
        top, left = int(tops[sample]), int(lefts[sample])
        crop = padded[:, top : top + 6, left : left + 6]
        assert np.array_equal(found[sample].numpy(), crop[:, :, ::-1] if flips[sample] else crop)


def test_an_epoch_visits_every_sample_once_with_its_own_labels() -> None:
    seen = []
    for batch in Feed(numbered(23), CPU).epoch(seed=0, epoch=0, batch_size=5):
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape[1:] == (3, 4, 4)
        assert torch.equal(batch.images[:, 0, 0, 0].long(), batch.indices)
        assert torch.equal(batch.labels["class_a"], batch.indices)
        assert torch.equal(batch.masks["class_a"], batch.indices % 3 > 0)
        seen += batch.indices.tolist()
    assert sorted(seen) == list(range(23))
    assert seen != sorted(seen)


def test_the_order_follows_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int, batch_size: int) -> list[int]:
        batches = Feed(numbered(20), CPU).epoch(seed, epoch, batch_size)
        return [index for batch in batches for index in batch.indices.tolist()]

    assert order(1, 2, 4) == order(1, 2, 10)
    assert order(1, 2, 4) != order(1, 3, 4)
    assert order(1, 2, 4) != order(2, 2, 4)


def test_a_last_batch_of_one_sample_is_left_out_and_steps_counts_the_batches() -> None:
    for samples in (8, 9, 10, 11, 1):
        batches = list(Feed(numbered(samples), CPU).epoch(0, 0, 4))
        assert len(batches) == Feed.steps(samples, 4)
        assert all(len(batch.indices) > 1 for batch in batches) or samples == 1


def test_augmentation_changes_pixels_but_not_labels_and_repeats_with_the_epoch() -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (8, 6, 6, 3), dtype=np.uint8)
    feed = Feed(SplitData(images, {}), CPU, augment=True)
    first, again = next(feed.epoch(0, 0, 8)), next(feed.epoch(0, 0, 8))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, Feed(SplitData(images, {}), CPU)._batch(first.indices).images)


def test_batches_do_not_copy_the_dataset() -> None:
    source = numbered(50)
    feed = Feed(source, CPU)
    assert feed.images.data_ptr() == source.images.ctypes.data


def test_large_splits_are_mapped_from_a_file_that_a_second_run_finds(
    digits_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = Digits().references("test")
    in_memory = decode(Path(), references, 32, cache=tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(data_module, "IN_MEMORY_BYTES", 1000)
    mapped = decode(Path(), references, 32, cache=tmp_path)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, in_memory)
    monkeypatch.setattr(data_module, "read_images", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(decode(Path(), references, 32, cache=tmp_path), in_memory)
    batch = next(Feed(SplitData(mapped, {}), CPU).in_order(4))
    assert np.array_equal(batch.images.permute(0, 2, 3, 1).numpy(), in_memory[:4])


def test_a_decoding_that_fails_leaves_no_cache_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "IN_MEMORY_BYTES", 1000)
    with pytest.raises(UserError, match="digits"):
        decode(Path(), ["digits#0"] * 3 + ["digits#99999"], 32, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_limit_takes_the_same_random_subset_every_time(digits_manifest: Path) -> None:
    manifest = Manifest.open(digits_manifest)
    some = load_split(manifest, "train", ["class_clean"], size=32, limit=100)
    same = load_split(manifest, "train", ["class_clean"], size=32, limit=100)
    everything = load_split(manifest, "train", ["class_clean"], size=32)
    assert len(some) == 100
    assert np.array_equal(some.images, same.images)
    assert not np.array_equal(some.images, everything.images[:100])


def test_images_can_be_asked_for_in_other_sizes(digits_manifest: Path) -> None:
    loaded = load_split(Manifest.open(digits_manifest), "test", [], size=64, limit=5)
    assert loaded.images.shape == (5, 64, 64, 3)
