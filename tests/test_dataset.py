"""A manifest as a dataset of torch, and the root's functions."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import noisyfer
import numpy as np
import pytest
import torch
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest
from noisyfer.relabel.job import run_job
from noisyfer.relabel.plan import JobOptions, plan_job
from noisyfer.training.data import load_split
from noisyfer.training.dataset import ManifestDataset
from relabel_world import ByColour, World, write_pictures
from rich.console import Console
from torch.utils.data import DataLoader

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Twenty aligned faces with labels, and failures in between."""
    root = tmp_path_factory.mktemp("world")
    write_pictures(root / "photos", 20)
    job = plan_job("world", World(root / "photos"), [ByColour()], root / "m.parquet", JobOptions(batch=4))
    return run_job(job).manifest


def test_items_are_what_bench_sees(faces: Manifest) -> None:
    names = ["expression_human", "va_human", "expression_colour"]
    dataset = ManifestDataset(faces, names, split="train", size=32)
    expected = load_split(faces, "train", names, size=32)
    assert dataset.ids == list(expected.ids)
    assert len(dataset) == len(expected) == 16
    for index in (0, 7, -1):
        image, values, present = dataset[index]
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 32, 32))
        assert np.array_equal(image.permute(1, 2, 0), expected.images[index])
        for name in names:
            assert np.array_equal(values[name], expected.labels[name].values[index])
            assert bool(present[name]) == bool(expected.labels[name].present[index])
    with pytest.raises(IndexError):
        dataset[16]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_with_workers_gives_batches(workers: int, digits_manifest: Path) -> None:
    dataset = ManifestDataset(digits_manifest, ["class_flip20"], split=["test"], size=32)
    dataset[0]  # what is open here is not shared with the workers
    images, values, present = next(iter(DataLoader(dataset, batch_size=8, num_workers=workers)))
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (8, 3, 32, 32))
    assert torch.equal(images[3], dataset[3][0])
    assert values["class_flip20"].tolist() == [0] * 8  # no noisy annotator labels test images
    assert not present["class_flip20"].any()
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[5][0], dataset[5][0])


def test_a_transform_and_pictures_of_their_own_size(faces: Manifest) -> None:
    dataset = ManifestDataset(faces, [], transform=lambda image: image.float().mean())
    image, values, present = dataset[0]
    assert (image.ndim, values, present) == (0, {}, {})
    assert tuple(ManifestDataset(faces, [])[0][0].shape) == (3, 48, 48)


def test_what_there_is_not_is_a_sentence(faces: Manifest, tmp_path: Path) -> None:
    for given, words in (
        ({"labels": ["expression_humen"]}, "Did you mean 'expression_human'"),
        ({"split": "training"}, "Did you mean 'train'"),
        ({"size": 0}, "The image size is 0"),
    ):
        with pytest.raises(UserError, match=words) as error:
            ManifestDataset(faces, **given)
        sentence(error)
    with pytest.raises(UserError, match="no such file"):
        ManifestDataset(faces, [], size=32, root=tmp_path)[0]


def test_the_root_has_every_name_and_loads_it_late() -> None:
    code = (
        "import sys, noisyfer, noisyfer.relabel;"
        "heavy = [name for name in ('torch', 'pyarrow', 'numpy', 'click', 'noisyfer.api') if name in sys.modules];"
        "print(heavy, callable(noisyfer.relabel))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"
    for name in noisyfer.__all__:
        found = getattr(noisyfer, name)
        assert callable(found)
        assert name in dir(noisyfer)
    with pytest.raises(AttributeError, match="has no attribute 'benhc'"):
        noisyfer.benhc  # noqa: B018


def test_relabel_is_a_function_though_a_package_has_its_name() -> None:
    with pytest.raises(UserError, match="no source named 'afectnet'"):
        noisyfer.relabel("afectnet", progress=False)


def test_bars_move_in_a_notebook_only_with_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    from noisyfer.core.terminal import can_draw

    notebook = Console(force_jupyter=True)
    for there in (True, False):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, there=there: there or None)
        assert can_draw(notebook) is there
        assert not can_draw(Console(force_terminal=False, force_jupyter=False))


def test_the_cells_of_the_example_notebook_run(here: Path) -> None:
    notebook = json.loads((Path(__file__).parent.parent / "docs" / "example.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells)  # committed as it was executed
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
    names: dict[str, object] = {}
    for cell in cells:
        exec("".join(cell["source"]), names)  # noqa: S102 - the repository's own file
    assert (here / "digits_hf" / "data" / "test-00000-of-00001.parquet").exists()
