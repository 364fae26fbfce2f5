"""What a pretraining is: architecture, label sets, options, and where its result goes; all checked before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from ..core.config import option, to_dict, with_settings
from ..core.errors import UserError, unknown_name
from ..core.files import sha256_file
from ..core.schema import LabelSet
from ..manifest import Manifest
from ..models.methods import LabelSetSpec
from ..models.networks.backbone import LARGEST, VGG, timm_settings
from ..models.networks.encoder import VGGTrunk
from ..models.networks.teacher import Architecture, TeacherNetwork, build_teacher, normalisation
from ..training.data import learns_faces
from ..training.folder import RunFolder
from ..training.initial import load_body, load_convolutions
from ..training.weights import is_safetensors
from .teacher_files import Description

HUMANS = ("human", "clean")
"""Annotators whose labels a teacher learns, the first one that there is."""


VGG_SIZE = 64
"""The paper's size of faces."""

SUFFIX = ".ckpt"


@dataclass(frozen=True)
class PretrainSettings:
    """How a teacher is trained."""

    epochs: int = option(40, "passes over the training images", low=1)
    batch_size: int = option(64, "images per step", low=2)
    image_size: int = option(
        0, "side of the faces in pixels; 0 for 64 (vgg) or the architecture's own", low=0, high=LARGEST
    )
    augment: Literal["affine", "crop-flip", "none"] = option(
        "affine",
        "affine (rotation, translation, zoom, mirroring), crop-flip, or none",
        choices=("affine", "crop-flip", "none"),
    )
    sampling: Literal["plain", "balanced"] = option(
        "plain", "every sample once an epoch, or every class equally often", choices=("plain", "balanced")
    )
    train_images: int = option(0, "images read for training, a fixed random subset; 0 for all", low=0)
    width: float = option(1.0, "multiplier of vgg's channel counts; 1 is the paper's network", above=0, high=8)
    hidden: int = option(500, "units of vgg's two hidden linear layers", low=1, high=2**16)
    learning_rate: float = option(1e-4, "Adam's first learning rate; it falls to 0 along half a cosine", above=0)


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        **{"epochs": 2, "batch_size": 16, "image_size": 32, "train_images": 128},
        **{"width": 1 / 16, "hidden": 64, "learning_rate": 1e-3},
    },
    # about two thousand faces in minutes on two cores: at the same cost a narrow network for many epochs learns more
    # than a wide one for few
    "small": {"epochs": 30, "batch_size": 32, "width": 1 / 8, "hidden": 256, "learning_rate": 1e-3},
    "paper": {},
}
"""Values that differ from the defaults."""


@dataclass(frozen=True)
class PretrainPlan:
    """A pretraining that has been checked and not yet been started.

    Attributes:
        manifest: where images and labels come from.
        sets: what is learned, a label set a task.
        settings: how; with the image size resolved.
        description: of the teacher, without figures.
        out: the teacher's file.
        config: everything that decides the outcome but the manifest.
        root: the dataset's folder, where it is not at the manifest's hint.
        init: weights to start from.
        seed: of weights, order, augmentation and dropout.
        device: `cpu` or `cuda`.
    """

    manifest: Manifest
    sets: tuple[LabelSetSpec, ...]
    settings: PretrainSettings
    description: Description
    out: Path
    config: Mapping[str, Any]
    root: Path | None
    init: Path | None
    seed: int
    device: str

    @property
    def folder(self) -> RunFolder:
        """The run beside the teacher's file."""
        return RunFolder(self.out.with_name(f"{self.out.name}.run"))


def plan_pretraining(
    manifest: Manifest,
    out: Path,
    *,
    architecture: str = VGG,
    tasks: Sequence[str] = (),
    preset: str = "paper",
    changes: Mapping[str, Any] | None = None,
    init: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    root: Path | None = None,
) -> PretrainPlan:
    """Check everything about a pretraining that can be checked before images are read.

    Args:
        manifest: with human label sets.
        out: the teacher's file, `….ckpt`.
        architecture: `vgg`, or a model of timm.
        tasks: what is learned; empty for every task that humans labelled.
        preset: `smoke`, `small` or `paper`.
        changes: option values that differ from the preset's.
        init: weights to start from.
        seed: of weights, order, augmentation and dropout.
        device: `cpu` or `cuda`.
        root: the dataset's folder, where it is not at the manifest's hint.

    Raises:
        UserError: an unknown name, a value out of range, labels that are not there.
    """
    check_out(out)
    settings = resolve_settings(architecture, preset, changes or {})
    chosen = _human_sets(manifest, tasks)
    mean, std = normalisation(architecture)
    description = Description(
        architecture=_architecture(architecture, settings),
        size=settings.image_size,
        mean=mean,
        std=std,
        align=learns_faces(manifest, [found.task for found in chosen]),
        tasks={found.task: manifest.header.tasks[found.task] for found in chosen},
    )
    config = {
        "architecture": asdict(description.architecture),
        "label_sets": [found.name for found in chosen],
        "preset": preset,
        "seed": seed,
        "device": device,
        "init": None if init is None else _hash(init),
        "settings": to_dict(settings),
    }
    sets = tuple(_spec(found, description) for found in chosen)
    return PretrainPlan(manifest, sets, settings, description, Path(out), config, root, init, seed, device)


def check_request(
    out: Path, *, architecture: str, preset: str, changes: Mapping[str, Any], init: Path | None = None
) -> None:
    """Check what can be checked without any dataset: names, values, and whether the first weights fit.

    Raises:
        UserError: the first thing that is wrong.
    """
    check_out(out)
    settings = resolve_settings(architecture, preset, changes)
    chosen = _architecture(architecture, settings)
    mean, std = normalisation(architecture)
    network = build_teacher(chosen, settings.image_size, {"expression": 7}, mean, std)
    if init is not None:
        start_from(network, architecture, init)


def check_out(out: Path) -> None:
    """Refuse names that no teacher should have.

    Raises:
        UserError: the suffix is another one than `.ckpt`.
    """
    if out.suffix != SUFFIX:
        raise UserError(f"--out is {out}; the name of a file that ends in {SUFFIX} was expected, such as raf{SUFFIX}.")


def resolve_settings(architecture: str, preset: str, changes: Mapping[str, Any]) -> PretrainSettings:
    """Settings from a preset and the user's changes, the image size resolved.

    Raises:
        UserError: an unknown architecture, preset or option, or a value that is not allowed.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    settings = with_settings(PretrainSettings(), {**PRESETS[preset], **changes})
    own = VGG_SIZE if architecture == VGG else int(timm_settings(architecture).input_size[-1])
    return settings if settings.image_size else replace(settings, image_size=own)


def start_from(network: TeacherNetwork, architecture: str, init: Path) -> str:
    """Fill a fresh network from a file; returns a sentence that says what was taken.

    Raises:
        UserError: the file is not one of weights for this architecture.
    """
    if architecture == VGG:
        taken = load_convolutions(cast(VGGTrunk, network.body.trunk), init)
        return f"Took {taken} convolutions from {init}."
    classifier = timm_settings(architecture).classifier or ()
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    taken, whole = load_body(network.body, names, init)
    return f"Took {taken} of {whole} tensors from {init}."


def _architecture(name: str, settings: PretrainSettings) -> Architecture:
    return Architecture(name, settings.width, settings.hidden) if name == VGG else Architecture(name)


def _human_sets(manifest: Manifest, tasks: Sequence[str]) -> list[LabelSet]:
    """The human label set of each task asked for, or of every task that has one."""
    by_task: dict[str, LabelSet] = {}
    for annotator in HUMANS:
        for found in manifest.header.label_sets.values():
            if found.annotator == annotator:
                by_task.setdefault(found.task, found)
    if not by_task:
        raise UserError(
            f"{manifest.path} has no label set by {' or '.join(HUMANS)}, so there is nothing that a teacher could "
            f"learn. It has: {', '.join(manifest.header.label_sets) or 'none'}."
        )
    for task in tasks:
        if task not in by_task:
            raise unknown_name("task that humans labelled", task, by_task)
    wanted = tuple(dict.fromkeys(tasks)) or tuple(by_task)
    return [by_task[task] for task in wanted]


def _spec(label_set: LabelSet, description: Description) -> LabelSetSpec:
    continuous = description.tasks[label_set.task].kind == "continuous"
    return LabelSetSpec(label_set.name, label_set.task, description.widths[label_set.task], continuous)


def _hash(init: Path) -> str:
    is_safetensors(init)  # a missing file is a sentence
    return sha256_file(init)
