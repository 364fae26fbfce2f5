"""A trained run as one file for other programs; opened again and compared with the run before it appears."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import UserError, first_line, look_up
from ..core.files import temporary_sibling, write_failure, write_json
from ..models.methods import Method
from ..models.networks.backbone import VGG, TimmTrunk, timm_settings
from ..models.networks.teacher import normalisation
from ..training.trained import Trained, read_run
from ..training.weights import write_weights
from .run_teacher import RunTeacher
from .sidecar import sidecar_path
from .teachers import load_teacher

SUFFIXES = {"checkpoint": ".ckpt", "onnx": ".onnx", "timm": ".safetensors", "pt2": ".pt2"}
"""The formats and their suffixes. pt2 is torch.export's, the successor of TorchScript, which torch has deprecated."""

TOLERANCE = 1e-4
"""How far the answers of an exported file may be from the run's own."""

LOOKS = (1, 3)
"""Batch sizes at which they are compared."""

INPUT = "images"


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        file: the network.
        sidecar: the JSON file beside it; None where the file says everything itself.
        difference: the largest between its answers and the run's.
        model: what `relabel --model` takes; empty where it takes no such file.
    """

    file: Path
    sidecar: Path | None
    difference: float
    model: str


class Predictor(nn.Module):
    """A method's `predict` as a network of torch.

    Args:
        method: trained.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(method.predicting)
        self.method = method

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Probabilities B×K, or valence and arousal B×2, task by task, of images B×3×S×S from 0 to 255, any type."""
        # a copy, since methods scale images of floats in place
        return tuple(self.method.predict(images.clone()).values())


def export_run(run: Path, format: str, out: Path | None = None, *, overwrite: bool = False) -> Exported:
    """Write a trained run as a file of some format, with its sidecar; both whole or not at all.

    Args:
        run: its folder.
        format: of `SUFFIXES`.
        out: the file; None for the run's name with the format's suffix, in the working folder.
        overwrite: replace what is there.

    Raises:
        UserError: no run, an unknown format, one that this run cannot have, a file that is there, a package that is
            missing, or answers that differ from the run's.
    """
    suffix = look_up("export format", format, SUFFIXES)
    trained = read_run(run)
    file = out or Path(f"{run.resolve().name}{suffix}")
    if file.suffix.casefold() != suffix:
        raise UserError(
            f"--out is {file}, and files of the format {format} end in {suffix}. Call it {file.stem}{suffix}."
        )
    sidecar = None if format == "checkpoint" else sidecar_path(file)
    for each in filter(None, (file, sidecar)):
        if each.exists() and not overwrite:
            raise UserError(f"{each} is there already. Give another name with --out, or replace it with --overwrite.")
    teacher = RunTeacher(trained.name, trained)
    with _folder_beside(file) as folder:
        made = folder / file.name
        _WRITERS[format](teacher, made)
        difference = _compared(teacher, format, made)
        for each in filter(None, (sidecar, file)):  # the network last: a sidecar alone does no harm
            (folder / each.name).replace(each)
    arch = trained.architecture.name
    model = {"pt2": "", "timm": f"timm:{arch}:{file}"}.get(format, str(file))
    return Exported(file, sidecar, difference, model)


class _folder_beside:
    """A hidden folder beside a file that is gone at the end, on the same file system."""

    def __init__(self, file: Path) -> None:
        self.file, self.folder = file, temporary_sibling(file)

    def __enter__(self) -> Path:
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise write_failure(self.file, error) from error
        return self.folder

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise write_failure(self.file, error) from error


def _checkpoint(teacher: RunTeacher, file: Path) -> None:
    write_weights(file, teacher.method.predictor(), teacher.trained.header())


def _onnx(teacher: RunTeacher, file: Path) -> None:
    if find_spec("onnx") is None:
        raise UserError(
            "Writing ONNX needs the package onnx: pip install onnx. --format checkpoint needs nothing more."
        )
    names = list(_outputs(teacher.trained))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's newer exporter, which it recommends, needs onnxscript besides
            torch.onnx.export(
                Predictor(teacher.method).eval(),
                (_pictures(teacher.size, 2).float(),),
                str(file),
                dynamo=False,
                input_names=[INPUT],
                output_names=names,
                dynamic_axes={name: {0: "batch"} for name in (INPUT, *names)},
            )
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise _impossible(teacher, "ONNX", error) from error
    write_json(sidecar_path(file), _description(teacher, scale=255, mean=0, std=1, outputs=_outputs(teacher.trained)))


def _pt2(teacher: RunTeacher, file: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                Predictor(teacher.method).eval(),
                (_pictures(teacher.size, 2).float(),),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                strict=False,
            )
            torch.export.save(program, str(file))
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise _impossible(teacher, "torch.export", error) from error
    write_json(sidecar_path(file), _description(teacher, scale=255, mean=0, std=1, outputs=_outputs(teacher.trained)))


def _timm(teacher: RunTeacher, file: Path) -> None:
    """A trunk of timm and one linear layer over its features, as one model of timm.

    Raises:
        UserError: the run is more than that.
    """
    trained, networks = teacher.trained, teacher.method.predicting
    arch = trained.architecture.name
    if arch == VGG:
        raise UserError(
            f"{trained.where} has the encoder vgg, which timm does not know; --format timm is for runs with a timm "
            "--arch. Choose --format onnx or checkpoint."
        )
    network = next(iter(networks.values()))
    # a classifier's head, or the encoder's of the label sets: each a linear layer over the trunk's features
    trunk, head = getattr(network, "trunk", None), getattr(network, "head", getattr(network, "labels", None))
    name = timm_settings(arch).classifier
    widths = [len(task.classes) or 2 for task in trained.learned.tasks.values()]
    if (
        len(networks) != 1
        or not isinstance(trunk, TimmTrunk)
        or not isinstance(head, nn.Linear)
        or head.out_features != sum(widths)
        or not isinstance(name, str)
    ):
        raise UserError(
            f"{trained.name} does not predict by a model of timm with one output layer, and --format timm can hold "
            "nothing else. Choose --format onnx or checkpoint."
        )
    tensors = {**trunk.model.state_dict(), f"{name}.weight": head.weight, f"{name}.bias": head.bias}
    write_weights(file, tensors, {})
    mean, std = normalisation(arch)
    pieces = [
        piece for role in _outputs(trained).values() for piece in (role if isinstance(role, list) else ["logits"])
    ]
    write_json(sidecar_path(file), _description(teacher, scale=1, mean=list(mean), std=list(std), outputs=pieces))


_WRITERS = {"checkpoint": _checkpoint, "onnx": _onnx, "timm": _timm, "pt2": _pt2}


def _outputs(trained: Trained) -> dict[str, Any]:
    """The sidecar's outputs by task, in the order of the method's.

    Raises:
        UserError: there are two categorical tasks, for which a sidecar has no words.
    """
    tasks = trained.learned.tasks.values()
    if sum(bool(task.classes) for task in tasks) > 1:
        raise UserError(
            f"{trained.where} learned {' and '.join(task.name for task in tasks)}, and a sidecar describes one task of "
            "classes. Choose --format checkpoint."
        )
    return {task.name: "probabilities" if task.classes else ["valence", "arousal"] for task in tasks}


def _description(teacher: RunTeacher, **told: Any) -> dict[str, Any]:
    """The sidecar, without `classes` where there are none."""
    trained = teacher.trained
    classes = next((task for task in trained.learned.tasks.values() if task.classes), None)
    return {
        **({} if classes is None else {"task": classes.name, "classes": list(classes.classes)}),
        **{"size": teacher.size, "align": teacher.align, "color": "RGB", "layout": "NCHW"},
        **told,
        "notes": {"architecture": teacher.architecture, "sha256": teacher.sha256, **trained.origin},
    }


def _compared(teacher: RunTeacher, format: str, file: Path) -> float:
    """The largest difference between a file's answers and the run's.

    Raises:
        UserError: it is more than rounding.
    """
    if format == "pt2":
        program = torch.export.load(str(file)).module()

        def answers(images: Tensor) -> Mapping[str, Tensor]:
            return dict(zip(teacher.tasks, program(images.float()), strict=True))
    else:
        arch = teacher.trained.architecture.name
        answers = load_teacher(f"timm:{arch}:{file}" if format == "timm" else str(file)).predict
    worst = 0.0
    for count in LOOKS:
        images = _pictures(teacher.size, count)
        expected, found = teacher.predict(images), answers(images)
        for task, values in expected.items():
            if found[task].shape != values.shape:
                raise UserError(
                    f"The exported network answers to {count} images with {len(found[task])} of '{task}', so it was "
                    "not written. Choose another --format; checkpoint always works."
                )
        worst = max([worst, *(float((expected[task] - found[task]).abs().max()) for task in expected)])
    if not worst <= TOLERANCE:
        raise UserError(
            f"The exported network's answers differ from the run's by up to {worst:.2g}, more than {TOLERANCE:g}, so "
            "it was not written. Choose another --format; checkpoint always has the very same ones."
        )
    return worst


def _pictures(size: int, count: int) -> Tensor:
    """Pictures to compare answers on: uint8 B×3×S×S, always the same."""
    generator = torch.Generator().manual_seed(count)
    noise = torch.randint(256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    return noise.to(memory_format=torch.channels_last)


def _impossible(teacher: RunTeacher, what: str, error: Exception) -> UserError:
    return UserError(
        f"torch cannot write {teacher.architecture} as {what} ({first_line(error)[:200]}). Choose --format checkpoint."
    )
