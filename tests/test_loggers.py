"""Loggers behind one interface: what they are told, over a resumed run too; MLflow and W&B where they are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from noisyfer.benchmark.loggers import LOGGERS, Loggers, check_loggers
from noisyfer.benchmark.run import execute, plan_run
from noisyfer.cli import main
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest

ROW = {
    "epoch": 1,
    "losses": {"cross_entropy": 2.0},
    "agreement": {"class_clean": 0.5},
    "test": {"class": {"accuracy": 0.25}},
}
FIGURES = {"losses/cross_entropy": 2.0, "agreement/class_clean": 0.5, "test/class/accuracy": 0.25}


class Notebook:
    """Writes down what it is told."""

    told: list[Any] = []  # noqa: RUF012

    def __init__(self, folder: Path, epochs_done: int, options: Mapping[str, Any]) -> None:
        self.told.append(("begins", folder.name, epochs_done, options["epochs"], options["method"]))

    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        if figures.get("test/class/accuracy") == -1:
            raise RuntimeError("no figures below zero")
        self.told.append((epoch, sorted(figures)))

    def close(self) -> None:
        self.told.append("closed")


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setitem(LOGGERS, "notebook", (Notebook, "json"))
    monkeypatch.setattr(Notebook, "told", [])
    return Notebook.told


def test_a_run_tells_its_loggers_every_epoch(digits_manifest: Path, tmp_path: Path, notebook: list[Any]) -> None:
    changes = {"train_images": 64, "test_images": 40, "agreement_images": 40, "batch_size": 32}
    manifest = Manifest.open(digits_manifest)
    plan = plan_run(
        manifest, "vgg-all", preset="smoke", out=tmp_path, changes=changes, loggers=["tensorboard", "notebook"]
    )
    execute(plan)
    begins, first, second, last = notebook
    assert begins == ("begins", plan.folder.path.name, 0, 2, "vgg-all")
    assert [first[0], second[0], last] == [1, 2, "closed"]
    assert {"losses/cross_entropy", "test/class/accuracy", "agreement/class_clean"} <= set(first[1])
    assert list((plan.folder.path / "tensorboard").iterdir())
    # where figures go does not decide what comes out: the run is the same one
    silent = plan_run(manifest, "vgg-all", preset="smoke", out=tmp_path, changes=changes, loggers=[])
    assert silent.folder.path == plan.folder.path


def test_a_logger_that_fails_is_a_sentence_and_the_others_are_closed(tmp_path: Path, notebook: list[Any]) -> None:
    bad = {**ROW, "test": {"class": {"accuracy": -1}}}
    with (
        pytest.raises(UserError, match=r"notebook cannot take the run's figures \(no figures below zero\)"),
        Loggers(["notebook"], tmp_path, 0, {"epochs": 1, "method": "vgg-all"}) as loggers,
    ):
        loggers.add(bad)
    assert notebook[-1] == "closed"


def test_a_logger_that_cannot_begin_leaves_none_open(
    tmp_path: Path, notebook: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Notebook):
        def __init__(self, folder: Path, epochs_done: int, options: Mapping[str, Any]) -> None:
            raise RuntimeError("no ink")

    monkeypatch.setitem(LOGGERS, "broken", (Broken, "json"))
    with pytest.raises(UserError, match="broken cannot take"):
        Loggers(["notebook", "broken"], tmp_path, 0, {"epochs": 1, "method": "vgg-all"})
    assert notebook[-1] == "closed"


def test_unknown_and_missing_loggers_are_refused(monkeypatch: pytest.MonkeyPatch, digits_manifest: Path) -> None:
    monkeypatch.setitem(LOGGERS, "wandb", (LOGGERS["wandb"][0], "no_such_package_of_figures"))
    with pytest.raises(UserError, match="pip install no_such_package_of_figures"):
        check_loggers(["wandb"])
    words = ["bench", "--method", "vgg-all", "--manifest", str(digits_manifest), "--preset", "smoke"]
    found = CliRunner().invoke(main, [*words, "--logger", "tensorbored"])
    assert found.exit_code == 1
    assert "tensorboard" in found.output


def test_mlflow_keeps_one_run_over_a_resumed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "run"
    folder.mkdir()
    for epoch in (1, 2):
        with Loggers(["mlflow"], folder, epoch - 1, {"epochs": 2, "method": "vgg-all"}) as loggers:
            loggers.add({**ROW, "epoch": epoch})
    client = tracking.MlflowClient()
    run = client.get_run(json.loads((folder / "mlflow.json").read_text(encoding="utf-8"))["run"])
    assert run.data.metrics == FIGURES
    assert run.data.params == {"epochs": "2", "method": "vgg-all"}
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "test/class/accuracy")
    assert [each.step for each in history] == [1, 2]


def test_wandb_writes_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    program = (
        "from pathlib import Path\nfrom noisyfer.benchmark.loggers import Loggers\n"
        f"with Loggers(['wandb'], Path({str(tmp_path)!r}), 0, {{'epochs': 1, 'method': 'vgg-all'}}) as loggers:\n"
        f"    loggers.add({ROW!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    content = file.read_bytes()
    for name in FIGURES:
        assert name.encode() in content
