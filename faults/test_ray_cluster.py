"""Relabelling on a real cluster of two node processes, and what may die there: a node, an actor, the driver, a shard's
every worker. Nothing is lost, nothing is there twice: the manifest is that of one process, byte for byte.

Run by hand, `make faults`: some minutes on two cores.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))
# before Ray is imported: the nodes answer to this test alone, and to the drivers that it starts
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
pytest.importorskip("ray")

from noisyfer.core.cluster import cluster  # noqa: E402
from noisyfer.core.errors import UserError  # noqa: E402
from noisyfer.relabel import distributed  # noqa: E402
from noisyfer.relabel.job import run_job  # noqa: E402
from noisyfer.relabel.plan import Job, JobOptions, plan_job  # noqa: E402
from PIL import Image  # noqa: E402
from ray_world import loads  # noqa: E402
from relabel_world import ByColour, World, write_pictures  # noqa: E402
from torch import Tensor  # noqa: E402

ROWS = 240
OPTIONS = JobOptions(batch=4, shard_rows=8)
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def long_form(full: bool) -> None:
    """Clusters of processes take minutes to start and to notice that a node is gone."""
    if not full:
        pytest.skip("a case of the long form: pytest faults --full")


@dataclass(frozen=True)
class Slow(ByColour):
    """Takes its time, as a network does, leaves its process's number in a folder, and begins when enough are there."""

    seen: str = ""
    together: int = 1

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        (Path(self.seen) / f"pid-{os.getpid()}").touch()
        deadline = time.monotonic() + 120
        while len(list(Path(self.seen).glob("pid-*"))) < self.together and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.15)
        return super().predict(images)


@dataclass(frozen=True)
class Poison(ByColour):
    """Some picture kills whoever looks at it."""

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}


@dataclass
class Node:
    """A `ray start --block`."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, *options: str) -> Node:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
        }
        ray = Path(sys.executable).with_name("ray")
        command = [str(ray), "start", "--block", "--num-cpus=1", "--disable-usage-stats", *options]
        return cls(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def kill(self) -> None:
        """All its processes at once, as when the power goes."""
        for number in (self.process.pid, *_below(self.process.pid)):
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def _below(process: int) -> list[int]:
    """The children of a process, and theirs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == process:
                found += [int(entry.name), *_below(int(entry.name))]
    return found


@pytest.fixture
def nodes() -> Iterator[tuple[str, list[Node]]]:
    """The address of a cluster of two nodes with a core each, and the nodes, the head first."""
    import socket

    import ray

    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    host = ray.util.get_node_ip_address()
    address = f"{host}:{port}"
    started = [Node.start("--head", f"--port={port}", "--include-dashboard=false")]
    try:
        _wait_for(address, 1)
        started.append(Node.start(f"--address={address}"))
        _wait_for(address, 2)
        yield address, started
    finally:
        for node in reversed(started):
            node.kill()


def _wait_for(address: str, count: int) -> None:
    deadline = time.monotonic() + 180
    while True:
        try:
            with cluster(address) as found:
                if found.cpus >= count:
                    return
        except UserError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "the nodes did not come up"
        time.sleep(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_pictures(root, ROWS)
    return root


@pytest.fixture(scope="module")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The manifest of one process."""
    return run_job(plan(world, tmp_path_factory.mktemp("whole") / "m.parquet", ByColour())).manifest.path.read_bytes()


def plan(world: Path, out: Path, teacher: ByColour) -> Job:
    return plan_job("world", World(world, count=ROWS), [teacher], out, OPTIONS)


class Kills:
    """Someone who looks on, and at certain numbers of rows does something."""

    def __init__(self, deeds: dict[int, Any]) -> None:
        self.deeds = dict(deeds)

    def started(self, rows_done: int) -> None:
        pass

    def counted(self, rows: int) -> None:
        pass

    def progress(self, rows: int, statuses: Any) -> None:
        for after in [after for after in self.deeds if rows >= after]:
            self.deeds.pop(after)()


def test_a_node_and_then_an_actor_die_in_the_middle(
    nodes: tuple[str, list[Node]], world: Path, whole: bytes, tmp_path: Path
) -> None:
    address, (_, second) = nodes
    before: set[str] = set()

    def kill_node() -> None:
        before.update(file.name for file in tmp_path.glob("pid-*"))
        second.kill()

    def kill_actor() -> None:
        alive = [int(file.name.removeprefix("pid-")) for file in tmp_path.glob("pid-*")]
        alive = [number for number in alive if Path(f"/proc/{number}").exists()]
        os.kill(alive[0], signal.SIGKILL)

    teacher = Slow(seen=str(tmp_path), together=2)
    watcher = Kills({64: kill_node, 128: kill_actor})
    with cluster(address):
        engine = distributed.RayEngine(loads(teacher), actors=2)
        report = run_job(plan(world, tmp_path / "m.parquet", teacher), watcher, engine=engine)
    assert not watcher.deeds
    assert len(before) == 2, "both nodes had worked"
    assert len(list(tmp_path.glob("pid-*"))) > 2, "the actor came again"
    assert report.manifest.path.read_bytes() == whole
    ids = report.manifest.read(["id"])["id"].to_pylist()
    assert len(set(ids)) == len(ids) == ROWS + 5


def test_a_killed_driver_leaves_shards_from_which_the_next_one_goes_on(
    nodes: tuple[str, list[Node]], world: Path, whole: bytes, tmp_path: Path
) -> None:
    address, _ = nodes
    job = plan(world, tmp_path / "m.parquet", teacher := Slow(seen=str(tmp_path)))
    code = "import sys; from test_ray_cluster import drive; drive(*sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    driver = subprocess.Popen([sys.executable, "-c", code, address, str(world), str(tmp_path)], env=environment)
    deadline = time.monotonic() + 300
    while len(list(job.parts.glob("part-*.json"))) < 3 and time.monotonic() < deadline:
        assert driver.poll() is None, "the driver ended before it was killed"
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    with cluster(address):
        report = run_job(job, engine=distributed.RayEngine(loads(teacher), actors=2))
    assert 0 < report.labelled <= ROWS + 5 - 24
    assert report.manifest.path.read_bytes() == whole


def drive(address: str, world: str, folder: str) -> None:
    """A driver in a process of its own."""
    teacher = Slow(seen=folder)
    with cluster(address):
        engine = distributed.RayEngine(loads(teacher), actors=2)
        run_job(plan(Path(world), Path(folder) / "m.parquet", teacher), engine=engine)


def test_a_shard_that_kills_its_workers_does_not_do_so_for_ever(
    nodes: tuple[str, list[Node]], world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "TRIES", 2)
    with cluster(nodes[0]), pytest.raises(UserError, match="ended their worker's process 2 times"):
        run_job(plan(world, tmp_path / "m.parquet", Poison()), engine=distributed.RayEngine(loads(Poison()), actors=1))


def test_ctrl_c_ends_the_command_and_its_processes(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "000.png", compress_level=0)
    for number in range(1, 2000):
        os.link(photos / "000.png", photos / f"{number:04d}.png")
    out = tmp_path / "m.parquet"
    options = ["--source", "folder", "--root", str(photos), "--whole", "--out", str(out), "--batch", "2"]
    command = [sys.executable, "-m", "noisyfer.cli", "relabel", *options, "--shard-rows", "4", "--engine", "ray"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # a shell may have told its background jobs to ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        start_new_session=True,
    )
    kept: list[int] = []
    deadline = time.monotonic() + 300
    while not list(Path(f"{out}.parts").glob("part-*.json")) and time.monotonic() < deadline:
        kept = _below(process.pid)
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everyone in the foreground
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "giving up the shards in the workers' hands" in told
    assert "To go on, run the same command again." in told
    assert "Traceback" not in told
    assert kept
    time.sleep(5)
    assert not [number for number in kept if _alive(number)]


def _alive(number: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
