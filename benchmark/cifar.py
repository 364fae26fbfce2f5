"""make-cifar: CIFAR-10 (or scikit-learn's digits) with noisy label sets, as a manifest."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.errors import UserError, first_line
from ..core.files import root_hint, whole_folder
from ..core.streams import rng
from ..images.cifar import NoCifar10, open_cifar10
from ..images.dataset import ImageDataset
from ..images.digits import Digits
from ..manifest import STATUS_OK, Dataset, Header, LabelSet, Manifest, Task, write_manifest
from .noise import (
    CleanLabels,
    NoiseModel,
    annotator_names,
    majority_vote,
    measured_rate,
    noise_model,
    transition_matrix,
)

TASK = "class"
DEFAULT_RATES = (0.2, 0.3, 0.4)
DATA_VARIABLE = "NOISYFER_DATA"
DOWNLOAD_FOLDER = Path("datasets")

_FOLDERS = ("", "cifar10", "cifar-10", "CIFAR10")


@dataclass(frozen=True)
class _Noisy:
    """A label set about to be written."""

    label_set: LabelSet
    labels: np.ndarray[Any, Any]


def make_cifar(
    rates: Sequence[float] | None = None,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    noise: str = "uniform",
    seed: int = 0,
) -> Manifest:
    """Write a manifest of CIFAR-10 with one noisy label set a rate and their majority vote.

    Args:
        rates: noise rates in [0, 1); None for 20, 30 and 40 %, or for a matrix as it stands.
        data: a folder or archive of CIFAR-10 in any of its layouts, `digits` for scikit-learn's digits, None to look
            in `$NOISYFER_DATA` and `datasets/` and to download otherwise.
        out: the manifest; None for `data_manifests/<dataset>.parquet`.
        noise: a noise model: `uniform`, `uniform-all`, `pairflip`, `asymmetric`, `instance`, `matrix:NAME|FILE`.
        seed: of all random streams.

    Raises:
        UserError: no data, unusable data, an unknown noise model, an output that cannot be written.
    """
    model = noise_model(noise)
    dataset = find_dataset(data)
    if rates is None:
        rates_or_none: Sequence[float | None] = DEFAULT_RATES if model.needs_rate else (None,)
    else:
        rates_or_none = rates
    path = Path(out) if out is not None else Path("data_manifests") / f"{dataset.name}.parquet"
    train, test = dataset.labels("train"), dataset.labels("test")
    task = Task(TASK, "categorical", dataset.classes)
    clean = LabelSet.categorical(TASK, "clean", "human", {"source": f"the labels of {dataset.name}"})
    noisy = _flipped(dataset, train, model, rates_or_none, seed)
    if len(noisy) > 1:
        noisy.append(_majority(noisy, train, len(dataset.classes), seed))
    header = Header(
        Dataset(
            dataset.name, "" if dataset.layout == "packaged" else root_hint(dataset.root, path), dataset.fingerprint()
        ),
        {TASK: task},
        {label_set.name: label_set for label_set in (clean, *(entry.label_set for entry in noisy))},
    )
    return write_manifest(path, header, _tables(dataset, clean, noisy, train, test))


def find_dataset(data: str | Path | None) -> ImageDataset:
    """CIFAR-10 where the user says, or where it is looked for, or freshly downloaded; or the digits.

    Raises:
        UserError: it is nowhere and cannot be downloaded; names both remedies.
    """
    if data is not None:
        if str(data) == "digits":
            return Digits()
        return open_cifar10(Path(data))
    named = os.environ.get(DATA_VARIABLE)
    if named and not Path(named).exists():
        raise UserError(f"${DATA_VARIABLE} is {named}, which does not exist. Correct it, or unset it.")
    places = [Path(folder) for folder in (named, DOWNLOAD_FOLDER) if folder]
    for place in places:
        for name in _FOLDERS:
            if (place / name).exists():
                with contextlib.suppress(NoCifar10):  # a damaged copy is an error, not a reason to look on
                    return open_cifar10(place / name)
    return _download(places)


def _download(places: Sequence[Path]) -> ImageDataset:
    from torchvision.datasets import CIFAR10

    printed = io.StringIO()
    target = DOWNLOAD_FOLDER / "cifar10"
    if target.exists():
        raise UserError(f"{target} holds no CIFAR-10, and a download would replace it. Remove it, or use --data PATH.")
    try:
        # torchvision writes under the final name: into a folder of its own first, so that no part is left behind
        with whole_folder(target) as folder, contextlib.redirect_stdout(printed):
            CIFAR10(str(folder), train=True, download=True)
    except (UserError, OSError, RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException) as error:
        # torchvision raises RuntimeError for a wrong checksum
        looked = ", ".join(str(place) for place in places)
        raise UserError(
            f"CIFAR-10 was not found in {looked}, and it could not be downloaded ({first_line(error)}). "
            f"Either put cifar-10-python.tar.gz into {DOWNLOAD_FOLDER}/ and run the same command again, or say where "
            "it is with --data PATH. To try noisyfer without it: --data digits."
        ) from error
    return open_cifar10(target)


def _flipped(
    dataset: ImageDataset,
    train: np.ndarray[Any, Any],
    model: NoiseModel,
    rates: Sequence[float | None],
    seed: int,
) -> list[_Noisy]:
    clean = CleanLabels(train, dataset.classes, lambda: dataset.images("train"))
    flipped = []
    for annotator, rate in zip(annotator_names(model.stem, rates), rates, strict=True):
        labels = model.flip(clean, rate, rng(seed, "flip", annotator))
        provenance = {
            "noise": model.name,
            "definition": model.formula,
            "rate": rate,
            "measured_rate": measured_rate(train, labels),
            "seed": seed,
            "stream": ["flip", annotator],
            "parents": [f"{TASK}_clean"],
            "transition_matrix": transition_matrix(train, labels, len(dataset.classes)).round(6).tolist(),
        }
        flipped.append(_Noisy(LabelSet.categorical(TASK, annotator, "synthetic", provenance), labels))
    return flipped


def _majority(noisy: Sequence[_Noisy], train: np.ndarray[Any, Any], classes: int, seed: int) -> _Noisy:
    votes = np.stack([entry.labels for entry in noisy])
    labels, _ = majority_vote(votes, None, classes, rng(seed, "majority"))
    provenance = {
        "method": "majority",
        "parents": [entry.label_set.name for entry in noisy],
        "ties": "broken uniformly at random",
        "seed": seed,
        "stream": ["majority"],
        "measured_rate": measured_rate(train, labels),
        "transition_matrix": transition_matrix(train, labels, classes).round(6).tolist(),
    }
    return _Noisy(LabelSet.categorical(TASK, "majority", "aggregate", provenance), labels)


def _tables(
    dataset: ImageDataset,
    clean: LabelSet,
    noisy: Sequence[_Noisy],
    train: np.ndarray[Any, Any],
    test: np.ndarray[Any, Any],
) -> Iterator[pa.Table]:
    """The training rows with all sets, then the test rows, which no noisy annotator has labelled."""
    for split, labels in (("train", train), ("test", test)):
        count = len(labels)
        digits = max(5, len(str(count - 1)))
        columns: dict[str, Any] = {
            "id": [f"{split}_{row:0{digits}d}" for row in range(count)],
            "split": pa.repeat(split, count),
            "image": dataset.references(split),
            "status": pa.repeat(STATUS_OK, count),
            "detail": pa.nulls(count, pa.string()),
            clean.columns["label"]: pa.array(labels.astype(np.int16)),
        }
        for entry in noisy:
            values = pa.array(entry.labels.astype(np.int16)) if split == "train" else pa.nulls(count, pa.int16())
            columns[entry.label_set.columns["label"]] = values
        yield pa.table(columns)
