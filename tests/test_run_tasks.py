"""Runs on faces: expression with valence and arousal, labels that are missing, truths that are not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from noisyfer.benchmark.choose import choose
from noisyfer.benchmark.run import execute
from noisyfer.core.errors import UserError
from noisyfer.manifest import Dataset, Header, LabelSet, Manifest, Task, write_manifest
from noisyfer.models.methods import Uses
from noisyfer.models.methods.vgg_all import VGGAll
from PIL import Image
from test_run import plan


def without_truth(
    faces: Path, path: Path, label_sets: Sequence[str], splits: Sequence[str] = ("train", "test")
) -> Manifest:
    """A manifest of these label sets alone."""
    view = Manifest.open(faces).select(label_sets=label_sets, splits=splits)
    return write_manifest(path, view.header.seen_from(path.parent, faces.parent), view.extended({}))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Twenty-four noisy pictures with an expression set that lacks labels, a whole one, and valence/arousal."""
    draw = np.random.default_rng(0)
    count = 24
    (tmp_path / "images").mkdir()
    for number in range(count):
        pixels = draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    classes = ("neutral", "happy", "sad")
    header = Header(
        Dataset("toy", "images"),
        {"expression": Task("expression", "categorical", classes), "va": Task("va", "continuous")},
        {},
    )
    truth = draw.integers(0, 3, count)
    columns: dict[str, Any] = {
        "id": [f"sample_{number}" for number in range(count)],
        "split": ["train"] * 16 + ["test"] * 8,
        "image": [f"{number}.png" for number in range(count)],
        "status": ["ok"] * (count - 1) + ["unreadable"],
        "detail": [None] * count,
        "expression_human": truth,
        "expression_model": truth,
        "expression_gappy": [None if number % 4 == 0 else int(label) for number, label in enumerate(truth)],
    }
    sets = [
        LabelSet.categorical("expression", "human", "human", {}),
        LabelSet.categorical("expression", "model", "model", {}),
        LabelSet.categorical("expression", "gappy", "model", {}),
    ]
    for annotator, kind in (("human", "human"), ("model", "model")):
        sets.append(LabelSet.valence_arousal(annotator, kind, {}))
        columns[f"valence_{annotator}"] = draw.uniform(-1, 1, count).astype(np.float32)
        columns[f"arousal_{annotator}"] = draw.uniform(-1, 1, count).astype(np.float32)
    header = header.with_label_sets(sets, ())
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    return write_manifest(tmp_path / "faces.parquet", header, [table]).path


def test_expression_and_valence_arousal_are_learned_and_scored_together(faces: Path, tmp_path: Path) -> None:
    planned = plan(faces, "proposed", tmp_path / "runs", labels=["expression_model", "va_model"])
    result = execute(planned)
    assert result["images"] == {"train": 16, "test": 7}  # the unreadable one is left out
    assert set(result["last"]["test"]) == {"expression", "va"}
    assert {"ccc", "mse", "ccc_valence", "mse_arousal"} <= set(result["last"]["test"]["va"])
    assert -1 <= result["last"]["test"]["va"]["ccc"] <= 1
    assert "similarity" in result["last"]["losses"]


def test_missing_labels_are_used_or_refused_as_the_method_declares(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = ["expression_gappy", "va_model"]
    for method in ("vgg-all", "proposed"):
        assert set(execute(plan(faces, method, tmp_path / "runs", labels=labels))["last"]["test"]) == {
            "expression",
            "va",
        }
    monkeypatch.setattr(VGGAll, "uses", Uses(missing=False))
    with pytest.raises(UserError, match=r"'expression_gappy'.*lacks 4 of 16"):
        execute(plan(faces, "vgg-all", tmp_path / "other", labels=["expression_gappy"]))


def test_a_truth_without_test_labels_scores_nothing(faces: Path, tmp_path: Path) -> None:
    table = Manifest.open(faces).read()
    labels = [None] * 24
    column = table.schema.get_field_index("expression_human")
    emptied = table.set_column(column, "expression_human", pa.array(labels, pa.int16()))
    write_manifest(faces, Manifest.open(faces).header, [emptied])
    planned = plan(faces, "vgg-all", tmp_path / "runs", labels=["expression_model", "va_model"])
    assert planned.choice.notes == (f"'expression' is not scored: 'expression_human' in {faces} labels no test image.",)
    assert planned.config.truth == {"va": "va_human"}
    assert execute(planned)["last"]["test"].keys() == {"va"}


def test_a_set_without_training_labels_is_a_sentence(faces: Path, tmp_path: Path) -> None:
    table = Manifest.open(faces).read()
    column = table.schema.get_field_index("expression_gappy")
    emptied = table.set_column(column, "expression_gappy", pa.array([None] * 24, pa.int16()))
    write_manifest(faces, Manifest.open(faces).header, [emptied])
    with pytest.raises(UserError, match="labels no training image"):
        execute(plan(faces, "vgg-all", tmp_path / "runs", labels=["expression_gappy"]))


def test_one_table_holds_runs_with_different_metrics(faces: Path, tmp_path: Path, capsys: Any) -> None:
    from noisyfer.benchmark.present import print_table

    plans = [
        plan(faces, "vgg-all", tmp_path, labels=["expression_model"]),
        plan(faces, "proposed", tmp_path, labels=["va_model", "expression_model"]),
    ]
    print_table(plans, [execute(planned) for planned in plans])
    printed = capsys.readouterr().out
    assert printed.count("expression accuracy") == 2
    assert printed.count("va ccc") == 1
    assert printed.count("va mse") == 1


def test_continuous_labels_are_refused_or_left_out_with_a_note(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="vgg-majority learns from categorical labels only and cannot use va_model"):
        plan(faces, "vgg-majority", tmp_path, labels=["expression_model", "va_model"])
    planned = plan(faces, "vgg-majority", tmp_path)
    assert planned.config.labels == ("expression_model", "expression_gappy")
    assert planned.choice.notes == ("vgg-majority cannot use continuous labels and leaves out va_model.",)


def test_what_is_scored_against_is_learned_from_only_where_it_is_named(faces: Path) -> None:
    """Whatever its kind: the truth goes by its annotator, and an import may have called it `imported`."""
    manifest = Manifest.open(faces)
    sets = {
        name: replace(found, kind="imported" if found.annotator == "human" else found.kind)
        for name, found in manifest.header.label_sets.items()
    }
    manifest = write_manifest(faces, replace(manifest.header, label_sets=sets), [manifest.read()])
    choice = choose(manifest, "proposed")
    assert choice.labels == ("expression_model", "expression_gappy", "va_model")
    assert choice.truth == {"expression": "expression_human", "va": "va_human"}
    assert choose(manifest, "proposed", ["expression_human"]).labels == ("expression_human",)


def test_somebody_called_holdout_is_no_searchs_holdout(faces: Path, tmp_path: Path) -> None:
    manifest = Manifest.open(faces)
    somebody = LabelSet.categorical("expression", "holdout", "imported", {})
    manifest = manifest.with_label_set(somebody, {"label": [0] * manifest.rows}, tmp_path / "imported.parquet")
    assert choose(manifest, "vgg-all", ["expression_holdout"]).truth == {"expression": "expression_human"}


def test_without_anything_to_be_scored_against_it_says_what_would_do(faces: Path, tmp_path: Path) -> None:
    noisy = without_truth(faces, tmp_path / "noisy.parquet", ["expression_model"])
    choice = choose(noisy, "vgg-all")
    assert choice.truth == {}
    assert f"'noisyfer import {noisy.path} FILE --as human'" in choice.notes[-1]
    with pytest.raises(
        UserError, match=r"vgg-clean learns from true labels, and .* has none: .* are: expression_model"
    ):
        choose(noisy, "vgg-clean")
    labels = [None, *[0] * (noisy.rows - 1)]
    scored = noisy.with_label_set(
        LabelSet.categorical("expression", "human", "human", {}), {"label": labels}, tmp_path / "scored.parquet"
    )
    choice = choose(scored, "vgg-all")
    assert choice.truth == {"expression": "expression_human"}
    assert choice.notes == ()
