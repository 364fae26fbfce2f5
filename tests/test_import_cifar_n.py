"""CIFAR-N's files: arrays in pickles, .npy and .pt, and what a hostile one may not do."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from import_files import (
    cifar_labels,
    column,
    faces,
    imported,
)
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.images.batches import CLASSES
from noisyfer.manifest import Dataset, Header, LabelSet, Manifest, Task
from noisyfer.relabel.importing import detect


def cifar(path: Path, count: int = 40) -> Manifest:
    task = Task("class", "categorical", CLASSES)
    clean = LabelSet.categorical("class", "clean", "human", {})
    header = Header(Dataset("cifar10"), {"class": task}, {clean.name: clean})
    ids = [f"train_{number:05d}" for number in range(count)] + ["test_00000"]
    return faces(path, ids, splits=["train"] * count + ["test"], header=header)


def written(path: Path, content: Any, how: str) -> Path:
    if how == "npy":
        np.save(path, np.array(content, dtype=object), allow_pickle=True)
    elif how == "pt":
        torch.save(content, path)
    elif how == "old pt":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    else:
        torch.save({name: torch.from_numpy(value) for name, value in content.items()}, path)
    return path


@pytest.mark.parametrize("how", ["npy", "pt", "old pt", "tensors"])
def test_cifar_n_by_position_verified_by_its_clean_labels(tmp_path: Path, how: str) -> None:
    manifest = cifar(tmp_path / "m.parquet")
    labels = dict(cifar_labels(40))
    if how != "tensors":
        labels["worse_label"] = labels["worse_label"].astype(">i4")
    path = written(tmp_path / f"CIFAR-10_human.{'npy' if how == 'npy' else 'pt'}", labels, how)
    assert detect(path) == "cifar-n"
    report = imported(manifest, path, annotator="")
    assert [found.name for found in report.sets] == ["class_aggre", "class_worse"]
    assert column(report.manifest, "class_worse") == [*((np.arange(40) + 1) % 10).tolist(), None]
    assert report.files[0].joined_by == {"position": 80}
    assert report.manifest.label_set("class_aggre").provenance["files"][0]["order_verified_by"] == "class_clean"


def test_cifar_n_in_another_order_or_number_is_refused(tmp_path: Path) -> None:
    manifest = cifar(tmp_path / "m.parquet")
    shuffled = cifar_labels(40, clean_label=np.roll(np.arange(40) % 10, 4))
    short = cifar_labels(39)
    without = {name: value for name, value in cifar_labels(40).items() if name != "clean_label"}
    for number, (content, words) in enumerate(
        [
            (shuffled, "100.0% differ"),
            (short, "has 39 rows"),
            (without, "no 'clean_label'"),
            ({"x": np.arange(4)}, "holds x;"),
        ]
    ):
        path = written(tmp_path / f"{number}.npy", content, "npy")
        with pytest.raises(UserError, match=words) as error:
            imported(manifest, path, annotator="")
        sentence(error)
    assert imported(manifest, tmp_path / "2.npy", annotator="", by="position").sets


class Canary:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("canary"),))


@pytest.mark.parametrize("how", ["npy", "pt", "old pt"])
def test_a_file_that_wants_to_run_code_is_refused_and_runs_nothing(here: Path, how: str) -> None:
    manifest = cifar(here / "m.parquet")
    path = here / ("x.npy" if how == "npy" else "x.pt")
    written(path, {**cifar_labels(40), "worse_label": Canary()}, how)
    with pytest.raises(UserError, match="nothing in it was run") as error:
        imported(manifest, path, annotator="")
    sentence(error)
    assert not (here / "canary").exists()
    pickle.loads(pickle.dumps(Canary()))  # where it is run, the canary sings
    assert (here / "canary").exists()


def test_damaged_cifar_n_files_get_a_sentence(tmp_path: Path) -> None:
    manifest = cifar(tmp_path / "m.parquet")
    stream = io.BytesIO()
    np.save(stream, np.array(cifar_labels(40), dtype=object), allow_pickle=True)
    whole = stream.getvalue()
    stream = io.BytesIO()
    np.save(stream, np.arange(40))
    for content in (
        whole[:200],
        whole[:-9],
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': ('|O'\n",  # a TokenError in numpy's reader
        stream.getvalue(),
        b"PK\x03\x04" + bytes(50),
        b"\x80\x02\x8a\x0a.",
        b"\x80\x02s.",  # an IndexError in PyTorch's reader
    ):
        path = tmp_path / ("x.npy" if content.startswith(b"\x93") else "x.pt")
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            imported(manifest, path, annotator="", format="cifar-n")
        assert path.name in sentence(error)
