"""Teachers of ours and of timm: the same answers as their networks, and a sentence for every file that is none."""

from __future__ import annotations

import json
import pickle
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from foreign_networks import EXPRESSIONS, SIZE, THEIRS, describe, pictures, write_ours, write_sidecar
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.core.files import sha256_file
from noisyfer.relabel.teacher_files import read_description, write_teacher
from noisyfer.relabel.teachers import load_teacher
from noisyfer.training.weights import read_weights
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def refused(model: str | Path) -> str:
    with pytest.raises(UserError) as error:
        load_teacher(str(model))
    return sentence(error)


def test_our_file_gives_the_networks_own_answers(tmp_path: Path) -> None:
    file, network = write_ours(tmp_path / "raf.ckpt")
    teacher = load_teacher(str(file))
    assert (teacher.annotator, teacher.size, teacher.align) == ("raf", SIZE, True)
    assert teacher.sha256 == sha256_file(file)
    assert teacher.architecture == "vgg, width 0.0625, hidden 16"
    assert teacher.figures == {"expression_accuracy": 0.75, "va_ccc": None}
    assert teacher.tasks["expression"].classes == EXPRESSIONS
    images = pictures(5)
    # the normalisation written out: pixels to [0, 1], minus mean, divided by std
    pixels = (images.double() / 255 - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / torch.tensor([0.5, 0.25, 0.2])[
        :, None, None
    ]
    with torch.inference_mode():
        outputs = network.body(pixels.float())
    found = teacher.predict(images)
    torch.testing.assert_close(found["expression"], outputs[:, :7].softmax(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["va"], outputs[:, 7:], rtol=1e-4, atol=1e-6)
    assert all(value.dtype == torch.float32 for value in found.values())


def test_the_file_is_plain_safetensors_with_a_json_header(tmp_path: Path) -> None:
    file, network = write_ours(tmp_path / "raf.ckpt")
    with safe_open(file, "pt") as opened:
        header = json.loads(opened.metadata()["noisyfer"])
    assert header["tasks"]["expression"] == {"kind": "categorical", "classes": list(EXPRESSIONS)}
    assert header["architecture"] == {"name": "vgg", "width": 1 / 16, "hidden": 16}
    assert (header["size"], header["std"], header["align"]) == (SIZE, [0.5, 0.25, 0.2], True)
    stored = load_file(file)
    assert stored.keys() == network.state_dict().keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in network.state_dict().items())
    assert read_description(file) == describe(figures={"expression_accuracy": 0.75, "va_ccc": None})


@pytest.mark.parametrize(
    ("told", "file", "name"),
    [
        ("{}", "raf.ckpt", "raf"),
        ("mine={}", "raf.ckpt", "mine"),
        ("{}", "my model (2).ckpt", "my_model_2_"),
        ("{}", "_é.ckpt", "teacher"),
        ("{}", "lr=0.1.ckpt", "lr_0.1"),
        ("b.2={}", "lr=0.1.ckpt", "b.2"),
    ],
)
def test_the_annotator_is_called_as_told_or_like_its_file(
    told: str, file: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_ours(tmp_path / file)
    assert load_teacher(told.format(file)).annotator == name
    assert load_teacher(told.format(tmp_path / file)).annotator == name


def test_an_annotator_that_could_be_no_column_is_refused(tmp_path: Path) -> None:
    file, _ = write_ours(tmp_path / "raf.ckpt")
    assert "names the annotator 'my name'; letters, digits" in refused(f"my name={file}")
    assert "names the annotator ''" in refused(f"={file}")


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_a_checkpoint_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    file, network = write_ours(tmp_path / "raf.ckpt")
    whole = file.read_bytes()
    assert "There is no file" in refused(tmp_path / "nowhere.ckpt")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "empty.ckpt").write_bytes(b"")
    assert "is no teacher of 'noisyfer pretrain' (no safetensors file)" in refused(tmp_path / "empty.ckpt")
    (tmp_path / "text.ckpt").write_text("These are no weights.")
    assert "no safetensors file" in refused(tmp_path / "text.ckpt")
    torch.save(network.state_dict(), tmp_path / "theirs.pth")
    assert "--model timm:ARCHITECTURE:" in refused(tmp_path / "theirs.pth")
    save_file(network.state_dict(), tmp_path / "bare.ckpt")
    assert "a safetensors file without noisyfer's header" in refused(tmp_path / "bare.ckpt")
    for length in (100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.ckpt").write_bytes(whole[:length])
        assert "damaged or truncated" in refused(tmp_path / "cut.ckpt")


def with_header(file: Path, change: Any) -> Path:
    with safe_open(file, "pt") as opened:
        header = json.loads(opened.metadata()["noisyfer"])
    header.pop("content_sha256")  # as an older noisyfer wrote it, so that the digest does not speak first
    change(header)
    save_file(load_file(file), file, {"noisyfer": json.dumps(header)})
    return file


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda header: header.update(teacher=2), "is a teacher of format 2, and this noisyfer reads formats up to 1"),
        (lambda header: header.pop("size"), "the header of .* has no 'size'"),
        (lambda header: header.update(size="large"), "'size' in the header of .* is 'large'; a whole number"),
        (lambda header: header.update(size=33), "The size is 33 pixels; vgg is defined for 32, 64, 128"),
        (
            lambda header: header.update(std=[0, 1, 1]),
            "'std' in the header of .* a list of numbers above 0 was expected",
        ),
        (lambda header: header["architecture"].update(name="vgh"), "no architecture named 'vgh'"),
        (lambda header: header["architecture"].update(width=1e6), "'width' .* a number from 0.001 to 8"),
        (lambda header: header["architecture"].update(width=1 / 8), r"not those of the network .*shape: .* instead of"),
        (lambda header: header["tasks"]["expression"].update(classes=list(THEIRS)), "not those of the network"),
        (lambda header: header["tasks"]["expression"].update(classes=["a", "a"]), "different texts"),
        (lambda header: header["tasks"].pop("va"), "not those of the network"),
        (lambda header: header.update(tasks={}), "'tasks' .* at least one task"),
        (lambda header: header.update(tasks=[1]), "a JSON object was expected"),
    ],
)
def test_a_header_that_does_not_fit_its_tensors_is_a_sentence(change: Any, told: str, tmp_path: Path) -> None:
    file, _ = write_ours(tmp_path / "raf.ckpt")
    with_header(file, change)
    with pytest.raises(UserError, match=told) as error:
        load_teacher(str(file))
    sentence(error)


def test_weights_that_are_not_finite_are_answered_as_they_are(tmp_path: Path) -> None:
    description = describe()
    network = description.build()
    with torch.no_grad():
        network.body.head.bias.fill_(float("nan"))
    write_teacher(tmp_path / "nan.ckpt", network, description)
    found = load_teacher(str(tmp_path / "nan.ckpt")).predict(pictures())
    assert found["expression"].isnan().all()
    assert found["va"].isnan().all()


def timm_teacher(tmp_path: Path, stored: Any = None, **sidecar: Any) -> tuple[str, torch.nn.Module]:
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=10).eval()
    file = tmp_path / "emotions.pth"
    torch.save(network.state_dict() if stored is None else stored(network.state_dict()), file)
    settings = {"outputs": ["logits", "valence", "arousal"], "mean": None, "std": None, **sidecar}
    write_sidecar(file, **settings)
    return f"timm:resnet10t:{file}", network


def test_a_model_of_timm_with_local_weights(tmp_path: Path) -> None:
    model, network = timm_teacher(tmp_path, vocabulary={"Anger": "anger", "Happiness": "happy"}, align=False)
    teacher = load_teacher(model)
    assert (teacher.annotator, teacher.architecture, teacher.align) == ("emotions", "timm resnet10t", False)
    assert teacher.tasks["expression"].classes == ("anger", *THEIRS[1:4], "happy", *THEIRS[5:])
    images = pictures()
    settings = timm.get_pretrained_cfg("resnet10t")
    pixels = (images.float() / 255 - torch.tensor(settings.mean)[:, None, None]) / torch.tensor(settings.std)[
        :, None, None
    ]
    with torch.inference_mode():
        outputs = network(pixels)
    found = load_teacher(f"a={model}").predict(images)
    torch.testing.assert_close(found["expression"], outputs[:, :8].softmax(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["va"], outputs[:, 8:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "stored",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"model": {f"_orig_mod.{name}": value for name, value in state.items()}, "epoch": 3},
    ],
)
def test_state_dicts_are_found_inside_training_checkpoints(stored: Any, tmp_path: Path) -> None:
    plain = load_teacher(timm_teacher(tmp_path)[0])
    (tmp_path / "wrapped").mkdir()
    wrapped = load_teacher(timm_teacher(tmp_path / "wrapped", stored)[0])
    images = pictures()
    assert torch.equal(plain.predict(images)["expression"], wrapped.predict(images)["expression"])


def test_channels_in_blue_green_red_order(tmp_path: Path) -> None:
    model, network = timm_teacher(tmp_path, color="BGR", mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7])
    images = pictures()
    blue_first = torch.stack(
        [(images[:, 2 - place].float() / 255 - 0.1 * (place + 1)) / (0.5 + 0.1 * place) for place in range(3)], 1
    )
    with torch.inference_mode():
        expected = network(blue_first)[:, :8].softmax(1)
    torch.testing.assert_close(load_teacher(model).predict(images)["expression"], expected, rtol=1e-4, atol=1e-5)


def test_a_changed_sidecar_or_architecture_is_another_teacher(tmp_path: Path) -> None:
    model, _ = timm_teacher(tmp_path)
    before = load_teacher(model).sha256
    assert load_teacher(model).sha256 == before
    write_sidecar(tmp_path / "emotions.pth", outputs=["logits", "arousal", "valence"])
    assert load_teacher(model).sha256 != before


def test_weights_without_a_sidecar_print_the_one_to_fill_in(tmp_path: Path) -> None:
    model, _ = timm_teacher(tmp_path)
    (tmp_path / "emotions.json").unlink()
    with pytest.raises(UserError) as error:
        load_teacher(model)
    text = str(error.value)
    assert f"there is no {tmp_path / 'emotions.json'}" in text
    template = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert template["classes"] == ["…"] * 10
    assert template["mean"] == [0.485, 0.456, 0.406]
    # filled in, it is accepted
    (tmp_path / "emotions.json").write_text(json.dumps({**template, "classes": list("abcdefghij"), "size": SIZE}))
    assert load_teacher(model).size == SIZE


def test_weights_of_timm_that_do_not_fit_are_a_sentence(tmp_path: Path) -> None:
    model, _ = timm_teacher(tmp_path)
    file = tmp_path / "emotions.pth"
    assert "'resnet10t'" in refused(f"timm:resnet10:{file}")
    assert "timm:ARCHITECTURE:FILE was expected" in refused("timm:resnet10t")
    assert "There is no file" in refused(f"timm:resnet10t:{tmp_path / 'nowhere.pth'}")
    assert "not those of the network that" in refused(f"timm:resnet18:{file}")
    write_sidecar(file, outputs="logits")
    assert "shape: fc.weight is (10, 512) instead of (8, 512)" in refused(model)
    write_sidecar(file, outputs={"output": "logits"})
    assert "a single output without a name" in refused(model)
    write_sidecar(file, colour="BGR")
    assert "no key named 'colour'. Did you mean 'color'?" in refused(model)
    file.with_suffix(".json").write_text("{")
    assert "Cannot read" in refused(model)


def test_a_file_that_wants_to_run_code_is_not_opened(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for file in (tmp_path / "zip.pth", tmp_path / "old.pth"):
        torch.save({"a": Runs(marker)}, file, _use_new_zipfile_serialization=file.stem == "zip")
        assert "would run code of its own" in refused(f"timm:resnet10t:{file}")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Runs(marker)))
    refused(f"timm:resnet10t:{tmp_path / 'plain.pth'}")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    assert "Save the state dict alone" in refused(f"timm:resnet10t:{tmp_path / 'module.pth'}")
    assert not marker.exists()


def test_an_archive_that_torch_would_unpack_elsewhere_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))  # there is no such folder
    with tarfile.open(tmp_path / "old.pth", "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name))
    assert "it is a tar archive" in refused(f"timm:resnet10t:{tmp_path / 'old.pth'}")


def test_damaged_weights_are_a_sentence(tmp_path: Path) -> None:
    model, _ = timm_teacher(tmp_path)
    file = tmp_path / "emotions.pth"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:50], b"", b"no weights", pickle.dumps([1, 2])):
        file.write_bytes(content)
        assert "damaged or truncated" in refused(model) or "would run code" in refused(model)
    torch.save({"epoch": 3}, file)
    assert "holds no named tensors" in refused(model)
    torch.save(torch.zeros(3), file)
    assert "holds no named tensors" in refused(model)


def test_safetensors_weights_are_read_as_well(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3)}, tmp_path / "a.safetensors")
    assert torch.equal(read_weights(tmp_path / "a.safetensors")["a"], torch.arange(3))
    assert np.array_equal(read_weights(tmp_path / "a.safetensors")["a"].numpy(), [0, 1, 2])
