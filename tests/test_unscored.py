"""Runs on noisy labels alone: trained, drawn, told and compared, without a score."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from noisyfer.benchmark.evidence import HEADINGS, cells, gather, store, systems
from noisyfer.benchmark.grid import run_grid
from noisyfer.benchmark.present import print_table
from noisyfer.benchmark.report import write_report
from noisyfer.benchmark.run import execute
from noisyfer.benchmark.tables import plan_table
from noisyfer.core.errors import UserError
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
    with_truth = without_truth(faces, tmp_path / "true.parquet", ["expression_model", "expression_human"], ["train"])
    with pytest.raises(UserError, match="no usable sample in the split 'test'"):
        execute(plan(with_truth.path, "vgg-all", tmp_path / "runs"))


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
