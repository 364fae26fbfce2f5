"""Builders of tiny (or full-size) CIFAR-10 copies in every layout that people have."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from noisyfer.core.errors import UserError
from noisyfer.images.reader import read_images
from PIL import Image

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


@dataclass(frozen=True)
class Tiny:
    """Pixels (n×32×32×3 uint8) and labels (n) of both splits; train is cut into five batches of equal length."""

    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.int16]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int16]

    def labels(self, split: str) -> npt.NDArray[np.int16]:
        return self.train_labels if split == "train" else self.test_labels

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        return self.train_images if split == "train" else self.test_images

    def batches(self) -> Iterator[tuple[str, npt.NDArray[np.uint8], npt.NDArray[np.int16]]]:
        """Batch name, images and labels, the five of train first."""
        parts = zip(TRAIN_BATCHES, np.split(self.train_images, 5), np.split(self.train_labels, 5), strict=True)
        yield from parts
        yield "test_batch", self.test_images, self.test_labels


def tiny_cifar(per_batch: int = 3, test: int = 4, seed: int = 0) -> Tiny:
    """Random pixels, and labels of all classes in turn."""
    draw = np.random.default_rng(seed)
    count = 5 * per_batch
    return Tiny(
        draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8),
        (np.arange(count) * 3 % 10).astype(np.int16),
        draw.integers(0, 256, (test, 32, 32, 3), dtype=np.uint8),
        (np.arange(test) * 7 % 10).astype(np.int16),
    )


def planes(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """n×32×32×3 as CIFAR's rows, n×3072: all red values, all green, all blue."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1))


def python2_pickle(entries: dict[str, Any]) -> bytes:
    """A pickle with the very instructions Python 2 and old numpy wrote the official files with."""
    return b"\x80\x02" + _python2(entries) + b"."


def write_python(root: Path, data: Tiny, protocol: int | None = None, text_keys: bool = False) -> Path:
    """The Python version below `root`; returns its folder.

    Args:
        root: where `cifar-10-batches-py` is made.
        data: what goes in.
        protocol: None writes what Python 2 wrote, 2 to 5 what this Python and numpy write.
        text_keys: whether the keys are texts, as when a file was pickled anew, or bytes.
    """
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    contents: dict[str, dict[str, Any]] = {"batches.meta": {"num_cases_per_batch": 3, "label_names": list(CLASSES)}}
    for name, images, labels in data.batches():
        contents[name] = {
            "batch_label": f"this is {name}",
            "labels": [int(label) for label in labels],
            "data": planes(images),
            "filenames": [f"{name}_{row}.png" for row in range(len(labels))],
        }
    for name, entries in contents.items():
        if protocol is None:
            content = python2_pickle(entries)
        else:
            keyed = entries if text_keys else {key.encode(): value for key, value in entries.items()}
            content = pickle.dumps(keyed, protocol=protocol)
        (folder / name).write_bytes(content)
    return folder


def write_binary(root: Path, data: Tiny) -> Path:
    """The binary version below `root`; returns its folder."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "batches.meta.txt").write_text("\n".join([*CLASSES, "", ""]))
    for name, images, labels in data.batches():
        table = np.concatenate([labels.astype(np.uint8)[:, None], planes(images)], axis=1)
        (folder / f"{name}.bin").write_bytes(table.tobytes())
    return folder


def write_parquet(
    root: Path, data: Tiny, shards: int = 1, names: Sequence[str] | None = CLASSES, group: int = 4, column: str = "img"
) -> Path:
    """The hub's layout below `root`, pictures as PNG (so that no pixel changes); returns `plain_text`.

    Args:
        root: where `plain_text` is made.
        data: what goes in.
        shards: files a split.
        names: class names in the order of the ids in the file, or None for no metadata.
        group: rows in one row group.
        column: the name of the column of pictures.
    """
    folder = root / "plain_text"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        parts = zip(np.array_split(data.images(split), shards), np.array_split(data.labels(split), shards), strict=True)
        for index, (images, labels) in enumerate(parts):
            ids = [(names or CLASSES).index(CLASSES[label]) for label in labels]
            table = parquet_table([png(image) for image in images], ids, names, column)
            pq.write_table(table, folder / f"{split}-{index:05d}-of-{shards:05d}.parquet", row_group_size=group)
    return folder


def parquet_table(
    pictures: Sequence[bytes | None], ids: Sequence[int | None], names: Sequence[str] | None, column: str = "img"
) -> pa.Table:
    """One shard in the hub's form."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": picture, "path": None} for picture in pictures]
    table = pa.table({column: pa.array(cells, kind), "label": pa.array(ids, pa.int64())})
    if names is None:
        return table
    features = {column: {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write_archive(folder: Path, archive: Path) -> Path:
    """A .tar.gz of `folder`, in the order of the official one (which is not the order of the batches)."""
    first = ["data_batch_4", "test_batch", "data_batch_3", "batches.meta", "data_batch_2", "data_batch_5"]
    names = sorted((entry.name for entry in folder.iterdir()), key=lambda name: (name not in first, name[::-1]))
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(folder, folder.name, recursive=False)
        for name in names:
            tar.add(folder / name, f"{folder.name}/{name}")
    return archive


def png(image: npt.NDArray[np.uint8]) -> bytes:
    """An image (h×w×3) as PNG."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def archive_in_a_folder(root: Path) -> Path:
    (root / "datasets").mkdir()
    write_archive(write_python(root, TINY), root / "datasets" / "cifar-10-python.tar.gz")
    return root / "datasets"


def gunzipped(path: Path) -> Path:
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    return path.with_suffix("")


def read_all(root: Path, references: list[str], size: int = 32) -> np.ndarray:
    """The images in the references' order; fails where a position is missing or comes twice."""
    result = np.zeros((len(references), size, size, 3), np.uint8)
    seen = np.zeros(len(references), int)
    for positions, pixels in read_images(root, references, size):
        assert positions.dtype == np.int64
        assert pixels.dtype == np.uint8
        assert pixels.shape == (len(positions), size, size, 3)
        result[positions] = pixels
        seen[positions] += 1
    assert (seen == 1).all()
    return result


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def outcome(action: Callable[[], Any]) -> Any:
    """What `action` returns, or the `UserError` it raised; anything else it raises is a defect."""
    try:
        return action()
    except UserError as error:
        return error


def tar_of(entries: list[tuple[tarfile.TarInfo, bytes]], path: Path) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member, data in entries:
            tar.addfile(member, io.BytesIO(data))
    return path


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


def _python2(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_python2(key) + _python2(entry) for key, entry in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, int):
        return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
    if isinstance(value, str):
        return b"U" + bytes([len(value)]) + value.encode()
    if isinstance(value, np.ndarray):
        empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        shape = _python2(value.shape[0]) + _python2(value.shape[1]) + b"\x86"
        dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        raw = value.tobytes()
        return empty + b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    raise TypeError(type(value))


TINY = tiny_cifar()

# Every way to have CIFAR-10: makes it below a folder and returns the path a user would give.
LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "python": lambda root: write_python(root, TINY),
    "torchvision root": lambda root: write_python(root, TINY).parent,
    "python 3, protocol 2": lambda root: write_python(root, TINY, 2),
    "python 3, protocol 3": lambda root: write_python(root, TINY, 3, text_keys=True),
    "python 3, protocol 4": lambda root: write_python(root, TINY, 4),
    "python 3, protocol 5": lambda root: write_python(root, TINY, 5, text_keys=True),
    "python renamed": lambda root: write_python(root, TINY).rename(root / "c10"),
    "python archive": lambda root: write_archive(write_python(root, TINY), root / "a.tar.gz"),
    "archive in a folder": lambda root: archive_in_a_folder(root),
    "unpacked archive": lambda root: gunzipped(write_archive(write_python(root, TINY), root / "a.tar.gz")),
    "binary": lambda root: write_binary(root, TINY),
    "binary root": lambda root: write_binary(root, TINY).parent,
    "binary archive": lambda root: write_archive(write_binary(root, TINY), root / "b.tar.gz"),
    "parquet": lambda root: write_parquet(root, TINY).parent,
    "plain_text": lambda root: write_parquet(root, TINY),
    "parquet in shards": lambda root: write_parquet(root, TINY, shards=3, group=2, column="image"),
    "parquet, other ids": lambda root: write_parquet(root, TINY, names=CLASSES[::-1]),
    "parquet, no names": lambda root: write_parquet(root, TINY, names=None).rename(root / "files"),
}
