"""Teachers: pretrained networks that label images, from files of several kinds, behind one contract."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.files import sha256_file
from ..core.schema import Task
from ..models.networks.backbone import build_timm, timm_settings
from ..models.networks.teacher import TeacherNetwork, normalisation
from ..training.trained import read_exported, read_run
from ..training.weights import read_header, read_weights
from .foreign import ForeignTeacher, combined_hash, in_pieces
from .run_teacher import RunTeacher
from .sidecar import read_sidecar, sidecar_path
from .teacher_files import fit_weights, read_teacher

_ANNOTATOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TIMM = "timm:"


class Teacher(Protocol):
    """A pretrained network that labels images."""

    @property
    def annotator(self) -> str:
        """Its name as an annotator."""

    @property
    def size(self) -> int:
        """S, the side of the images it takes, in pixels."""

    @property
    def align(self) -> bool:
        """Whether it takes aligned faces; else whole pictures."""

    @property
    def sha256(self) -> str:
        """A hash, in hexadecimal, that differs wherever its answers may."""

    @property
    def architecture(self) -> str:
        """What it is, in words."""

    @property
    def figures(self) -> Mapping[str, Any]:
        """Its validation scores, where they are known."""

    @property
    def origin(self) -> Mapping[str, Any]:
        """Further facts for the provenance of its labels, as JSON values; empty for most."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        """What it answers, by task; the classes in the order of its probabilities."""

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Label images.

        Args:
            images: uint8 B×3×S×S, red, green and blue, best in channels_last layout.

        Returns:
            By task, probabilities B×K or valence and arousal B×2 (not clipped), float32 on the CPU. Numbers that are
            not finite are for the caller to see.
        """


class NetworkTeacher:
    """A network of torch.

    Args:
        annotator: its name.
        network: with the parts of its outputs by task.
        tasks: by name.
        size: S, pixels.
        align: whether it takes aligned faces.
        sha256: of its file or files.
        architecture: in words.
        figures: its validation scores.
        device: `cpu` or `cuda`.
    """

    def __init__(
        self,
        annotator: str,
        network: TeacherNetwork,
        tasks: Mapping[str, Task],
        *,
        size: int,
        align: bool,
        sha256: str,
        architecture: str,
        figures: Mapping[str, Any],
        device: str,
    ) -> None:
        self.annotator, self.tasks, self.size, self.align = annotator, tasks, size, align
        self.sha256, self.architecture, self.figures = sha256, architecture, figures
        self.origin: Mapping[str, Any] = {}
        self.device = torch.device(device)
        # channels_last is the faster layout for convolutions
        self.network = network.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @torch.inference_mode()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Label images; see `Teacher.predict`."""
        outputs = in_pieces(self.network, images.to(self.device))
        answers = {}
        for task, output in outputs.items():
            values = torch.softmax(output, dim=1) if self.tasks[task].classes else output
            answers[task] = values.float().cpu()
        return answers


def load_teacher(model: str, device: str = "cpu") -> Teacher:
    """A teacher from what `--model` says.

    Args:
        model: `[NAME=]FILE`: a `.ckpt` of `noisyfer pretrain` or `export`, the folder of a run of `noisyfer bench`, an
            `.onnx` with its sidecar, or `timm:ARCH:FILE`. The annotator's name is NAME, or the file's without its
            suffix; of a run its method's.
        device: `cpu` or `cuda`; ONNX runs on the CPU.

    Raises:
        UserError: no such file, a damaged one, one that wants to run code, or that is not what its description says.
    """
    name, text = _split_name(model)
    if text.startswith(_TIMM):
        architecture, colon, weights = text.removeprefix(_TIMM).partition(":")
        if not colon or not architecture or not weights:
            raise UserError(f"--model {model} was given; timm:ARCHITECTURE:FILE was expected, FILE a state dict.")
        return _load_timm(name or _name_of(Path(weights)), architecture, Path(weights), device)
    file = Path(text)
    if file.suffix.casefold() == ".onnx":
        from .onnx_teacher import load_onnx

        return load_onnx(name or _name_of(file), file)
    if file.is_dir():
        trained = read_run(file)
        return RunTeacher(name or trained.name, trained, device)
    header = read_header(file)
    if header is not None and "run" in header:
        return RunTeacher(name or _name_of(file), read_exported(file, header), device)
    return _load_ours(name or _name_of(file), file, device)


def load_teachers(models: Sequence[str], device: str = "cpu") -> list[Teacher]:
    """The teachers of several `--model`; see `load_teacher`."""
    return [load_teacher(model, device) for model in models]


def _load_ours(annotator: str, file: Path, device: str) -> NetworkTeacher:
    description, network = read_teacher(file)
    return NetworkTeacher(
        annotator,
        network,
        description.tasks,
        size=description.size,
        align=description.align,
        sha256=sha256_file(file),
        architecture=str(description.architecture),
        figures=description.figures,
        device=device,
    )


def _load_timm(annotator: str, name: str, file: Path, device: str) -> ForeignTeacher:
    settings = timm_settings(name)
    mean, std = normalisation(name)
    weights = read_weights(file)
    template = {
        **{"classes": ["…"] * _last_width(weights), "vocabulary": {}, "size": settings.input_size[-1]},
        **{"mean": list(mean), "std": list(std), "color": "RGB", "align": True, "outputs": "logits"},
    }
    path = sidecar_path(file)
    sidecar = read_sidecar(path, template, mean=mean, std=std)
    if list(sidecar.outputs) != [""] or sidecar.layout != "NCHW" or sidecar.color == "GREY":
        raise UserError(
            f"{path} describes a network with named outputs, the layout {sidecar.layout} and the color "
            f"{sidecar.color}; one of timm has a single output without a name, the layout NCHW and three channels."
        )
    body = build_timm(name, sidecar.width(""), sidecar.size)
    fit_weights(body, weights, f"{path} asks for ({name} with {sidecar.width('')} outputs)", file)
    body = body.to(torch.device(device), memory_format=torch.channels_last).eval()

    def run(pixels: Tensor) -> dict[str, Tensor]:
        return {"": body(pixels)}

    return ForeignTeacher(annotator, sidecar, run, f"timm {name}", combined_hash(name, file, path), device)


def _last_width(weights: Mapping[str, Tensor]) -> int:
    """How many outputs a network probably has: the rows of its last matrix."""
    rows = [len(tensor) for tensor in weights.values() if tensor.ndim == 2]
    return rows[-1] if rows else 7


def _split_name(model: str) -> tuple[str | None, str]:
    """NAME and FILE of `[NAME=]FILE`; a file's own name may hold an equals sign."""
    name, equals, rest = model.partition("=")
    if not equals or "/" in name or Path(model).exists():
        return None, model
    if not _ANNOTATOR.fullmatch(name):
        raise UserError(
            f"--model {model} names the annotator {name!r}; letters, digits and _ . - were expected, the first one a "
            "letter or digit."
        )
    return name, rest


def _name_of(file: Path) -> str:
    """A valid annotator name like the file's."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", file.stem).lstrip("_.-") or "teacher"
