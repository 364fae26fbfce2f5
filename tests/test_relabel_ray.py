"""The relabelling job on Ray: the same table as in one process, whatever dies on the way."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from noisyfer.core.cluster import Cluster, cluster
from noisyfer.core.errors import Stopped, UserError
from noisyfer.relabel.engines import open_engine
from noisyfer.relabel.job import run_job
from noisyfer.relabel.plan import Job, JobOptions, plan_job
from relabel_world import ByColour, World, write_pictures

pytestmark = [pytest.mark.usefixtures("no_waiting_for_the_disk"), pytest.mark.timeout(600)]

SMALL = JobOptions(batch=4, shard_rows=8, kept_size=32)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_pictures(root, 40)
    return root


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    pytest.importorskip("ray")
    from ray_world import local_cluster

    with local_cluster():
        yield


def plan(world: Path, out: Path, teacher: ByColour | None = None, **about: Any) -> Job:
    return plan_job("world", World(world, count=40, **about), [teacher or ByColour()], out, SMALL)


def engine(*teachers: ByColour, actors: int = 1) -> Any:
    from noisyfer.relabel.distributed import RayEngine
    from ray_world import loads

    return RayEngine(loads(*teachers or (ByColour(),)), actors=actors)


class Stops:
    """Asks the job to stop when it hears of the first labelled rows."""

    def __init__(self, stop: Any, after: int) -> None:
        self.stop, self.after, self.before = stop, after, 0

    def started(self, rows_done: int) -> None:
        self.before = rows_done

    def counted(self, rows: int) -> None:
        pass

    def progress(self, rows: int, statuses: Any) -> None:
        if rows - self.before >= self.after:
            self.stop.set()


def stopped(job: Job, after: int, **more: Any) -> None:
    stop = threading.Event()
    with pytest.raises(Stopped, match="To go on, run the same command again"):
        run_job(job, Stops(stop, after), stop=stop, **more)


def test_the_table_is_that_of_one_process_byte_for_byte(ray: None, world: Path, tmp_path: Path) -> None:
    one = run_job(plan(world, tmp_path / "one" / "m.parquet"))
    many = run_job(plan(world, tmp_path / "many" / "m.parquet"), engine=engine(actors=2))
    assert many.manifest.path.read_bytes() == one.manifest.path.read_bytes()
    assert many.labelled == 45
    assert (many.statuses, many.failures, many.clipped) == (one.statuses, one.failures, one.clipped)
    faces = [
        {file.name: file.read_bytes() for file in (tmp_path / name / "m_faces").iterdir()} for name in ("one", "many")
    ]
    assert faces[0] == faces[1]
    assert len(faces[0]) == 6
    assert not (tmp_path / "many" / "m.parquet.parts").exists()
    assert run_job(plan(world, tmp_path / "many" / "m.parquet")).finished_before


def test_one_engine_goes_on_where_the_other_was_stopped(ray: None, world: Path, tmp_path: Path) -> None:
    whole = run_job(plan(world, tmp_path / "whole" / "m.parquet"))
    cut = tmp_path / "cut" / "m.parquet"
    stopped(plan(world, cut), 8)
    parts = Path(f"{cut}.parts")
    first = {file.name: file.stat().st_mtime_ns for file in parts.glob("part-*")}
    stopped(plan(world, cut), 8, engine=engine())
    assert {name: (parts / name).stat().st_mtime_ns for name in first} == first
    left = 45 - sum(json.loads(file.read_text())["rows"] for file in parts.glob("part-*.json"))
    assert left <= 45 - 24
    report = run_job(plan(world, cut))
    assert report.labelled == left
    assert report.manifest.path.read_bytes() == whole.manifest.path.read_bytes()


def test_a_worker_that_is_killed_costs_its_shard_and_nothing_else(ray: None, world: Path, tmp_path: Path) -> None:
    from ray_world import Deadly

    (tmp_path / "life-0").touch()
    deadly = Deadly(lives=str(tmp_path))
    whole = run_job(plan(world, tmp_path / "whole" / "m.parquet"))
    many = run_job(plan(world, tmp_path / "many" / "m.parquet", deadly), engine=engine(deadly))
    assert not list(tmp_path.glob("life-*"))
    assert many.manifest.path.read_bytes() == whole.manifest.path.read_bytes()
    assert many.statuses == whole.statuses


def test_what_goes_wrong_on_a_worker_is_a_sentence_here(ray: None, world: Path, tmp_path: Path) -> None:
    from ray_world import Greedy

    with pytest.raises(UserError, match=r"too small for a step \(tried to allocate 20 GiB\)"):
        run_job(plan(world, tmp_path / "m.parquet", Greedy()), engine=engine(Greedy()))


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'noisyfer\[ray\]'"), cluster():
        pass


def test_the_device_is_the_clusters() -> None:
    assert Cluster(cpus=2, gpus=0).device("auto") == "cpu"
    assert Cluster(cpus=2, gpus=1).device("auto") == "cuda"
    assert Cluster(cpus=2, gpus=1).device("cpu") == "cpu"
    with pytest.raises(UserError, match="No node of the cluster offers a GPU"):
        Cluster(cpus=2, gpus=0).device("cuda")


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("local", {"address": "10.0.0.1:6379"}, "add --engine ray"),
        ("local", {"actors": 2}, "add --engine ray"),
        ("ray", {"actors": -1}, "actors is -1"),
        ("spark", {}, "Known: local, ray"),
    ],
)
def test_options_of_the_other_engine_are_refused(name: str, more: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said), open_engine(name, [], "cpu", **more):
        pass


def test_an_address_where_nobody_answers_is_a_sentence_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself goes on trying for many minutes."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # other tests of this process may be connected
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    start = time.monotonic()
    for wrong in (address, "127.0.0.1:port"):
        with pytest.raises(UserError, match=f"There is no Ray cluster at {wrong}"), cluster(wrong):
            pass
    assert time.monotonic() - start < 30


def test_a_place_for_shards_is_a_url(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a URL such as s3://bucket/folder was expected"):
        plan_job("world", World(world), [ByColour()], tmp_path / "m.parquet", JobOptions(parts="here"))
    with pytest.raises(UserError, match="--save-faces"):
        plan_job("world", World(world), [ByColour()], tmp_path / "m.parquet", JobOptions(parts="s3://a", kept_size=8))
