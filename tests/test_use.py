"""What was trained is used: predictions are the run's own, exports answer alike, and a run becomes the next teacher."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from foreign_networks import EXPRESSIONS, pictures, write_ours
from messages import sentence
from method_builders import ONE_EACH, LabelSetSpec, build, make_batch
from noisyfer import api
from noisyfer.api import Run
from noisyfer.benchmark.grid import Outcome
from noisyfer.benchmark.sweep import Queue
from noisyfer.cli import main
from noisyfer.core.errors import Stopped, UserError
from noisyfer.core.fields import Fields
from noisyfer.core.files import sha256_file
from noisyfer.images.digits import digit_pixels
from noisyfer.manifest import Manifest
from noisyfer.relabel.export_run import _WRITERS, export_run
from noisyfer.relabel.run_teacher import RunTeacher
from noisyfer.relabel.teachers import load_teacher
from noisyfer.training.trained import Learned, read_run
from noisyfer.training.weights import write_weights
from PIL import Image
from trained_runs import tiny_run

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def run(digits_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on the digits; not to be written to."""
    return tiny_run(digits_manifest, tmp_path_factory.mktemp("runs"))


def copied(run: Run, place: Path) -> Path:
    return Path(shutil.copytree(run.folder, place / "run"))


def refused(run: Path) -> str:
    with pytest.raises(UserError) as error:
        load_teacher(str(run))
    return sentence(error)


def test_the_loop_relabel_bench_export_relabel(here: Path) -> None:
    api.make_faces("datasets", n=24, workers=1)
    teacher, _ = write_ours(here / "raf.ckpt")
    first = api.relabel("affectnet", f"raf={teacher}", device="cpu", progress=False).manifest
    assert first.header.faces
    trained = tiny_run(first.path, here / "runs", labels="expression_raf,va_raf", options={"batch_size": 8})
    exported = api.export(trained, "onnx", "student.onnx")
    kept = api.export(trained, "checkpoint", "kept.ckpt")
    models = [trained.folder, f"student={exported.model}", f"kept={kept.model}"]
    source = f"manifest:{first.path}"
    second = api.relabel(source, models, out="second.parquet", device="cpu", progress=False).manifest
    sets = second.header.label_sets
    assert [name for name in sets if sets[name].kind == "model"] == [
        f"{task}_{name}" for name in ("raf", "vgg-all", "student", "kept") for task in ("expression", "va")
    ]
    for task in ("expression", "va"):
        own = second.labels(f"{task}_vgg-all")
        assert own.present.all()
        for name in ("student", "kept"):
            assert np.allclose(second.labels(f"{task}_{name}").values, own.values, atol=1e-4)
    assert second.header.tasks["expression"].classes == EXPRESSIONS
    # the student saw the aligned faces that its training saw: bench's own predictions of the scored split
    stored = pq.read_table(trained.folder / "predictions.parquet").to_pylist()
    found = {row["id"]: row for row in second.read(["id", "expression_vgg-all_probs"]).to_pylist()}
    for row in stored:
        np.testing.assert_allclose(found[row["id"]]["expression_vgg-all_probs"], row["expression_probs"], atol=1e-5)
    # and it goes round once more
    again = tiny_run(second.path, here / "runs", labels="expression_student", options={"batch_size": 8})
    assert again.scores["expression"]["accuracy"] >= 0


def test_predictions_of_a_manifest_are_the_runs_own(run: Run, digits_manifest: Path, here: Path) -> None:
    command = ["predict", "--run", str(run.folder), "--manifest", str(digits_manifest), "--split", "test"]
    done = CliRunner().invoke(main, [*command, "--out", "p.parquet", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    predicted = Manifest.open("p.parquet")
    label_set = predicted.label_set("class_vgg-all")
    assert (label_set.kind, label_set.annotator) == ("model", "vgg-all")
    provenance = label_set.provenance
    assert provenance["architecture"] == "vgg-all on vgg, width 0.0625, hidden 64"
    origin = provenance["origin"]
    assert origin["checkpoint_sha256"] == sha256_file(run.folder / "checkpoint.pt")
    assert (origin["run"], origin["epoch"]) == (run.folder.name, 1)
    assert len(origin["config_sha256"]) == 64
    assert provenance["figures"]["class_accuracy"] == run.scores["class"]["accuracy"]
    assert "class_clean" in predicted.header.label_sets
    assert not predicted.header.faces
    found = {row["id"]: row for row in predicted.read(["id", "class_vgg-all", "class_vgg-all_probs"]).to_pylist()}
    stored = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    assert len(stored) == 40
    for row in stored:
        assert found[row["id"]]["class_vgg-all"] == row["class"]
        np.testing.assert_allclose(found[row["id"]]["class_vgg-all_probs"], row["class_probs"], atol=1e-6)


def test_predictions_of_a_folder_and_where_its_pictures_are_none(run: Run, here: Path) -> None:
    (here / "photos" / "sub").mkdir(parents=True)
    pixels = digit_pixels(np.arange(3))
    for number, name in enumerate(("a.png", "sub/b.png", "c.png")):
        Image.fromarray(pixels[number]).save(here / "photos" / name)
    (here / "photos" / "d.jpg").write_bytes(b"none")
    report = api.predict(run, images="photos", name="me", progress=False)
    assert report.manifest.path == Path("data_manifests/photos_by_me.parquet")
    rows = {row["id"]: row for row in report.manifest.read().to_pylist()}
    assert {name: row["status"] for name, row in rows.items()} == {
        **dict.fromkeys(("a.png", "c.png", "sub/b.png"), "ok"),
        "d.jpg": "unreadable",
    }
    method = read_run(run.folder).method()
    expected = method.predict(torch.from_numpy(pixels).permute(0, 3, 1, 2))["class"]
    for number, name in enumerate(("a.png", "sub/b.png", "c.png")):
        np.testing.assert_allclose(rows[name]["class_me_probs"], expected[number], atol=1e-5)


def test_what_to_predict_is_said_once(run: Run) -> None:
    for given in ({}, {"images": "a", "manifest": "b"}):
        with pytest.raises(UserError, match="either --images FOLDER or --manifest FILE") as error:
            api.predict(run, **given)
        sentence(error)
    with pytest.raises(UserError, match="--data says where a manifest's images are"):
        api.predict(run, images="a", data="b")


def test_a_stopped_prediction_goes_on_to_the_same_bytes(run: Run, digits_manifest: Path, here: Path) -> None:
    whole = api.predict(run, manifest=digits_manifest, out="whole.parquet", progress=False).manifest
    stop = threading.Event()
    labelled = []

    class Stops(RunTeacher):
        def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            labelled.append(len(images))
            if sum(labelled) > 600:
                stop.set()
            return super().predict(images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("noisyfer.relabel.teachers.RunTeacher", Stops)
        with pytest.raises(Stopped, match="run the same command again"):
            api.predict(run, manifest=digits_manifest, out="p.parquet", progress=False, stop=stop)
    assert sum(labelled) < whole.rows
    report = api.predict(run, manifest=digits_manifest, out="p.parquet", progress=False)
    assert 0 < report.labelled < whole.rows
    assert Path("p.parquet").read_bytes() == whole.path.read_bytes()
    assert api.predict(run, manifest=digits_manifest, out="p.parquet", progress=False).finished_before


def test_onnx_answers_as_torch_at_any_batch_size(digits_manifest: Path, here: Path) -> None:
    proposed = tiny_run(digits_manifest, here / "runs", "proposed")
    done = CliRunner().invoke(main, ["export", "--run", str(proposed.folder), "--format", "onnx", "--out", "p.onnx"])
    assert done.exit_code == 0, done.output
    assert "Wrote p.onnx and p.json." in done.output
    session = onnxruntime.InferenceSession("p.onnx")
    method = read_run(proposed.folder).method()
    teacher = load_teacher("p.onnx")
    assert (teacher.size, teacher.align, list(teacher.tasks)) == (32, False, ["class"])
    for count in (1, 2, 5, 33):
        images = pictures(count)
        expected = method.predict(images)["class"]
        (found,) = session.run(None, {"images": images.float().contiguous().numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(teacher.predict(images)["class"], expected, atol=1e-6)
    with pytest.raises(UserError, match=r"p\.onnx is there already") as error:
        export_run(proposed.folder, "onnx", Path("p.onnx"))
    sentence(error)


def test_a_run_of_timm_is_a_state_dict_of_timm(digits_manifest: Path, here: Path) -> None:
    own = tiny_run(digits_manifest, here / "runs", options={"arch": "test_resnet"})
    made = api.export(own, "timm", "t.safetensors")
    assert made.model == "timm:test_resnet:t.safetensors"
    assert made.difference < 1e-5
    images = pictures(5)
    expected = read_run(own.folder).method().predict(images)["class"]
    np.testing.assert_allclose(load_teacher(made.model).predict(images)["class"], expected, atol=1e-5)


def test_a_run_that_is_no_model_of_timm_is_refused_as_one(run: Run, digits_manifest: Path, here: Path) -> None:
    heads = tiny_run(digits_manifest, here / "runs", "proposed", options={"arch": "test_resnet"})
    for folder, words in (
        (run.folder, "the encoder vgg, which timm does not know"),
        (heads.folder, "one output layer"),
    ):
        with pytest.raises(UserError, match=words) as error:
            export_run(folder, "timm", here / "t.safetensors")
        sentence(error)
    assert sorted(path.name for path in here.iterdir()) == ["runs"]


def test_pt2_answers_as_the_run(run: Run, here: Path) -> None:
    made = api.export(run, "pt2", "p.pt2")
    assert made.model == ""
    program = torch.export.load("p.pt2").module()
    images = pictures(3)
    (found,) = program(images.float())
    torch.testing.assert_close(found, read_run(run.folder).method().predict(images)["class"], rtol=0, atol=1e-5)
    assert json.loads(Path("p.json").read_text())["outputs"] == {"class": "probabilities"}


def test_what_cannot_be_exported_is_a_sentence(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noisyfer.relabel.export_run.find_spec", lambda name: None)
    for format, out, words in (
        ("onx", None, "Did you mean 'onnx'"),
        ("onnx", "a.ckpt", r"end in \.onnx"),
        ("onnx", "a.onnx", "needs the package onnx: pip install onnx"),
    ):
        with pytest.raises(UserError, match=words) as error:
            export_run(run.folder, format, None if out is None else Path(out))
        sentence(error)
    assert not list(here.iterdir())


def test_an_export_that_answers_otherwise_is_not_there(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(teacher: RunTeacher, file: Path) -> None:
        tensors = {name: tensor * 1.5 for name, tensor in teacher.method.predictor().items()}
        write_weights(file, tensors, teacher.trained.header())

    monkeypatch.setitem(_WRITERS, "checkpoint", spoilt)
    with pytest.raises(UserError, match="differ from the run's") as error:
        export_run(run.folder, "checkpoint", Path("a.ckpt"))
    sentence(error)
    assert not list(here.iterdir())


@pytest.mark.parametrize(("name", "sets"), ONE_EACH)
def test_a_predictor_is_all_that_predict_needs(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    method, fresh = build(name, sets), build(name, sets, seed=5)
    images = make_batch(sets, rows=3).images
    method.update(make_batch(sets))
    assert method.predictor().keys() == fresh.predictor().keys()
    fresh.load_predictor(method.predictor())
    expected, found = method.predict(images), fresh.predict(images)
    assert all(torch.equal(found[task], expected[task]) for task in expected)
    with pytest.raises(RuntimeError):
        fresh.load_predictor({**method.predictor(), "nowhere.weight": torch.zeros(1)})


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_a_run_whose_checkpoint_would_run_code_is_not_opened(run: Run, tmp_path: Path) -> None:
    folder, marker = copied(run, tmp_path), tmp_path / "ran"
    torch.save({"epoch": 1, "method": Bomb(marker)}, folder / "checkpoint.pt")
    assert "would run code of its own" in refused(folder)
    assert not marker.exists()
    (folder / "checkpoint.pt").write_bytes((run.folder / "checkpoint.pt").read_bytes()[:1000])
    assert "damaged or truncated" in refused(folder)
    torch.save({"epoch": 1}, folder / "checkpoint.pt")
    assert "is no checkpoint of 'noisyfer bench'" in refused(folder)
    (folder / "checkpoint.pt").unlink()
    assert "has no checkpoint yet" in refused(folder)
    (folder / "config.json").unlink()
    assert "is a folder, and no run's" in refused(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: config["run"].update(method="vgg-al"), "no method named 'vgg-al'. Did you mean 'vgg-all'"),
        (lambda config: config["run"].update(method=["x"]), "'method' in"),
        (lambda config: config["run"]["options"].update(hiden=3), "no option named 'hiden'"),
        (lambda config: config["run"]["options"].update(width=1e9), "width is 1000000000.0; it must be at most 8"),
        (lambda config: config["run"]["options"].update(width=0.125), "The weights in .* are not those of the run"),
        (lambda config: config["run"]["options"].update(arch="../../x"), r"no architecture named '\.\./\.\./x'"),
        (lambda config: config["run"]["settings"].update(image_size=10**9), "'image_size' .* from 32 to 128"),
        (lambda config: config["run"]["settings"].update(image_size=33), "one of 32, 64, 128 was expected"),
        (lambda config: config.update(run=[]), "a JSON object was expected"),
        (lambda config: config["learned"].update(label_sets=[]), "at least one label set"),
        (lambda config: config["learned"]["label_sets"][0].update(task="x"), "'task' in label set 1"),
        (lambda config: config["learned"]["tasks"]["class"].update(classes=["a"]), "at least 2 different texts"),
        (lambda config: config["learned"]["tasks"]["class"].update(classes=["a", "b"]), "are not those of the run"),
    ],
)
def test_a_configuration_that_cannot_be_is_a_sentence(change: Any, words: str, run: Run, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    assert re.search(words, refused(folder))


def test_a_run_that_did_not_store_what_it_learned_asks_its_manifest(
    run: Run, digits_manifest: Path, here: Path
) -> None:
    folder = copied(run, here)
    config = json.loads((folder / "config.json").read_text())
    stored = Learned.from_json(Fields(config.pop("learned"), "test"))
    config["manifest"]["name"] = "../../digits.parquet"  # a name leads nowhere else
    (folder / "config.json").write_text(json.dumps(config))
    assert "its manifest digits.parquet (SHA-256" in refused(folder)
    (here / "data_manifests").mkdir()
    shutil.copy(digits_manifest, here / "data_manifests" / "digits.parquet")
    found = read_run(folder).learned
    assert (found.tasks, found.align) == (stored.tasks, False)
    assert [spec.name for spec in found.label_sets] == [spec.name for spec in stored.label_sets]


def test_a_grid_of_the_api_is_read_as_the_commands_and_has_no_run_twice(
    digits_manifest: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[list[tuple[int, int, float]]] = []

    def leave(queue: Queue, **_: object) -> list[Outcome]:
        configs = [run.plan.config for run in queue.runs]
        planned.append([(each.seed, each.settings.epochs, each.options.learning_rate) for each in configs])
        queue.write()
        return [Outcome(None, "not run")] * len(queue.runs)

    monkeypatch.setattr("noisyfer.benchmark.sweep.run_sweep", leave)

    def asked(grid: dict[str, object], seeds: Sequence[int] = (0,)) -> list[tuple[int, int, float]]:
        given = {"manifest": digits_manifest, "preset": "smoke", "progress": False, "seeds": seeds}
        found = api.sweep("vgg-all", grid=grid, **given)  # type: ignore[arg-type]
        assert len(found) == len(planned[-1])
        return planned[-1]

    assert asked({"epochs": "34"}) == asked({"epochs": 34}) == asked({"epochs": np.int64(34)}) == [(0, 34, 5e-4)]
    assert asked({"epochs": "3, 4"}) == asked({"epochs": (3, 4)}) == [(0, 3, 5e-4), (0, 4, 5e-4)]
    shutil.rmtree(here / "runs")
    twice = {"learning_rate": ["0.001", "1e-2", "1e-3", 0.01]}
    assert asked(twice, [1, 0, np.int64(1)]) == [(1, 2, 1e-3), (1, 2, 1e-2), (0, 2, 1e-3), (0, 2, 1e-2)]
    (asked_for,) = (here / "runs").glob("sweep-*/queue.json")
    assert json.loads(asked_for.read_text())["request"]["seeds"] == "1,0"
    for wrong in ("0,1", [0.5]):
        with pytest.raises(UserError, match="a whole number of at least 0 was expected"):
            asked({}, wrong)  # type: ignore[arg-type]
