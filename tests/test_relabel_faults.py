"""What can go wrong while a job runs: a full disk, images that go away, Ctrl-C, large results."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noisyfer.core.errors import UserError
from noisyfer.core.files import locked
from noisyfer.manifest import Manifest
from noisyfer.relabel import job as job_module
from noisyfer.relabel import shards as shards_module
from noisyfer.relabel.job import run_job
from noisyfer.relabel.plan import JobOptions, plan_job
from noisyfer.relabel.shards import ShardFolder
from PIL import Image
from relabel_world import ByColour, World, write_pictures

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

OPTIONS = JobOptions(batch=4, shard_rows=8)


def plan(world: Path, out: Path, **about: Any) -> Any:
    return plan_job("world", World(world, **about), [ByColour()], out, OPTIONS)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "world", 30)
    return tmp_path / "world"


def test_a_full_disk_is_a_sentence_and_the_job_goes_on_when_there_is_room(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_job(plan(world, tmp_path / "whole" / "m.parquet", count=30)).manifest
    write, calls = shards_module.pq.write_table, []

    def full(table: Any, path: Path, **options: Any) -> None:
        calls.append(path)
        if len(calls) == 3:
            path.write_bytes(b"PAR1 a part of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, path, **options)

    monkeypatch.setattr(shards_module.pq, "write_table", full)
    job = plan(world, tmp_path / "cut" / "m.parquet", count=30)
    with pytest.raises(UserError, match=r"the disk is full\. Free some space and run the same command again"):
        run_job(job)
    assert not job.out.exists()
    assert len(list(job.parts.glob("part-*.json"))) == 2
    assert not list(job.parts.glob(".tmp-*"))
    monkeypatch.setattr(shards_module.pq, "write_table", write)
    report = run_job(plan(world, tmp_path / "cut" / "m.parquet", count=30))
    assert report.labelled == 35 - 16
    assert report.manifest.path.read_bytes() == whole.path.read_bytes()


def test_an_image_deleted_during_the_run_is_a_row_that_says_so(world: Path, tmp_path: Path) -> None:
    class Deletes:
        def started(self, rows_done: int) -> None:
            pass

        def counted(self, rows: int) -> None:
            pass

        def progress(self, rows: int, statuses: Any) -> None:
            (world / "pictures" / "29.png").unlink(missing_ok=True)

    manifest = run_job(plan(world, tmp_path / "m.parquet", count=30, failures=False), Deletes()).manifest
    rows = manifest.read(["id", "status", "expression_human", "expression_colour"]).to_pylist()
    assert rows[-1] == {"id": "id29", "status": "missing", "expression_human": 29 % 7, "expression_colour": None}
    assert [row["status"] for row in rows[:-1]] == ["ok"] * 29


@pytest.mark.parametrize("step", ["write_json", "remove"])
def test_killed_at_the_very_end_the_job_finishes_all_the_same(
    step: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is there, its record or the last tidying is not."""
    whole = run_job(plan(world, tmp_path / "whole" / "m.parquet", count=30)).manifest

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*((job_module, step) if step == "write_json" else (ShardFolder, step)), kill)
        with pytest.raises(Killed):
            run_job(plan(world, tmp_path / "cut" / "m.parquet", count=30))
    assert (tmp_path / "cut" / "m.parquet").exists()
    report = run_job(plan(world, tmp_path / "cut" / "m.parquet", count=30))
    assert report.labelled == 0
    assert report.manifest.path.read_bytes() == whole.path.read_bytes()
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["m.parquet", "m.parquet.job.json"]
    assert run_job(plan(world, tmp_path / "cut" / "m.parquet", count=30)).finished_before


def test_a_device_with_too_little_memory_is_a_sentence(world: Path, tmp_path: Path) -> None:
    class Greedy(ByColour):
        def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            raise torch.OutOfMemoryError("tried to allocate 20 GiB")

    job = plan_job("world", World(world, count=30), [Greedy()], tmp_path / "m.parquet", OPTIONS)
    with pytest.raises(
        UserError, match=r"too small for a step \(tried to allocate 20 GiB\)\. Choose a smaller --batch"
    ):
        run_job(job)


def test_a_large_result_is_a_folder_of_shards(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    single = run_job(plan(world, tmp_path / "single" / "m.parquet", count=30)).manifest
    monkeypatch.setattr(job_module, "SINGLE_FILE_ROWS", 20)
    manifest = run_job(plan(world, tmp_path / "m.parquet", count=30)).manifest
    assert manifest.path.is_dir()
    manifest.validate()
    assert manifest.read().equals(single.read())
    assert run_job(plan(world, tmp_path / "m.parquet", count=30)).finished_before


def command(root: Path, out: Path) -> list[str]:
    """The command line on a folder of pictures, with many short shards."""
    options = ["--source", "folder", "--root", str(root), "--whole", "--out", str(out), "--batch", "2"]
    return [sys.executable, "-m", "noisyfer.cli", "relabel", *options, "--shard-rows", "4"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Many pictures that take a while to decode."""
    root = tmp_path / "photos"
    root.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "000.png", compress_level=0)
    for number in range(1, 160):
        os.link(root / "000.png", root / f"{number:03d}.png")
    return root


def test_ctrl_c_finishes_the_shard_says_how_to_go_on_and_the_same_command_does(photos: Path, tmp_path: Path) -> None:
    out, parts = tmp_path / "m.parquet", tmp_path / "m.parquet.parts"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command(photos, out),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell may have told its background jobs to ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not list(parts.glob("part-*.json")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Stopping: finishing the shard in hand. Press Ctrl-C again to stop at once." in told
    assert "To go on, run the same command again." in told
    assert not out.exists()
    done = len(list(parts.glob("part-*.json")))
    assert 0 < done < 40
    with locked(parts):
        second = subprocess.run(command(photos, out), env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "Another process is working on" in second.stderr
    resumed = subprocess.run(command(photos, out), env=environment, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert f"Going on after {4 * done} rows" in resumed.stdout
    assert Manifest.open(out).rows == 160
