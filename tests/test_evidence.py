"""What a table says of runs over seeds, worked out by hand, and the files it leaves."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from noisyfer.benchmark.evidence import cells, curves, markdown, merge_evidence, read_evidence, spread, systems
from noisyfer.benchmark.pictures import draw_comparison, draw_systems, draw_weights
from noisyfer.cli import main
from noisyfer.core.errors import UserError
from PIL import Image


def run(system: str, seed: int, last: float, best: float, heads: dict[str, float], **more: Any) -> dict[str, Any]:
    result = {
        "truth": {"class": "class_clean"},
        "last": {
            "test": {"class": {"accuracy": last, "macro_f1": 0.1}},
            "heads": {name: {"accuracy": value} for name, value in heads.items()},
            "agreement": {"class_flip20": 0.5, "class_flip40": 0.25, "class_clean": last / 2},
        },
        "oracle": {"epoch": 1, "test": {"class": {"accuracy": best}}},
        "head_tasks": dict.fromkeys(heads, "class"),
        "seconds": {"training": 60.0 * (seed + 1), "evaluation": 1.0},
        "peak_memory_mib": 500 + seed,
    }
    return {
        "system": system,
        "method": "proposed" if heads else "sce",
        "published": {"": {"accuracy": 87.9}} if heads else {},
        "seed": seed,
        "labels": {"class_flip20": "class", "class_flip40": "class"},
        "manifest": {"name": "cifar10.parquet"},
        "settings": {"epochs": 2},
        "options": {},
        "result": result,
        "curves": {"epoch": [1, 2], "class accuracy": [best, last], "cross_entropy": [2.0, 1.0]},
        **more,
    }


def document(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"table": "1", "title": "A table", "protocol": "", "runs": list(runs)}


def test_mean_and_sample_deviation_over_seeds_by_hand() -> None:
    found = systems(
        document(
            run("ours", 0, 0.50, 0.60, {"class_flip20": 0.4, "class_flip40": 0.9}),
            run("rival", 0, 0.40, 0.41, {}),
            run("ours", 1, 0.54, 0.62, {"class_flip20": 0.5, "class_flip40": 0.9}),
        )
    )
    assert [system.name for system in found] == ["ours", "rival"]
    ours, rival = cells(found)
    # the deviation of two values is their difference over √2
    assert ours == [
        *("ours", "proposed", "class accuracy", "52.00 ± 2.83", "45.00 ± 7.07", "61.00 ± 1.41", "87.90"),
        *("0.375 ± 0.000", "0.260 ± 0.014", "–", "2", "1.5", "501"),
    ]
    assert rival == [
        *("rival", "sce", "class accuracy", "40.00", "–", "41.00", "–", "0.375", "0.200", "–", "1", "1.0", "500")
    ]
    text = markdown(found).splitlines()
    assert len(text) == 4
    assert "memorised" not in text[0]  # no run says anything of it
    assert text[2].startswith("| ours | `proposed` | class accuracy | 52.00 ± 2.83 |")


def test_what_was_memorised_is_the_mean_over_sets_with_wrong_labels() -> None:
    one, before = run("ours", 0, 0.5, 0.5, {}), run("ours", 1, 0.5, 0.5, {})
    one["result"]["noise"] = {"class_flip20": {"memorised": 0.2}, "class_flip40": {"memorised": 0.4}}
    (found,) = systems(document(one, before))
    assert found.scores[0].memorised == pytest.approx((0.3,))
    assert "| memorised |" in markdown([found])
    one["result"]["noise"]["class_flip20"] = {"noise_rate": 0.1}
    assert systems(document(one))[0].scores[0].memorised == pytest.approx((0.4,))


def test_the_papers_figures_are_those_of_the_protocol() -> None:
    faces = run("ours", 0, 0.5, 0.5, {"class_flip20": 0.4}, published={"raf-base": {"accuracy": 76.1}})
    assert systems({**document(faces), "protocol": "raf-base"})[0].scores[0].published == pytest.approx(0.761)
    assert systems(document(faces))[0].scores[0].published is None


def test_agreement_is_that_of_a_scores_own_task() -> None:
    both = run("ours", 0, 0.5, 0.5, {}, labels={"class_flip20": "class", "va_human": "va"})
    both["result"]["truth"]["va"] = "va_human"
    both["result"]["last"]["test"]["va"] = both["result"]["oracle"]["test"]["va"] = {"ccc": 0.6, "mse": 0.1}
    both["result"]["last"]["agreement"]["va_human"] = 0.9
    (system,) = systems(document(both))
    found = {(score.task, score.metric): (score.noisy, score.true) for score in system.scores}
    assert found == {
        ("class", "accuracy"): ((0.5,), (0.25,)),
        ("va", "ccc"): ((0.9,), (0.9,)),
        ("va", "mse"): ((), ()),
    }


def test_a_failed_run_is_told_and_counts_for_nothing() -> None:
    failed = {**run("ours", 1, 0, 0, {}), "failure": "It became nan."}
    del failed["result"], failed["curves"]
    found = systems(document(run("ours", 0, 0.5, 0.5, {}), failed))
    assert found[0].failures == ("seed 1: It became nan.",)
    assert cells(found)[0][3] == "50.00"
    (alone,) = systems(document(failed))
    assert alone.scores == ()
    assert cells([alone]) == [["ours", "sce", *["–"] * 11]]


def test_parts_of_a_table_are_one_in_the_order_of_its_rows() -> None:
    failed = {**run("SCE", 1, 0, 0, {}), "failure": "Its process was killed."}
    del failed["result"], failed["curves"]
    early = document(run("proposed", 1, 0.5, 0.5, {}), failed)
    late = document(run("SCE", 1, 0.4, 0.5, {}), run("proposed", 0, 0.5, 0.5, {}), run("SCE", 0, 0.4, 0.5, {}))
    merged = merge_evidence([early, late])
    assert [(found["system"], found["seed"]) for found in merged["runs"]] == [
        *(("SCE", seed) for seed in (0, 1)),
        *(("proposed", seed) for seed in (0, 1)),
    ]
    assert not any("failure" in found for found in merged["runs"])
    assert merge_evidence([late, early, late]) == merged


def test_what_does_not_belong_together_is_not_merged() -> None:
    one = document(run("SCE", 0, 0.4, 0.5, {}))
    with pytest.raises(UserError, match="their table is 1 and 3"):
        merge_evidence([one, {**one, "table": "3"}])
    with pytest.raises(UserError, match="two results of SCE, seed 0"):
        merge_evidence([one, document(run("SCE", 0, 0.41, 0.5, {}))])
    with pytest.raises(UserError, match="Seeds 0 and 1 of SCE differ in their settings"):
        merge_evidence([one, document(run("SCE", 1, 0.4, 0.5, {}, settings={"epochs": 3}))])


def test_an_option_that_one_version_lacks_keeps_no_seeds_apart() -> None:
    options = run("SCE", 0, 0.4, 0.5, {})["options"]
    early, late = (
        document(run("SCE", seed, 0.4, 0.5, {}, options={**options, **more}))
        for seed, more in ((0, {}), (1, {"new": 1}))
    )
    assert len(merge_evidence([early, late])["runs"]) == 2
    other = document(run("SCE", 2, 0.4, 0.5, {}, options={**options, "new": 2}))
    with pytest.raises(UserError, match="Seeds 1 and 2 of SCE differ in their options"):
        merge_evidence([early, late, other])


def test_spread_of_none_one_and_several() -> None:
    assert spread([], 2) == "–"
    assert spread([0.5], 2, 100) == "50.00"
    assert spread([1.0, 2.0, 3.0], 1) == "2.0 ± 1.0"


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"runs": []}')
    with pytest.raises(UserError, match=r"no table of 'noisyfer bench --table'"):
        read_evidence(path)


def test_runs_from_other_weights_or_on_another_device_are_no_seeds_of_one_system() -> None:
    def of(seed: int, **more: Any) -> dict[str, Any]:
        return document(run("SCE", seed, 0.4, 0.5, {}, **more))

    random, given = {"init": "", "device": "cpu"}, {"init": "5eed", "device": "cpu"}
    with pytest.raises(UserError, match="Seeds 0 and 1 of SCE differ in their init"):
        merge_evidence([of(0, **random), of(1, **given)])
    with pytest.raises(UserError, match="Seeds 1 and 2 of SCE differ in their init and device"):
        merge_evidence([of(0), of(1, **random), of(2, init="5eed", device="cuda")])  # of seed 0 nobody knows
    with pytest.raises(UserError, match="two results of SCE, seed 0"):
        merge_evidence([of(0), of(0, **random), of(0), of(0, **given)])
    both = merge_evidence([of(0, **random), of(0), of(1)])["runs"]
    assert [(found["seed"], found.get("device")) for found in both] == [(0, "cpu"), (1, None)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved, in place of their files."""
    from noisyfer.benchmark import pictures

    figures: list[Any] = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: figures.append(figure))
    return figures


def test_curves_are_drawn_for_each_manifest_and_loss(tmp_path: Path) -> None:
    one = run("ours", 0, 0.5, 0.6, {})
    more = {**run("ours", 1, 0.4, 0.6, {}), "labels": {"class_flip20": "class"}}
    more["curves"] = {**more["curves"], "adversarial_discriminator": [None, 0.5]}
    draw_systems(tmp_path / "two.png", [one, more])
    draw_systems(tmp_path / "one.png", [one])
    (wide, high), (narrow, low) = (Image.open(tmp_path / f"{name}.png").size for name in ("two", "one"))
    assert wide > 1.3 * narrow
    assert high > 1.5 * low


def test_every_score_has_a_panel_and_every_row_of_panels_a_legend_beside_it(drawn: list[Any]) -> None:
    both = run("both", 0, 0.5, 0.6, {})
    both["curves"] = {**both["curves"], "va ccc": [0.1, 0.2]}
    others = [run(f"system {place}", 0, 0.5, 0.6, {}) for place in range(10)]
    draw_systems(Path("never.png"), [*others, both])
    scores, agreement, entropy = drawn[0].axes
    assert [axes.get_title() for axes in drawn[0].axes] == [
        "Test class accuracy",
        "Test va ccc",
        "Cross entropy with the training labels",
    ]
    assert (scores.get_ylabel(), agreement.get_ylabel()) == ("share", "CCC")
    assert scores.get_legend() is agreement.get_legend() is None
    assert [text.get_text() for text in entropy.get_legend().get_texts()] == [
        *(one["system"] for one in others),
        "both",
    ]
    drawn[0].draw_without_rendering()
    assert entropy.get_legend().get_window_extent().x0 > entropy.get_window_extent().x1
    first, last = scores.lines[0], scores.lines[10]
    assert (first.get_color(), first.get_linestyle()) == (last.get_color(), "-")
    assert last.get_linestyle() == "--"


@pytest.mark.parametrize(("extra", "lines"), [(0, [2]), (1, [3]), (2, [2, 2]), (3, [3, 2]), (4, [3, 3])])
def test_many_panels_of_one_manifest_are_in_lines_and_the_legend_beside_the_first(
    extra: int, lines: list[int], drawn: list[Any]
) -> None:
    one = run("ours", 0, 0.5, 0.6, {})
    names = ["va ccc", "similarity", "adversarial_generator", "adversarial_discriminator"][:extra]
    one["curves"] = {**one["curves"], **{name: [0.1, 0.2] for name in names}}
    draw_systems(Path("never.png"), [one])
    panels = drawn[0].axes
    drawn[0].draw_without_rendering()
    heights = [axes.get_window_extent().y0 for axes in panels]
    assert [len(list(line)) for _, line in groupby(heights)] == lines
    assert [place for place, axes in enumerate(panels) if axes.get_legend()] == [lines[0] - 1]


def test_a_group_has_panels_of_its_own_curves_only(drawn: list[Any]) -> None:
    single, both = run("single", 0, 0.5, 0.6, {}), run("both", 0, 0.5, 0.6, {})
    both["labels"] = {"class_flip20": "class", "class_flip40": "class", "va_a": "va"}
    both["curves"] = {**both["curves"], "va ccc": [0.1, 0.2], "similarity": [0.9, 0.8]}
    draw_systems(Path("never.png"), [single, both])
    titles = [axes.get_title().split("\n")[0] for axes in drawn[0].axes]
    entropy = "Cross entropy with the training labels"
    assert titles == [
        *("Test class accuracy", entropy),
        *("Test class accuracy", "Test va ccc", entropy, "1 - CCC with the training labels"),
    ]
    assert [place for place, axes in enumerate(drawn[0].axes) if axes.get_legend()] == [1, 3]
    assert all(axes.lines for axes in drawn[0].axes)


def test_without_scores_agreement_is_drawn(tmp_path: Path, drawn: list[Any]) -> None:
    rows = [
        {
            "epoch": epoch,
            "test": {},
            "losses": {"loss": 1.0, "similarity": 1.0},
            "agreement": {"va_a": 0.5, "va_b": None},
        }
        for epoch in (1, 2)
    ]
    draw_comparison(tmp_path / "comparison.png", {"one": rows, "other": rows})
    scores, losses = drawn[0].axes
    assert scores.lines[1].get_ydata() == pytest.approx([0.5, 0.5])
    assert losses.get_title() == "1 - CCC with the training labels"
    draw_systems(
        tmp_path / "systems.png", [{"manifest": {"name": "m"}, "labels": {}, "system": "s", "curves": curves(rows)}]
    )
    assert [axes.get_title() for axes in drawn[1].axes] == [
        "Agreement with va_a, training images",
        "1 - CCC with the training labels",
    ]


def test_scores_are_drawn_over_lambda_a_panel_a_manifest(drawn: list[Any], tmp_path: Path) -> None:
    found = []
    for place, (rule, weight) in enumerate((("fixed", 0.8), ("fixed", 0.2), ("balance", 0.8))):
        for seed in (0, 1):
            one = run(f"row {place}", seed, 0.5, 0.6, {"class_flip20": 0.5})
            curves = {"class accuracy": [0.1, 0.3 + 0.1 * seed + 0.05 * place], "lambda": [0.8, 0.6 + 0.1 * seed]}
            found.append({**one, "options": {"lambda": weight, "lambda_rule": rule}, "curves": curves})
    elsewhere = {**found[0], "manifest": {"name": "cifar10-high.parquet"}}
    draw_weights(tmp_path / "weights.png", [*found, elsewhere])
    one, other = drawn[0].axes
    assert (one.get_title(), other.get_title()) == ("cifar10.parquet", "cifar10-high.parquet")
    line = next(line for line in one.lines if line.get_marker() == "o")
    assert line.get_xdata() == pytest.approx([0.2, 0.8])
    assert line.get_ydata() == pytest.approx([0.4, 0.35])
    dashed = next(line for line in one.lines if line.get_linestyle() == "--")
    assert dashed.get_label() == "balance, ended at 0.65"
    assert dashed.get_ydata() == pytest.approx([0.45, 0.45])
    assert dashed.get_marker() in ("", "None")


def test_a_table_of_real_runs_is_printed_stored_and_read_again(digits_manifest: Path, here: Path) -> None:
    command = [
        *("bench", "--table", "1", "--method", "vgg-all", "--preset", "smoke", "--seeds", "0", "--epochs", "1"),
        *("--manifest", str(digits_manifest), "--set", "train_images=64", "--set", "agreement_images=32"),
    ]
    ran = CliRunner().invoke(main, command)
    assert ran.exit_code == 0, ran.output
    assert "VGG, all labels, a head a set, seed 0 epoch 1/1 accuracy" in ran.output
    (folder,) = here.glob("runs/table-1-smoke-*")
    pictures = {"curves.png", "examples.png", "confusions.png"}
    assert {path.name for path in folder.iterdir()} == {"table.json", "table.md", *pictures}
    found = read_evidence(folder / "table.json")
    assert [one["system"] for one in found["runs"]] == ["VGG, all labels", "VGG, all labels, a head a set"]
    results = [json.loads(path.read_text()) for path in sorted(here.glob("runs/digits-vgg-all-*/result.json"))]
    stored = [one["result"]["last"]["test"]["class"]["accuracy"] for one in found["runs"]]
    assert sorted(stored) == pytest.approx(sorted(one["last"]["test"]["class"]["accuracy"] for one in results))
    assert found["runs"][0]["curves"]["epoch"] == [1]
    assert [(one["init"], one["device"]) for one in found["runs"]] == [("", "cpu")] * 2
    assert {"cross_entropy", "agrees class_clean", "class accuracy"} <= set(found["runs"][0]["curves"])
    assert (folder / "table.md").read_text() == markdown(systems(found)) + "\n"
    # the same command only reads, and ends in the same files; a run without predictions is in no example
    next(here.glob("runs/digits-vgg-all-*/predictions.parquet")).unlink()
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 0
    assert " epoch 1/1" not in again.output
    assert read_evidence(folder / "table.json") == found
    for content, said in (('{"epoch": 1', "cannot be read"), ('{"epoch": 1}', "damaged at 'line[0].test'")):
        metrics = next(here.glob("runs/digits-vgg-all-*/metrics.jsonl"))
        metrics.write_text(content)
        damaged = CliRunner().invoke(main, command)
        assert damaged.exit_code == 1
        assert f"{metrics.relative_to(here)} " in damaged.stderr
        assert said in damaged.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--table", "1", "--labels", "class_flip20"), "leave out --labels"),
        (("--table", "1", "--seed", "1"), "leave out --seed"),
        (("--table", "1", "--seeds", "1,x"), "'x' is no whole number"),
        (("--table", "1", "--seeds", ","), "names no number"),
        (("--table", "1", "--jobs", "0"), "at least one run"),
        (("--method", "sce", "--jobs", "2"), "belong to a --table"),
        (("--method", "sce", "--row", "SCE"), "belong to a --table"),
        ((), "Missing option '--method' or '--table'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(more: tuple[str, ...], said: str) -> None:
    ran = CliRunner().invoke(main, ["bench", *more])
    assert ran.exit_code == 2
    assert said in ran.stderr
