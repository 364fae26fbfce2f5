"""A teacher in an ONNX file, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import UserError, first_line
from .foreign import ForeignTeacher, combined_hash
from .onnx_interface import KINDS, Interface, check_input, output_names, read_interface, shape_text, template
from .onnx_paths import external_files
from .sidecar import Sidecar, read_sidecar, sidecar_path

_SILENT = 4
TOLERANCE = 1e-2
"""How far probabilities may be from adding up to 1."""


class Runner:
    """Runs a network on any number of images.

    Args:
        session: of ONNX Runtime.
        interface: of the network.
        names: the outputs that are wanted.
        batch: images at a time, 0 for any.
    """

    def __init__(self, session: Any, interface: Interface, names: tuple[str, ...], batch: int) -> None:
        self.session, self.interface, self.names, self.batch = session, interface, names, batch

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        """Outputs by name for prepared images, the batch first."""
        array = np.ascontiguousarray(pixels.numpy(), KINDS[self.interface.kind])
        size = self.batch or len(array)
        parts = [self._once(array[first : first + size], size) for first in range(0, len(array), size)]
        return {
            name: torch.from_numpy(np.concatenate(found))
            for name, found in zip(self.names, zip(*parts, strict=True), strict=True)
        }

    def _once(self, array: np.ndarray[Any, Any], size: int) -> list[np.ndarray[Any, Any]]:
        missing = size - len(array) if self.batch else 0
        filled = np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)]) if missing else array
        found = self.session.run(list(self.names), {self.interface.input: filled})
        # an output whose batch is not the input's is left whole, for the check at the start to see
        return [value[: len(array)] if np.ndim(value) and len(value) == len(filled) else value for value in found]


def load_onnx(annotator: str, file: Path) -> ForeignTeacher:
    """A teacher from an ONNX file and its sidecar, tried once on black images.

    Args:
        annotator: its name.
        file: the network; its sidecar is the file of the same name with `.json`.

    Raises:
        UserError: a missing or damaged file, tensors outside the folder, a sidecar that is missing or does not fit.
    """
    if not file.is_file():
        raise UserError(f"There is no file {file}.")
    beside = external_files(file)
    session = _session(file)
    interface = read_interface(session, file)
    path = sidecar_path(file)
    sidecar = read_sidecar(path, template(interface))
    check_input(interface, sidecar, file, path)
    names = output_names(interface, sidecar, file, path)
    runner = Runner(session, interface, names, interface.batch or sidecar.batch)
    renamed = names[0] if "" in sidecar.outputs else None

    def run(pixels: Tensor) -> dict[str, Tensor]:
        outputs = runner(pixels)
        return {"": outputs[renamed]} if renamed is not None else outputs

    teacher = ForeignTeacher(annotator, sidecar, run, f"ONNX {file.name}", combined_hash(file, path, *beside))
    _try(teacher, sidecar, file, path)
    return teacher


def _session(file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT  # what goes wrong comes as an exception, and is told once
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
        raise UserError(
            f"{file} is no ONNX network that ONNX Runtime {onnxruntime.__version__} can run, or it is damaged "
            f"({first_line(error)[:200]}). Export it again, or install a newer onnxruntime."
        ) from error


def _try(teacher: ForeignTeacher, sidecar: Sidecar, file: Path, path: Path) -> None:
    """Run the network once, so that what does not fit is said before any image is labelled."""
    channels = 1 if sidecar.color == "GREY" else 3
    count = sidecar.batch or 2
    shape = (count, channels, sidecar.size, sidecar.size)
    black = torch.zeros(shape if sidecar.layout == "NCHW" else (count, *shape[2:], channels))
    try:
        outputs = teacher.run(black)
    except Exception as error:  # as in `_session`
        one = ' If it takes one image at a time, add "batch": 1.' if not sidecar.batch else ""
        raise UserError(
            f"{file} fails on {count} images of {sidecar.size} pixels ({first_line(error)[:200]}). Correct size, color "
            f"or layout in {path}.{one}"
        ) from error
    for name, found in outputs.items():
        expected = (count, sidecar.width(name))
        if tuple(found.shape) != expected:
            pieces = ", ".join(f"{piece.width} {piece.role}" for piece in sidecar.outputs[name])
            raise UserError(
                f"{f'The output {name!r}' if name else 'The output'} of {file} for {count} images is "
                f"{shape_text(found.shape)}; {shape_text(expected)} was expected, since {path} says {pieces}. Correct "
                "'classes' or 'outputs' there."
            )
    probabilities = teacher.answers(outputs).get(sidecar.task)
    if probabilities is not None and "probabilities" in sidecar.roles and bool(probabilities.isfinite().all()):
        sums = probabilities.sum(dim=1)
        if probabilities.min() < 0 or float((sums - 1).abs().max()) > TOLERANCE:
            raise UserError(
                f"{path} says that {file} gives probabilities, and on a black image they are "
                f"{', '.join(f'{value:.3g}' for value in probabilities[0].tolist())}: not from 0 to 1 with the sum 1. "
                "Say logits instead."
            )
