"""Runs side by side: all end, a failed or killed one stops no other, and Ctrl-C leaves none behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from noisyfer.benchmark.grid import run_grid
from noisyfer.benchmark.run import Plan, execute, plan_run
from noisyfer.manifest import Manifest

TINY = {"train_images": 64, "test_images": 40, "agreement_images": 40, "batch_size": 32}


def plan(manifest: Path, out: Path, seed: int = 0, **changes: Any) -> Plan:
    return plan_run(Manifest.open(manifest), "vgg-all", preset="smoke", seed=seed, out=out, changes={**TINY, **changes})


def test_a_grid_gives_what_single_runs_give_and_one_that_fails_stops_no_other(
    digits_manifest: Path, tmp_path: Path
) -> None:
    single = execute(plan(digits_manifest, tmp_path / "single"))
    plans = [
        plan(digits_manifest, tmp_path / "grid", learning_rate=1e30),
        plan(digits_manifest, tmp_path / "grid"),
        plan(digits_manifest, tmp_path / "grid", epochs=100_000),
    ]
    told: list[tuple[int, tuple[Any, ...]]] = []

    def heed(place: int, message: tuple[Any, ...]) -> None:
        told.append((place, message))
        children = multiprocessing.active_children()
        if (place, message[0], len(children)) == (2, "step", 1):
            # only the endless run is left: it is killed as the kernel would for lack of memory
            children[0].kill()

    outcomes = run_grid(plans, jobs=2, heed=heed)
    assert outcomes[0].result is None
    assert "smaller learning_rate" in outcomes[0].failure
    assert outcomes[1].failure == ""
    assert outcomes[1].result is not None
    for name in ("last", "oracle", "confusion"):
        assert outcomes[1].result[name] == single[name]
    assert outcomes[2].result is None
    assert "killed by signal 9" in outcomes[2].failure
    assert [message[0] for place, message in told if place == 1 and message[0] in ("started", "epoch", "finished")] == [
        "started",
        "epoch",
        "epoch",
        "finished",
    ]
    assert {place for place, message in told if message[0] == "failed"} == {0, 2}
    # a finished run is only read: nothing but its end is told
    told.clear()
    assert run_grid(plans[1:2], heed=heed)[0] == outcomes[1]
    assert [(place, message[0]) for place, message in told] == [(0, "finished")]
    # and one whose result is damaged is a failure of this run alone
    plans[1].folder.result.write_text("{}", encoding="utf-8")
    assert "Restore the file, or remove it" in run_grid(plans[1:2])[0].failure


def test_plans_of_one_folder_are_one_run_and_all_of_them_are_told(digits_manifest: Path, tmp_path: Path) -> None:
    plans = [plan(digits_manifest, tmp_path, learning_rate=rate) for rate in ("5e-4", "0.0005", "1e30", "5e-4")]
    told: list[tuple[int, str]] = []
    first, second, failed, last = run_grid(
        plans, jobs=2, again=True, heed=lambda place, message: told.append((place, message[0]))
    )
    assert first.result is not None
    assert first == second == last
    assert "smaller learning_rate" in failed.failure
    kinds = [[kind for place, kind in told if place == each and kind != "decoding"] for each in range(4)]
    assert kinds[0] == kinds[1] == kinds[3]
    assert kinds[0].count("started") == 1
    assert kinds[0][-1] == "finished"
    assert kinds[2][-1] == "failed"


def members(session: int) -> str:
    """The processes of a session."""
    return subprocess.run(["ps", "-o", "pid=", "-s", str(session)], capture_output=True, text=True, check=False).stdout


def test_ctrl_c_ends_every_process_and_the_same_command_goes_on(digits_manifest: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "noisyfer.cli", "bench", "--table", "3", "--method", "proposed", "--preset", "smoke"),
        *("--manifest", str(digits_manifest), "--seeds", "0", "--jobs", "2", "--set", "agreement_images=40"),
    ]
    # an own session: the signal must reach the command alone, as it would if only it were in the terminal's foreground
    started = subprocess.Popen(
        [*command, "--epochs", "500"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a background job's children would ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert started.stdout is not None
    epochs: set[str] = set()
    while len(epochs) < 2:
        line = started.stdout.readline()
        assert line, "the command ended before both runs had an epoch"
        if " epoch " in line:
            epochs.add(line.split(", seed")[0])
    os.killpg(started.pid, signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130, errors
    assert errors.strip() == "Stopped. Nothing half-written is left. To go on, run the same command again."
    until = time.monotonic() + 20  # Python's own resource tracker ends a moment after the others
    while members(started.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not members(started.pid)
    folders = list((tmp_path / "runs").glob("digits-proposed-*"))
    assert len(folders) == 2
    for folder in folders:
        assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])["epoch"] == 1
        assert not list(folder.glob(".tmp*"))
