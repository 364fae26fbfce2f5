"""A manifest as a dataset of torch, for those with a training loop of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..core.errors import UserError
from ..core.schema import EYES, STATUS_OK
from ..images.align import Eyes, read_face
from ..images.decode import UnreadableImage, decode_rgb
from ..images.pictures import PictureReader
from ..manifest import Manifest

Item = tuple[Any, dict[str, Tensor], dict[str, Tensor]]


class ManifestDataset(Dataset[Item]):
    """The samples of a manifest whose status is ok: image, labels, and which labels are there.

    An item is `(image, values, present)`: the image uint8 3×S×S, or what `transform` makes of it; by label set the
    class id (int64) or valence and arousal (float32, 2); by label set whether there is a label (bool). A value that is
    not present is 0. All three go through torch's own collation, in a DataLoader with any number of workers.

    Pixels are those that `noisyfer bench` sees: aligned faces where the manifest has eyes, else whole pictures.

    Args:
        manifest: opened, or its path.
        labels: label sets; None for all.
        split: `train`, `val`, `test`, or several; None for all.
        size: S, the side of the square images in pixels; None for whole pictures of their own size, never aligned.
        transform: is given the uint8 image; torchvision's v2 transforms take it.
        root: where the images are, if not at the manifest's hint.

    Raises:
        UserError: no such manifest, label set or split, or a label out of range; from an item, an image that cannot be
            read.
    """

    def __init__(
        self,
        manifest: Manifest | str | Path,
        labels: Sequence[str] | None = None,
        *,
        split: str | Sequence[str] | None = None,
        size: int | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        root: str | Path | None = None,
    ) -> None:
        if size is not None and not 1 <= size <= 4096:
            raise UserError(f"The image size is {size}; expected a width of 1 to 4096 pixels.")
        opened = manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
        view = opened.select(splits=[split] if isinstance(split, str) else split, label_sets=labels)
        faces = view.header.faces
        samples = view.read(["id", "image", "status", *(EYES if faces else ())])
        usable = np.flatnonzero(np.asarray(samples["status"].cast("string")) == STATUS_OK)
        self.manifest, self.size, self.transform = view, size, transform
        self.root = Path(root) if root is not None else view.root
        samples = samples.take(usable)
        self.ids: list[str] = samples["id"].to_pylist()
        self.references: list[str] = samples["image"].to_pylist()
        columns = [samples[name].to_numpy() for name in EYES] if faces else []
        self._eyes = np.stack(columns, axis=1).astype(np.float32) if faces else None
        found = {name: view.labels(name) for name in view.header.label_sets}
        self.values = {name: torch.from_numpy(each.values[usable]) for name, each in found.items()}
        self.present = {name: torch.from_numpy(each.present[usable]) for name, each in found.items()}
        self._reader: tuple[int, PictureReader] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Item:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, and number {index} was asked for")
        pixels = torch.from_numpy(self._pixels(index)).permute(2, 0, 1)
        image = pixels if self.transform is None else self.transform(pixels)
        values = {name: each[index] for name, each in self.values.items()}
        return image, values, {name: each[index] for name, each in self.present.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the open files, which every process opens for itself."""
        return {**self.__dict__, "_reader": None}

    def eyes(self, index: int) -> Eyes | None:
        """The eyes that a sample's face is aligned by; None where its picture is taken whole."""
        if self._eyes is None or self.size is None or np.isnan(self._eyes[index]).any():
            return None
        left_x, left_y, right_x, right_y = self._eyes[index].tolist()
        return left_x, left_y, right_x, right_y

    def _pixels(self, index: int) -> np.ndarray[Any, Any]:
        reference = self.references[index]
        source = self._open().fetch([reference])[0]
        if isinstance(source, UnreadableImage):
            raise source
        if self.size is None:
            return source.copy() if isinstance(source, np.ndarray) else np.array(decode_rgb(source, reference, 1))
        return np.array(read_face(source, reference, self.eyes(index), self.size))

    def _open(self) -> PictureReader:
        """This process's reader; a forked worker must not share its parent's files."""
        if self._reader is None or self._reader[0] != os.getpid():
            self._reader = os.getpid(), PictureReader(self.root)
        return self._reader[1]
