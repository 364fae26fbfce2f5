"""The paper's two evaluations: which sets they learn from, with what values, and where the user goes before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from noisyfer.benchmark.bench import check_request, plan_bench, run_bench
from noisyfer.benchmark.present import print_table
from noisyfer.benchmark.protocols import PROTOCOLS
from noisyfer.core.errors import UserError
from noisyfer.manifest import Dataset, Header, LabelSet, Manifest, Task, write_manifest

ROWS = 12


def manifest(path: Path, *sets: LabelSet, evaluation: str = "test") -> Manifest:
    """Rows without images, half of them for training, with the sets that are named."""
    tasks = {
        "expression": Task("expression", "categorical", ("neutral", "happy", "sad")),
        "va": Task("va", "continuous"),
    }
    header = Header(Dataset("faces", ""), tasks, {found.name: found for found in sets})
    columns: dict[str, Any] = {
        "id": [str(number) for number in range(ROWS)],
        "split": ["train"] * (ROWS // 2) + [evaluation] * (ROWS // 2),
        "image": [f"digits#{number}" for number in range(ROWS)],
        "status": ["ok"] * ROWS,
        "detail": pa.nulls(ROWS, pa.string()),
    }
    for found in sets:
        for role, column in found.columns.items():
            values = np.arange(ROWS) % 3
            columns[column] = values.astype(np.int16) if role == "label" else (values / 4).astype(np.float32)
    return write_manifest(path, header, [pa.table(columns)])


def by(annotator: str, kind: str) -> tuple[LabelSet, LabelSet]:
    return (
        LabelSet.categorical("expression", annotator, kind, {}),
        LabelSet.valence_arousal(annotator, kind, {}),
    )


HUMAN, MODEL = by("human", "human"), by("teacher", "model")


def test_raf_base_learns_from_the_teacher_alone_and_scores_expressions(tmp_path: Path) -> None:
    relabelled = manifest(tmp_path / "m.parquet", HUMAN[0], *MODEL)
    (plan,) = plan_bench(relabelled, ["proposed"], preset="small", protocol="raf-base", out=tmp_path)
    assert plan.config.labels == ("expression_teacher", "va_teacher")
    assert plan.config.truth == {"expression": "expression_human"}
    assert plan.config.settings.image_size == 64
    assert (plan.config.options.lambda_, plan.config.options.start_epoch) == (1.0, 6)
    assert plan.config.settings.test_split == "test"
    assert plan.config.settings.augment == "none"
    assert any("'va' is learned and not scored" in note for note in plan.choice.notes)


def test_affectnet_base_takes_the_human_affect_and_scores_both_on_the_validation_images(tmp_path: Path) -> None:
    relabelled = manifest(tmp_path / "m.parquet", *HUMAN, MODEL[0], evaluation="val")
    plans = plan_bench(relabelled, ["proposed", "vgg-all"], preset="paper", protocol="affectnet-base", out=tmp_path)
    for plan in plans:
        assert plan.config.labels == ("expression_teacher", "va_human")
        assert plan.config.truth == {"expression": "expression_human", "va": "va_human"}
        assert plan.config.settings.test_split == "val"
        assert plan.config.settings.augment == "affine"
        assert any("no test split: scored on its validation split" in note for note in plan.choice.notes)
        assert plan.config.settings.labelled_by == "expression_human"
    assert (plans[0].config.options.lambda_, plans[0].config.options.start_epoch) == (0.4, 0)


def test_what_the_user_says_goes_before_the_protocol(tmp_path: Path) -> None:
    relabelled = manifest(tmp_path / "m.parquet", HUMAN[0], *MODEL)
    (plan,) = plan_bench(
        relabelled,
        ["proposed"],
        preset="small",
        protocol="raf-base",
        labels=["expression_teacher"],
        changes={"lambda": "0.3", "image_size": 32},
        out=tmp_path,
    )
    assert plan.config.labels == ("expression_teacher",)
    assert plan.config.settings.image_size == 32
    assert (plan.config.options.lambda_, plan.config.options.start_epoch) == (0.3, 6)


def test_a_method_of_one_task_leaves_out_the_other_with_a_note(tmp_path: Path) -> None:
    relabelled = manifest(tmp_path / "m.parquet", HUMAN[0], *MODEL)
    (plan,) = plan_bench(relabelled, ["vgg-majority"], preset="small", protocol="raf-base", out=tmp_path)
    assert plan.config.labels == ("expression_teacher",)
    assert any("cannot use continuous labels and leaves out va_teacher" in note for note in plan.choice.notes)


def test_sets_that_are_not_there_or_there_twice_are_a_sentence(tmp_path: Path) -> None:
    without = manifest(tmp_path / "a.parquet", HUMAN[0], MODEL[0])
    with pytest.raises(UserError, match=r"no va label set of kind 'model'.*--task expression,va"):
        plan_bench(without, ["proposed"], preset="small", protocol="raf-base", out=tmp_path)
    twice = manifest(tmp_path / "b.parquet", HUMAN[0], *MODEL, *by("other", "model"))
    with pytest.raises(UserError, match=r"several expression label sets of kind 'model'.*--labels"):
        plan_bench(twice, ["proposed"], preset="small", protocol="raf-base", out=tmp_path)


def test_an_unknown_protocol_is_answered_with_the_nearest_before_anything_is_opened() -> None:
    with pytest.raises(UserError, match=r"no protocol named 'raf_base'\. Did you mean 'raf-base'\?"):
        check_request(["proposed"], "small", {}, "cpu", "raf_base")
    assert set(PROTOCOLS) == {"raf-base", "affectnet-base"}


def test_a_task_that_cannot_be_scored_is_learned_by_every_method_that_can(tmp_path: Path) -> None:
    """Also by one that learns from the truth, which that task does not have."""
    relabelled = manifest(tmp_path / "m.parquet", HUMAN[0], *MODEL)
    changes = {"start_epoch": 0, "epochs": 1, "image_size": 32}
    plans = plan_bench(
        relabelled,
        ["vgg-clean", "vgg-all", "proposed"],
        preset="smoke",
        protocol="raf-base",
        changes=changes,
        out=tmp_path,
    )
    results = run_bench(plans)
    print_table(plans, results)
    assert [list(result["last"]["test"]) for result in results] == [["expression"]] * 3
    assert ["va_teacher" in result["last"]["agreement"] for result in results] == [False, True, True]
