"""Networks as other people would bring them: tiny ONNX files and their sidecars, and teachers of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from noisyfer.core.schema import Task
from noisyfer.models.networks.teacher import Architecture
from noisyfer.relabel.teacher_files import Description, write_teacher
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

SIZE = 32
EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
THEIRS = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")


def pictures(count: int = 3, size: int = SIZE, seed: int = 0) -> Tensor:
    """uint8 B×3×S×S, channels_last."""
    drawn = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return torch.from_numpy(drawn).permute(0, 3, 1, 2)


def weights(channels: int, width: int) -> Any:
    """What `write_onnx` multiplies the channels' means by, C×W."""
    return np.random.default_rng(7).normal(size=(channels, width)).astype(np.float32)


def write_onnx(
    file: Path,
    outputs: dict[str, int] | None = None,
    *,
    batch: int | str = "batch",
    channels: int = 3,
    size: int | str = SIZE,
    layout: str = "NCHW",
    softmax: bool = False,
    external: str = "",
    kind: int = TensorProto.FLOAT,
) -> Path:
    """A network that multiplies the means of its channels by `weights`; each output is one such product."""
    outputs = outputs or {"output": 8}
    shape = [batch, channels, size, size] if layout == "NCHW" else [batch, size, size, channels]
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=[2, 3] if layout == "NCHW" else [1, 2], keepdims=0),
    ]
    for name in outputs:
        nodes.append(helper.make_node("MatMul", ["means", f"weights_{name}"], [f"raw_{name}"]))
        nodes.append(helper.make_node("Softmax" if softmax else "Identity", [f"raw_{name}"], [name]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width]) for name, width in outputs.items()],
        [numpy_helper.from_array(weights(channels, width), f"weights_{name}") for name, width in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    extra = {"save_as_external_data": True, "location": external, "size_threshold": 0} if external else {}
    onnx.save(model, str(file), **extra)
    return file


def write_sidecar(model: Path, **changes: Any) -> Path:
    """A sidecar that fits `write_onnx`; a value of None leaves its key out."""
    value = {"classes": list(THEIRS), "size": SIZE, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], **changes}
    path = model.with_suffix(".json")
    path.write_text(json.dumps({key: entry for key, entry in value.items() if entry is not None}))
    return path


def describe(**changes: Any) -> Description:
    """A tiny teacher of ours for expression and va."""
    values: dict[str, Any] = {
        "architecture": Architecture("vgg", 1 / 16, 16),
        "size": SIZE,
        "mean": (0.5, 0.4, 0.3),
        "std": (0.5, 0.25, 0.2),
        "align": True,
        "tasks": {
            "expression": Task("expression", "categorical", EXPRESSIONS),
            "va": Task("va", "continuous"),
        },
        "figures": {"expression_accuracy": 0.75, "va_ccc": float("nan")},
    }
    return Description(**{**values, **changes})


def write_ours(file: Path, **changes: Any) -> tuple[Path, Any]:
    """A teacher's file, and its network."""
    description = describe(**changes)
    torch.manual_seed(0)
    network = description.build().eval()
    write_teacher(file, network, description)
    return file, network
