"""ONNX files whose tensors are said to lie elsewhere, and damaged ones; sidecars and safetensors that lie."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from confined import Case, Judge, told

SECRET = 1234.5
PLACES = (
    "",
    ".",
    "..",
    "../secret",
    "inner/../../secret",
    "/proc/self/environ",
    "/dev/zero",
    "SECRET",  # its absolute path
    "link",
    "inner/link",
    "folder/secret",  # by a folder that is a link
    "..\\secret",
    "C:\\secret",
    "file:///etc/passwd",
    "http://127.0.0.1:9/x",
    "*/_ORT_MEM_ADDR_/*",
    "pipe",
    "inner",
    "secret\0.data",
    "model.onnx",
    "missing",
    "x" * 5000,
    "large.data",
)


def judge(folder: Path) -> Judge:
    """Load a network whose tensor is said to lie at a place; it may not come to know the secret."""
    import onnx
    import torch
    from foreign_networks import pictures, write_onnx, write_sidecar
    from noisyfer.core.errors import UserError
    from noisyfer.relabel.teachers import load_teacher

    inside = folder / "models"
    (inside / "inner").mkdir(parents=True)
    np.full(24, SECRET, np.float32).tofile(folder / "secret")
    (inside / "link").symlink_to(folder / "secret")
    (inside / "inner" / "link").symlink_to("../../secret")
    (inside / "folder").symlink_to(folder)
    os.mkfifo(inside / "pipe")
    model = write_onnx(inside / "model.onnx", external="large.data")
    sidecar = write_sidecar(model).read_bytes()
    sound = model.read_bytes()
    load_teacher(str(model)).predict(pictures(1))

    def relocated(place: str) -> bytes:
        loaded = onnx.load_model_from_string(sound)
        for entry in loaded.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = str(folder / "secret") if place == "SECRET" else place
        return bytes(loaded.SerializeToString())

    def decide(case: Case) -> str:
        place, seed = case
        data, beside = bytearray(relocated(place)), bytearray(sidecar)
        rng = np.random.default_rng(seed)
        target = data if rng.integers(3) else beside
        for _ in range(int(rng.integers(1, 6)) if seed else 0):
            target[int(rng.integers(len(target)))] = int(rng.integers(256))
        model.write_bytes(data)
        model.with_suffix(".json").write_bytes(beside)
        try:
            teacher = load_teacher(str(model))
            answers = teacher.predict(torch.full((1, 3, teacher.size, teacher.size), 9, dtype=torch.uint8))
        except UserError as error:
            return f"refused: {told(error)}"
        assert all(float(values.abs().max()) <= 1 or not values.isfinite().all() for values in answers.values())
        assert place in ("large.data", "model.onnx") or seed, json.dumps(place)
        return "loaded"

    return decide
