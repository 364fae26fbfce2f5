"""A teacher of ours as a file: one safetensors file, its tensors described by a JSON header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import UserError, first_line
from ..core.fields import Fields, task_from
from ..core.files import finite, whole_file
from ..core.schema import Task
from ..models.networks.backbone import LARGEST, SMALLEST
from ..models.networks.teacher import Architecture, TeacherNetwork, build_teacher
from ..training.weights import is_safetensors, read_header, read_weights, write_weights

FORMAT = 1
"""Version of the header."""

VALENCE_AROUSAL = 2


@dataclass(frozen=True)
class Description:
    """What a teacher's header says.

    Attributes:
        architecture: what the tensors are for.
        size: S, pixels.
        mean: of red, green and blue, subtracted from pixels in [0, 1].
        std: they are then divided by.
        align: whether it was trained on aligned faces; else on whole pictures.
        tasks: by name, with the classes in the order of the outputs.
        figures: its validation scores.
        training: what it was trained on and how.
        versions: of noisyfer, torch and timm that wrote it.
    """

    architecture: Architecture
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    align: bool
    tasks: Mapping[str, Task]
    figures: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def widths(self) -> dict[str, int]:
        """Outputs by task: its classes, or 2 for valence and arousal."""
        return {name: len(task.classes) or VALENCE_AROUSAL for name, task in self.tasks.items()}

    def build(self) -> TeacherNetwork:
        """A network of this description with fresh weights."""
        return build_teacher(self.architecture, self.size, self.widths, self.mean, self.std)

    def to_json(self) -> dict[str, Any]:
        """The header; figures that are NaN become null."""
        value = {
            "teacher": FORMAT,
            "architecture": asdict(self.architecture),
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "align": self.align,
            "tasks": {name: task.to_json() for name, task in self.tasks.items()},
            **{key: dict(getattr(self, key)) for key in ("figures", "training", "versions")},
        }
        return dict(finite(value))


def write_teacher(file: Path, network: TeacherNetwork, description: Description) -> None:
    """Write a teacher, whole or not at all."""
    with whole_file(file) as temporary:
        write_weights(temporary, network.state_dict(), description.to_json())


def read_description(file: Path) -> Description:
    """The header of a teacher's file.

    Raises:
        UserError: it is no teacher of ours, damaged, or of a newer format.
    """
    header = read_header(file)
    if header is None or "teacher" not in header:
        kind = "a safetensors file without noisyfer's header" if is_safetensors(file) else "no safetensors file"
        raise UserError(
            f"{file} is no teacher of 'noisyfer pretrain' ({kind}). Weights from elsewhere need to be told their "
            f"network: --model timm:ARCHITECTURE:{file} with {file.with_suffix('.json').name} beside them, or ONNX."
        )
    if type(header["teacher"]) is int and header["teacher"] > FORMAT:
        raise UserError(
            f"{file} is a teacher of format {header['teacher']}, and this noisyfer reads formats up to {FORMAT}. "
            "Install a newer noisyfer."
        )
    fields = Fields(header, f"the header of {file}")
    architecture, tasks = fields.inner("architecture"), fields.inner("tasks")
    std = fields.numbers("std", 3)
    if min(std) <= 0:
        raise fields.wrong("std", "a list of numbers above 0")
    if not tasks.value:
        raise fields.wrong("tasks", "at least one task")
    return Description(
        architecture=Architecture(
            architecture.text("name"), architecture.number("width", 1e-3, 8), architecture.whole("hidden", 1, 2**16)
        ),
        size=fields.whole("size", SMALLEST, LARGEST),
        mean=fields.numbers("mean", 3),
        std=std,
        align=fields.flag("align", True),
        tasks={name: task_from(tasks.inner(name), name) for name in tasks.value},
        **{key: fields.inner(key).value for key in ("figures", "training", "versions")},
    )


def read_teacher(file: Path) -> tuple[Description, TeacherNetwork]:
    """A teacher's description, and its network on the CPU.

    Raises:
        UserError: it is no teacher of ours, damaged, or its tensors are for another network than its header says.
    """
    description = read_description(file)
    network = description.build()
    fit_weights(network, read_weights(file), f"its header describes ({description.architecture})", file)
    return description, network


def fit_weights(network: Any, tensors: Mapping[str, Any], what: str, file: Path) -> None:
    """Load tensors into a network that has exactly these.

    Args:
        network: a module of torch.
        tensors: by name.
        what: the end of the error's sentence: the network that …
        file: where they are from.

    Raises:
        UserError: a tensor is missing, too many or of another shape.
    """
    expected = network.state_dict()
    missing = [name for name in expected if name not in tensors]
    surplus = [name for name in tensors if name not in expected]
    other = [
        f"{name} is {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    faults = [
        f"{label} {found[0]}{f' and {len(found) - 1} more' if len(found) > 1 else ''}"
        for label, found in (("it lacks", missing), ("it has no place for", surplus), ("shape:", other))
        if found
    ]
    if faults:
        raise UserError(f"The weights in {file} are not those of the network that {what}: {'; '.join(faults)}.")
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:  # such as a tensor of another kind that cannot be copied
        raise UserError(f"The weights in {file} cannot be used: {first_line(error)}.") from error
