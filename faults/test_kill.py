"""`kill -9`: the next run finishes, and what it leaves is what an uninterrupted one leaves."""

from __future__ import annotations

import subprocess
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from harness import SECONDS, contents, leftovers, partial, processes_in, told
from scenes import SCENES, Scene, stage
from steps import Fork, forked

SHORT, LONG = 1, 200
"""Kills of each command in CI, and of all commands in the long form."""

STEPS = 3
"""Steps of writing at which each command is killed in CI; all of them in the long form."""


@dataclass(frozen=True)
class Uninterrupted:
    """What a command leaves when nobody kills it, and how long it takes."""

    seconds: float
    first_change: float
    left: dict[str, str]


def uninterrupted(inputs: Path, where: Path, scene: Scene) -> Uninterrupted:
    """Run a command to its end, and note when its first file appeared."""
    folder = stage(inputs, where / "whole" / "work", scene.needs)
    before, began, changed = set(folder.rglob("*")), time.perf_counter(), 0.0
    process = Fork(folder, scene.words)
    while process.poll() is None:
        assert time.perf_counter() - began < SECONDS, f"{scene.name} hangs"
        if not changed and set(folder.rglob("*")) != before:
            changed = time.perf_counter() - began
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    assert process.returncode == 0, told(folder, "err.txt")
    return Uninterrupted(seconds, changed or seconds / 2, contents(folder))


def stream(scene: Scene, request: pytest.FixtureRequest) -> np.random.Generator:
    """The stream of a scene's moments: its own, so that another scene changes none of them."""
    return np.random.default_rng([int(request.config.getoption("--kill-seed")), zlib.crc32(scene.name.encode())])


def skip_long(scene: Scene, full: bool) -> None:
    """Leave what takes long to the long form."""
    if scene.long and not full:
        pytest.skip("a command of the long form: pytest faults --full")


def kills(request: pytest.FixtureRequest, full: bool) -> int:
    """How often each command is killed."""
    asked = request.config.getoption("--kills") or (LONG if full else SHORT * len(SCENES))
    return max(1, -(-int(asked) // len(SCENES)))


def as_uninterrupted(folder: Path, whole: Uninterrupted) -> None:
    """Nothing is left over, and every file says what it says without a kill."""
    assert leftovers(folder) == []
    found = contents(folder)
    assert {name for name in whole.left | found if whole.left.get(name) != found.get(name)} == set()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_killed_at_random_moments_a_command_ends_as_an_uninterrupted_one(
    scene: Scene, inputs: Path, tmp_path: Path, full: bool, request: pytest.FixtureRequest
) -> None:
    skip_long(scene, full)
    whole, drawn, wanted = uninterrupted(inputs, tmp_path, scene), stream(scene, request), kills(request, full)
    killed = rounds = 0
    folder: Path | None = None
    while killed < wanted or folder is not None:
        if folder is None:
            rounds += 1
            folder, began = stage(inputs, tmp_path / f"round{rounds}" / "work", scene.needs), killed
        # one kill in four anywhere, the others where there is something to be spoilt
        low = 0.0 if drawn.random() < 0.25 else 0.9 * whole.first_change
        moment, clock = float(drawn.uniform(low, whole.seconds)), time.perf_counter()
        process = Fork(folder, scene.words)
        try:
            process.wait(moment if killed < wanted else SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            assert killed < wanted, f"{scene.name} hangs"
            killed += 1
            assert partial(folder) == [], f"after a kill at {moment:.2f} s"
            continue
        assert process.returncode == 0, f"{scene.name}: {told(folder, 'out.txt')}\n{told(folder, 'err.txt')}"
        as_uninterrupted(folder, whole)
        assert processes_in(folder) == []
        if killed == began:  # it was faster than the first time: later moments would never come
            scale = min(1.0, (time.perf_counter() - clock) / whole.seconds)
            whole = replace(whole, seconds=whole.seconds * scale, first_change=whole.first_change * scale)
        folder = None
    print(f"{scene.name}: {killed} kills, {rounds} runs to the end, {whole.seconds:.1f} s uninterrupted")


@pytest.mark.filterwarnings("ignore:.*fork.*")
@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.steps], ids=lambda scene: scene.name)
def test_killed_at_a_step_of_writing_a_command_ends_as_an_uninterrupted_one(
    scene: Scene, inputs: Path, tmp_path: Path, full: bool, request: pytest.FixtureRequest
) -> None:
    """Just before every flush, rename, removal: moments of microseconds, which random ones do not meet."""
    skip_long(scene, full)
    folder = stage(inputs, tmp_path / "whole" / "work", scene.needs)
    code, steps = forked(folder, scene.words)
    assert code == 0, told(folder, "err.txt")
    assert steps > 1
    whole = Uninterrupted(0, 0, contents(folder))
    chosen = np.arange(1, steps + 1)
    if not full:
        chosen = stream(scene, request).choice(chosen, min(STEPS, steps), replace=False)
    for number in chosen.tolist():
        folder = stage(inputs, tmp_path / f"step{number}" / "work", scene.needs)
        code, _ = forked(folder, scene.words, die_at=number)
        assert code == -9, f"step {number} of {steps}: {told(folder, 'err.txt')}"
        assert partial(folder) == [], f"step {number} of {steps}"
        code, _ = forked(folder, scene.words)
        assert code == 0, f"after step {number} of {steps}: {told(folder, 'err.txt')}"
        as_uninterrupted(folder, whole)
    print(f"{scene.name}: killed at {len(chosen)} of {steps} steps")
