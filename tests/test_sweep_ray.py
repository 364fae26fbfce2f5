"""A sweep on Ray: the same queue and the same results as in processes of one machine, also when a process dies."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from noisyfer.benchmark.ray_grid import grid_runner, run_on_ray
from noisyfer.benchmark.sweep import Queue, plan_sweep, run_sweep
from noisyfer.core.cluster import Cluster
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest

TINY = {"train_images": ["64"], "test_images": ["40"], "agreement_images": ["40"], "batch_size": ["32"]}


def planned(manifest: Path, out: Path) -> Queue:
    values = {**TINY, "learning_rate": ["1e-3", "1e30", "0.001"]}
    runs = plan_sweep(Manifest.open(manifest), ["vgg-all"], values, [0], preset="smoke", device="cpu", out=out)
    return Queue({"methods": ["vgg-all"]}, runs)


@pytest.mark.timeout(900)
def test_a_sweep_on_ray_has_the_results_of_one_machine(digits_manifest: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray_world import local_cluster

    one = planned(digits_manifest, tmp_path / "one")
    here = run_sweep(one)
    many = planned(digits_manifest, tmp_path / "many")
    told: list[tuple[int, tuple[Any, ...]]] = []
    killed: list[int] = []

    def heed(place: int, message: tuple[Any, ...]) -> None:
        told.append((place, message))
        if message[0] == "epoch" and not killed:  # the process of the run is lost after an epoch
            killed.append(_worker(many.runs[place].plan.folder.path))
            os.kill(killed[0], signal.SIGKILL)

    with local_cluster():
        there = run_sweep(many, heed=heed, runner=_on_ray)
    assert killed
    first, again = (message[1] for place, message in told if (place, message[0]) == (0, "started"))
    assert first == 0
    assert again in (1, 2)  # the kill comes a moment after the first epoch, perhaps after the second one
    assert [outcome.failure for outcome in there] == [outcome.failure for outcome in here]
    assert "smaller learning_rate" in there[1].failure
    assert here[0].result is not None
    assert there[0].result is not None
    assert there[0].result["last"] == here[0].result["last"]
    states = [
        [run["state"] for run in json.loads((queue.folder / "queue.json").read_text())["runs"]] for queue in (one, many)
    ]
    assert states == [["finished", "failed"]] * 2  # the third value is the first one in other words


def _on_ray(*arguments: Any, **more: Any) -> Any:
    return run_on_ray(Cluster(cpus=1, gpus=0), *arguments, **more)


def _worker(folder: Path) -> int:
    """The process of a run: the one that holds the lock of its folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                held = [str(handle.readlink()) for handle in (entry / "fd").iterdir()]
            except OSError:
                continue
            if any(name.startswith(str(folder)) for name in held):
                return int(entry.name)
    raise AssertionError("no process works on the run")


def test_an_address_needs_the_engine() -> None:
    with pytest.raises(UserError, match="add --engine ray"), grid_runner("local", "10.0.0.1:6379"):
        pass
    with pytest.raises(UserError, match="Known: local, ray"), grid_runner("spark"):
        pass
