"""Searches: what they hold out and are scored on, their folders, what a kill leaves, what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from noisyfer.benchmark.choose import choose
from noisyfer.benchmark.grid import Outcome
from noisyfer.benchmark.holdout import make_holdout
from noisyfer.benchmark.run import Plan
from noisyfer.benchmark.search import Search, Trial, best_trial, run_search
from noisyfer.core.errors import UserError
from noisyfer.core.files import locked
from noisyfer.manifest import Manifest, write_manifest
from test_protocols import HUMAN, MODEL
from test_protocols import manifest as faces_manifest
from test_sweep import TINY, sweep


def test_held_out_labels_are_those_of_the_annotators(digits_manifest: Path, tmp_path: Path) -> None:
    manifest = Manifest.open(digits_manifest)
    names = ["class_flip20", "class_flip40"]
    held = make_holdout(manifest, names, 0.25, 3, tmp_path / "held.parquet")
    held.validate()
    train = manifest.select(splits=["train"])
    assert held.rows == train.rows
    assert list(held.header.label_sets) == [*names, "class_holdout"]
    split = np.array(held.read(["split"])["split"].to_pylist())
    assert (split == "val").sum() == round(train.rows / 4)
    assert set(split) == {"train", "val"}
    labels, first, second = held.labels("class_holdout"), train.labels(names[0]).values, train.labels(names[1]).values
    assert (labels.present == (split == "val")).all()
    given = labels.values[labels.present]
    of_first, of_second = given == first[labels.present], given == second[labels.present]
    assert (of_first | of_second).all()
    apart = of_first != of_second
    assert 0.3 < of_first[apart].mean() < 0.7  # either annotator as often
    again = make_holdout(manifest, names, 0.25, 3, tmp_path / "again.parquet")
    assert again.read().equals(held.read())
    with pytest.raises(UserError, match="too few"):
        make_holdout(manifest, names, 1e-6, 0, tmp_path / "few.parquet")


def test_a_search_is_scored_on_held_out_labels_even_where_the_truth_is_learned_from(
    digits_manifest: Path, tmp_path: Path
) -> None:
    names = ["class_clean", "class_flip20"]
    held = make_holdout(Manifest.open(digits_manifest), names, 0.25, 3, tmp_path / "held.parquet")
    assert choose(held, "vgg-all", names).truth == {"class": "class_holdout"}


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The runs of a search, none of which is trained."""
    plans = list[Plan]()

    def score(several: Sequence[Plan], **_: object) -> list[Outcome]:
        plans.extend(several)
        return [Outcome({"last": {"test": {"expression": {"accuracy": 0.5}}}}) for _ in several]

    monkeypatch.setattr("noisyfer.benchmark.search.run_grid", score)
    monkeypatch.setattr("noisyfer.benchmark.search.SHARE", 0.5)
    return plans


def of_faces(manifest: Manifest, out: Path, **common: Any) -> Search:
    """One trial of a learning rate and of where the networks part."""
    space = {"learning_rate": ["1e-4..1e-2:log"], "share": ["head", "trunk"]}
    return Search(manifest, "vgg-all", space, 1, 0, (), {"preset": "smoke", "out": out, "device": "cpu", **common})


def without_human_label(path: Path, row: int) -> Manifest:
    """Faces for `affectnet-base`, one of them not labelled by people."""
    whole = faces_manifest(path, *HUMAN, MODEL[0], evaluation="val")
    table = whole.read()
    place = table.schema.get_field_index("expression_human")
    labels = [None if at == row else value for at, value in enumerate(table.column(place).to_pylist())]
    return write_manifest(
        path, whole.header, [table.set_column(place, "expression_human", pa.array(labels, pa.int16()))]
    )


def test_a_search_needs_no_truth(digits_manifest: Path, tmp_path: Path, planned: list[Plan]) -> None:
    """It is for those who have none: the manifest's truth is left out here."""
    noisy = ["class_flip20", "class_flip30"]
    whole = Manifest.open(digits_manifest)
    view = whole.select(label_sets=noisy)
    path = tmp_path / "noisy.parquet"
    write_manifest(path, view.header.seen_from(tmp_path, whole.path.parent), view.extended({}))
    found = Search(Manifest.open(path), "vgg-all", {"learning_rate": ["0.1..1"]}, 1, 0, [], {"out": tmp_path})
    assert run_search(found)[0].score is not None
    assert planned[0].choice.truth == {"class": "class_holdout"}


@pytest.mark.parametrize("common", [{"protocol": "affectnet-base"}, {"changes": {"labelled_by": "expression_human"}}])
def test_a_search_keeps_to_the_images_that_a_set_labels_without_its_labels(
    common: dict[str, Any], planned: list[Plan], tmp_path: Path
) -> None:
    search = of_faces(without_human_label(tmp_path / "m.parquet", 2), tmp_path, **common)
    (trial,) = run_search(search)
    assert trial.score == 0.5
    held = Manifest.open(search.folder / "holdout.parquet")
    assert held.read(["id"])["id"].to_pylist() == ["0", "1", "3", "4", "5"]
    assert "expression_human" not in held.header.label_sets
    (plan,) = planned
    assert plan.config.settings.labelled_by == ""
    assert plan.config.truth == {"expression": "expression_holdout"} | (
        {"va": "va_holdout"} if "protocol" in common else {}
    )


@pytest.mark.parametrize(
    ("changes", "space", "said"),
    [
        ({"labelled_by": "expression_nobody"}, {"gamma": ["0..1"]}, "no label set in .* named 'expression_nobody'"),
        ({}, {"labelled_by": ["expression_human", "va_human"]}, "labelled_by says which images"),
        ({"batch_size": "1"}, {"gamma": ["0..1"]}, "batch_size is 1"),
    ],
)
def test_a_search_that_cannot_be_leaves_no_manifest(
    changes: dict[str, str], space: dict[str, list[str]], said: str, planned: list[Plan], tmp_path: Path
) -> None:
    manifest = without_human_label(tmp_path / "m.parquet", 2)
    common = {"preset": "smoke", "out": tmp_path, "device": "cpu", "changes": changes}
    search = Search(manifest, "vgg-all", space, 1, 0, (), common)
    with pytest.raises(UserError, match=said):
        run_search(search)
    assert not planned
    assert not (search.folder / "holdout.parquet").exists()


def test_other_searches_have_other_folders_and_the_same_one_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = faces_manifest(tmp_path / "m.parquet", *HUMAN, *MODEL)
    first, second = tmp_path / "first.pth", tmp_path / "second.pth"

    def folder(**common: Any) -> Path:
        return of_faces(manifest, tmp_path, **common).folder

    with pytest.raises(UserError, match=r"first\.pth"):
        folder(init=first)
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    started = folder(init=first)
    assert started == folder(init=second)
    first.write_bytes(b"others")
    assert len({started, folder(init=first), folder()}) == 3
    by_default = folder(preset=None, device="auto")
    assert by_default == folder(preset="small")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert folder(preset=None, device="auto") == folder(preset="paper", device="cuda")
    assert len({by_default, folder(preset=None, device="auto"), folder(preset="small", device="cuda")}) == 3


def test_a_trial_that_a_kill_left_with_some_of_its_values_is_not_run(planned: list[Plan], tmp_path: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    search = of_faces(faces_manifest(tmp_path / "m.parquet", *HUMAN, *MODEL), tmp_path)
    search.folder.mkdir()
    storage = JournalStorage(JournalFileBackend(str(search.folder / "trials.log")))
    study = optuna.create_study(storage=storage, study_name="search", direction="maximize")
    study.ask().suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    whole = study.ask()
    values = (
        whole.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        whole.suggest_categorical("share", ["head", "trunk"]),
    )
    (trial,) = run_search(search)
    assert (trial.number, *trial.values.values()) == (1, *map(str, values))
    assert len(planned) == 1
    assert [each.state for each in study.get_trials()] == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_search_scores_on_noisy_labels_and_goes_on(digits_manifest: Path, tmp_path: Path) -> None:
    def search(trials: int) -> Search:
        changes = dict(setting.split("=") for setting in TINY) | {"epochs": "1"}
        common = {"preset": "smoke", "out": tmp_path, "device": "cpu", "changes": changes}
        space = {"learning_rate": ["1e-4..1e-2:log"], "share": ["head", "trunk"]}
        return Search(Manifest.open(digits_manifest), "vgg-all", space, trials, 0, (), common)

    (first,) = run_search(search(1))
    assert first.score is not None
    assert 1e-4 <= float(first.values["learning_rate"]) <= 1e-2
    assert first.values["share"] in ("head", "trunk")
    found = run_search(search(2))
    assert found[0] == first
    assert [trial.number for trial in found] == [0, 1]
    assert best_trial(found) == max(found, key=lambda trial: trial.score or 0)
    folder = search(2).folder
    document = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    assert [each["score"] for each in document["trials"]] == [trial.score for trial in found]
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in tmp_path.glob("holdout-*/result.json")]
    assert len(runs) == 2
    assert {run["truth"]["class"] for run in runs} == {"class_holdout"}
    assert "class_clean" not in Manifest.open(folder / "holdout.parquet").header.label_sets


def test_trials_of_one_round_with_the_same_values_are_one_run(digits_manifest: Path, tmp_path: Path) -> None:
    changes = dict(setting.split("=") for setting in TINY) | {"epochs": "1"}
    common = {"preset": "smoke", "out": tmp_path, "device": "cpu", "changes": changes}
    search = Search(Manifest.open(digits_manifest), "vgg-all", {"share": ["head", "trunk"]}, 3, 0, (), common)
    found = run_search(search, jobs=3)
    assert [trial.failure for trial in found] == [""] * 3
    scores = {trial.values["share"]: trial.score for trial in found}
    assert [trial.score for trial in found] == [scores[trial.values["share"]] for trial in found]
    assert len(list(tmp_path.glob("holdout-*"))) == len(scores)
    with locked(search.folder), pytest.raises(UserError, match="Another process is working on"):
        run_search(search)


def test_a_search_ends_with_the_command_that_trains_as_it_did(
    digits_manifest: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noisyfer.benchmark.search.run_search", lambda *_, **__: [Trial(0, {"gamma": "0.5"}, 0.9, "")])
    words = ["--manifest", str(digits_manifest), "--method", "vgg-all", "--preset", "smoke", "--seeds", "3"]
    words += ["--out", "else", "--labels", "class_flip20", "--set", "gamma=0..1", "--set", "share=trunk"]
    code, said = sweep(*words, "--search", "1")
    assert code == 0, said
    expected = f"noisyfer bench --method vgg-all --manifest {digits_manifest} --labels class_flip20 --preset smoke"
    assert f"{expected} --out else --seed 3 --set share=trunk --set gamma=0.5" in " ".join(said.split())
