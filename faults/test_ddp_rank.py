"""A run on two processes of Lightning Fabric's DDP: one of them killed in the middle ends the command with a sentence,
and the same command again ends where it would have ended.

Run by hand, `make faults`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)
SETTINGS = ("train_images=64", "test_images=40", "agreement_images=40", "batch_size=32", "epochs=6")


def command(manifest: Path, out: Path) -> list[str]:
    """A small run on two processes."""
    words = ["--manifest", str(manifest), "--method", "vgg-all", "--preset", "smoke", "--out", str(out)]
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return [sys.executable, "-m", "noisyfer.cli", "bench", *words, *settings, "--devices", "2", "--device", "cpu"]


def losses(out: Path) -> list[object]:
    """Of every epoch."""
    (file,) = out.glob("*/metrics.jsonl")
    return [json.loads(line)["losses"] for line in file.read_text(encoding="utf-8").splitlines()]


def ranks(process: int) -> list[int]:
    """The processes of a run that were started by this one, at any depth, that compute."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if parent == process:
                found += [int(entry.name)] * (b"--multiprocessing-fork" in words) + ranks(int(entry.name))
    return sorted(found)


def test_a_killed_rank_ends_the_run_with_a_sentence_and_the_next_start_resumes(tmp_path: Path) -> None:
    from noisyfer.benchmark.cifar import make_cifar

    make_cifar((0.2,), data="digits", out=tmp_path / "digits.parquet")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(tmp_path / "digits.parquet", whole), env=environment, check=True, capture_output=True)
    process = subprocess.Popen(
        command(tmp_path / "digits.parquet", cut),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 600
    while not [file for file in cut.glob("*/metrics.jsonl") if file.stat().st_size] and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it was disturbed"
        time.sleep(0.02)
    started = ranks(process.pid)
    assert len(started) >= 2
    os.kill(started[-1], signal.SIGKILL)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 1, told
    assert "Traceback" not in told
    assert "Error: " in told
    assert not [number for number in started if Path(f"/proc/{number}").exists()]
    assert not list(cut.glob("*/result.json"))
    done = len(losses(cut))
    assert 1 <= done < 6
    again = subprocess.run(
        command(tmp_path / "digits.parquet", cut), env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert losses(cut) == losses(whole)
