"""CIFAR-10 as people have it: the Python version, the binary version, or the hub's Parquet files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from ..core.errors import UserError
from . import parquet
from .archive import members
from .batches import (
    CLASSES,
    SIDE,
    SOURCE,
    Batch,
    bad_file,
    binary_batch,
    binary_names,
    ids_by_name,
    python_batch,
    python_names,
)
from .dataset import CHUNK_IMAGES, SPLITS, check_split, fingerprint
from .decode import UnreadableImage, decode_rgb
from .packed import content
from .references import inside

Labels = npt.NDArray[np.int16]
Pixels = npt.NDArray[np.uint8]


_FOLDERS = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}
_ARCHIVES = {"python": "cifar-10-python.tar.gz", "binary": "cifar-10-binary.tar.gz"}
_SUFFIXES = {"python": "", "binary": ".bin"}
_NAMES = {"python": "batches.meta", "binary": "batches.meta.txt"}
_PARQUET_FOLDER = "plain_text"
_BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
_SHARD = re.compile(r"(train|test)(?:-(\d+)-of-(\d+)|-.*)?\.parquet")

_EXPECTED = (
    "Expected the Python version (the folder cifar-10-batches-py, the one that holds it, or cifar-10-python.tar.gz), "
    "the binary version (cifar-10-batches-bin or cifar-10-binary.tar.gz), or the Hugging Face hub's Parquet files "
    f"(plain_text/train-*.parquet and test-*.parquet). The first two are at {SOURCE}."
)


@dataclass(frozen=True)
class Cifar10:
    """CIFAR-10 in one of its layouts; made by `open_cifar10`.

    Class ids are positions in `classes` in every layout: where the files name their classes (`batches.meta`, the hub's
    metadata), ids are mapped by name; where they do not, they are CIFAR-10's own, which are the same.

    Attributes:
        root: the folder or archive that references are relative to.
        layout: "python", "binary" or "parquet".
        files: for "train" and "test" the packed files in order, relative to `root`.
        names: the file with the class names relative to `root`, or None; in Parquet each file has its own.
        held: the content of these files where `root` is an archive (186 MB for the official ones), so that it is
            unpacked once; else empty.
    """

    root: Path
    layout: str
    files: Mapping[str, tuple[str, ...]]
    names: str | None = None
    held: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    name: str = "cifar10"
    classes: tuple[str, ...] = CLASSES

    def labels(self, split: str) -> Labels:
        """Class ids of a split (n), 0 to 9.

        Raises:
            UserError: a file is missing, damaged or foreign.
        """
        return np.concatenate([self._file_labels[file] for file in self.files[check_split(split)]])

    def references(self, split: str) -> list[str]:
        """An image reference for each label of a split, such as `cifar-10-batches-py/data_batch_1#17`."""
        files = self.files[check_split(split)]
        return [f"{file}#{row}" for file in files for row in range(len(self._file_labels[file]))]

    def images(self, split: str) -> Iterator[Pixels]:
        """Pixels of a split in the labels' order, as chunks (n×32×32×3, RGB).

        Raises:
            UserError: a file is damaged, or a picture in it is not 32×32.
        """
        for file in self.files[check_split(split)]:
            count = 0
            for pixels in self._parquet_images(file) if self.layout == "parquet" else self._batch_images(file):
                count += len(pixels)
                yield pixels
            if count != len(self._file_labels[file]):
                raise bad_file(self._where(file), "it changed while it was being read")

    def fingerprint(self) -> str:
        """The SHA-256 over labels and pixels, in hexadecimal: the same in every layout that has the same pixels."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self)

    @cached_property
    def _file_labels(self) -> dict[str, Labels]:
        read = self._parquet_labels if self.layout == "parquet" else self._batch_labels
        return {file: read(file) for split in SPLITS for file in self.files[split]}

    @cached_property
    def _ids(self) -> Labels | None:
        """For each id in the batch files the id in CLASSES; None where they are the same by definition."""
        if self.names is None:
            return None
        data, where = self._content(self.names), self._where(self.names)
        return ids_by_name(python_names(data, where) if self.layout == "python" else binary_names(data), where)

    def _batch(self, file: str) -> Batch:
        parse = python_batch if self.layout == "python" else binary_batch
        return parse(self._content(file), self._where(file))

    def _batch_labels(self, file: str) -> Labels:
        labels = self._batch(file).labels
        return labels if self._ids is None else self._ids[labels]

    def _batch_images(self, file: str) -> Iterator[Pixels]:
        batch = self._batch(file)
        for start in range(0, len(batch.labels), CHUNK_IMAGES):
            yield batch.pixels(slice(start, start + CHUNK_IMAGES))

    def _parquet_labels(self, file: str) -> Labels:
        path, where = inside(self.root, file), self._where(file)
        labels, names = parquet.read_labels(path, where), parquet.class_names(path, where)
        if not len(labels):
            raise bad_file(where, "it holds no images")
        outside = labels[(labels < 0) | (labels >= len(CLASSES))]
        if len(outside):
            raise bad_file(where, f"{len(outside):,} of its labels are outside 0 to 9 (first: {outside[0]})")
        return labels.astype(np.int16) if names is None else ids_by_name(names, where)[labels]

    def _parquet_images(self, file: str) -> Iterator[Pixels]:
        path, where = inside(self.root, file), self._where(file)
        every = np.arange(parquet.row_count(path, where), dtype=np.int64)
        for rows, pictures in parquet.encoded_rows(path, where, file, every, CHUNK_IMAGES):
            result = np.empty((len(rows), SIDE, SIDE, 3), dtype=np.uint8)
            for index, (row, picture) in enumerate(zip(rows, pictures, strict=True)):
                image = decode_rgb(picture, f"{file}#{row}")
                if image.size != (SIDE, SIDE):
                    found = f"it has {image.width}×{image.height} pixels, and CIFAR-10's images have 32×32"
                    raise UnreadableImage(f"{file}#{row}", found)
                result[index] = np.asarray(image)
            yield result

    def _content(self, file: str) -> bytes:
        return self.held[file] if self.held else content(inside(self.root, file), self._where(file))

    def _where(self, file: str) -> str:
        return f"{self.root}: {file}" if self.held else str(self.root / file)


class NoCifar10(UserError):
    """A folder that holds nothing of the kind, where a damaged or incomplete copy would be another error."""


def open_cifar10(path: Path) -> Cifar10:
    """Find CIFAR-10 in a folder or archive; of several layouts in a folder: Python, then Parquet, then binary.

    Only names are looked at here (an archive is unpacked to memory); contents are checked when they are read.

    Args:
        path: `cifar-10-batches-py`, `cifar-10-batches-bin`, `plain_text`, a folder that holds one of them (as
            torchvision's root does) or the archive of one; or a folder that itself holds `train-*.parquet`; or
            `cifar-10-python.tar.gz` or `cifar-10-binary.tar.gz`.

    Raises:
        UserError: there is nothing of the kind, some of its files are missing, or an archive is damaged.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _from_folder(path)
        if path.is_file():
            return _from_archive(path)
    except OSError as error:  # such as a folder that may not be entered
        raise UserError(f"Cannot open {path}: {error.strerror}. Change its permissions, or give a copy.") from error
    raise UserError(f"There is no file or folder {path}. {_EXPECTED}")


def _from_folder(path: Path) -> Cifar10:
    found = (
        _batch_folder(path, "python")
        or _archive_inside(path, "python")
        or _parquet_folder(path)
        or _batch_folder(path, "binary")
        or _archive_inside(path, "binary")
    )
    if found is None:
        entries = sorted(entry.name for entry in path.iterdir())
        held = ", ".join(entries[:8]) + (" …" if len(entries) > 8 else "") if entries else "nothing"
        raise NoCifar10(f"There is no CIFAR-10 in {path}, which holds {held}. {_EXPECTED}")
    return found


def _batch_folder(path: Path, layout: str) -> Cifar10 | None:
    for folder in (path / _FOLDERS[layout], path):
        present = {name for name in _batch_names(layout) if (folder / name).is_file()}
        if present - {_NAMES[layout]}:
            _check_complete(present, layout, str(folder))
            root, prefix = _rooted(folder, _FOLDERS[layout], present)
            return _cifar(root, layout, prefix, present)
    return None


def _archive_inside(path: Path, layout: str) -> Cifar10 | None:
    archive = path / _ARCHIVES[layout]
    return _from_archive(archive) if archive.is_file() else None


def _from_archive(path: Path) -> Cifar10:
    if not path.name.endswith((".tar.gz", ".tgz", ".tar")):
        raise UserError(f"{path} is a single file and no .tar.gz archive. {_EXPECTED}")
    known = {*_batch_names("python"), *_batch_names("binary")}
    held = dict(members(path, lambda name: PurePosixPath(name).name in known))
    for layout in ("python", "binary"):
        batches = set(_batch_names(layout)) - {_NAMES[layout]}
        folders = sorted(str(PurePosixPath(name).parent) for name in held if PurePosixPath(name).name in batches)
        if folders:
            prefix = PurePosixPath(folders[0])
            present = {name for name in _batch_names(layout) if str(prefix / name) in held}
            _check_complete(present, layout, str(path))
            wanted = {str(prefix / name) for name in present}
            kept = {name: data for name, data in held.items() if name in wanted}
            return _cifar(path, layout, prefix, present, kept)
    raise UserError(f"There is no CIFAR-10 in the archive {path}. {_EXPECTED}")


def _parquet_folder(path: Path) -> Cifar10 | None:
    for folder in (path / _PARQUET_FOLDER, path, path / "data"):
        shards = [match for entry in _entries(folder) if (match := _SHARD.fullmatch(entry))]
        if shards:
            _check_shards(shards, folder)
            root, prefix = _rooted(folder, _PARQUET_FOLDER, [match[0] for match in shards])
            files = {
                split: tuple(str(prefix / match[0]) for match in shards if match[1] == split) for split in _BATCHES
            }
            return Cifar10(root, "parquet", files)
    return None


def _cifar(
    root: Path, layout: str, prefix: PurePosixPath, present: Collection[str], held: Mapping[str, bytes] | None = None
) -> Cifar10:
    suffix, names = _SUFFIXES[layout], _NAMES[layout]
    files = {split: tuple(str(prefix / (name + suffix)) for name in batches) for split, batches in _BATCHES.items()}
    return Cifar10(root, layout, files, str(prefix / names) if names in present else None, held or {})


def _batch_names(layout: str) -> list[str]:
    """All file names of a layout: the six batches, and the list of class names, which may be missing."""
    batches = [name + _SUFFIXES[layout] for names in _BATCHES.values() for name in names]
    return [*batches, _NAMES[layout]]


def _check_complete(present: Collection[str], layout: str, where: str) -> None:
    missing = [name for name in _batch_names(layout) if name not in present and name != _NAMES[layout]]
    if missing:
        raise UserError(
            f"{where} holds {', '.join(sorted(present))} but lacks {', '.join(missing)}; the {layout} version of "
            f"CIFAR-10 has all six. Unpack {_ARCHIVES[layout]} from {SOURCE} again."
        )


def _check_shards(shards: list[re.Match[str]], folder: Path) -> None:
    for split in _BATCHES:
        ours = [match for match in shards if match[1] == split]
        indexes, totals = {int(match[2] or 0) for match in ours}, {int(match[3] or len(ours)) for match in ours}
        expected = f"{split}-*.parquet as well"
        if len(totals) == 1:
            total = totals.pop()
            expected = f"{total:,} of {split}"
            # Names without numbers say nothing of how many there should be.
            if len(ours) == total and (not ours[0][3] or indexes == set(range(total))):
                continue
        elif ours:
            expected = f"those of one download of {split}, and these are of sets of {sorted(totals)[:4]}"
        raise UserError(
            f"{folder} holds {', '.join(match[0] for match in shards[:8])}{' …' if len(shards) > 8 else ''}; "
            f"expected {expected}. Download the folder from the Hugging Face hub again."
        )


def _entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else []


def _rooted(folder: Path, usual: str, names: Collection[str]) -> tuple[Path, PurePosixPath]:
    """The root for files of `folder`, and the folder's path below it, such that no link leads out of the root.

    That is the parent of a folder with its usual name, so that a manifest is the same whichever of the two was given,
    else the folder. Where files are links (the hub's cache keeps them so) it is the nearest folder above that holds
    both the links and what they lead to, at most four levels up.
    """
    named = folder if folder.name not in ("", "..") else folder.resolve()
    candidates = [(named.parent, PurePosixPath(usual)) if named.name == usual else (folder, PurePosixPath())]
    real = folder.resolve()
    start = real.parent if real.name == usual else real
    candidates += [(root, PurePosixPath(real.relative_to(root))) for root in (start, *start.parents[:4])]
    for root, prefix in candidates:
        if all((root / prefix / name).resolve().is_relative_to(root.resolve()) for name in names):
            return root, prefix
    raise UserError(
        f"The files in {folder} are links that lead far outside it, and images are referred to below one root. "
        "Give the folder they lead to, or copy them."
    )
