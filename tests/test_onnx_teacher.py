"""ONNX teachers: what a sidecar says is what goes in and comes out, and what does not fit is said before any image."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from foreign_networks import EXPRESSIONS, SIZE, THEIRS, pictures, weights, write_onnx, write_sidecar
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.relabel.foreign import brightness
from noisyfer.relabel.onnx_paths import external_files
from noisyfer.relabel.sources.vocabulary import expression_name
from noisyfer.relabel.teachers import load_teacher
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

VA = {"output": ["logits", "valence", "arousal"]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A network with eight outputs, without a sidecar."""
    return write_onnx(tmp_path / "emotions.onnx")


def refused(model: Path) -> str:
    with pytest.raises(UserError) as error:
        load_teacher(str(model))
    return sentence(error)


def means(images: torch.Tensor, mean: float = 0.5, std: float = 0.5) -> Any:
    """The channels' means after normalisation, by hand."""
    return (images.numpy().astype(np.float64) / 255).mean(axis=(2, 3)) / std - mean / std


def softmax(values: Any) -> Any:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_logits_become_probabilities_under_our_names(model: Path) -> None:
    write_sidecar(model, vocabulary={"Happiness": "happy"}, align=False)
    teacher = load_teacher(str(model))
    assert (teacher.annotator, teacher.size, teacher.align) == ("emotions", SIZE, False)
    assert teacher.tasks["expression"].classes == (*THEIRS[:4], "happy", *THEIRS[5:])
    assert teacher.architecture == "ONNX emotions.onnx"
    images = pictures()
    found = teacher.predict(images)
    assert list(found) == ["expression"]
    assert found["expression"].dtype == torch.float32
    np.testing.assert_allclose(found["expression"], softmax(means(images) @ weights(3, 8)), atol=1e-5)


def test_one_output_is_cut_into_logits_valence_and_arousal(tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "mtl.onnx", {"output": 11})
    write_sidecar(model, outputs={"output": ["logits", "valence", "skip", "arousal"]})
    images = pictures()
    raw = means(images) @ weights(3, 11)
    found = load_teacher(str(model)).predict(images)
    np.testing.assert_allclose(found["expression"], softmax(raw[:, :8]), atol=1e-5)
    np.testing.assert_allclose(found["va"], raw[:, [8, 10]], atol=1e-5)


def test_outputs_of_their_own_and_ones_that_are_not_wanted(tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "several.onnx", {"features": 20, "v": 1, "a": 1})
    write_sidecar(model, classes=None, outputs={"a": "arousal", "v": "valence"})
    images = pictures()
    teacher = load_teacher(str(model))
    assert list(teacher.tasks) == ["va"]
    expected = np.concatenate([means(images) @ weights(3, 1)] * 2, axis=1)
    np.testing.assert_allclose(teacher.predict(images)["va"], expected, atol=1e-5)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", [1, 4, "batch"])
def test_layout_and_a_fixed_number_of_images_change_no_answer(layout: str, batch: int | str, tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "fixed.onnx", layout=layout, batch=batch)
    write_sidecar(model, layout=layout)
    images = pictures(6)
    expected = softmax(means(images) @ weights(3, 8))
    np.testing.assert_allclose(load_teacher(str(model)).predict(images)["expression"], expected, atol=1e-5)


def test_grey_pixels_from_0_to_255_as_fer_plus_takes_them(tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "grey.onnx", channels=1, batch=1, softmax=True)
    write_sidecar(model, color="GREY", scale=255, mean=0, std=1, outputs="probabilities")
    # dark pictures, since the tiny network's softmax is all or nothing for bright ones
    images = pictures(4) // 64
    grey = brightness(images).numpy().astype(np.float64).mean(axis=(2, 3))
    expected = softmax(grey @ weights(1, 8))
    np.testing.assert_allclose(load_teacher(str(model)).predict(images)["expression"], expected, atol=1e-4)


def test_brightness_is_pillows() -> None:
    image = pictures(1, 48)
    expected = np.asarray(Image.fromarray(image[0].permute(1, 2, 0).numpy()).convert("L"))
    assert np.array_equal(brightness(image)[0, 0].numpy(), expected)


def test_blue_green_red_with_a_mean_a_channel(model: Path) -> None:
    write_sidecar(model, color="BGR", scale=255, mean=[91, 103, 131], std=1)
    images = pictures() // 16 + 100
    blue_first = images.numpy()[:, ::-1].astype(np.float64).mean(axis=(2, 3)) - [91, 103, 131]
    found = load_teacher(str(model)).predict(images)["expression"]
    np.testing.assert_allclose(found, softmax(blue_first @ weights(3, 8)), atol=1e-4)


def test_half_precision_is_fed_as_the_network_wants_it(tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "half.onnx", kind=TensorProto.FLOAT16)
    write_sidecar(model)
    images = pictures()
    expected = softmax(means(images) @ weights(3, 8))
    np.testing.assert_allclose(load_teacher(str(model)).predict(images)["expression"], expected, atol=1e-3)


def test_numbers_that_are_not_finite_are_not_hidden(tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "nan.onnx")
    loaded = onnx.load(str(model))
    loaded.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((3, 8), np.nan, np.float32), "weights_output"))
    onnx.save(loaded, str(model))
    write_sidecar(model)
    assert load_teacher(str(model)).predict(pictures())["expression"].isnan().all()


@pytest.mark.parametrize(("width", "outputs"), [(8, "logits"), (10, VA["output"]), (2, ["valence", "arousal"])])
def test_without_a_sidecar_the_one_to_fill_in_is_printed(width: int, outputs: Any, tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "emotions.onnx", {"result": width}, size=64, layout="NHWC")
    with pytest.raises(UserError) as error:
        load_teacher(str(model))
    text = str(error.value)
    assert f"there is no {tmp_path / 'emotions.json'}" in text
    template = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert (template["size"], template["layout"], template["outputs"]) == (64, "NHWC", {"result": outputs})
    # with the classes filled in it is a sidecar that fits
    classes = {"classes": list(THEIRS)} if width >= 8 else {}
    if not classes:
        template.pop("classes")
    (tmp_path / "emotions.json").write_text(json.dumps({**template, **classes}))
    assert load_teacher(str(model)).size == 64


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"outputs": {"result": "logits"}}, "names 'result', and .* has the outputs 'output' batch×8"),
        ({"classes": list("abcdefg")}, "is 2×8; 2×7 was expected, since .* says 7 logits"),
        ({"outputs": VA}, "is 2×8; 2×10 was expected, since .* says 8 logits, 1 valence, 1 arousal"),
        ({"outputs": "probabilities"}, "they are .*: not from 0 to 1 with the sum 1. Say logits instead"),
        ({"outputs": "scores"}, "holds 'scores'; one of logits, probabilities"),
        ({"outputs": ["logits", "logits"]}, "names logits twice"),
        ({"outputs": ["logits", "probabilities"]}, "logits and probabilities; choose one"),
        ({"outputs": ["logits", "valence"]}, "valence and arousal both, or neither"),
        ({"outputs": "skip", "classes": None}, "names nothing that could be a label"),
        ({"outputs": "valence"}, "valence and arousal both"),
        ({"classes": None}, "no 'classes' for them"),
        ({"outputs": ["valence", "arousal"]}, "'classes', and no output that tells them apart"),
        ({"classes": ["a", "a"]}, "'classes' .* different texts"),
        ({"classes": "happy"}, "'classes' .* a list of at least 2 different texts was expected"),
        ({"size": 64}, "takes images of 32×32 pixels, and .* says size 64"),
        ({"size": "32"}, "'size' .* a whole number from 16 to 1024 was expected"),
        ({"color": "GREY", "mean": 0, "std": 1}, "so 3 channels .* says color GREY, which has 1"),
        ({"color": "rgb"}, "'color' .* one of RGB, BGR, GREY was expected"),
        ({"layout": "NHWC"}, "Its layout seems to be NCHW"),
        ({"mean": [127.5, 127.5, 127.5]}, 'For pixels from 0 to 255 add "scale": 255'),
        ({"std": [0, 1, 1]}, "a std above 0"),
        ({"mean": None}, "has no 'mean'"),
        ({"mean": [0.5, 0.5]}, "a list of 3 numbers was expected"),
        ({"scale": 2}, "1 \\(pixels from 0 to 1\\) or 255"),
        ({"batch": -1}, "'batch' .* a whole number from 0"),
        ({"align": "yes"}, "'align' .* true or false was expected"),
        ({"vocabulary": {"Angry": "anger"}}, "no class named 'Angry'. Did you mean 'Anger'"),
        ({"vocabulary": {"Anger": "Fear"}}, "gives two classes the same name"),
        ({"colour": "BGR"}, "no key named 'colour'. Did you mean 'color'"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused_before_any_image(
    changes: dict[str, Any], told: str, model: Path
) -> None:
    write_sidecar(model, **changes)
    with pytest.raises(UserError, match=told) as error:
        load_teacher(str(model))
    sentence(error)


def test_the_documents_sidecars_can_be_used_as_they_stand(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "teachers.md").read_text(encoding="utf-8")
    sidecars = [
        text for text in re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "classes" in text
    ]
    assert len(sidecars) == 3
    for number, text in enumerate(sidecars):
        value = json.loads(text)
        grey, softmax = value.get("color") == "GREY", value["outputs"] == "probabilities"
        model = tmp_path / f"{number}.onnx"
        width = len(value["classes"])
        write_onnx(model, {"output": width}, channels=1 if grey else 3, size=value["size"], softmax=softmax)
        model.with_suffix(".json").write_text(text)
        assert {expression_name(name) for name in load_teacher(str(model)).tasks["expression"].classes} == set(
            (*EXPRESSIONS, "contempt")[:width]
        )


def test_files_that_are_no_network_are_a_sentence(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    write_sidecar(model)
    for content in (whole[: len(whole) // 2], whole[:-1], b"", b"no network", bytes(range(256))):
        model.write_bytes(content)
        text = refused(model)
        assert "no ONNX" in text
        assert "damaged" in text
    assert "There is no file" in refused(tmp_path / "nowhere.onnx")
    model.write_bytes(whole.replace(b"output", b"\xc0utput"))
    assert "a name in it is no text" in refused(model)


def test_networks_of_another_kind_are_a_sentence(tmp_path: Path) -> None:
    flat = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "flat",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
    )
    onnx.save(
        helper.make_model(flat, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "flat.onnx"
    )
    assert "has the inputs x: tensor(float) n×8. One input was expected" in refused(tmp_path / "flat.onnx")
    several = write_onnx(tmp_path / "several.onnx", {"a": 8, "b": 8})
    write_sidecar(several)
    assert "has several outputs: 'a' batch×8, 'b' batch×8" in refused(several)
    write_sidecar(write_onnx(tmp_path / "free.onnx", size="side"), size=16)
    assert load_teacher(str(tmp_path / "free.onnx")).size == 16


def test_tensors_in_files_beside_the_network_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    model = write_onnx(folder / "large.onnx", external="large.data")
    write_sidecar(model)
    assert external_files(model) == [folder / "large.data"]
    teacher = load_teacher(str(model))
    before = teacher.sha256
    images = pictures()
    np.testing.assert_allclose(teacher.predict(images)["expression"], softmax(means(images) @ weights(3, 8)), atol=1e-5)
    content = bytearray((folder / "large.data").read_bytes())
    content[3] ^= 64
    (folder / "large.data").write_bytes(content)
    assert load_teacher(str(model)).sha256 != before

    (folder / "large.data").rename(tmp_path / "outside")
    assert "keeps tensors in 'large.data', which is not beside it" in refused(model)
    (folder / "large.data").symlink_to(tmp_path / "outside")
    assert "outside its own folder" in refused(model)
    for place in ("../outside", str(tmp_path / "outside"), "*/_ORT_MEM_ADDR_/*", ""):
        relocated(model, place)
        text = refused(model)
        assert "outside its own folder" in text or "not beside it" in text
    relocated(model, "x" * 5000)
    assert "cannot be opened (File name too long)" in refused(model)
    (folder / "round").symlink_to("round")
    relocated(model, "round")
    refused(model)


def relocated(model: Path, place: str) -> None:
    loaded = onnx.load(str(model), load_external_data=False)
    for entry in loaded.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = place
    model.write_bytes(loaded.SerializeToString())


def test_tensors_are_found_wherever_a_network_may_hold_them(tmp_path: Path) -> None:
    def tensor(place: str) -> Any:
        made = onnx.TensorProto(name="t", data_type=1, data_location=onnx.TensorProto.EXTERNAL)
        made.external_data.add(key="location", value=place)
        (tmp_path / place).write_bytes(b"")
        return made

    inner = onnx.GraphProto(initializer=[tensor("subgraph")])
    node = onnx.NodeProto(
        attribute=[
            onnx.AttributeProto(t=tensor("attribute")),
            onnx.AttributeProto(tensors=[tensor("list")]),
            onnx.AttributeProto(g=inner),
            onnx.AttributeProto(
                graphs=[onnx.GraphProto(node=[onnx.NodeProto(attribute=[onnx.AttributeProto(t=tensor("deep"))])])]
            ),
            onnx.AttributeProto(
                sparse_tensor=onnx.SparseTensorProto(values=tensor("sparse"), indices=tensor("places"))
            ),
            onnx.AttributeProto(sparse_tensors=[onnx.SparseTensorProto(values=tensor("several"))]),
        ]
    )
    graph = onnx.GraphProto(
        node=[node], initializer=[tensor("plain")], sparse_initializer=[onnx.SparseTensorProto(values=tensor("start"))]
    )
    network = onnx.ModelProto(ir_version=8, graph=graph)
    network.functions.add().node.add().attribute.add(t=tensor("function"))
    network.training_info.add(algorithm=onnx.GraphProto(initializer=[tensor("training")]))
    (tmp_path / "all.onnx").write_bytes(network.SerializeToString())
    names = {"attribute", "list", "subgraph", "deep", "sparse", "places", "plain", "start", "function", "training"}
    names |= {"several"}
    assert {path.name for path in external_files(tmp_path / "all.onnx")} == names


def test_the_network_runs_on_as_many_threads_as_torch(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    seen = []
    real = onnxruntime.InferenceSession

    def session(path: str, options: Any, **more: Any) -> Any:
        seen.append((options.intra_op_num_threads, more["providers"]))
        return real(path, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    write_sidecar(model)
    load_teacher(str(model))
    assert seen == [(torch.get_num_threads(), ["CPUExecutionProvider"])]
