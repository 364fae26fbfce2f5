"""Sweeps: what a grid is made of, its queue after kills and failures, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import noisyfer
import pytest
import torch
from click.testing import CliRunner
from noisyfer.benchmark.grid import Outcome
from noisyfer.benchmark.sweep import Queue, plan_sweep
from noisyfer.cli import main
from noisyfer.core.errors import UserError
from noisyfer.core.names import number_ranges
from noisyfer.manifest import Manifest
from test_bench_init import vgg_face
from test_protocols import HUMAN, MODEL
from test_protocols import manifest as faces_manifest

TINY = ("train_images=64", "test_images=40", "agreement_images=40", "batch_size=32")
SETS = [word for setting in TINY for word in ("--set", setting)]


def sweep(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(main, ["sweep", *words])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def queue(out: Path) -> dict[str, object]:
    (file,) = out.glob("sweep-*/queue.json")
    found: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
    return found


def states(out: Path) -> list[str]:
    return [run["state"] for run in queue(out)["runs"]]  # type: ignore[index, attr-defined]


def test_ranges_of_seeds() -> None:
    assert number_ranges("0-2,5, 1") == [0, 1, 2, 5]
    assert number_ranges("7") == [7]
    wrong_ones = ("2-0", "backwards"), ("x", "no whole number"), ("-1", "no whole number"), ("1-", "no range")
    for wrong, said in (*wrong_ones, (",", "names no number")):
        with pytest.raises(UserError, match=said):
            number_ranges(wrong)


def test_every_combination_once_and_a_method_without_an_option_once(digits_manifest: Path, tmp_path: Path) -> None:
    values = {"lambda": ["0.2", "0.4", "0.2"], "batch_size": ["16", "32"], "epochs": ["3"]}
    manifest = Manifest.open(digits_manifest)
    runs = plan_sweep(manifest, ["vgg-all", "proposed"], values, [0, 4], preset="smoke", out=tmp_path)
    assert [(run.row.system, run.plan.config.seed) for run in runs] == [
        (system, seed)
        for seed in (0, 4)
        for system in (
            "vgg-all, batch_size 16",
            "vgg-all, batch_size 32",
            "proposed, lambda 0.2, batch_size 16",
            "proposed, lambda 0.2, batch_size 32",
            "proposed, lambda 0.4, batch_size 16",
            "proposed, lambda 0.4, batch_size 32",
        )
    ]
    assert len({run.plan.folder.path for run in runs}) == len(runs)
    assert {run.plan.config.settings.epochs for run in runs} == {3}
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="sedes"):
        plan_sweep(manifest, ["vgg-all"], {"sedes": ["1"]}, [0], preset="smoke")
    with pytest.raises(UserError, match="batch_size has no values"):
        plan_sweep(manifest, ["vgg-all"], {"batch_size": []}, [0], preset="smoke")
    with pytest.raises(UserError, match="No seed is named"):
        noisyfer.sweep("vgg-all", seeds=(), manifest=digits_manifest, preset="smoke", progress=False)
    with pytest.raises(UserError, match="batch_size is 1;"):  # the second value too, before anything starts
        plan_sweep(manifest, ["vgg-all"], {"batch_size": ["16", "1"]}, [0], preset="smoke", out=tmp_path)


def test_a_failure_stops_no_other_run_and_the_queue_says_so(digits_manifest: Path, here: Path) -> None:
    grid = here / "grid.toml"
    sizes = "train_images = 64\ntest_images = 40\nagreement_images = 40\nbatch_size = 32\nlearning_rate = [1e30, 1e-3]"
    grid.write_text(
        f'method = "vgg-all"\nmanifest = "{digits_manifest}"\npreset = "smoke"\n[set]\n{sizes}\n', encoding="utf-8"
    )
    code, said = sweep(str(grid), "--jobs", "2", "--json")
    assert code == 1
    assert "1 of 2 runs failed" in said
    assert states(here / "runs") == ["failed", "finished"]
    first, second = queue(here / "runs")["runs"]  # type: ignore[misc, attr-defined]
    assert "learning_rate" in first["failure"]
    assert second["epochs"] == 2
    assert 0 <= second["score"] <= 1
    (folder,) = (here / "runs").glob("sweep-*")
    table = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    assert [run["system"] for run in table["runs"] if "result" in run] == ["vgg-all, learning_rate 0.001"]
    code, said = sweep(str(folder), "--list", "--json")
    assert code == 0
    assert [run["state"] for run in json.loads(said)] == ["waiting", "finished"]


def test_a_killed_sweep_goes_on_from_its_folder(digits_manifest: Path, here: Path) -> None:
    words = ["--method", "vgg-all", "--preset", "smoke", "--seeds", "0-1", "--manifest", str(digits_manifest), *SETS]
    command = [sys.executable, "-m", "noisyfer.cli", "sweep", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 1/2" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert states(here / "runs") == ["running", "waiting"]
    (folder,) = (here / "runs").glob("sweep-*")
    code, said = sweep(str(folder))
    assert code == 0, said
    assert "goes on after epoch 1" in said
    assert states(here / "runs") == ["finished", "finished"]
    assert queue(here / "runs")["request"]["seeds"] == "0-1"  # type: ignore[index]
    grid = {name: [value] for name, value in (setting.split("=") for setting in TINY)}
    runs = noisyfer.sweep("vgg-all", grid=grid, seeds=(0, 1), manifest=digits_manifest, preset="smoke", progress=False)
    assert [run is not None and run.result["seed"] for run in runs] == [0, 1]
    assert queue(here / "runs")["request"]["seeds"] == "0,1"  # type: ignore[index]


def test_a_sweep_of_the_api_goes_on_as_itself_from_its_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relabelled = faces_manifest(here / "raf.parquet", HUMAN[0], *MODEL).path
    torch.save(vgg_face(1 / 16), here / "vgg_face.pth")
    (here / "images").mkdir()

    def leave(queue: Queue, **_: object) -> list[Outcome]:
        queue.write()
        return [Outcome(None, "not run")] * len(queue.runs)

    monkeypatch.setattr("noisyfer.benchmark.sweep.run_sweep", leave)
    given = {"labels": "expression_teacher", "preset": "smoke", "protocol": "raf-base"}
    places = {"init": here / "vgg_face.pth", "data": here / "images"}
    grid = {"gamma": [0.5, 1]}
    noisyfer.sweep("vgg-all", grid=grid, seeds=(0, 3), manifest=relabelled, **given, **places, progress=False)  # type: ignore[arg-type]
    asked = queue(here / "runs")
    assert {name: asked["request"][name] for name in (*given, *places)} == {  # type: ignore[index]
        **given,
        **{name: str(place) for name, place in places.items()},
    }
    (folder,) = (here / "runs").glob("sweep-*")
    code, said = sweep(str(folder), "--list", "--json")
    assert code == 0, said
    assert json.loads(said) == asked["runs"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Missing option '--method'"),
        (("nothere.toml",), "Cannot read the options in nothere.toml"),
        (("--method", "vgg-all", "--set", "learning_rate=1e-4..1e-2"), "only a search takes"),
        (("--method", "vgg-all", "--set", "learning_rate=1..0.1", "--search", "2"), "no range"),
        (("--method", "vgg-all", "--set", "learning_rate=-1..1", "--search", "2"), "must be greater than 0"),
        (("--method", "vgg-all", "--set", "learning_rate=0.1", "--search", "2"), "needs something to choose"),
        (("--method", "vgg-clean", "--set", "learning_rate=0.1..1", "--search", "2"), "learns from clean labels"),
        (("--method", "vgg-all,sce", "--set", "learning_rate=0.1..1", "--search", "2"), "one --method"),
        (("--method", "vgg-all", "--set", "batch_size=", "--search", "2"), "batch_size has no values"),
        (("--method", "vgg-all", "--set", "learning_rate=0.1..1", "--search", "2", "--list"), "leave out --again and"),
        (("--method", "vgg-all", "--set", "learning_rate=0.1..1", "--search", "2", "--again"), "leave out --again and"),
        (("--method", "vgg-all", "--seeds", ","), "names no number"),
        (("--method", "vgg-all", "--jobs", "0"), "at least one run"),
        (("--method", "vgg-all", "--seeds", "2-1"), "backwards"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(
    words: tuple[str, ...], said: str, digits_manifest: Path, here: Path
) -> None:
    code, output = sweep("--manifest", str(digits_manifest), "--preset", "smoke", *words)
    assert code in (1, 2)
    assert said in output
    assert "something to choose" not in said or not (here / "runs").exists()


def test_a_folder_that_is_no_sweep_is_refused(here: Path) -> None:
    assert "is no sweep" in sweep(str(here))[1]
    (here / "queue.json").write_text('{"request": {}, "runs": [{"state": "sleeping"}]}', encoding="utf-8")
    assert "no queue of 'noisyfer sweep'" in sweep(str(here))[1]
