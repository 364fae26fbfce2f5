"""Shards and images in an object store: a real server in a process of its own, credentials from the environment."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from noisyfer.core.errors import Stopped, UserError
from noisyfer.core.store import DiskStore, ObjectStore, Store, open_store
from noisyfer.core.urls import as_url, is_url
from noisyfer.images.pictures import PictureReader
from noisyfer.manifest import Manifest
from noisyfer.relabel.job import run_job
from noisyfer.relabel.manifest_source import ManifestSource
from noisyfer.relabel.plan import JobOptions, open_source, plan_job
from relabel_world import ByColour, World, write_pictures

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a bucket; the environment says the rest."""
    pytest.importorskip("moto.server")
    from s3_server import BUCKET, s3_server

    with s3_server() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield f"s3://{BUCKET}"


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "disk":
        return DiskStore(tmp_path / "store")
    return ObjectStore(f"{request.getfixturevalue('s3')}/{tmp_path.name}/store")


def upload(folder: Path, url: str) -> None:
    """Every file of a folder, at any depth."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            below = file.relative_to(folder)
            ObjectStore(f"{url}/{below.parent}").write(below.name, lambda sink, content=content: sink.write(content))


def put(sink: Any) -> None:
    sink.write_bytes(b"abc") if isinstance(sink, Path) else sink.write(b"abc")


def test_both_kinds_of_store_keep_files_whole_or_not_at_all(store: Store) -> None:
    assert store.names() == []

    def fails(sink: Any) -> None:
        put(sink)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        store.write("half", fails)
    assert store.names() == []
    written = store.write("b", put)
    assert written == store.sha256("b") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    store.write_json("a.json", {"größe": 1})
    again: Store = pickle.loads(pickle.dumps(store))
    assert again.names() == ["a.json", "b"]
    assert again.read_json("a.json") == {"größe": 1}
    found = again.read("b")
    assert (found.read_bytes() if isinstance(found, Path) else found.read()) == b"abc"
    with pytest.raises(UserError, match="as JSON"):
        store.read_json("b")
    with pytest.raises(UserError, match="as JSON"):
        store.read_json("none")
    store.delete("b")
    store.delete("b")
    assert store.names() == ["a.json"]
    store.clear()
    assert store.names() == []
    store.remove()


def test_a_url_stays_one_that_was_taken_for_a_path() -> None:
    assert is_url("s3://bucket/a")
    assert is_url(Path("s3://bucket/a"))
    assert as_url(Path("s3://bucket/a/")) == "s3://bucket/a"
    assert not is_url("s3")
    assert not is_url("/s3:/bucket")
    assert isinstance(open_store("here"), DiskStore)


def test_a_store_that_refuses_is_a_sentence_without_the_secret(s3: str) -> None:
    with pytest.raises(UserError, match=r"nowhere/x cannot be written.*AWS_ENDPOINT_URL") as caught:
        ObjectStore("s3://nowhere/x").write("a", put)
    assert "something" not in str(caught.value)
    assert b"something" not in pickle.dumps(ObjectStore(s3))


def test_shards_in_a_store_are_gone_on_with_and_the_manifest_is_the_same(s3: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "world", 30)

    def plan(out: str, parts: str | None) -> Any:
        options = JobOptions(batch=4, shard_rows=8, parts=parts)
        return plan_job(
            "world", World(tmp_path / "world", count=30), [ByColour()], tmp_path / out / "m.parquet", options
        )

    whole = run_job(plan("whole", None)).manifest
    stop = threading.Event()

    class Stops:
        def started(self, rows_done: int) -> None:
            self.before = rows_done

        def counted(self, rows: int) -> None:
            pass

        def progress(self, rows: int, statuses: Any) -> None:
            if rows >= 9:
                stop.set()

    with pytest.raises(Stopped, match=f"kept in {s3}/jobs/m.parquet.parts"):
        run_job(plan("cut", f"{s3}/jobs"), Stops(), stop=stop)
    shards = ObjectStore(f"{s3}/jobs/m.parquet.parts")
    assert {"job.json", "part-000000.json", "part-000000.parquet"} <= set(shards.names())
    assert not (tmp_path / "cut" / "m.parquet").exists()
    shards.write("part-000000.parquet", put)  # damaged: it is made again
    stop.clear()
    watcher = Stops()
    report = run_job(plan("cut", f"{s3}/jobs"), watcher)
    assert watcher.before == 35 - report.labelled
    assert 0 < report.labelled < 35
    assert report.manifest.path.read_bytes() == whole.path.read_bytes()
    assert shards.names() == []
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["m.parquet", "m.parquet.job.json"]
    assert run_job(plan("cut", f"{s3}/jobs")).finished_before


def test_images_in_a_store_give_the_table_of_those_on_a_disk(s3: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos" / "happy", 5)
    write_pictures(tmp_path / "photos" / "sad", 3)
    upload(tmp_path / "photos", f"{s3}/photos")
    options = JobOptions(batch=4, shard_rows=8, whole=True)
    teacher = ByColour(align=False)
    tables = []
    for root in (tmp_path / "photos", Path(f"{s3}/photos")):
        out = tmp_path / f"m{len(tables)}.parquet"
        tables.append(run_job(plan_job("folder", open_source("folder", root), [teacher], out, options)).manifest)
    on_disk, remote = tables
    assert remote.read().equals(on_disk.read())
    assert remote.header.dataset.root == f"{s3}/photos"
    assert sorted(remote.to_pandas()["status"].value_counts().items()) == [("ok", 8), ("unreadable", 6)]
    # and from the manifest on: another teacher finds the images by the manifest alone, from another folder too
    more = [ByColour("second", align=False, sha256="c2")]
    for manifest, out in ((on_disk, "n0"), (remote, "n1")):
        job = plan_job("manifest:m", ManifestSource(manifest.path), more, tmp_path / out / "n.parquet", options)
        assert job.source.root == manifest.root
        run_job(job)
    second = Manifest.open(tmp_path / "n1" / "n.parquet")
    names = ["id", "status", "expression_human", "expression_second"]
    assert second.read(names).equals(Manifest.open(tmp_path / "n0" / "n.parquet").read(names))
    assert second.root == Path(f"{s3}/photos")
    ManifestSource(second.path).check()


def test_what_is_not_in_the_store_is_missing_or_a_sentence(s3: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos", 1)
    upload(tmp_path / "photos", f"{s3}/few")
    with PictureReader(Path(f"{s3}/few")) as reader:
        there, absent, outside = reader.fetch(["pictures/0.png", "pictures/1.png", "../photos/0.png"])
    assert there == (tmp_path / "photos" / "pictures" / "0.png").read_bytes()
    assert getattr(absent, "status", None) == "missing"
    assert getattr(outside, "status", None) == "refused"
    with (
        PictureReader(Path(f"{s3}/nothing")) as reader,
        pytest.raises(UserError, match="nothing under s3://bucket/noth"),
    ):
        reader.fetch(["a.png"])
    with pytest.raises(UserError, match="is read from a disk"):
        open_source("raf", Path(f"{s3}/raf"))
    with pytest.raises(UserError, match="There is no image"):
        open_source("folder", Path(f"{s3}/nothing"))
