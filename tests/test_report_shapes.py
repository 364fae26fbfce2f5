"""What a report tells of files that are no runs' results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from noisyfer.benchmark.report import write_report
from noisyfer.benchmark.reporting.audit import find_source
from noisyfer.benchmark.reporting.find import find_runs
from noisyfer.benchmark.reporting.group import grouped
from noisyfer.benchmark.reporting.repeat import repeat_command
from noisyfer.benchmark.reporting.shapes import misfit
from noisyfer.cli import main
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


def with_config(runs: Path, name: str, **more: str) -> Path:
    """A copy of the run of vgg-all under another identity and with another score."""
    copy = Path(shutil.copytree(folder(runs, "vgg-all"), folder(runs, "vgg-all").with_name(name)))
    change(copy / "config.json", lambda stored: stored["run"].update(more))
    change(copy / "result.json", lambda stored: stored["last"]["test"]["class"].update(accuracy=0.123456789))
    return copy


def table(file: Path, *names: str, among: Path, **more: str) -> None:
    """A table of runs' folders."""
    found = []
    for name in names:
        config = json.loads((among / name / "config.json").read_text())
        run = {name: config["run"][name] for name in ("method", "seed", "settings", "options")}
        run |= {"system": f"row {name}", "published": {}, "labels": dict.fromkeys(config["run"]["labels"], "class")}
        run |= {
            "manifest": config["manifest"],
            "curves": {},
            "result": json.loads((among / name / "result.json").read_text()),
        }
        found.append(run | {key: config["run"][key] for key in more})
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"table": "1", "title": "A table", "protocol": "", "preset": "smoke", "runs": found}))


def test_runs_from_other_weights_or_on_another_device_are_different_runs(runs: Path, tmp_path: Path) -> None:
    with_config(runs, "from-weights", init="5eed")
    with_config(runs, "on-a-gpu", device="cuda")
    found = find_runs([runs])
    assert len(found.finished) == 5
    assert not found.notes
    (group,) = grouped(found.finished)
    assert sorted(group.names[1:]) == [
        "vgg-all (device cpu)",
        "vgg-all (device cpu, init 5eed)",
        "vgg-all (device cuda)",
    ]


def test_a_row_of_a_table_of_before_is_the_run_with_its_scores(runs: Path, tmp_path: Path) -> None:
    plain = folder(runs, "vgg-all").name
    with_config(runs, "from-weights", init="5eed")
    table(runs / "before" / "table.json", plain, among=runs)
    rows = {run.name: run.row for run in find_runs([runs]).finished}
    assert (rows[plain], rows["from-weights"]) == (f"row {plain}", "")
    shutil.rmtree(runs / plain)
    found = find_runs([runs]).finished  # not swallowed by the run from other weights
    assert sorted(run.row for run in found) == ["", "", "", f"row {plain}, seed 0".partition(",")[0]]


def test_tables_alone_tell_runs_apart_and_know_them_again(runs: Path, tmp_path: Path) -> None:
    plain = folder(runs, "vgg-all").name
    with_config(runs, "from-weights", init="5eed")
    table(tmp_path / "alone" / "b" / "table.json", plain, "from-weights", among=runs, init="", device="")
    assert len(find_runs([tmp_path / "alone"]).finished) == 2
    table(tmp_path / "alone" / "a" / "table.json", plain, among=runs)
    assert len(find_runs([tmp_path / "alone"]).finished) == 2
    change(tmp_path / "alone" / "b" / "table.json", lambda stored: stored["runs"][0].update(init=[1]))
    (note,) = find_runs([tmp_path / "alone"]).notes
    assert "its 'init' is missing or not what a run writes" in note


def test_a_command_never_repeats_a_run_without_its_first_weights(runs: Path, tmp_path: Path) -> None:
    plain = folder(runs, "vgg-all").name
    with_config(runs, "from-weights", init="5eed")
    table(tmp_path / "alone" / "table.json", plain, "from-weights", among=runs, init="", device="")
    first, second = map(repeat_command, find_runs([tmp_path / "alone"]).finished)
    assert "--init" not in first
    assert "--init FILE-WITH-SHA-256-5eed " in second


def test_metrics_that_are_no_json_cost_the_curves_alone(runs: Path) -> None:
    (folder(runs, "vgg-all") / "metrics.jsonl").write_text("[1]\n")
    found = find_runs([runs])
    assert len(found.finished) == 3
    (note,) = found.notes
    assert "metrics.jsonl cannot be read (a line holds no JSON object)" in note
    assert note.endswith("The run has no curves.")


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


def test_a_quiet_report_prints_nothing_and_a_loud_one_notes_too(runs: Path, here: Path) -> None:
    from noisyfer.core import terminal

    (folder(runs, "vgg-all") / "result.json").write_text("[]")
    try:
        quiet = CliRunner().invoke(main, ["report", str(runs), "--quiet"])
        assert (quiet.exit_code, quiet.output) == (0, "")
    finally:
        terminal.set_quiet(False)
    assert Path("report.html").exists()
    loud = CliRunner().invoke(main, ["report", str(runs)])
    assert "is damaged" in loud.output
    assert "report.html: 2 finished runs of 1 systems" in loud.output


def test_a_report_takes_no_manifests_place(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = runs.parent / "m.parquet"
    manifest.write_bytes(b"PAR1")
    monkeypatch.setattr("noisyfer.benchmark.report.find_runs", None)  # refused before the work
    refused = CliRunner().invoke(main, ["report", str(runs), "-o", str(manifest)])
    assert refused.exit_code == 1
    assert "a file that is no page stands there. Choose another name." in refused.stderr
    assert manifest.read_bytes() == b"PAR1"
