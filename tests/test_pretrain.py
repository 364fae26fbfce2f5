"""Pretraining: a teacher learns, its file says how well, and a stopped run ends as an uninterrupted one would have."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pyarrow as pa
import pytest
import timm
import torch
from messages import sentence
from noisyfer.core.config import to_dict
from noisyfer.core.errors import UserError
from noisyfer.core.files import sha256_file
from noisyfer.manifest import Dataset, Header, LabelSet, Manifest, Task, write_manifest
from noisyfer.models.methods import METHODS, Batch, LabelSetSpec, Problem
from noisyfer.models.networks import Architecture, build_teacher
from noisyfer.models.networks.teacher import TeacherNetwork
from noisyfer.relabel.lesson import Lesson, LessonConfig
from noisyfer.relabel.pretrain import load_material, pretrain
from noisyfer.relabel.pretrain_plan import PRESETS, PretrainPlan, PretrainSettings, check_request, plan_pretraining
from noisyfer.relabel.teacher_files import read_description
from noisyfer.relabel.teachers import load_teacher
from noisyfer.training.feed import Feed
from PIL import Image
from pretrain_world import CLASSES, colour, vgg_face

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


def write_world(folder: Path, splits: Mapping[str, int], faces: bool = False) -> Manifest:
    """Coloured pictures and a manifest of them; every seventh sample lacks its class, every fifth its valence."""
    rows: dict[str, list[Any]] = {name: [] for name in ("id", "split", "image", "status", "detail")}
    values: dict[str, list[Any]] = {"expression_human": [], "valence_human": [], "arousal_human": []}
    (folder / "pictures").mkdir(parents=True)
    number = 0
    for split, count in splits.items():
        for _ in range(count):
            label, valence, pixels = colour(number)
            Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png")
            for name, value in zip(rows, (f"id{number}", split, f"pictures/{number}.png", "ok", None), strict=True):
                rows[name].append(value)
            values["expression_human"].append(None if number % 7 == 6 else label)
            values["valence_human"].append(None if number % 5 == 4 else valence)
            values["arousal_human"].append(None if number % 5 == 4 else -valence)
            number += 1
    tasks = {"expression": Task("expression", "categorical", CLASSES), "va": Task("va", "continuous")}
    sets = [
        LabelSet.categorical("expression", "human", "human", {}),
        LabelSet.valence_arousal("human", "human", {}),
    ]
    header = Header(Dataset("world", str(folder)), tasks, {found.name: found for found in sets})
    return write_manifest(folder / "world.parquet", header, [pa.table({**rows, **values})])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_world(tmp_path_factory.mktemp("world"), {"train": 50, "test": 5})


TINY = {"epochs": 3, "width": 1 / 16, "hidden": 32, "image_size": 32, "batch_size": 16, "learning_rate": 2e-3}


def plan(world: Manifest, out: Path, **more: Any) -> PretrainPlan:
    changes = {**TINY, **more.pop("changes", {})}
    return plan_pretraining(world, out, preset="smoke", changes=changes, **more)


class Onlooker:
    """Notes what happens, and presses Ctrl-C at one step."""

    def __init__(self, interrupt_at: tuple[int, int] | None = None) -> None:
        self.interrupt_at = interrupt_at
        self.resumed_after: int | None = None
        self.rows: list[Mapping[str, Any]] = []
        self.told: list[str] = []
        self.decoded: set[str] = set()

    def said(self, text: str) -> None:
        self.told.append(text)

    def decoding(self, split: str, done: int, total: int) -> None:
        self.decoded.add(split)

    def started(self, plan: PretrainPlan, epochs_done: int) -> None:
        self.resumed_after = epochs_done

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        assert 1 <= step <= steps
        if (epoch, step) == self.interrupt_at:
            raise KeyboardInterrupt

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)


def test_a_teacher_learns_both_tasks_and_says_how_well(tmp_path: Path) -> None:
    world = write_world(tmp_path / "world", {"train": 160, "val": 60})
    planned = plan(world, tmp_path / "t.ckpt", architecture="resnet10t", changes={"epochs": 2})
    onlooker = Onlooker()
    result = pretrain(planned, onlooker)
    assert result["last"]["val"]["expression"]["accuracy"] > 0.9
    assert result["last"]["val"]["va"]["ccc"] > 0.6
    assert result["measured_on"] == "the split val"
    assert onlooker.decoded == {"train", "val"}
    losses = [row["losses"] for row in onlooker.rows]
    assert losses[-1]["expression"] < losses[0]["expression"]
    assert losses[-1]["loss"] == pytest.approx(losses[-1]["expression"] + losses[-1]["va"], rel=1e-4)

    description = read_description(planned.out)
    assert description.figures["expression_accuracy"] == result["last"]["val"]["expression"]["accuracy"]
    assert description.figures["va_ccc"] == result["last"]["val"]["va"]["ccc"]
    assert description.figures["images"] == 58  # two of the sixty have neither label
    assert description.training["manifest"]["sha256"] == world.fingerprint
    assert description.training["seed"] == 0
    assert description.versions["torch"] == torch.__version__
    numbers = [number for number in range(160, 220) if number % 7 != 6]
    assert np.sum(description.training["confusion"]["expression"]) == len(numbers)
    assert {path.name for path in planned.folder.path.iterdir()} >= {
        *("config.json", "metrics.jsonl", "checkpoint.pt", "result.json", "curves.png", "confusion_expression.png"),
    }

    # the teacher in the file is the one that was scored
    teacher = load_teacher(str(planned.out))
    images = torch.from_numpy(np.stack([colour(number)[2] for number in numbers])).permute(0, 3, 1, 2)
    answers = teacher.predict(images)["expression"].argmax(dim=1).tolist()
    right = np.mean([answer == number % 3 for answer, number in zip(answers, numbers, strict=True)])
    assert right == pytest.approx(description.figures["expression_accuracy"])
    assert teacher.figures["expression_balanced_accuracy"] == pytest.approx(
        np.mean([np.mean([a == k for a, n in zip(answers, numbers, strict=True) if n % 3 == k]) for k in range(3)])
    )


def same_tensors(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same_tensors(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return all(same_tensors(one, other) for one, other in zip(first, second, strict=True))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else bool(first == second)


@pytest.mark.parametrize("sampling", ["plain", "balanced"])
def test_a_stopped_pretraining_ends_bit_for_bit_like_an_uninterrupted_one(
    sampling: str, world: Manifest, tmp_path: Path
) -> None:
    changes = {"sampling": sampling}
    whole, broken = (plan(world, tmp_path / name / "t.ckpt", changes=changes) for name in ("whole", "broken"))
    pretrain(whole)
    for at in ((1, 2), (2, 3), (3, 1)):
        with pytest.raises(KeyboardInterrupt):
            pretrain(broken, Onlooker(at))
        assert not broken.out.exists()
    onlooker = Onlooker()
    pretrain(broken, onlooker)
    assert onlooker.resumed_after == 2
    first, second = (torch.load(each.folder.checkpoint, weights_only=True) for each in (whole, broken))
    assert same_tensors(first, second)
    assert sha256_file(whole.out) == sha256_file(broken.out)


def test_a_finished_one_is_only_read_and_another_configuration_refused(world: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "t.ckpt"
    result = pretrain(plan(world, out))
    stamp = out.stat().st_mtime_ns
    onlooker = Onlooker()
    assert pretrain(plan(world, out), onlooker) == {**result, "finished_before": True}
    assert onlooker.resumed_after is None
    for changes, told in (({"epochs": 4}, r"epochs: 3 → 4"), ({"sampling": "balanced"}, "sampling: plain → balanced")):
        with pytest.raises(UserError, match=rf"another configuration \({told}\).*--again") as error:
            pretrain(plan(world, out, changes=changes))
        sentence(error)
    with pytest.raises(UserError, match=r"another configuration \(seed: 0 → 1\)"):
        pretrain(plan(world, out, seed=1))
    assert out.stat().st_mtime_ns == stamp
    pretrain(plan(world, out, seed=1), again=True)
    assert read_description(out).training["seed"] == 1


def test_a_file_that_was_not_made_here_is_not_replaced(world: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "t.ckpt"
    out.write_bytes(b"precious")
    with pytest.raises(UserError, match=r"is there already, and no .*t\.ckpt\.run beside it") as error:
        pretrain(plan(world, out))
    sentence(error)
    assert out.read_bytes() == b"precious"
    assert not plan(world, out).folder.path.exists()
    pretrain(plan(world, out), again=True)
    out.write_bytes(out.read_bytes() + b"x")
    with pytest.raises(UserError, match="has changed since it was trained here"):
        pretrain(plan(world, out))
    # a lost file comes back from the run's folder without any training
    out.unlink()
    onlooker = Onlooker()
    pretrain(plan(world, out), onlooker)
    assert onlooker.rows == []
    assert load_teacher(str(out)).size == 32


def test_without_a_validation_split_a_fixed_tenth_is_held_out_and_test_images_are_never_read(tmp_path: Path) -> None:
    world = write_world(tmp_path / "world", {"train": 100, "test": 30})
    for number in range(100, 130):
        (tmp_path / "world" / "pictures" / f"{number}.png").unlink()
    chosen = []
    for seed in (0, 1):
        planned = plan(world, tmp_path / f"{seed}.ckpt", seed=seed, changes={"epochs": 1})
        material = load_material(planned)
        chosen.append(material.val_rows.tolist())
        assert not set(material.val_rows) & set(material.train_rows)
        unlabelled = {number for number in range(100) if number % 7 == 6 and number % 5 == 4}
        assert set(material.val_rows) | set(material.train_rows) == set(range(100)) - unlabelled
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 9
    assert chosen[0] != list(range(9))
    result = pretrain(planned)
    assert result["measured_on"] == "a tenth of the split train that was held out"
    assert result["images"] == {"train": len(material.train_rows), "val": 9}


@pytest.mark.parametrize("sampling", ["plain", "balanced"])
def test_balanced_sampling_gives_every_class_the_same_weight(
    sampling: str, world: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = Feed.epoch

    def epoch(self: Feed, seed: int, number: int, batch_size: int, weights: Any = None, **share: int) -> Any:
        seen.append((weights, self.labels["expression_human"].numpy(), self.masks["expression_human"].numpy()))
        return real(self, seed, number, batch_size, weights, **share)

    monkeypatch.setattr(Feed, "epoch", epoch)
    pretrain(plan(world, tmp_path / "t.ckpt", changes={"sampling": sampling, "epochs": 1}))
    weights, labels, present = seen[0]
    if sampling == "plain":
        assert weights is None
    else:
        totals = [weights[present & (labels == label)].sum() for label in range(3)]
        assert totals == pytest.approx([totals[0]] * 3)


def test_one_task_alone(world: Manifest, tmp_path: Path) -> None:
    pretrain(plan(world, tmp_path / "va.ckpt", tasks=["va"], changes={"epochs": 1}))
    teacher = load_teacher(str(tmp_path / "va.ckpt"))
    assert list(teacher.tasks) == ["va"]
    assert teacher.predict(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))["va"].shape == (2, 2)
    with pytest.raises(UserError, match="Balanced sampling needs classes"):
        pretrain(plan(world, tmp_path / "b.ckpt", tasks=["va"], changes={"sampling": "balanced"}))


def test_a_network_of_timm_with_its_own_normalisation(world: Manifest, tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = timm.create_model("resnet10t")
    torch.save(published.state_dict(), tmp_path / "published.pth")
    changes = {"epochs": 1, "batch_size": 25}
    planned = plan(
        world, tmp_path / "t.ckpt", architecture="resnet10t", init=tmp_path / "published.pth", changes=changes
    )
    onlooker = Onlooker()
    pretrain(planned, onlooker)
    whole = len(published.state_dict())
    assert onlooker.told == [f"Took {whole - 2} of {whole} tensors from {tmp_path / 'published.pth'}."]
    description = read_description(planned.out)
    assert description.mean == (0.485, 0.456, 0.406)
    assert load_teacher(str(planned.out)).architecture == "timm resnet10t"
    # and from our own file again, its outputs included
    again = plan(world, tmp_path / "u.ckpt", architecture="resnet10t", init=planned.out, changes=changes)
    onlooker = Onlooker()
    pretrain(again, onlooker)
    assert onlooker.told == [f"Took {whole} of {whole} tensors from {planned.out}."]


def test_weights_that_cannot_be_started_from_are_a_sentence(world: Manifest, tmp_path: Path) -> None:
    def refused(state: Any, **more: Any) -> str:
        torch.save(state, tmp_path / "init.pth")
        with pytest.raises(UserError) as error:
            pretrain(plan(world, tmp_path / "t.ckpt", init=tmp_path / "init.pth", **more))
        return sentence(error)

    assert "the widths differ" in refused(vgg_face(width=1 / 8))
    lacking = vgg_face()
    del lacking["conv3_2.bias"]
    assert "12 of VGG-16's 13 convolutions (conv3_2 is missing)" in refused(lacking)
    assert "0 of VGG-16's 13 convolutions" in refused({"weight": torch.zeros(3)})
    other = timm.create_model("resnet10t", num_classes=3).state_dict()
    assert "has weights of another network" in refused(other, architecture="resnet18")
    with pytest.raises(UserError, match=r"There is no file .*nowhere"):
        plan(world, tmp_path / "t.ckpt", init=tmp_path / "nowhere.pth")


def test_what_cannot_be_learned_is_a_sentence(world: Manifest, tmp_path: Path) -> None:
    def refused(**more: Any) -> str:
        with pytest.raises(UserError) as error:
            pretrain(plan(more.pop("manifest", world), more.pop("out", tmp_path / "t.ckpt"), **more))
        return sentence(error)

    assert "no task that humans labelled named 'class'. Known: expression, va" in refused(tasks=["class"])
    assert "ends in .ckpt was expected" in refused(out=tmp_path / "t.onnx")
    assert "vgg is defined for 32, 64, 128" in refused(changes={"image_size": 50})
    assert "no architecture named 'resnet10'" in refused(architecture="resnet10")
    assert "no option named 'epoch'. Did you mean 'epochs'" in refused(changes={"epoch": 3})
    assert "no label set by human or clean" in refused(manifest=world.select(label_sets=[]))
    few = write_world(tmp_path / "few", {"train": 2})
    assert "at least 3 are needed" in refused(manifest=few)
    assert "no usable sample in the split 'train'" in refused(manifest=write_world(tmp_path / "no", {"test": 4}))
    with pytest.raises(UserError, match="no preset named 'large'"):
        check_request(tmp_path / "t.ckpt", architecture="vgg", preset="large", changes={})


def test_the_learning_rate_falls_along_half_a_cosine() -> None:
    spec = LabelSetSpec("expression_human", "expression", 3)
    network = build_teacher(Architecture("vgg", 1 / 16, 8), 32, {"expression": 3}, (0.5,) * 3, (0.5,) * 3)
    config = LessonConfig(learning_rate=0.01, epochs=4)
    lesson = Lesson(network, Problem(32, (spec,), 8), config, torch.device("cpu"))
    rates = []
    for epoch in range(4):
        lesson.start_epoch(epoch)
        rates.append(lesson.optimizer.param_groups[0]["lr"])
    half = 0.5**0.5
    assert rates == pytest.approx([0.01, 0.005 * (1 + half), 0.005, 0.005 * (1 - half)])


def test_missing_labels_do_not_teach() -> None:
    specs = (LabelSetSpec("expression_human", "expression", 3), LabelSetSpec("va_human", "va", 2, continuous=True))
    images = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8)
    masks = {"expression_human": torch.arange(6) < 4, "va_human": torch.arange(6) > 1}
    losses = []
    for junk in (0, 1):
        labels = {
            "expression_human": torch.tensor([0, 1, 2, 0, junk, junk]),
            "va_human": torch.linspace(-1, 1, 12).reshape(6, 2),
        }
        labels["va_human"][:2] = junk
        torch.manual_seed(0)
        network = build_teacher(Architecture("vgg", 1 / 16, 8), 32, {"expression": 3, "va": 2}, (0.5,) * 3, (0.5,) * 3)
        lesson = Lesson(network, Problem(32, specs, 6), LessonConfig(), torch.device("cpu"))
        losses.append(lesson.update(Batch(images, labels, masks, torch.arange(6))))
    assert losses[0] == losses[1]


def test_a_teachers_values_that_leave_the_range_cost_their_squared_distance() -> None:
    spec = LabelSetSpec("va_human", "va", 2, continuous=True)
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
    network = TeacherNetwork(body, {"va": 2}, (0.5,) * 3, (0.5,) * 3)
    lesson = Lesson(network, Problem(32, (spec,), 6), LessonConfig(), torch.device("cpu"))
    with torch.no_grad():
        body[1].weight.mul_(10)
    images = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8)
    labels, mask = torch.linspace(-1, 1, 12).reshape(6, 2), torch.arange(6) > 1
    batch = Batch(images, {"va_human": labels}, {"va_human": mask}, torch.arange(6))
    values = network(images)["va"].detach().double()
    beyond = oracles.out_of_range(values, mask.tolist())
    assert beyond > 0.1
    expected = oracles.similarity(values, labels.double(), mask.tolist()) + beyond
    assert lesson.update(batch)["loss"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_teachers_lesson_is_no_method_of_the_benchmark() -> None:
    assert not [name for name in METHODS if "lesson" in METHODS[name].__name__.casefold()]


def test_the_documents_table_is_the_presets_own() -> None:
    page = (Path(__file__).parent.parent / "docs" / "teachers.md").read_text(encoding="utf-8")
    for name, default in to_dict(PretrainSettings()).items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        told = [cell.strip() for cell in row.strip("|").split("|")[1:]]
        for preset, cell in zip(("smoke", "small", "paper"), told, strict=True):
            value = PRESETS[preset].get(name, default)
            assert (float(Fraction(cell)) if isinstance(value, (int, float)) else cell) == value, (name, preset)
