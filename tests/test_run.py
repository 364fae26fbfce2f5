"""A run: every method ends, resumes bit for bit, tells what it did, and refuses what it cannot use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from method_builders import WEIGHTS_ONLY
from noisyfer.benchmark.bench import plan_bench, run_bench
from noisyfer.benchmark.run import Plan, execute, plan_run
from noisyfer.benchmark.sweep import Queue, plan_sweep
from noisyfer.core.errors import UserError
from noisyfer.manifest import LabelSet, Manifest
from noisyfer.models.methods import METHODS
from noisyfer.models.methods.vgg_all import VGGAll
from noisyfer.training.loop import TrainingDiverged

TINY = {"train_images": 96, "test_images": 40, "agreement_images": 40, "batch_size": 32}


class Onlooker:
    """Notes what happens, and presses Ctrl-C at one step."""

    def __init__(self, interrupt_at: tuple[int, int] | None = None) -> None:
        self.interrupt_at = interrupt_at
        self.rows: list[Mapping[str, Any]] = []
        self.resumed_after: int | None = None

    def started(self, plan: Plan, epochs_done: int) -> None:
        self.resumed_after = epochs_done

    def decoding(self, split: str, done: int, total: int) -> None:
        assert done <= total

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        assert 1 <= step <= steps
        if (epoch, step) == self.interrupt_at:
            raise KeyboardInterrupt

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)


def plan(manifest: Path, method: str, out: Path, **more: Any) -> Plan:
    changes = {**TINY, **more.pop("changes", {})}
    return plan_run(Manifest.open(manifest), method, preset="smoke", out=out, changes=changes, **more)


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def rows_of(planned: Plan) -> list[dict[str, Any]]:
    return [json.loads(line) for line in planned.folder.metrics.read_text().splitlines()]


def assert_same_tensors(first: Any, second: Any) -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same_tensors(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same_tensors(one, other)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


def assert_same_outcome(one: Plan, other: Plan) -> None:
    assert without_times(rows_of(one)) == without_times(rows_of(other))
    first = torch.load(one.folder.checkpoint, weights_only=True)
    assert_same_tensors(first, torch.load(other.folder.checkpoint, weights_only=True))
    for name in ("last", "oracle"):
        assert json.loads(one.folder.result.read_text())[name] == json.loads(other.folder.result.read_text())[name]


@pytest.mark.pictures
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_leaves_a_whole_folder_and_goes_on_bit_for_bit(
    method: str, digits_manifest: Path, tmp_path: Path
) -> None:
    # crops, dropout and latent noise all draw random numbers: none of them may depend on where the run stopped
    changes = {"epochs": 3, "augment": "crop-flip"}
    whole = plan(digits_manifest, method, tmp_path / "whole", changes=changes)
    onlooker = Onlooker()
    check_folder(whole, execute(whole, onlooker))
    assert len(onlooker.rows) == 3
    if method in WEIGHTS_ONLY:
        return
    broken = plan(digits_manifest, method, tmp_path / "broken", changes=changes)
    with pytest.raises(KeyboardInterrupt):
        execute(broken, Onlooker(interrupt_at=(3, 2)))  # after every pretraining, so that its state is there too
    assert not broken.folder.result.exists()
    second = Onlooker()
    execute(broken, second)
    assert second.resumed_after == 2
    assert_same_outcome(whole, broken)


def check_folder(planned: Plan, result: dict[str, Any]) -> None:
    assert result == json.loads(planned.folder.result.read_text())
    names = {path.name for path in planned.folder.path.iterdir()}
    assert names >= {"config.json", "metrics.jsonl", "checkpoint.pt", "result.json", "curves.png", "tensorboard"}
    assert "confusion_class.png" in names
    method = planned.config.method
    adversarial = method.startswith("proposed")
    assert ("synthesis.png" in names) == (adversarial and method != "proposed-no-decoder")
    assert not [name for name in names if name.startswith(".tmp")]
    last = rows_of(planned)[-1]
    assert 0 <= last["test"]["class"]["accuracy"] <= 1
    assert set(last["agreement"]) >= {"class_flip20", "class_flip30", "class_flip40", "class_clean"}
    assert (set(last["heads"]) == set(planned.config.labels)) == (adversarial or method in ("ltnet", "crowd-layer"))
    assert np.sum(result["confusion"]["class"]) == 40
    assert result["last"]["test"] == last["test"]
    said = pq.read_table(planned.folder.predictions).to_pandas()
    assert (said["class"] == said["class_true"]).mean() == pytest.approx(last["test"]["class"]["accuracy"])
    assert said["id"].is_unique
    config = json.loads(planned.folder.config.read_text())
    assert config["run"]["options"]["width"] == 1 / 16
    assert config["manifest"]["sha256"] == planned.manifest.fingerprint
    assert config["versions"]["torch"] == torch.__version__
    assert list((planned.folder.path / "tensorboard").glob("events.*"))


def test_a_run_killed_at_any_moment_goes_on(digits_manifest: Path, tmp_path: Path) -> None:
    changes = {"epochs": 4}
    whole = plan(digits_manifest, "vgg-all", tmp_path / "whole", changes=changes)
    execute(whole)
    settings = [f"{key}={value}" for key, value in {**TINY, "epochs": 4}.items()]
    command = [sys.executable, "-m", "noisyfer.cli", "bench", "--method", "vgg-all", "--preset", "smoke"]
    command += ["--manifest", str(digits_manifest), "--out", str(tmp_path / "killed")]
    for setting in settings:
        command += ["--set", setting]
    killed = plan(digits_manifest, "vgg-all", tmp_path / "killed", changes=changes)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for epochs in (1, 2):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (killed.folder.metrics.exists() and len(rows_of(killed)) >= epochs):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not killed.folder.result.exists()
    execute(killed)
    assert_same_outcome(whole, killed)


def test_a_finished_run_is_read_and_only_repeated_when_asked(digits_manifest: Path, tmp_path: Path) -> None:
    planned = plan(digits_manifest, "vgg-all", tmp_path)
    first = execute(planned)
    onlooker = Onlooker()
    assert execute(planned, onlooker) == first
    assert onlooker.resumed_after is None
    repeated = execute(planned, onlooker, again=True)
    assert onlooker.resumed_after == 0
    assert repeated["last"] == first["last"]


def test_a_result_that_no_run_wrote_is_damaged(digits_manifest: Path, tmp_path: Path) -> None:
    planned = plan(digits_manifest, "vgg-all", tmp_path)
    planned.folder.path.mkdir()
    planned.folder.result.write_text("{}")
    with pytest.raises(
        UserError, match=r"result\.json is damaged: its 'truth' is missing .* remove it to start over\."
    ):
        execute(planned)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("metrics.jsonl", '{"epoch": 1}\n{"epo', r"cannot be read \(Unterminated string"),
        ("metrics.jsonl", "[1]", r"cannot be read \(a line holds no JSON object\)"),
        ("result.json", "{}", "is damaged: its 'truth' is missing or not what a run writes. Restore the file"),
    ],
)
def test_a_damaged_run_of_a_sweep_is_a_sentence(
    file: str, content: str, said: str, digits_manifest: Path, tmp_path: Path
) -> None:
    runs = plan_sweep(Manifest.open(digits_manifest), ["vgg-all"], {}, [0], preset="smoke", device="cpu", out=tmp_path)
    damaged = runs[0].plan.folder.path / file
    damaged.parent.mkdir()
    damaged.write_text(content)
    with pytest.raises(UserError, match=f"^{damaged} {said}"):
        Queue({}, runs)


def test_a_comparison_of_damaged_metrics_is_a_sentence(
    digits_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noisyfer.benchmark.bench.execute", lambda *_, **__: {})
    plans = plan_bench(Manifest.open(digits_manifest), ["vgg-all", "sce"], preset="smoke", out=tmp_path, device="cpu")
    for content, said in (
        ('{"epoch"', r"cannot be read \("),
        ("[1]", "no JSON object"),
        ('{"epoch": 1}', "damaged at"),
    ):
        plans[0].folder.path.mkdir(exist_ok=True)
        plans[0].folder.metrics.write_text(content)
        with pytest.raises(UserError, match=rf"metrics\.jsonl .*{said}"):
            run_bench(plans)


def test_damaged_metrics_of_a_run_under_way_are_a_sentence(digits_manifest: Path, tmp_path: Path) -> None:
    planned = plan(digits_manifest, "vgg-all", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        execute(planned, Onlooker(interrupt_at=(2, 1)))
    planned.folder.metrics.write_text("{")
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be read"):
        execute(planned)


def test_a_seed_is_the_same_however_it_is_written(digits_manifest: Path, tmp_path: Path) -> None:
    def of(seed: Any) -> Plan:
        manifest = Manifest.open(digits_manifest)
        return plan_bench(manifest, ["vgg-all"], preset="smoke", out=tmp_path, device="cpu", seed=seed)[0]

    assert of(np.int64(3)).folder == of(3).folder
    assert json.dumps(of(np.int64(3)).config.to_json()["seed"]) == "3"
    for wrong in ("0", 1.0, -1, True, None):
        with pytest.raises(UserError, match=r"^seed is .*; a whole number of at least 0 was expected\.$"):
            of(wrong)


def test_another_configuration_is_another_folder_that_says_what_differs(digits_manifest: Path, tmp_path: Path) -> None:
    first = plan(digits_manifest, "vgg-all", tmp_path)
    execute(first)
    other = plan(digits_manifest, "vgg-all", tmp_path, changes={"learning_rate": 0.01})
    assert other.folder.path != first.folder.path
    assert other.others == ((first.folder.path, ("learning_rate: 0.0005 → 0.01",)),)
    assert plan(digits_manifest, "vgg-all", tmp_path, seed=1).folder.path != first.folder.path


def test_a_folder_of_another_configuration_is_refused(digits_manifest: Path, tmp_path: Path) -> None:
    planned = plan(digits_manifest, "vgg-all", tmp_path)
    execute(planned)
    stored = json.loads(planned.folder.config.read_text())
    stored["run"]["settings"]["batch_size"] = 7
    planned.folder.config.write_text(json.dumps(stored))
    planned.folder.result.unlink()
    with pytest.raises(UserError, match=r"another configuration \(batch_size: 7 → 32\)"):
        execute(planned)


def test_a_second_process_on_one_run_is_told(digits_manifest: Path, tmp_path: Path) -> None:
    planned = plan(digits_manifest, "vgg-all", tmp_path)
    with planned.folder.locked(), pytest.raises(UserError, match="Another process"):
        execute(planned)


def test_a_damaged_checkpoint_is_refused_with_the_remedy(digits_manifest: Path, tmp_path: Path) -> None:
    planned = plan(digits_manifest, "vgg-all", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        execute(planned, Onlooker(interrupt_at=(2, 1)))
    whole = planned.folder.checkpoint.read_bytes()
    for damaged in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        planned.folder.checkpoint.write_bytes(damaged)
        with pytest.raises(UserError, match=r"cannot be read .* --again"):
            execute(planned)
    execute(planned, again=True)


def test_a_checkpoint_that_would_run_code_does_not(digits_manifest: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {canary}",)

    planned = plan(digits_manifest, "vgg-all", tmp_path / "runs")
    with pytest.raises(KeyboardInterrupt):
        execute(planned, Onlooker(interrupt_at=(2, 1)))
    torch.save({"epoch": 1, "method": Attack()}, planned.folder.checkpoint)
    with pytest.raises(UserError, match="cannot be read"):
        execute(planned)
    assert not canary.exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
    digits_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(digits_manifest, "vgg-all", tmp_path)
    updates = []
    original = VGGAll.update

    def diverging(self: VGGAll, batch: Any) -> dict[str, torch.Tensor]:
        updates.append(original(self, batch))
        return {"loss": torch.tensor(float("nan"))} if len(updates) == 5 else updates[-1]

    monkeypatch.setattr(VGGAll, "update", diverging)
    with pytest.raises(TrainingDiverged, match=r"loss became nan at step 2 of epoch 2"):
        execute(planned)
    assert torch.load(planned.folder.checkpoint, weights_only=True)["epoch"] == 1
    assert not planned.folder.result.exists()


def test_the_majority_of_some_sets_is_voted_anew_and_the_stored_one_used_for_all(
    digits_manifest: Path, tmp_path: Path
) -> None:
    of_all = plan(digits_manifest, "vgg-majority", tmp_path)
    assert of_all.choice.voted is None
    assert [spec.name for spec in of_all.choice.specs] == ["class_majority"]
    of_one = plan(digits_manifest, "vgg-majority", tmp_path, labels=["class_flip20"])
    assert of_one.choice.voted == "class_majority"
    rows = execute(of_one)["last"]["agreement"]
    assert rows["class_majority"] == rows["class_flip20"]


@pytest.mark.parametrize("parents", [5, [["a"]], None])
def test_a_vote_that_does_not_say_whose_it_is_is_not_taken_for_one(
    parents: object, digits_manifest: Path, tmp_path: Path
) -> None:
    manifest = Manifest.open(digits_manifest)
    foreign = LabelSet.categorical("class", "foreign", "aggregate", {"method": "majority", "parents": parents})
    labels = manifest.select(label_sets=["class_clean", "class_flip20"])
    path = labels.with_label_set(foreign, {"label": [0] * manifest.rows}, tmp_path / "m.parquet").path
    assert plan(path, "vgg-majority", tmp_path).choice.voted == "class_majority"


def test_unknown_label_sets_and_options_answer_with_what_there_is(digits_manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"class_flip22.*Did you mean 'class_flip20'\?.*class_flip40"):
        plan(digits_manifest, "proposed", tmp_path, labels=["class_flip22"])
    with pytest.raises(UserError, match=r"no option named 'epoch'. Did you mean 'epochs'"):
        plan(digits_manifest, "proposed", tmp_path, changes={"epoch": 3})
    with pytest.raises(UserError, match="Did you mean 'proposed'"):
        plan(digits_manifest, "propsed", tmp_path)
    for bad in ("-1", "nan", "inf", "much"):
        with pytest.raises(UserError, match=r"^lambda is "):
            plan(digits_manifest, "proposed", tmp_path, changes={"lambda": bad})
    with pytest.raises(UserError, match=r"48.*32, 64, 128"):
        plan(digits_manifest, "proposed", tmp_path, changes={"image_size": 48})


def test_a_vote_over_a_vote_is_refused(digits_manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="class_majority is one already"):
        plan(digits_manifest, "vgg-majority", tmp_path, labels=["class_flip20", "class_majority"])


def test_an_adversarial_part_that_would_never_begin_is_refused(digits_manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="would never begin"):
        plan(digits_manifest, "proposed", tmp_path, changes={"start_epoch": 2})


def test_weights_that_are_not_finite_are_not_saved(
    digits_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(digits_manifest, "vgg-all", tmp_path, changes={"batch_size": 96})  # one step an epoch
    original = VGGAll.update

    def spoilt(self: VGGAll, batch: Any) -> dict[str, torch.Tensor]:
        losses = original(self, batch)
        next(self.network.parameters()).data.fill_(float("nan"))
        return losses

    monkeypatch.setattr(VGGAll, "update", spoilt)
    with pytest.raises(TrainingDiverged, match="weights of the classifier are no longer finite after epoch 1"):
        execute(planned)
    assert not planned.folder.checkpoint.exists()


def test_training_learns(digits_manifest: Path, tmp_path: Path) -> None:
    """The whole path from manifest to score: clean labels of real digits, far above the 10 % of guessing."""
    changes = {"epochs": 10, "train_images": 800, "test_images": 0, "width": 0.125, "learning_rate": 1e-3}
    result = execute(plan(digits_manifest, "vgg-clean", tmp_path, changes=changes))
    assert result["last"]["test"]["class"]["accuracy"] > 0.5
