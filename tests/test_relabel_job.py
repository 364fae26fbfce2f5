"""A relabelling job: every row comes out, labelled or with the reason; resumed or not, the table is the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from manifest_rows import sharded
from noisyfer.core.errors import Stopped, UserError
from noisyfer.core.files import locked
from noisyfer.images.align import read_face
from noisyfer.manifest import Manifest
from noisyfer.relabel.job import Report, run_job
from noisyfer.relabel.manifest_source import ManifestSource
from noisyfer.relabel.plan import Job, JobOptions, plan_job
from noisyfer.relabel.report import comparisons
from noisyfer.relabel.sources import EXPRESSIONS, Source
from noisyfer.training.data import load_split
from relabel_world import FAILURES, ByColour, World, write_pictures

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

SMALL = JobOptions(batch=4, shard_rows=8)
LENIENT = JobOptions(batch=4, shard_rows=8, max_failed=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_pictures(root, 40)
    return root


def plan(world: Path, out: Path, *teachers: ByColour, options: JobOptions = SMALL, **about: Any) -> Job:
    return plan_job("world", World(world, **about), teachers or (ByColour(),), out, options)


def rows(manifest: Manifest) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in manifest.read().to_pylist()}


def test_every_sample_becomes_a_row_with_labels_or_the_reason(world: Path, tmp_path: Path) -> None:
    report = run_job(plan(world, tmp_path / "m.parquet", count=40))
    report.manifest.validate()
    found = rows(report.manifest)
    assert list(found) == [sample.id for sample in World(world, count=40).samples()]
    for name, (status, _) in FAILURES.items():
        assert found[name]["status"] == status
        assert found[name]["detail"]
        assert found[name]["expression_colour"] is None
        assert found[name]["expression_human"] == 1
    good = [row for name, row in found.items() if name not in FAILURES]
    assert all(row["status"] == "ok" and row["expression_colour"] is not None for row in good)
    assert report.statuses == {"ok": 40, "unreadable": 3, "missing": 1, "bad_row": 1}


def test_the_labels_are_the_teachers_answers_to_the_aligned_faces(world: Path, tmp_path: Path) -> None:
    teacher = ByColour()
    manifest = run_job(plan(world, tmp_path / "m.parquet", teacher, count=10)).manifest
    found = rows(manifest)
    for number in range(10):
        row = found[f"id{number}"]
        face = read_face(world / "pictures" / f"{number}.png", "x", (14.0, 16.0, 33.0, 17.5), teacher.size)
        answer = teacher.predict(torch.from_numpy(face)[None].permute(0, 3, 1, 2))
        np.testing.assert_allclose(row["expression_colour_probs"], answer["expression"][0], atol=1e-6)
        assert row["expression_colour"] == int(answer["expression"][0].argmax())
        np.testing.assert_allclose(
            [row["valence_colour"], row["arousal_colour"]], answer["va"][0].clamp(-1, 1), atol=1e-6
        )
        assert (row["eye_left_x"], row["eye_right_y"]) == (14.0, 17.5)


def test_bench_sees_the_pixels_that_the_teacher_saw(world: Path, tmp_path: Path) -> None:
    teacher = ByColour()
    manifest = run_job(plan(world, tmp_path / "m.parquet", teacher, count=10)).manifest
    data = load_split(manifest, "train", ["expression_colour"], size=teacher.size, root=world)
    answers = teacher.predict(torch.from_numpy(np.asarray(data.images)).permute(0, 3, 1, 2))["expression"]
    assert data.labels["expression_colour"].present.all()
    assert answers.argmax(dim=1).tolist() == data.labels["expression_colour"].values.tolist()


def test_kept_faces_are_the_aligned_ones_and_are_read_instead_of_the_photographs(world: Path, tmp_path: Path) -> None:
    options = JobOptions(batch=4, shard_rows=8, kept_size=32)
    manifest = run_job(plan(world, tmp_path / "m.parquet", options=options, count=20)).manifest
    expected = load_split(manifest.select(), "train", [], size=32, root=world)
    (tmp_path / "elsewhere").mkdir()
    kept = load_split(manifest, "train", [], size=32, root=tmp_path / "elsewhere")
    assert np.array_equal(kept.images, expected.images)
    face = read_face(world / "pictures" / "0.png", "x", (14.0, 16.0, 33.0, 17.5), 32)
    assert np.array_equal(kept.images[0], face)
    found = rows(manifest)
    assert found["missing"]["face_image"] is None
    assert found["id0"]["image"] == "pictures/0.png"


class Stops:
    """A watcher that asks for a stop after some rows."""

    def __init__(self, after: int) -> None:
        self.event = threading.Event()
        self.after = after
        self.begun: list[int] = []

    def started(self, rows_done: int) -> None:
        self.begun.append(rows_done)

    def counted(self, rows: int) -> None:
        pass

    def progress(self, rows: int, statuses: Mapping[str, int]) -> None:
        if rows >= self.after:
            self.event.set()


def test_a_stopped_job_goes_on_with_what_is_missing_to_the_same_bytes(world: Path, tmp_path: Path) -> None:
    whole = run_job(plan(world, tmp_path / "whole" / "m.parquet", count=40)).manifest
    for after in (1, 17):
        watcher = Stops(after)
        with pytest.raises(Stopped, match="same command again"):
            run_job(plan(world, tmp_path / "m.parquet", count=40), watcher, stop=watcher.event)
    assert not (tmp_path / "m.parquet").exists()
    watcher = Stops(10_000)
    report = run_job(plan(world, tmp_path / "m.parquet", count=40), watcher)
    assert watcher.begun[0] >= 17
    assert report.labelled == 45 - watcher.begun[0]
    assert report.manifest.read().equals(whole.read())
    assert report.manifest.path.read_bytes() == whole.path.read_bytes()
    assert not (tmp_path / "m.parquet.parts").exists()


def test_a_damaged_shard_is_made_again(world: Path, tmp_path: Path) -> None:
    whole = run_job(plan(world, tmp_path / "whole" / "m.parquet", count=40)).manifest
    watcher = Stops(25)
    job = plan(world, tmp_path / "m.parquet", count=40)
    with pytest.raises(Stopped):
        run_job(job, watcher, stop=watcher.event)
    part = job.parts / "part-000001.parquet"
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    part.write_bytes(damaged)
    (job.parts / "part-000000.json").write_text("{}")
    assert run_job(job).manifest.read().equals(whole.read())


def test_a_finished_job_is_not_done_again(world: Path, tmp_path: Path) -> None:
    job = plan(world, tmp_path / "m.parquet", count=10)
    first: Report = run_job(job)
    stamp = job.out.stat().st_mtime_ns
    second = run_job(plan(world, tmp_path / "m.parquet", count=10))
    assert second.finished_before
    assert job.out.stat().st_mtime_ns == stamp
    assert second.statuses == dict(first.statuses)
    assert not run_job(job, again=True).finished_before


def test_another_configuration_in_the_same_place_is_refused_with_the_difference(world: Path, tmp_path: Path) -> None:
    run_job(plan(world, tmp_path / "m.parquet", count=10))
    with pytest.raises(UserError, match=r"another configuration \(teachers|colour.*--again"):
        run_job(plan(world, tmp_path / "m.parquet", ByColour(sha256="c1"), count=10))
    watcher = Stops(1)
    with pytest.raises(Stopped):
        run_job(plan(world, tmp_path / "n.parquet", count=40), watcher, stop=watcher.event)
    other = plan(world, tmp_path / "n.parquet", options=JobOptions(batch=4, shard_rows=8, limit=20), count=40)
    with pytest.raises(UserError, match="limit: 0 → 20"):
        run_job(other)


def test_pictures_of_the_same_names_in_another_folder_are_another_job(world: Path, tmp_path: Path) -> None:
    """Frames of two videos have the same names; neither is the other's result nor continued with it."""
    other = tmp_path / "other"
    write_pictures(other, 40)
    run_job(plan(world, tmp_path / "m.parquet", count=10))
    with pytest.raises(UserError, match=r"another configuration \(root: .*other"):
        run_job(plan(other, tmp_path / "m.parquet", count=10))
    watcher = Stops(1)
    with pytest.raises(Stopped):
        run_job(plan(world, tmp_path / "n.parquet", count=40), watcher, stop=watcher.event)
    with pytest.raises(UserError, match=r"root: .*other"):
        run_job(plan(other, tmp_path / "n.parquet", count=40))


def test_faces_are_said_to_be_looked_for_only_where_they_were(world: Path, tmp_path: Path) -> None:
    unaligned = ByColour("plain", align=False, sha256="c4")
    first = run_job(plan(world, tmp_path / "m.parquet", unaligned, count=10)).manifest
    assert not first.header.faces
    # the next teacher, who aligns, looks for them: there are none in one colour, and it would have got whole pictures
    source = ManifestSource(first.path, world)
    second = run_job(plan_job("manifest:m.parquet", source, [ByColour()], tmp_path / "n.parquet", LENIENT)).manifest
    assert second.header.faces
    assert rows(second)["id0"]["status"] == "no_face"
    assert plan(world, tmp_path / "o.parquet", unaligned, options=JobOptions(kept_size=32), count=10).header.faces


def test_faces_of_pictures_that_are_taken_whole_cannot_be_kept(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave out one"):
        plan(world, tmp_path / "m.parquet", options=JobOptions(whole=True, kept_size=32))


def test_kept_faces_are_no_others_where_a_source_has_its_own(world: Path, tmp_path: Path) -> None:
    """The second job's folder holds other faces under the same names."""
    options = JobOptions(batch=4, shard_rows=8, kept_size=32, max_failed=1)
    first = run_job(plan(world, tmp_path / "m.parquet", options=options, count=8, failures=False)).manifest
    spoils = ByColour("second", sha256="c5", spoils=60)
    joined = plan_job(
        "manifest:m.parquet", ManifestSource(first.path, world), [spoils], tmp_path / "n.parquet", options
    )
    found = rows(run_job(joined).manifest)
    failed = [row for row in found.values() if row["status"] == "bad_output"]
    assert failed
    assert all(row["face_image"] is None for row in failed)
    kept = [row["face_image"] for row in found.values() if row["status"] == "ok"]
    assert len(set(kept)) == len(kept) > 0


def test_a_manifest_that_this_job_did_not_make_is_not_replaced(world: Path, tmp_path: Path) -> None:
    job = plan(world, tmp_path / "m.parquet", count=10)
    run_job(job)
    job.record.unlink()
    with pytest.raises(UserError, match="no record beside it"):
        run_job(job)
    run_job(job, again=True)
    table = Manifest.open(job.out).read()
    from noisyfer.manifest import write_manifest

    write_manifest(job.out, Manifest.open(job.out).header, [table.slice(0, 3)])
    with pytest.raises(UserError, match="has changed since"):
        run_job(job)


def test_two_processes_on_one_output_the_second_is_told(world: Path, tmp_path: Path) -> None:
    job = plan(world, tmp_path / "m.parquet", count=10)
    with locked(job.parts), pytest.raises(UserError, match="Another process is working on"):
        run_job(job)


def test_too_many_failures_stop_the_job_and_name_the_first(world: Path, tmp_path: Path) -> None:
    job = plan(world, tmp_path / "m.parquet", count=40, options=JobOptions(batch=4, shard_rows=8, max_failed=0.05))
    with pytest.raises(UserError, match=r"11% of 45 rows failed.*first: missing: missing, .*--max-failed"):
        run_job(job)
    assert not job.out.exists()
    # more is allowed now: what was labelled is kept
    assert run_job(plan(world, tmp_path / "m.parquet", count=40)).labelled < 45


def test_several_teachers_label_in_one_pass_each_at_its_own_size(world: Path, tmp_path: Path) -> None:
    small, large = ByColour(), ByColour("large", size=64, align=False, sha256="c2", with_va=False)
    both = run_job(plan(world, tmp_path / "both.parquet", small, large, count=10)).manifest
    alone = run_job(plan(world, tmp_path / "alone.parquet", large, count=10)).manifest
    assert both.header.label_sets["expression_large"].provenance["size"] == 64
    assert both.labels("expression_large").values.tolist() == alone.labels("expression_large").values.tolist()
    assert "va_large" not in both.header.label_sets
    with pytest.raises(UserError, match="Two teachers are called 'colour'"):
        plan(world, tmp_path / "x.parquet", small, small)


def test_a_teacher_joins_a_manifest_by_the_same_faces(world: Path, tmp_path: Path) -> None:
    second = ByColour("second", sha256="c3")
    (tmp_path / "data").mkdir()
    first = run_job(plan(world, tmp_path / "m.parquet", count=20)).manifest
    source = ManifestSource(first.path, world)
    joined = run_job(plan_job("manifest:m.parquet", source, [second], tmp_path / "data" / "n.parquet", SMALL)).manifest
    direct = run_job(plan(world, tmp_path / "o.parquet", ByColour(), second, count=20)).manifest
    assert joined.header.parents == ({"file": "m.parquet", "sha256": first.fingerprint},)
    assert joined.root.resolve() == world.resolve()
    names = ["id", "status", "detail", "eye_left_x", "expression_human", "expression_colour", "expression_second"]
    assert joined.read(names).equals(direct.read(names))
    with pytest.raises(UserError, match=r"a label set 'expression_colour' already.*colour2=FILE"):
        plan_job("manifest:m.parquet", source, [ByColour()], None, SMALL)


def test_rows_of_a_manifest_are_counted_without_making_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for manifest in (sharded(tmp_path / "m", 20), sharded(tmp_path / "n", 0)):
        source, splits = ManifestSource(manifest.path, tmp_path), (None, "train", "val", "test")
        expected = [Source.rows(source, split) for split in splits]
        with monkeypatch.context() as patch:
            patch.delattr(ManifestSource, "_sample")
            assert [source.rows(split) for split in splits] == expected


def test_answers_that_are_not_finite_are_a_status_and_no_label(world: Path, tmp_path: Path) -> None:
    manifest = run_job(plan(world, tmp_path / "m.parquet", ByColour(spoils=150), count=40)).manifest
    spoilt = [row for row in manifest.read().to_pylist() if row["status"] == "bad_output"]
    assert 0 < len(spoilt) < 40
    assert all(row["expression_colour"] is None and "not finite" in row["detail"] for row in spoilt)


def test_classes_are_matched_by_name_and_the_rest_is_left_out(world: Path, tmp_path: Path) -> None:
    theirs = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")
    manifest = run_job(plan(world, tmp_path / "m.parquet", ByColour(classes=theirs), count=10)).manifest
    provenance = manifest.header.label_sets["expression_colour"].provenance
    assert provenance["left_out"] == ["Contempt"]
    face = read_face(world / "pictures" / "0.png", "x", (14.0, 16.0, 33.0, 17.5), 32)
    answer = ByColour(classes=theirs).predict(torch.from_numpy(face)[None].permute(0, 3, 1, 2))["expression"][0]
    ordered = answer[[5, 4, 6, 7, 3, 2, 0]]
    np.testing.assert_allclose(rows(manifest)["id0"]["expression_colour_probs"], ordered / ordered.sum(), atol=1e-5)
    with pytest.raises(UserError, match="at least two must have the same name"):
        plan(world, tmp_path / "x.parquet", ByColour(classes=("cat", "dog")))


def test_the_comparison_counts_what_can_be_counted_by_hand(world: Path, tmp_path: Path) -> None:
    manifest = run_job(plan(world, tmp_path / "m.parquet", count=40)).manifest
    found = {comparison.teacher: comparison for comparison in comparisons(manifest)}
    counts = np.zeros((7, 7), int)
    for row in manifest.read().to_pylist():
        if row["expression_colour"] is not None:
            counts[row["expression_human"], row["expression_colour"]] += 1
    assert np.array_equal(found["expression_colour"].counts, counts)
    assert found["expression_colour"].agreement == pytest.approx(np.trace(counts) / 40)
    assert set(found["va_colour"].scores) >= {"ccc", "mse"}


def test_without_teachers_the_sources_own_labels_and_faces_are_written(world: Path, tmp_path: Path) -> None:
    job = plan_job("world", World(world, count=20), (), tmp_path / "m.parquet", SMALL)
    manifest = run_job(job).manifest
    assert list(manifest.header.label_sets) == ["expression_human", "va_human"]
    assert manifest.header.tasks["expression"].classes == EXPRESSIONS
    assert rows(manifest)["text"]["status"] == "unreadable"
    assert json.loads(job.record.read_text())["statuses"]["ok"] == 20
