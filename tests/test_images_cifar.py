"""CIFAR-10 in every layout; what missing, incomplete, damaged and foreign files get."""

from __future__ import annotations

import hashlib
import os
import pickle
import zlib
from pathlib import Path

import cifar_files as build
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cifar_files import LAYOUTS, TINY, read_all
from noisyfer.core.errors import UserError
from noisyfer.images import dataset, digits
from noisyfer.images.batches import CLASSES, binary_batch, python_batch
from noisyfer.images.cifar import Cifar10, open_cifar10
from noisyfer.images.decode import UnreadableImage

# ---- CIFAR-10 in every layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same(layout: str, tmp_path: Path) -> None:
    cifar = open_cifar10(LAYOUTS[layout](tmp_path))
    assert cifar.classes == CLASSES
    for split in ("train", "test"):
        assert cifar.labels(split).dtype == np.int16
        np.testing.assert_array_equal(cifar.labels(split), TINY.labels(split))
        np.testing.assert_array_equal(np.concatenate(list(cifar.images(split))), TINY.images(split))
        np.testing.assert_array_equal(read_all(cifar.root, cifar.references(split)), TINY.images(split))
    reference = open_cifar10(build.write_binary(tmp_path / "reference", TINY))
    assert cifar.fingerprint() == reference.fingerprint()


def test_fingerprint_depends_on_pixels_labels_and_the_split_only(tmp_path: Path) -> None:
    def of(name: str, data: build.Tiny) -> str:
        return open_cifar10(build.write_binary(tmp_path / name, data)).fingerprint()

    pixel, label = TINY.test_images.copy(), TINY.train_labels.copy()
    pixel[-1, -1, -1, -1] ^= 1
    label[0] = (label[0] + 1) % 10
    digest = hashlib.sha256()
    for split in ("train", "test"):
        digest.update(f"{split}:{len(TINY.labels(split))}\n".encode())
        digest.update(b"".join(int(label).to_bytes(2, "little") for label in TINY.labels(split)))
        digest.update(TINY.images(split).tobytes())
    assert of("written out", TINY) == digest.hexdigest()
    variants = [
        TINY,
        build.Tiny(TINY.train_images, TINY.train_labels, pixel, TINY.test_labels),
        build.Tiny(TINY.train_images, label, TINY.test_images, TINY.test_labels),
        build.Tiny(TINY.train_images[:10], TINY.train_labels[:10], TINY.test_images, TINY.test_labels),
    ]
    assert len({of(str(index), data) for index, data in enumerate(variants)}) == 4


def test_references_and_root_are_the_same_for_a_folder_its_parent_and_the_archive(tmp_path: Path, monkeypatch) -> None:
    folder = build.write_python(tmp_path, TINY)
    packed = build.write_archive(folder, tmp_path / "a.tar.gz")
    monkeypatch.chdir(folder)
    found = [open_cifar10(path) for path in (folder, tmp_path, Path(), packed)]
    assert [cifar.root.resolve() for cifar in found] == [tmp_path, tmp_path, tmp_path, packed]
    assert {cifar.references("train")[4] for cifar in found} == {"cifar-10-batches-py/data_batch_2#1"}
    assert found[0].references("test") == [f"cifar-10-batches-py/test_batch#{row}" for row in range(4)]


def test_python_comes_before_parquet_before_binary(tmp_path: Path) -> None:
    build.write_binary(tmp_path, TINY)
    assert open_cifar10(tmp_path).layout == "binary"
    build.write_parquet(tmp_path, TINY)
    assert open_cifar10(tmp_path).layout == "parquet"
    build.write_python(tmp_path, TINY)
    assert open_cifar10(tmp_path).layout == "python"


def test_links_of_the_hub_cache_and_a_linked_folder_are_followed_below_one_root(tmp_path: Path) -> None:
    plain = build.write_parquet(tmp_path / "first", TINY)
    snapshot = tmp_path / "cache" / "snapshots" / "abc" / "plain_text"
    snapshot.mkdir(parents=True)
    (tmp_path / "cache" / "blobs").mkdir()
    for file in plain.iterdir():
        blob = file.rename(tmp_path / "cache" / "blobs" / str(zlib.crc32(file.name.encode())))
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    cifar = open_cifar10(snapshot.parent)
    assert cifar.root == tmp_path / "cache"
    assert cifar.references("test")[0] == "snapshots/abc/plain_text/test-00000-of-00001.parquet#0"
    np.testing.assert_array_equal(read_all(cifar.root, cifar.references("train")), TINY.train_images)

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cifar-10-batches-py").symlink_to(build.write_python(tmp_path / "far", TINY))
    cifar = open_cifar10(tmp_path / "data")
    assert cifar.root == tmp_path / "far"
    np.testing.assert_array_equal(read_all(cifar.root, cifar.references("test")), TINY.test_images)


def test_class_names_in_another_order_are_mapped_by_name(tmp_path: Path) -> None:
    folder = build.write_python(tmp_path, TINY)
    (folder / "batches.meta").write_bytes(build.python2_pickle({"label_names": list(CLASSES[::-1])}))
    np.testing.assert_array_equal(open_cifar10(folder).labels("train"), 9 - TINY.train_labels)
    binary = build.write_binary(tmp_path, TINY)
    (binary / "batches.meta.txt").write_text("\n".join(CLASSES[::-1]))
    np.testing.assert_array_equal(open_cifar10(binary).labels("test"), 9 - TINY.test_labels)
    (binary / "batches.meta.txt").write_text("cat\ndog\n")
    with pytest.raises(UserError, match="cat, dog"):
        open_cifar10(binary).labels("test")


# ---- CIFAR-10 that is missing, incomplete, damaged or something else


def test_missing_and_foreign_paths_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file or folder .*nowhere.*cifar-10-python\.tar\.gz"):
        open_cifar10(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds nothing"):
        open_cifar10(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"holds notes\.txt"):
        open_cifar10(tmp_path)
    with pytest.raises(UserError, match="single file"):
        open_cifar10(tmp_path / "notes.txt")
    (tmp_path / "x.tar.gz").write_text("no archive at all")
    with pytest.raises(UserError, match="no tar archive"):
        open_cifar10(tmp_path / "x.tar.gz")
    with pytest.raises(UserError, match=r"no split named 'validation'.*Known: test, train"):
        open_cifar10(build.write_binary(tmp_path, TINY)).labels("validation")


def test_missing_batches_and_shards_are_named(tmp_path: Path) -> None:
    folder = build.write_python(tmp_path, TINY)
    (folder / "data_batch_3").unlink()
    (folder / "test_batch").unlink()
    with pytest.raises(UserError, match="lacks data_batch_3, test_batch"):
        open_cifar10(tmp_path)
    packed = build.write_archive(folder, tmp_path / "a.tar.gz")
    with pytest.raises(UserError, match="lacks data_batch_3, test_batch"):
        open_cifar10(packed)
    plain = build.write_parquet(tmp_path / "hub", TINY, shards=2)
    (plain / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(UserError, match="expected 2 of train"):
        open_cifar10(plain)
    for shard in plain.glob("train*"):
        shard.unlink()
    with pytest.raises(UserError, match="train-"):
        open_cifar10(plain)


ROWS = build.planes(TINY.test_images)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"labels": [0] * 4}, "it holds labels"),
        ({"data": ROWS, "fine_labels": [0] * 4}, "CIFAR-100"),
        ({"data": ROWS, "labels": [0] * 3}, "3 labels for 4 images"),
        ({"data": ROWS[:, :-1], "labels": [0] * 4}, "3,071 values"),
        ({"data": ROWS, "labels": [0, 1, 2, 10]}, r"1 of its labels are outside 0 to 9 \(first: 10\)"),
        ({"data": ROWS, "labels": [0, 1, 2, -1]}, "outside"),
        ({"data": ROWS, "labels": [0, 1, 2, "cat"]}, "not all integers"),
        ({"data": [1, 2], "labels": [1, 2]}, "expected an array 'data'"),
    ],
)
def test_batches_that_do_not_fit_together(entries: dict[str, object], said: str) -> None:
    for data in (build.python2_pickle(entries), pickle.dumps(entries, 2), pickle.dumps(entries, 5)):
        with pytest.raises(UserError, match=said) as caught:
            python_batch(data, "some/file")
        assert "some/file" in str(caught.value)


def test_binary_of_wrong_length_or_labels() -> None:
    for length in (1, 3072, 3074, 2 * 3074):
        with pytest.raises(UserError, match=f"has {length:,} bytes; expected a multiple of 3,073"):
            binary_batch(bytes(length), "f")
    with pytest.raises(UserError, match="no images"):
        binary_batch(b"", "f")
    with pytest.raises(UserError, match="outside 0 to 9"):
        binary_batch(bytes([10]) + bytes(3072), "f")


@pytest.mark.parametrize(
    ("ids", "names", "said"),
    [
        ([0, -1], CLASSES, "outside 0 to 9"),
        ([0, 10], CLASSES, "outside 0 to 9"),
        ([0, None], CLASSES, "1 of its labels are missing"),
        ([0, 1], ("cat", "dog"), "the 2 classes cat, dog"),
        ([], CLASSES, "no images"),
    ],
)
def test_parquet_labels_that_cannot_be(
    ids: list[int | None], names: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    folder = build.write_parquet(tmp_path, TINY)
    table = build.parquet_table([build.png(image) for image in TINY.test_images[: len(ids)]], ids, names)
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    with pytest.raises(UserError, match=said):
        open_cifar10(folder).labels("train")


def test_parquet_with_other_columns_gaps_or_sizes(tmp_path: Path) -> None:
    folder = build.write_parquet(tmp_path, TINY)
    shard = folder / "test-00000-of-00001.parquet"
    good = [build.png(image) for image in TINY.test_images]
    pq.write_table(build.parquet_table([good[0], None], [0, 1], CLASSES), shard)
    with pytest.raises(UnreadableImage, match=r"test-00000-of-00001.parquet#1.*no picture"):
        list(open_cifar10(folder).images("test"))
    cells = pa.array(
        [None, {"bytes": good[0], "path": None}], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    pq.write_table(pa.table({"img": cells, "label": [0, 1]}), shard)
    with pytest.raises(UnreadableImage, match=r"test-00000-of-00001.parquet#0.*no picture"):
        list(open_cifar10(folder).images("test"))
    pq.write_table(pa.table({"img": good, "label": pa.array([0, 1, 2, 3], pa.uint8())}), shard)  # no struct: fine too
    np.testing.assert_array_equal(np.concatenate(list(open_cifar10(folder).images("test"))), TINY.test_images)
    large = build.png(np.zeros((64, 48, 3), np.uint8))
    pq.write_table(build.parquet_table([good[0], large], [0, 1], CLASSES), shard)
    with pytest.raises(UnreadableImage, match=r"#1.*48×64"):
        list(open_cifar10(folder).images("test"))
    pq.write_table(build.parquet_table(good, [0] * 4, None, "photo"), shard)
    with pytest.raises(UserError, match="'photo', 'label'; expected 'img' or 'image'"):
        list(open_cifar10(folder).images("test"))
    pq.write_table(build.parquet_table(good, [0] * 4, None).select(["img"]), shard)
    with pytest.raises(UserError, match="expected an integer column 'label'"):
        open_cifar10(folder).labels("test")
    table = build.parquet_table(good, [0] * 4, None).replace_schema_metadata({"huggingface": "[" * 5000})
    pq.write_table(table, shard)
    with pytest.raises(UserError, match="metadata"):
        open_cifar10(folder).labels("test")


def test_truncations_at_many_lengths(tmp_path: Path) -> None:
    small = build.tiny_cifar(per_batch=1, test=1)
    folder = build.write_python(tmp_path, small)
    packed = build.write_archive(folder, tmp_path / "a.tar.gz").read_bytes()
    cut = tmp_path / "cut.tar.gz"
    for length in [*range(0, len(packed), 211), len(packed) - 8, len(packed) - 1]:
        cut.write_bytes(packed[:length])
        with pytest.raises(UserError, match=r"cut\.tar\.gz"):
            open_cifar10(cut)
    for protocol in (None, 2, 5):
        batch = (build.write_python(tmp_path / str(protocol), small, protocol) / "test_batch").read_bytes()
        for length in [*range(0, len(batch), 13), len(batch) - 1]:
            with pytest.raises(UserError, match="truncated or damaged"):
                python_batch(batch[:length], "f")
    shard = build.write_parquet(tmp_path / "hub", small) / "test-00000-of-00001.parquet"
    whole = shard.read_bytes()
    for length in range(0, len(whole), 97):
        shard.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"test-00000-of-00001\.parquet"):
            open_cifar10(shard.parent).labels("test")


def test_the_datasets_fit_the_protocol(tmp_path: Path) -> None:
    public = {name for name in vars(dataset.ImageDataset) if not name.startswith("_")}
    for made in (open_cifar10(build.write_binary(tmp_path, TINY)), digits.Digits()):
        assert public <= set(dir(made))
    assert isinstance(open_cifar10(tmp_path), Cifar10)
