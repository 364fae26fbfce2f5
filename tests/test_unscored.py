"""Runs on noisy labels alone: trained, drawn, told and compared, without a score."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noisyfer.benchmark.evidence import HEADINGS, cells, gather, store, systems
from noisyfer.benchmark.grid import run_grid
from noisyfer.benchmark.inspecting.beliefs import run_beliefs
from noisyfer.benchmark.present import print_table
from noisyfer.benchmark.report import write_report
from noisyfer.benchmark.reporting.find import find_runs
from noisyfer.benchmark.run import execute
from noisyfer.benchmark.tables import plan_table
from noisyfer.core.errors import UserError
from noisyfer.manifest import write_manifest
from test_run import TINY, plan
from test_run_tasks import faces, without_truth

__all__ = ["faces"]  # a fixture


def test_noisy_labels_alone_are_learned_and_nothing_is_scored(faces: Path, tmp_path: Path, capsys: Any) -> None:
    noisy = without_truth(faces, tmp_path / "noisy.parquet", ["expression_model", "va_model"])
    planned = plan(noisy.path, "proposed", tmp_path / "runs")
    result = execute(planned)
    assert (result["metric"], result["oracle"], result["truth"]) == (None, None, {})
    assert result["last"]["test"] == result["last"]["heads"] == result["confusion"] == {}
    assert result["last"]["agreement"].keys() == {"expression_model", "va_model"}
    assert result["noise"]["expression_model"].keys() == {"noise_rate"}
    said = pq.read_table(planned.folder.predictions)
    assert said.column_names == ["id", "expression", "expression_probs", "valence", "arousal"]
    assert len(said) == result["images"]["test"] == 7
    assert execute(planned) == result  # which checks the file
    print_table([planned], [result])
    printed = capsys.readouterr().out
    assert re.findall(r"(\w+ \w+) +│ not scored", printed) == ["expression accuracy", "va ccc", "va mse"]


def test_a_task_that_is_learned_and_not_scored_is_predicted_too(faces: Path, tmp_path: Path, capsys: Any) -> None:
    names = ["expression_human", "expression_model", "va_model"]
    noisy = without_truth(faces, tmp_path / "noisy.parquet", names)
    planned = plan(noisy.path, "proposed", tmp_path / "runs", labels=names[1:])
    result = execute(planned)
    assert result["last"]["test"].keys() == result["oracle"]["test"].keys() == {"expression"}
    said = pq.read_table(planned.folder.predictions).column_names
    assert said == ["id", "expression", "expression_true", "expression_probs", "valence", "arousal"]
    print_table([planned], [result])
    printed = capsys.readouterr().out
    assert re.findall(r"(\w+ \w+) +│ not scored", printed) == ["va ccc", "va mse"]


def test_without_truth_there_need_be_no_test_images(faces: Path, tmp_path: Path) -> None:
    noisy = without_truth(faces, tmp_path / "noisy.parquet", ["expression_model"], splits=["train"])
    planned = plan(noisy.path, "vgg-all", tmp_path / "runs")
    assert execute(planned)["images"] == {"train": 16, "test": 0}
    assert not planned.folder.predictions.exists()
    assert len(planned.choice.notes) == 1  # labels of test images are not asked for, where there are none
    trusted = without_truth(faces, tmp_path / "true.parquet", ["expression_model", "expression_human"], ["train"])
    planned = plan(trusted.path, "vgg-all", tmp_path / "runs")
    assert "labels no test image" in planned.choice.notes[0]
    assert execute(planned)["truth"] == {}
    with pytest.raises(UserError, match="that had test images, or a Parquet file"):
        run_beliefs(trusted, planned.folder.path)


def test_test_images_that_cannot_be_used_are_missed_by_scores_only(faces: Path, tmp_path: Path) -> None:
    noisy = without_truth(faces, tmp_path / "noisy.parquet", ["expression_model"])
    table = noisy.read()
    statuses = ["ok" if split == "train" else "unreadable" for split in table["split"].cast("string").to_pylist()]
    table = with_column(table, "status", statuses)
    spoilt = write_manifest(tmp_path / "spoilt.parquet", noisy.header, [table])
    assert execute(plan(spoilt.path, "vgg-all", tmp_path / "runs"))["images"]["test"] == 0


def test_what_labelled_by_leaves_out_is_predicted_all_the_same(faces: Path, tmp_path: Path) -> None:
    noisy = without_truth(faces, tmp_path / "noisy.parquet", ["expression_model", "expression_gappy"])
    planned = plan(noisy.path, "vgg-all", tmp_path / "runs", changes={"labelled_by": "expression_gappy"})
    assert execute(planned)["images"] == {"train": 12, "test": 7}


def test_a_validation_split_is_not_said_to_be_scored_on(faces: Path, tmp_path: Path) -> None:
    noisy = without_truth(faces, tmp_path / "noisy.parquet", ["expression_model"])
    table = noisy.read()
    splits = [split.replace("test", "val") for split in table["split"].cast("string").to_pylist()]
    moved = with_column(table, "split", splits)
    planned = plan(write_manifest(tmp_path / "val.parquet", noisy.header, [moved]).path, "vgg-all", tmp_path / "runs")
    assert planned.config.settings.test_split == "val"
    assert not any("scored on" in note for note in planned.choice.notes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda result: result["last"]["test"].pop("va"), "its 'last.test' has nothing of va"),
        (lambda result: result["oracle"]["test"].pop("va"), "its 'oracle.test' has nothing of va"),
        (lambda result: result.update(truth={}, last=result["last"] | {"test": {}, "heads": {}}), "its 'truth' is not"),
        (lambda result: result.update(oracle=None), "its 'oracle' is missing"),
    ],
)
def test_a_damaged_result_is_not_taken_for_one_without_scores(
    change: Callable[[dict[str, Any]], Any], told: str, faces: Path, tmp_path: Path
) -> None:
    planned = plan(faces, "vgg-all", tmp_path / "runs", labels=["expression_model", "va_model"])
    result = execute(planned)
    change(result)
    planned.folder.result.write_text(json.dumps(result))
    with pytest.raises(UserError, match=told):
        execute(planned)
    found = find_runs([tmp_path / "runs"])
    assert not found.finished
    assert told in found.notes[0]


def test_a_table_and_a_report_tell_of_runs_without_scores(faces: Path, tmp_path: Path) -> None:
    noisy = without_truth(faces, tmp_path / "noisy.parquet", ["expression_model"])
    common = {"methods": ["sce"], "preset": "smoke", "changes": TINY | {"epochs": 1}, "out": tmp_path}
    scored = plan_table("1", [0], manifest=faces, **common)
    runs = plan_table("1", [0, 1], manifest=noisy.path, **common)
    document = gather("1", "Table", None, runs, run_grid([run.plan for run in runs]))
    store(tmp_path / "table", document)
    (found,) = systems(document)
    (row,) = cells([found])
    assert row[:4] == ["SCE", "sce", "expression, not scored", "–"]
    assert row[HEADINGS.index("agrees noisy")] != "–"
    assert row[HEADINGS.index("seeds")] == "2"
    assert (tmp_path / "table" / "curves.png").exists()  # of the cross entropy
    execute(scored[0].plan)
    written = write_report([tmp_path], tmp_path / "report.html")
    assert written.finished == 3
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("expression, not scored") == 1
    assert page.count("expression accuracy") >= 2


def with_column(table: pa.Table, name: str, values: Sequence[str]) -> pa.Table:
    """The table with other texts in a column."""
    place, field = table.schema.get_field_index(name), table.schema.field(name)
    return table.set_column(place, field, pa.array(values, pa.string()).cast(field.type))
