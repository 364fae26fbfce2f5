"""`noisyfer report`: its numbers are those of the runs' files, and what it cannot show it says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from noisyfer.benchmark.report import write_report
from noisyfer.benchmark.reporting.audit import find_source
from noisyfer.benchmark.reporting.calibration import pooled_reliability
from noisyfer.benchmark.reporting.figures import FREQUENT, MOST_BARS, classes, confusions, curves
from noisyfer.benchmark.reporting.find import find_runs
from noisyfer.benchmark.reporting.group import grouped
from noisyfer.benchmark.reporting.repeat import repeat_command
from noisyfer.benchmark.reporting.synthesis import syntheses
from noisyfer.cli import main
from page_reading import Reading, check_self_contained
from report_runs import CLASSES, FOLDER, MANIFEST, change, folder, many, result_of

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture
def runs(hostile_runs: Path, tmp_path: Path) -> Path:
    """A copy of the hostile runs and their manifest that may be damaged."""
    shutil.copy(hostile_runs.parent / MANIFEST, tmp_path / MANIFEST)
    ignored = shutil.ignore_patterns("checkpoint.pt", "tensorboard")
    return Path(shutil.copytree(hostile_runs, tmp_path / FOLDER, ignore=ignored))


@pytest.fixture(scope="module")
def html(hostile_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the hostile runs."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    ran = CliRunner().invoke(main, ["report", str(hostile_runs), "-o", str(out), "--title", "<b>Title</b>"])
    assert ran.exit_code == 0, ran.output
    assert ran.stderr == ""
    assert "3 finished runs of 2 systems" in ran.output
    return out.read_text(encoding="utf-8")


def shown(runs: Path, out: Path, **more: Any) -> Reading:
    """The report of some runs, taken apart."""
    write_report([runs], out, **more)
    return check_self_contained(out.read_text(encoding="utf-8"))


def test_the_page_asks_for_nothing_and_shows_hostile_names_as_text(html: str) -> None:
    found = check_self_contained(html)
    for text in (*CLASSES, MANIFEST, FOLDER, "<b>Title</b>"):
        assert text in found.text, text
    assert {name for name, _ in found.elements} & {"b", "img"} == {"img"}
    pictures = [each["src"] or "" for name, each in found.elements if name == "img"]
    assert len(pictures) == 2  # a synthesis of each seed
    assert all(source.startswith("data:image/jpeg;base64,") for source in pictures)
    assert all(json.loads(text) for text in found.raw["script"] if text.startswith("{"))


def test_the_comparison_has_mean_and_deviation_of_the_results(html: str, hostile_runs: Path) -> None:
    rows = {row[0]: row for row in Reading(html).tables[f"Systems on {MANIFEST}; accuracies in %"]}
    heading = [name.strip() for name in rows["system"]]
    results = [result_of(hostile_runs, "proposed", seed) for seed in (0, 1)]

    def told(values: list[float], digits: int, scale: float = 1) -> str:
        return f"{mean(values) * scale:.{digits}f} ± {stdev(values) * scale:.{digits}f}"

    row = dict(zip(heading, rows["proposed"], strict=True))
    assert row["last epoch"] == told([each["last"]["test"]["class"]["accuracy"] for each in results], 2, 100)
    assert row["oracle"] == told([each["oracle"]["test"]["class"]["accuracy"] for each in results], 2, 100)
    first = [each["last"]["heads"]["class_flip20"]["accuracy"] for each in results]
    assert row["first head"] == told(first, 2, 100)
    agreement = [each["last"]["agreement"] for each in results]
    assert row["agrees true"] == told([each["class_clean"] for each in agreement], 3)
    noisy = [mean(each[f"class_flip{rate}"] for rate in (20, 30, 40)) for each in agreement]
    assert row["agrees noisy"] == told(noisy, 3)
    assert row["seeds"] == "2"
    assert "paper" not in row  # a column without a figure is left out
    alone = dict(zip(heading, rows["vgg-all"], strict=True))
    assert alone["last epoch"] == f"{result_of(hostile_runs, 'vgg-all')['last']['test']['class']['accuracy']:.2%}"[:-1]


def test_every_run_is_listed_with_the_scores_of_its_result(html: str, hostile_runs: Path) -> None:
    rows = Reading(html).tables["All runs"]
    assert len(rows) == 4
    for row in rows[1:]:
        result = json.loads((hostile_runs / row[0] / "result.json").read_text())
        assert row[2] == str(result["seed"])
        assert row[4:6] == ["finished", "class accuracy"]
        scores = [result[name]["test"]["class"]["accuracy"] for name in ("last", "oracle")]
        assert row[6:] == [*(f"{score:.4f}" for score in scores), str(result["oracle"]["epoch"])]


def test_confusion_matrices_have_the_counts_of_the_result(html: str, hostile_runs: Path) -> None:
    tables = Reading(html).tables
    counts = np.array(result_of(hostile_runs, "vgg-all")["confusion"]["class"])
    caption = "vgg-all, seed 0, class: share of the true class, and count (rows true, columns predicted)"
    rows = tables[caption]
    assert rows[0] == ["", *CLASSES]
    for label, row, numbers in zip(CLASSES, rows[1:], counts, strict=True):
        total = numbers.sum()
        assert row == [label, *(f"{n / total:.2f}{n}" if total else f"–{n}" for n in numbers)]


def test_noise_calibration_and_the_manifest_are_told(html: str, hostile_runs: Path) -> None:
    tables = Reading(html).tables
    results = [result_of(hostile_runs, "proposed", seed) for seed in (0, 1)]
    rates = [each["noise"]["class_flip30"]["noise_rate"] for each in results]
    noise = next(
        row for row in tables[f"Noise of the label sets of {MANIFEST}, after the last epoch"] if "class_flip30" in row
    )
    assert noise[2] == f"{mean(rates):.3f} ± {stdev(rates):.3f}"
    errors = [each["last"]["test"]["class"]["calibration_error"] for each in results]
    row = tables["Calibration on test images, class"][1]
    assert row[:2] == ["proposed", f"{mean(errors):.4f} ± {stdev(errors):.4f}"]
    accuracies = [each["last"]["test"]["class"]["accuracy"] for each in results]
    assert row[3] == f"{mean(accuracies):.4f}"
    assert [row[0] for row in tables["Class counts, class"][1:]] == list(CLASSES)
    assert tables["Samples"][1][0] in ("train", "test")
    assert "the very file that the runs learned from" in Reading(html).text


def test_curves_are_the_mean_over_seeds_and_read_as_in_the_metrics(html: str, hostile_runs: Path) -> None:
    charts = [json.loads(text) for text in Reading(html).raw["script"] if text.startswith("{")]
    chart = next(each for each in charts if each["title"] == "Test class accuracy")
    rows = [
        [
            json.loads(line)
            for line in (folder(hostile_runs, "proposed", seed) / "metrics.jsonl").read_text().splitlines()
        ]
        for seed in (0, 1)
    ]
    expected = [mean(round(row["test"]["class"]["accuracy"], 5) for row in epoch) for epoch in zip(*rows, strict=True)]
    assert chart["labels"] == ["1", "2"]
    assert chart["series"][0] == {"name": "proposed", "place": 0, "values": [f"{value:.3f}" for value in expected]}


def test_pooled_reliability_gives_the_results_calibration_error(hostile_runs: Path) -> None:
    run = next(run for run in find_runs([hostile_runs]).finished if run.config["method"] == "vgg-all")
    notes: list[str] = []
    samples, hits, confidence = pooled_reliability([run], "class", 10, notes)
    error = abs(hits - confidence).sum() / samples.sum()
    assert error == pytest.approx((run.result or {})["last"]["test"]["class"]["calibration_error"], abs=1e-6)
    assert not notes


def test_the_command_plans_the_very_same_run(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in runs.iterdir())
    for run in find_runs([runs]).finished:
        words = shlex.split(repeat_command(run))
        assert words[:2] == ["noisyfer", "bench"]
        assert "epochs=2" not in words  # that is the preset's
        assert "train_images=40" in words
        ran = CliRunner().invoke(main, [*words[1:], "--manifest", str(tmp_path / MANIFEST)])
        assert ran.exit_code == 0, ran.output
        assert " epoch 1/2" not in ran.output  # a finished run is only read
    assert sorted(path.name for path in runs.iterdir()) == before


def test_unfinished_and_damaged_runs_are_told_and_the_rest_is_shown(runs: Path, tmp_path: Path) -> None:
    (folder(runs, "proposed", 1) / "result.json").unlink()
    change(folder(runs, "vgg-all") / "result.json", lambda stored: stored["last"].pop("test"))
    proposed = folder(runs, "proposed")
    (proposed / "metrics.jsonl").write_text('{"epoch": 1}\n')
    (proposed / "predictions.parquet").write_bytes(b"PAR1 and no more")
    (proposed / "synthesis.png").write_bytes((proposed / "synthesis.png").read_bytes()[:2000])
    (runs / "broken").mkdir()
    (runs / "broken" / "config.json").write_text("{")
    found = shown(runs, tmp_path / "report.html")
    assert "1 finished run of 1 system on 1 manifest. 1 unfinished run listed below." in found.text
    states = {row[0]: row[4] for row in found.tables["All runs"][1:]}
    assert states == {proposed.name: "finished", folder(runs, "proposed", 1).name: "unfinished, 2 of 2 epochs"}
    for told in (
        "result.json is damaged: its 'last.test' is missing or not what a run writes.",
        "metrics.jsonl is damaged at 'line[0].test', so the run has no curves.",
        "predictions.parquet cannot be read",
        "synthesis.png cannot be shown",
        "broken/config.json as JSON",
    ):
        assert told in found.text


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (lambda stored: stored["confusion"]["class"].pop(), "of different sizes"),
        (lambda stored: stored["oracle"]["test"].clear(), "'oracle.test' has nothing of class"),
        (lambda stored: stored["head_tasks"].clear(), "has no task or lacks scores"),
        (lambda stored: stored["seconds"].update(training="1"), "'seconds.training' is missing or not"),
        (
            lambda stored: stored["confusion"]["class"][0].__setitem__(0, "<b>"),
            "'confusion.class[0][0]' is missing or not",
        ),
    ],
)
def test_a_result_that_does_not_fit_together_is_damaged(how: Callable[[Any], Any], told: str, runs: Path) -> None:
    change(folder(runs, "proposed") / "result.json", how)
    found = find_runs([runs])
    assert len(found.finished) == 2
    assert len(found.notes) == 1
    assert told in found.notes[0]


def test_scores_that_are_missing_are_dashes(runs: Path, tmp_path: Path) -> None:
    def without(stored: Any) -> None:
        for place in (stored["last"]["test"], stored["oracle"]["test"]):
            place["class"] = dict.fromkeys(place["class"])
        stored["class_f1"]["class"] = [None] * 10

    change(folder(runs, "vgg-all") / "result.json", without)
    rows = shown(runs, tmp_path / "report.html").tables[f"Systems on {MANIFEST}; accuracies in %"]
    assert rows[2][0] == "vgg-all"
    assert rows[2][2] == "–"


def test_systems_are_told_apart_by_what_differs(runs: Path) -> None:
    for number, value in enumerate((0.25, 0.5)):
        copy = Path(shutil.copytree(folder(runs, "vgg-all"), runs / f"copy-{number}"))
        change(copy / "config.json", lambda stored, value=value: stored["run"]["options"].update(width=value))
    (group,) = grouped(find_runs([runs]).finished)
    assert group.names[0] == "proposed"
    assert sorted(group.names[1:]) == [f"vgg-all (width {width})" for width in (0.0625, 0.25, 0.5)]


def test_the_same_run_twice_counts_once(runs: Path) -> None:
    shutil.copytree(folder(runs, "vgg-all"), runs / "again")
    found = find_runs([runs, runs / "again"])
    assert len(found.finished) == 3
    assert len(found.notes) == 1
    assert "counted once" in found.notes[0]


def test_a_table_names_its_runs_and_brings_the_papers_figures(runs: Path, tmp_path: Path) -> None:
    table = runs / "table-1-smoke-12345678"
    table.mkdir()
    stored = json.loads((folder(runs, "vgg-all") / "config.json").read_text())
    run = {
        **{"system": "VGG <i>", "method": "vgg-all", "published": {"": {"accuracy": 80.23}}, "seed": 0},
        "labels": dict.fromkeys(stored["run"]["labels"], "class"),
        "manifest": stored["manifest"],
        **{name: stored["run"][name] for name in ("settings", "options")},
        "result": result_of(runs, "vgg-all"),
        "curves": {"epoch": [1, 2], "class accuracy": [0.1, 0.2]},
    }
    failed = {**run, "system": "other", "seed": 7, "failure": "It became nan."}
    del failed["result"], failed["curves"]
    document = {"table": "1", "title": "A table", "protocol": "", "preset": "smoke", "runs": [run, failed]}
    (table / "table.json").write_text(json.dumps(document))
    for under in (runs, table):
        found = shown(under, tmp_path / "report.html", manifests=[tmp_path / MANIFEST])
        rows = {row[0]: row for row in found.tables[f"Systems on {MANIFEST}; accuracies in %"]}
        assert "80.23" in rows["VGG <i>"]
        assert "other, seed 7 failed: It became nan." in found.text
        assert folder(runs, "vgg-all").name in found.text  # found beside its table too
    shutil.move(table, tmp_path / "alone" / "deep" / "table")
    found = shown(tmp_path / "alone", tmp_path / "report.html")
    assert "1 finished run of 1 system" in found.text
    assert "has no predictions" in found.text
    assert [row[0] for row in found.tables["All runs"][1:]] == ["VGG <i>, seed 0"]


def test_a_manifest_that_moved_or_changed_is_told_and_taken_where_it_is_named(runs: Path, tmp_path: Path) -> None:
    # the runs' own record leads to the original; a copied folder of runs is looked for beside itself
    for config in runs.glob("*/config.json"):
        change(config, lambda stored: stored["places"].update(manifest=MANIFEST))
    (group,) = grouped(find_runs([runs]).finished)
    assert find_source(group, []).manifest is not None
    moved = (tmp_path / MANIFEST).rename(tmp_path / "moved.parquet")
    assert "it is not where the runs had it. Say where it is with --manifest." in find_source(group, []).remark
    found = find_source(group, [moved])
    assert found.classes["class"] == CLASSES
    shutil.copy(next(Path(__file__).parent.parent.glob("data_manifests/examples/digits.parquet")), tmp_path / MANIFEST)
    assert "has other bytes by now" in find_source(group, []).remark
    (tmp_path / MANIFEST).write_bytes(b"nothing")
    assert "cannot be read" in find_source(group, []).remark


def test_old_results_without_class_names_have_the_manifests_or_ids(runs: Path, tmp_path: Path) -> None:
    for result in runs.glob("*/result.json"):
        change(result, lambda stored: [stored.pop(name) for name in ("classes", "label_tasks")])
    (group,) = grouped(find_runs([runs]).finished)
    assert [name in confusions(group, {}, opened=False) for name in ("class 7", ">7<")] == [False, True]
    assert "class 7" in confusions(group, {group.sha256: {"class": CLASSES}}, opened=False)
    heading, row, *_ = Reading(write_and_read(runs, tmp_path)).tables[f"Systems on {MANIFEST}; accuracies in %"]
    assert row[[name.strip() for name in heading].index("agrees noisy")] != "–"


def write_and_read(runs: Path, tmp_path: Path) -> str:
    write_report([runs], tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_fifty_systems_of_two_hundred_epochs_stay_below_five_megabytes(runs: Path, tmp_path: Path) -> None:
    many(runs, 47, 200)
    written = write_report([runs], tmp_path / "report.html")
    assert (written.finished, written.systems) == (50, 49)
    assert written.size == (tmp_path / "report.html").stat().st_size
    assert written.size < 5e6
    assert written.notes == ()
    assert "Of longer curves 100 epochs at equal distances are drawn." in (tmp_path / "report.html").read_text()


def test_pictures_share_what_is_left_and_are_left_out_where_they_do_not_fit(runs: Path) -> None:
    many(runs, 2, 1)  # two of the four pictures are noise, which does not compress
    groups = grouped(find_runs([runs]).finished)
    notes: list[str] = []
    sizes = []
    for budget in (4_000_000, 400_000):
        shown = syntheses(groups, budget, notes)
        assert shown is not None
        assert shown.count("<img") == 4
        assert len(shown) < budget
        sizes.append(len(shown))
    assert sizes[1] < sizes[0]
    assert not notes
    assert syntheses(groups, 0, notes) is None
    assert len(notes) == 4
    assert "is left out, since 4 pictures do not fit on the page." in notes[0]


def test_many_systems_are_a_matrix_instead_of_bars(runs: Path) -> None:
    (few,) = grouped(find_runs([runs]).finished)
    assert 'class="bar' in classes(few, {})
    assert "What single systems have besides" in curves(few)  # the adversarial losses of proposed
    many(runs, MOST_BARS, 1)
    (group,) = grouped(find_runs([runs]).finished)
    assert 'class="bar' not in classes(group, {})
    rows = Reading(classes(group, {})).tables["F1 by class, class (rows systems, columns classes)"]
    assert len(rows) == 1 + len(group.systems)
    assert "What single systems have besides" not in curves(group)


def test_a_matrix_of_many_classes_is_its_most_frequent_confusions(runs: Path) -> None:
    counts = np.full((40, 40), 1)
    counts[3, 5] = 9

    def enlarge(stored: Any) -> None:
        stored["confusion"]["class"], stored["class_f1"]["class"] = counts.tolist(), [0.5] * 40

    change(folder(runs, "vgg-all") / "result.json", enlarge)
    (group,) = grouped(find_runs([runs]).finished)
    tables = Reading(confusions(group, {}, opened=True)).tables
    rows = tables[f"vgg-all, seed 0, class: the {FREQUENT} most frequent confusions of 40 classes"]
    assert rows[1] == ["3", "5", "9", f"{9 / 48:.4g}"]
    assert len(rows) == FREQUENT + 1
    assert all(row[0] != row[1] for row in rows)


def test_what_cannot_be_reported_is_a_sentence_and_no_file(runs: Path, here: Path) -> None:
    (here / "empty").mkdir()
    (here / "teacher").mkdir()
    (here / "teacher" / "config.json").write_text('{"run": {"architecture": "vgg"}}')

    def refused(*arguments: str | Path) -> str:
        ran = CliRunner().invoke(main, ["report", *map(str, arguments)])
        assert ran.exit_code in (1, 2), ran.output
        assert "Traceback" not in ran.output
        return ran.stderr

    assert "There is no folder nowhere." in refused("nowhere")
    assert "No run is under empty." in refused("empty")
    assert "No run is under teacher." in refused("teacher")
    assert "There is no manifest nowhere.parquet." in refused(runs, "--manifest", "nowhere.parquet")
    assert "is a directory" in refused(runs, "-o", here / "empty")
    assert "Missing argument 'RUNS...'" in refused()
    assert not list(here.glob("*.html"))
    assert not list(here.glob("empty/*"))


def test_predictions_that_are_no_probabilities_are_refused(runs: Path) -> None:
    file = folder(runs, "vgg-all") / "predictions.parquet"
    table = pq.read_table(file)
    probs = table["class_probs"].combine_chunks()
    doubled = type(probs).from_arrays(np.asarray(probs.flatten()) * 3, 10)
    pq.write_table(table.set_column(table.column_names.index("class_probs"), "class_probs", doubled), file)
    run = next(run for run in find_runs([runs]).finished if run.config["method"] == "vgg-all")
    notes: list[str] = []
    assert pooled_reliability([run], "class", 10, notes).sum() == 0
    assert re.search("no probabilities.*not in the reliability diagram", notes[0])


def test_the_title_names_two_paths_at_most(runs: Path, tmp_path: Path) -> None:
    paths = sorted(path for path in runs.iterdir() if (path / "result.json").exists())
    assert len(paths) == 3
    write_report(paths, tmp_path / "page.html")
    found = Reading((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert f"Runs in {paths[0].name}, {paths[1].name} and 1 more" in found.text
