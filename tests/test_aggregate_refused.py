"""noisyfer aggregate: what is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from manifest_rows import contents, sentence
from noisyfer.benchmark import crowd_libraries
from noisyfer.benchmark.aggregate import aggregate
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest
from test_aggregate import CROWD, SMALL, Column, column, crowd, made

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("plurality", {}, "no way to aggregate labels named 'plurality'"),
        ("majority", {"labels": ["class_a", "class_x"]}, "'class_x'"),
        ("majority", {"labels": ["class_a"]}, "only 'class_a'.*two or more"),
        ("majority", {"labels": ["class_a", "va_a"]}, "class and va"),
        ("majority", {"labels": ["va_a", "va_b"]}, "'va' is continuous. For it: mean, median, weighted"),
        ("mean", {"labels": ["class_a", "class_b"]}, "'class' is categorical. For it: crowdlab, dawid-skene"),
        ("majority", {"task": "clas"}, "Did you mean 'class'"),
        ("majority", {"task": "va", "labels": ["class_a", "class_b"]}, "--task says va"),
        ("majority", {"task": "va"}, "'va' is continuous"),
        ("majority", {}, "'class_empty'.*no label at all"),
        ("majority", {"labels": ["class_a", "class_b"], "name": "clean"}, "'class_clean' already"),
        ("majority", {"labels": ["class_a", "class_b"], "probs": "class_a"}, "takes no probabilities"),
        ("crowdlab", {"labels": ["class_a", "class_b"]}, "--probs SET.*has none"),
        ("crowdlab", {"labels": ["class_a", "class_b"], "probs": "class_clean"}, "'class_clean' has no probabilities"),
        ("mean", {"out": "m.parquet"}, "is there already.*--overwrite"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    method: str, options: dict[str, Any], words: str, path: Path, here: Path
) -> None:
    made(path, SMALL)
    before = contents(here)
    with pytest.raises(UserError, match=words) as error:
        aggregate(path, method, **{"out": "new.parquet", **options})
    assert str(error.value).endswith(".")
    assert contents(here) == before


def test_a_name_that_is_none_for_a_label_set_is_refused_without_an_output_too(path: Path) -> None:
    made(path, SMALL)
    with pytest.raises(UserError, match="'class_a/b'; letters"):
        aggregate(path, "majority", labels=["class_a", "class_b"], name="a/b")


def test_a_folder_can_be_aggregated_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "crowd"
    folder.mkdir()
    made(folder / "part-00000.parquet", {"class_a": [0, 1], "class_b": [0, 1]})
    monkeypatch.chdir(folder)
    assert aggregate(".", "majority").manifest.path == tmp_path / "crowd_with_majority"


def test_an_output_is_replaced_when_asked(path: Path) -> None:
    made(path, {"va_a": [(0, 0)], "va_b": [(1, 1)]})
    assert column(aggregate(path, "mean", out=path, overwrite=True), "valence_mean") == [0.5]
    assert "va_mean" in sentence(path, lambda: Manifest.open(path).label_set("va_x"))


def test_the_model_cannot_be_an_annotator_too(path: Path) -> None:
    with pytest.raises(UserError, match="'class_net' is given with --probs"):
        aggregate(crowd(path), "crowdlab", labels=[*CROWD, "class_net"], probs="class_net")


def test_what_cleanlab_refuses_is_a_sentence(path: Path) -> None:
    pytest.importorskip("cleanlab")
    sets: dict[str, Column] = {"class_a": [0, 1, None, None], "class_b": [None, None, 2, 3], "class_net": [0, 1, 2, 3]}
    made(path, sets, {"class_net": np.eye(4).tolist()})
    with pytest.raises(UserError, match="cleanlab cannot aggregate these label sets: ") as error:
        aggregate(path, "crowdlab", labels=["class_a", "class_b"], probs="class_net")
    assert "\n" not in str(error.value)


def test_a_missing_package_is_named_with_its_remedy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(crowd_libraries, "import_module", missing)
    manifest = crowd(path)
    for method, package in (("glad", "crowd-kit"), ("mace", "crowd-kit"), ("crowdlab", "cleanlab")):
        with pytest.raises(UserError, match=rf"{package}, which is not installed: pip install 'noisyfer\[audit\]'\."):
            aggregate(manifest, method, labels=CROWD, probs="class_net" if method == "crowdlab" else None)
