"""What a report tells of files that are no runs' results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from noisyfer.benchmark.report import write_report
from noisyfer.benchmark.reporting.audit import find_source
from noisyfer.benchmark.reporting.find import find_runs
from noisyfer.benchmark.reporting.group import grouped
from noisyfer.benchmark.reporting.shapes import misfit
from noisyfer.core.errors import UserError
from noisyfer.training.folder import RunFolder
from page_reading import Reading
from report_runs import change, folder


def test_where_a_value_first_differs_from_a_shape() -> None:
    shape = {"a": {"*": [(int, float)]}, "b": str}
    assert misfit({"a": {}, "b": ""}, shape) == ""
    assert misfit({"a": {"x": [1, 2.5]}, "b": "", "more": 1}, shape) == ""
    assert misfit({"a": {"x": [1, "2"]}, "b": ""}, shape) == "a.x[1]"
    assert misfit({"a": {"x": 1}, "b": ""}, shape) == "a.x"
    assert misfit({"a": []}, shape) == "a"
    assert misfit({"a": {}}, shape) == "b"
    assert misfit(3, shape) == "everything"


@pytest.mark.parametrize("value", [1e101, -1e308, float("inf"), float("nan"), 10**400], ids=range(5))
def test_numbers_that_nothing_can_be_worked_out_of_are_misfits(value: float) -> None:
    assert misfit([1e99, value], [(int, float)], "x") == "x[1]"


def test_a_path_may_be_one_run(hostile_runs: Path) -> None:
    found = find_runs([folder(hostile_runs, "vgg-all")])
    assert [run.config["method"] for run in found.finished] == ["vgg-all"]
    with pytest.raises(UserError, match="no folder"):
        find_runs([folder(hostile_runs, "vgg-all") / "result.json"])


@pytest.fixture
def runs(hostile_runs: Path, tmp_path: Path) -> Path:
    """A copy of the hostile runs that may be damaged."""
    ignored = shutil.ignore_patterns("checkpoint.pt", "tensorboard")
    return Path(shutil.copytree(hostile_runs, tmp_path / "runs", ignore=ignored))


def left_out(runs: Path) -> list[str]:
    """The sentences on the page that is made of runs of which one is damaged: the two others are there."""
    written = write_report([runs], runs.parent / "page.html")
    assert written.finished == 2
    found = Reading((runs.parent / "page.html").read_text(encoding="utf-8"))
    assert all(note in found.text for note in written.notes)
    return list(written.notes)


@pytest.mark.parametrize("content", ["[1]", "5", "null"])
def test_a_result_that_is_no_object_is_damaged(content: str, runs: Path) -> None:
    path = folder(runs, "vgg-all")
    (path / "result.json").write_text(content)
    (note,) = left_out(runs)
    assert "result.json is damaged: it holds no JSON object." in note
    with pytest.raises(UserError, match="no JSON object"):
        RunFolder(path).finished()


@pytest.mark.parametrize("scores", [{}, {"class": {}}, {"class": {"macro_f1": 0.5}}])
def test_a_result_without_a_score_is_damaged(scores: dict[str, Any], runs: Path) -> None:
    change(folder(runs, "vgg-all") / "result.json", lambda stored: stored["last"].update(test=scores))
    (note,) = left_out(runs)
    assert "its 'last.test' has no task, or one without accuracy and ccc." in note


@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("config.json", lambda stored: stored["run"]["options"].update(note="\ud800")),
        ("config.json", lambda stored: stored["manifest"].update(name="\ud800")),
        ("result.json", lambda stored: stored["classes"].update({"class": ["\ud800"] * 10})),
    ],
)
def test_a_run_with_a_text_that_no_page_can_have_is_shown(file: str, how: Callable[[Any], Any], runs: Path) -> None:
    change(folder(runs, "vgg-all") / file, how)
    written = write_report([runs], runs.parent / "page.html")
    assert (written.finished, written.notes) == (3, ())


def test_a_manifest_at_a_place_that_no_file_can_have_is_not_found(runs: Path) -> None:
    for config in runs.glob("*/config.json"):
        change(config, lambda stored: stored["places"].update(manifest="x" * 5000))
    (group,) = grouped(find_runs([runs]).finished)
    found = find_source(group, [])
    assert found.manifest is None
    assert "xxx cannot be read" in found.remark


def test_a_run_whose_losses_are_too_large_to_draw_has_no_curves(runs: Path) -> None:
    metrics = folder(runs, "vgg-all") / "metrics.jsonl"
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    for row, loss in zip(rows, (1e308, -1e308), strict=True):
        row["losses"]["cross_entropy"] = loss
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = write_report([runs], runs.parent / "page.html")
    assert written.finished == 3
    assert "damaged at 'line[0].losses.cross_entropy', so the run has no curves." in written.notes[0]
