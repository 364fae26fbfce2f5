"""Decoded images and the feed: the right pixels with the right labels, every sample once, the same order again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cifar_files import encoded
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.core.schema import EYES, FACE_BOX, Dataset, Header, sample_columns
from noisyfer.images.align import read_face
from noisyfer.images.digits import Digits
from noisyfer.manifest import Labels, LabelSet, Manifest, write_manifest
from noisyfer.training import data as data_module
from noisyfer.training.augment import CROP_PADDING, crop_and_flip
from noisyfer.training.data import SplitData, decode, load_split
from noisyfer.training.feed import Feed
from PIL import Image

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
    feed = Feed(SplitData(images, {}), CPU, augment="crop-flip")
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


def test_a_picture_of_a_folder_that_was_replaced_is_decoded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_module, "IN_MEMORY_BYTES", 1000)
    face_manifest(tmp_path, face_rows(2))
    root, references, cache = tmp_path / "pictures", ["0.png", "1.png"], tmp_path / "cache"
    first = decode(root, references, SIDE, cache=cache)
    Image.fromarray(photograph(7)).save(root / "1.png")
    os.utime(root / "1.png", (0, 0))
    second = decode(root, references, SIDE, cache=cache)
    assert np.array_equal(second, [photograph(0), photograph(7)])
    assert np.array_equal(first[1], photograph(1))
    (root / "1.png").rename(tmp_path / "kept.png")
    with pytest.raises(UserError, match=r"'1\.png': there is no such file"):
        decode(root, references, SIDE, cache=cache)
    (tmp_path / "kept.png").rename(root / "1.png")
    monkeypatch.setattr(data_module, "read_images", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(decode(root, references, SIDE, cache=cache), second)


def test_what_another_decoder_kept_is_decoded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "IN_MEMORY_BYTES", 1000)
    decode(Path(), ["digits#0"], 32, cache=tmp_path)
    monkeypatch.setattr(data_module, "DECODER", data_module.DECODER + 1)
    decode(Path(), ["digits#0"], 32, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("length", [0, 50, 4000])
def test_a_file_of_decoded_pictures_that_is_cut_short_is_a_sentence(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_module, "IN_MEMORY_BYTES", 1000)
    references = ["digits#0", "digits#1"]
    decode(Path(), references, 32, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    os.truncate(file, length)
    with pytest.raises(UserError) as caught:
        decode(Path(), references, 32, cache=tmp_path)
    assert sentence(caught).endswith("Remove it and try again.")
    file.unlink()
    assert len(decode(Path(), references, 32, cache=tmp_path)) == 2


def test_a_limit_takes_the_same_random_subset_every_time(digits_manifest: Path) -> None:
    manifest = Manifest.open(digits_manifest)
    some = load_split(manifest, "train", ["class_clean"], size=32, limit=100)
    same = load_split(manifest, "train", ["class_clean"], size=32, limit=100)
    everything = load_split(manifest, "train", ["class_clean"], size=32)
    assert len(some) == 100
    assert np.array_equal(some.images, same.images)
    assert not np.array_equal(some.images, everything.images[:100])


def test_images_that_a_set_does_not_label_are_left_out(digits_manifest: Path, tmp_path: Path) -> None:
    manifest = Manifest.open(digits_manifest)
    label = np.where(np.arange(manifest.rows) % 3, 7, None)
    half = LabelSet.categorical("class", "half", "human", {})
    manifest = manifest.with_label_set(half, {"label": pa.array(label, pa.int16())}, tmp_path / "half.parquet")
    every = load_split(manifest, "test", ["class_clean"], size=32)
    kept = load_split(manifest, "test", ["class_clean"], size=32, labelled_by="class_half")
    places = np.flatnonzero(manifest.select(splits=["test"]).labels("class_half").present)
    assert 0 < len(places) < len(every)
    assert kept.ids == [every.ids[place] for place in places]
    assert np.array_equal(kept.images, every.images[places])
    assert np.array_equal(kept.labels["class_clean"].values, every.labels["class_clean"].values[places])
    with pytest.raises(UserError, match="no usable sample that 'class_half' labels in the split 'val'"):
        load_split(manifest, "val", [], size=32, labelled_by="class_half")


def test_images_can_be_asked_for_in_other_sizes(digits_manifest: Path) -> None:
    loaded = load_split(Manifest.open(digits_manifest), "test", [], size=64, limit=5)
    assert loaded.images.shape == (5, 64, 64, 3)


# ---- aligned faces


SIDE = 60
EYES_AT = (20.0, 22.0, 41.0, 25.0)


def face_rows(count: int, **changed: dict[int, Any]) -> pa.Table:
    """Rows `id0` … with the picture `0.png` … and eyes; `changed` replaces values of a column by row."""
    columns: dict[str, list[Any]] = {
        "id": [f"id{number}" for number in range(count)],
        "split": ["train"] * count,
        "image": [f"{number}.png" for number in range(count)],
        "status": ["ok"] * count,
        **{name: [None] * count for name in ("detail", *FACE_BOX, "face_score", "face_image")},
        **{name: [place] * count for name, place in zip(EYES, EYES_AT, strict=True)},
    }
    for name, values in changed.items():
        for row, value in values.items():
            columns[name][row] = value
    kinds = sample_columns(faces=True)
    arrays = [pa.array(columns[name], getattr(kind, "value_type", kind)).cast(kind) for name, kind in kinds.items()]
    return pa.Table.from_arrays(arrays, names=list(kinds))


def face_manifest(folder: Path, table: pa.Table, faces_root: str = "") -> Manifest:
    """A manifest in `folder`, with noise as the pictures `0.png` … in `folder/pictures`."""
    (folder / "pictures").mkdir(exist_ok=True)
    for number in range(len(table)):
        Image.fromarray(photograph(number)).save(folder / "pictures" / f"{number}.png")
    header = Header(Dataset("faces", "pictures"), {}, {}, faces=True, faces_root=faces_root)
    return write_manifest(folder / "m.parquet", header, [table])


def photograph(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def keep(folder: Path, count: int, size: int) -> None:
    """Faces in one colour, so that they are told from those of the photographs."""
    faces = [Image.fromarray(np.full((size, size, 3), 10 * number, np.uint8)) for number in range(count)]
    folder.mkdir()
    column = pa.array([{"bytes": encoded(face), "path": ""} for face in faces])
    pq.write_table(pa.table({"image": column}), folder / "part-000000.parquet")


def kept_images(count: int) -> dict[int, str]:
    return {number: f"part-000000.parquet#{number}" for number in range(count)}


def test_faces_are_aligned_by_the_manifests_eyes_and_pictures_without_eyes_taken_whole(tmp_path: Path) -> None:
    table = face_rows(5, eye_left_x={1: None}, eye_right_y={2: None}, eye_right_x={4: 35.0})
    images = load_split(face_manifest(tmp_path, table), "train", [], size=24).images
    for number, eyes in enumerate((EYES_AT, None, None, EYES_AT, (20.0, 22.0, 35.0, 25.0))):
        assert np.array_equal(images[number], read_face(photograph(number), "x", eyes, 24))


def test_other_eyes_are_another_file_of_decoded_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "IN_MEMORY_BYTES", 1000)
    face_manifest(tmp_path, face_rows(3))
    references, cache = ["0.png", "1.png", "2.png"], tmp_path / "cache"
    places: list[Any] = [None, [None] * 3, [EYES_AT] * 3, [EYES_AT, None, EYES_AT], [None, EYES_AT, EYES_AT]]
    found = [decode(tmp_path / "pictures", references, 24, cache=cache, eyes=eyes) for eyes in places]
    assert len(list(cache.iterdir())) == 4  # no eyes at all, and none of each, are the same
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert np.array_equal(found[3][1], found[0][1])
    assert np.array_equal(found[3][2], found[2][2])


def test_kept_faces_are_read_where_they_are_large_enough(tmp_path: Path) -> None:
    keep(tmp_path / "kept", 4, 32)
    manifest = face_manifest(tmp_path, face_rows(4, face_image=kept_images(4)), "kept")
    for size, kept in ((32, True), (16, True), (33, False)):
        images = load_split(manifest, "train", [], size=size).images
        if kept:
            assert images[:, 0, 0, 0].tolist() == [0, 10, 20, 30]
            assert (images == images[:, :1, :1]).all()
        else:
            assert np.array_equal(images[2], read_face(photograph(2), "x", EYES_AT, size))


def test_photographs_are_read_where_a_kept_face_or_the_folder_is_not_there(tmp_path: Path) -> None:
    keep(tmp_path / "kept", 4, 32)
    expected = [read_face(photograph(number), "x", EYES_AT, 32) for number in range(4)]
    some = {**kept_images(4), 1: None}
    images = load_split(face_manifest(tmp_path, face_rows(4, face_image=some), "kept"), "train", [], size=32).images
    assert np.array_equal(images, expected)
    failed = {"face_image": some, "status": {1: "no_face"}, "image": {1: "nowhere.png"}}
    images = load_split(face_manifest(tmp_path, face_rows(4, **failed), "kept"), "train", [], size=32).images
    assert images[:, 0, 0, 0].tolist() == [0, 20, 30]  # of the samples that are used, each has one
    elsewhere = face_manifest(tmp_path, face_rows(4, face_image=kept_images(4)), "elsewhere")
    assert np.array_equal(load_split(elsewhere, "train", [], size=32).images, expected)


def test_a_picture_that_is_gone_or_damaged_is_named(tmp_path: Path) -> None:
    manifest = face_manifest(tmp_path, face_rows(3))
    (tmp_path / "pictures" / "1.png").unlink()
    with pytest.raises(UserError, match=r"'1\.png': there is no such file"):
        load_split(manifest, "train", [], size=24)
    (tmp_path / "pictures" / "1.png").write_bytes(b"text")
    with pytest.raises(UserError, match=r"'1\.png': it is no image"):
        load_split(manifest, "train", [], size=24)
    keep(tmp_path / "kept", 2, 32)
    manifest = face_manifest(tmp_path, face_rows(3, face_image=kept_images(3)), "kept")
    with pytest.raises(UserError, match=r"part-000000\.parquet#2'.*2 images, 0 to 1"):
        load_split(manifest, "train", [], size=32)
