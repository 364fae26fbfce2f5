"""Decoded images held once as uint8, and batches of them by index."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.files import whole_file
from ..core.streams import rng
from ..images.reader import read_images
from ..images.references import split_reference
from ..manifest import STATUS_OK, Labels, Manifest
from ..models.methods import Batch

IN_MEMORY_BYTES = 256 * 2**20
"""Decoded splits up to this size are held in memory; larger ones are memory-mapped from a file beside the manifest."""

CROP_PADDING = 4
"""Zero pixels added on each side before a random crop (the usual augmentation of CIFAR-10)."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SplitData:
    """One split, decoded.

    Attributes:
        images: uint8 N×S×S×3, in memory or memory-mapped.
        labels: by label set name.
    """

    images: np.ndarray[Any, np.dtype[np.uint8]]
    labels: Mapping[str, Labels]

    def __len__(self) -> int:
        return len(self.images)


def load_split(
    manifest: Manifest,
    split: str,
    label_sets: Sequence[str],
    *,
    size: int,
    limit: int = 0,
    root: Path | None = None,
    progress: Progress | None = None,
) -> SplitData:
    """Decode one split of a manifest and read its labels; samples whose status is not ok are left out.

    Args:
        manifest: where the rows come from.
        split: `train`, `val` or `test`.
        label_sets: the label sets to read.
        size: side of the square images in pixels; others are resized.
        limit: a random subset of so many samples, the same for every seed and method; 0 for all.
        root: the dataset's folder or archive, where it is not at the manifest's hint.
        progress: called with images done and images in all.

    Raises:
        UserError: the split is empty, or an image cannot be read.
    """
    view = manifest.select(splits=[split])
    samples = view.read(["image", "status"])
    usable = np.flatnonzero(np.asarray(samples["status"].cast("string")) == STATUS_OK)
    if not len(usable):
        raise UserError(f"{manifest.path} has no usable sample in the split '{split}'.")
    if 0 < limit < len(usable):
        usable = np.sort(rng(0, "subset", split).choice(usable, limit, replace=False))
    references = samples["image"].take(usable).to_pylist()
    labels = {}
    for name in label_sets:
        read = view.labels(name)
        labels[name] = Labels(read.values[usable], read.present[usable])
    images = decode(root or manifest.root, references, size, cache=manifest.path.parent / ".images", progress=progress)
    return SplitData(images, labels)


def decode(
    root: Path, references: Sequence[str], size: int, *, cache: Path, progress: Progress | None = None
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The images as uint8 N×S×S×3: in memory, or memory-mapped from `cache` when they are large.

    The file's name is a hash of root, references, size and the packed files' dates, and it appears when it is whole:
    a later run finds it, a killed one leaves nothing to find, and replaced data is decoded anew.
    """
    shape = (len(references), size, size, 3)
    if len(references) * size * size * 3 <= IN_MEMORY_BYTES:
        images = np.empty(shape, np.uint8)
        _fill(images, root, references, size, progress)
        return images
    text = "\n".join([str(root.resolve()), str(size), *_versions(root, references), *references])
    file = cache / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npy"
    if not file.exists():
        with whole_file(file) as temporary:
            mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            with temporary.open("r+b") as reserved:
                # a hole in a mapped file on a full disk kills the process; asking for the space first is an error
                os.posix_fallocate(reserved.fileno(), 0, temporary.stat().st_size)
            _fill(mapped, root, references, size, progress)
            mapped.flush()
            del mapped
    opened: np.ndarray[Any, np.dtype[np.uint8]] = np.load(file, mmap_mode="r", allow_pickle=False)
    if opened.shape != shape or opened.dtype != np.uint8:
        raise UserError(
            f"{file} holds {opened.dtype} {opened.shape}; uint8 {shape} was expected. Remove it and try again."
        )
    return opened


def _versions(root: Path, references: Sequence[str]) -> list[str]:
    """Size and date of the packed files, so that replaced data is not taken for the old."""
    packed = sorted({file for file, row in map(split_reference, references) if row is not None})
    files = [root] if root.is_file() else [path for path in (root / file for file in packed) if path.is_file()]
    return [f"{path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]


def _fill(target: Any, root: Path, references: Sequence[str], size: int, progress: Progress | None) -> None:
    done = 0
    for positions, pixels in read_images(root, references, size):
        target[positions] = pixels
        done += len(positions)
        if progress is not None:
            progress(done, len(references))


class Feed:
    """Batches by index from one split: no per-image Python, no worker processes, augmentation on the device.

    Args:
        data: the split.
        device: where batches go. The images live there too when they are small against its memory.
        augment: random crops of the zero-padded image and horizontal flips.
    """

    def __init__(self, data: SplitData, device: torch.device, *, augment: bool = False) -> None:
        self.device = device
        self.augment = augment
        images = torch.from_numpy(np.asarray(data.images)) if data.images.flags.writeable else _shared(data.images)
        self.images = images.to(device) if device.type == "cuda" and _fits(images, device) else images
        self.labels = {name: _label_tensor(labels).to(device) for name, labels in data.labels.items()}
        self.masks = {name: torch.from_numpy(labels.present).to(device) for name, labels in data.labels.items()}

    def __len__(self) -> int:
        return len(self.images)

    def epoch(self, seed: int, epoch: int, batch_size: int) -> Iterator[Batch]:
        """One epoch's batches in the random order of (seed, epoch); a last batch of a single sample is left out."""
        stream = rng(seed, "epoch", epoch)
        order = torch.from_numpy(stream.permutation(len(self)))
        for indices in order.split(batch_size):
            if len(indices) < 2 <= len(self):
                return  # a single sample has no batch statistics
            batch = self._batch(indices)
            if self.augment:
                yield Batch(self._augmented(batch.images, stream), batch.labels, batch.masks, batch.indices)
            else:
                yield batch

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All samples in their order, without augmentation."""
        for indices in torch.arange(len(self)).split(batch_size):
            yield self._batch(indices)

    @staticmethod
    def steps(samples: int, batch_size: int) -> int:
        """Batches in an epoch of so many samples."""
        full, rest = divmod(samples, batch_size)
        return full + (rest > 1 or samples == 1)

    def _batch(self, indices: Tensor) -> Batch:
        images = self.images[indices.to(self.images.device)].to(self.device, non_blocking=True)
        indices = indices.to(self.device)
        labels = {name: values[indices] for name, values in self.labels.items()}
        masks = {name: mask[indices] for name, mask in self.masks.items()}
        # stored as B×S×S×3: the permuted view is B×3×S×S in channels_last layout already
        return Batch(images.permute(0, 3, 1, 2), labels, masks, indices)

    def _augmented(self, images: Tensor, stream: np.random.Generator) -> Tensor:
        tops, lefts = torch.from_numpy(stream.integers(0, 2 * CROP_PADDING + 1, size=(2, len(images))))
        flips = torch.from_numpy(stream.integers(0, 2, size=len(images))).bool()
        return crop_and_flip(images, tops.to(self.device), lefts.to(self.device), flips.to(self.device))


def crop_and_flip(images: Tensor, tops: Tensor, lefts: Tensor, flips: Tensor) -> Tensor:
    """Crop each zero-padded image at its own place and mirror some, in one gather.

    Args:
        images: uint8 B×3×S×S.
        tops: B, first row of the crop in the image padded by `CROP_PADDING`, 0 to 2·`CROP_PADDING`.
        lefts: B, first column, likewise.
        flips: B, true to mirror left and right.
    """
    size = images.shape[-1]
    padded = torch.nn.functional.pad(images, [CROP_PADDING] * 4)
    offsets = torch.arange(size, device=images.device)
    rows = tops[:, None] + offsets  # B×S
    columns = lefts[:, None] + torch.where(flips[:, None], size - 1 - offsets, offsets)  # B×S
    samples = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[samples, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _shared(images: np.ndarray[Any, Any]) -> Tensor:
    # torch has no read-only tensors and warns about a read-only memory map; nothing here writes to the images
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images)


def _fits(images: Tensor, device: torch.device) -> bool:
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes < free / 4


def _label_tensor(labels: Labels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(labels.values))
