"""A trained run, brought back to predict: from its folder, or from the one file that an export makes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.config import with_settings
from ..core.errors import UserError, first_line
from ..core.fields import Fields, task_from
from ..core.files import read_json, sha256_file
from ..core.schema import Task
from ..manifest import Manifest
from ..models.methods import METHODS, LabelSetSpec, Method, Problem
from ..models.methods.base import TrainingConfig
from ..models.networks.layers import IMAGE_SIZES
from ..models.networks.teacher import Architecture
from .data import learns_faces
from .folder import RunFolder
from .weights import check_seal, load_plain, read_weights

MANIFESTS = Path("data_manifests")
VALENCE_AROUSAL = 2


@dataclass(frozen=True)
class Learned:
    """What the outputs of a run's method mean.

    Attributes:
        label_sets: what the method learned from, in its order.
        tasks: their tasks, with the classes in the order of the outputs.
        align: whether aligned faces were learned.
    """

    label_sets: tuple[LabelSetSpec, ...]
    tasks: Mapping[str, Task]
    align: bool

    @classmethod
    def of(cls, manifest: Manifest, label_sets: Sequence[LabelSetSpec]) -> Learned:
        """What a run on a manifest learns."""
        tasks = {found.task: manifest.header.tasks[found.task] for found in label_sets}
        return cls(tuple(label_sets), tasks, learns_faces(manifest, list(tasks)))

    def to_json(self) -> dict[str, Any]:
        """As stored in `config.json`."""
        return {
            "label_sets": [asdict(found) for found in self.label_sets],
            "tasks": {name: task.to_json() for name, task in self.tasks.items()},
            "align": self.align,
        }

    @classmethod
    def from_json(cls, fields: Fields) -> Learned:
        """From what `to_json` returned.

        Raises:
            UserError: it is not that.
        """
        inner = fields.inner("tasks")
        tasks = {name: task_from(inner.inner(name), name) for name in inner.value}
        told = fields.value.get("label_sets")
        if not isinstance(told, list) or not told:
            raise fields.wrong("label_sets", "a list of at least one label set")
        specs = []
        for place, value in enumerate(told):
            entry = Fields(value, f"label set {place + 1} in {fields.where}")
            task = tasks.get(entry.text("task"))
            if task is None:
                raise entry.wrong("task", f"one of {', '.join(tasks) or 'no tasks at all'}")
            specs.append(_spec(entry.text("name"), task, value.get("transition")))
        return cls(tuple(specs), tasks, fields.flag("align", False))


@dataclass(frozen=True)
class Trained:
    """What is known of a trained run, and its tensors.

    Attributes:
        where: its folder or file, for messages.
        run: all values, as `config.json` has them.
        learned: what its outputs mean.
        origin: its folder's name, SHA-256 of configuration and checkpoint, and the epoch.
        figures: scores after the last epoch, where it is finished.
        state: of `Method.state_dict`; None where there are only `tensors`.
        tensors: of `Method.predictor`; empty where there is a whole state.
    """

    where: Path
    run: Mapping[str, Any]
    learned: Learned
    origin: Mapping[str, Any]
    figures: Mapping[str, Any]
    state: Mapping[str, Any] | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The method's name."""
        return str(self.run["method"])

    @property
    def size(self) -> int:
        """S, pixels.

        Raises:
            UserError: the networks are not defined for it.
        """
        settings = self._fields.inner("settings")
        size: int = settings.whole("image_size", min(IMAGE_SIZES), max(IMAGE_SIZES))
        if size not in IMAGE_SIZES:
            raise settings.wrong("image_size", f"one of {', '.join(map(str, IMAGE_SIZES))}")
        return size

    @property
    def options(self) -> TrainingConfig:
        """The method's options.

        Raises:
            UserError: an unknown method or option, or a value that is not allowed.
        """
        return with_settings(METHODS[self._fields.text("method")].config_class(), self._fields.inner("options").value)

    @property
    def architecture(self) -> Architecture:
        """Of its encoder."""
        return Architecture(self.options.arch, self.options.width, self.options.hidden)

    def method(self, device: str = "cpu") -> Method:
        """The method with its trained weights, to predict only.

        Raises:
            UserError: the configuration cannot be, or the tensors are those of another one.
        """
        problem = Problem(self.size, self.learned.label_sets, 1)
        found = METHODS[self._fields.text("method")](problem, self.options, torch.device(device))
        try:
            if self.state is not None:
                found.load_state_dict(dict(self.state))
            else:
                found.load_predictor(self.tensors)
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"The weights in {self.where} are not those of the run that its configuration describes "
                f"({first_line(error)}). One of the two was changed; copy the run again."
            ) from error
        for network in found.networks.values():
            network.eval().requires_grad_(False)
        return found

    def header(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        return {
            "run": dict(self.run),
            "learned": self.learned.to_json(),
            "origin": dict(self.origin),
            "figures": dict(self.figures),
        }

    @property
    def _fields(self) -> Fields:
        return Fields(self.run, f"the configuration of {self.where}")


def read_run(path: Path) -> Trained:
    """A run from its folder; the last recorded epoch, whether or not it is finished.

    Raises:
        UserError: it is no run's folder, it has no checkpoint yet, the checkpoint is damaged or would run code.
    """
    folder = RunFolder(path)
    if not folder.config.is_file():
        found = "is a folder, and no run's: it has no config.json" if path.is_dir() else "is no folder of a run"
        raise UserError(f"{path} {found}. 'noisyfer bench' makes runs, in folders below runs/.")
    if not folder.checkpoint.is_file():
        raise UserError(f"{path} has no checkpoint yet. Let 'noisyfer bench' finish at least one epoch.")
    config = Fields(read_json(folder.config), str(folder.config))
    run = config.inner("run")
    stored = load_plain(folder.checkpoint)
    if not isinstance(stored, Mapping) or not isinstance(stored.get("method"), Mapping):
        raise UserError(f"{folder.checkpoint} is no checkpoint of 'noisyfer bench'. Copy the run again.")
    check_seal(stored, folder.checkpoint)
    learned = Learned.from_json(config.inner("learned")) if config.has("learned") else _found_again(path, config)
    origin = {
        "run": path.resolve().name,
        "config_sha256": hashlib.sha256(json.dumps(run.value, sort_keys=True).encode()).hexdigest(),
        "checkpoint_sha256": sha256_file(folder.checkpoint),
        "manifest_sha256": config.inner("manifest").text("sha256", "unknown"),
        "epoch": stored.get("epoch"),
    }
    result = folder.finished() or {}
    figures = {
        f"{task}_{metric}": value
        for task, scores in Fields(result, str(folder.result)).inner("last").inner("test").value.items()
        if isinstance(scores, Mapping)
        for metric, value in scores.items()
    }
    return _checked(Trained(path, run.value, learned, origin, figures, state=stored["method"]))


def read_exported(file: Path, header: Mapping[str, Any]) -> Trained:
    """A run from the file of `noisyfer export --format checkpoint`.

    Args:
        file: safetensors.
        header: the JSON object in it.

    Raises:
        UserError: the header is not what an export writes.
    """
    fields = Fields(header, f"the header of {file}")
    learned = Learned.from_json(fields.inner("learned"))
    run, origin, figures = (fields.inner(key).value for key in ("run", "origin", "figures"))
    return _checked(Trained(file, run, learned, origin, figures, tensors=read_weights(file)))


def _checked(trained: Trained) -> Trained:
    """The same, after a look at its configuration."""
    _ = trained.options, trained.size  # these raise
    return trained


def _found_again(path: Path, config: Fields) -> Learned:
    """What a run of an older noisyfer learned, of which only its manifest tells.

    Raises:
        UserError: the manifest is not where it usually is.
    """
    told = config.inner("manifest")
    name, sha256 = Path(told.text("name")).name, told.text("sha256")
    places = list(dict.fromkeys([MANIFESTS / name, path.resolve().parent.parent / MANIFESTS / name]))
    opened = [Manifest.open(place) for place in places if place.exists()]
    manifest = next((each for each in opened if each.fingerprint == sha256), None)
    if manifest is None:
        raise UserError(
            f"{path} was made by a noisyfer that did not store what its outputs mean, and its manifest {name} (SHA-256 "
            f"{sha256[:12]}…) is not in {' nor in '.join(str(place.parent) for place in places)}. Put it there."
        )
    run = config.inner("run")
    uses, tasks = METHODS[run.text("method")].uses, manifest.header.tasks
    names = list(run.inner("truth").value.values()) if uses.labels == "truth" else list(run.names("labels", 1))
    sets = [manifest.label_set(each) for each in names]
    if uses.labels == "majority":
        task = tasks[sets[0].task]
        return Learned.of(manifest, [_spec(f"{task.name}_majority", task, None)])
    specs = [_spec(each.name, tasks[each.task], each.provenance.get("transition_matrix")) for each in sets]
    return Learned.of(manifest, specs)


def _spec(name: str, task: Task, transition: Any) -> LabelSetSpec:
    width = len(task.classes) or VALENCE_AROUSAL
    return LabelSetSpec(name, task.name, width, not task.classes, _matrix(transition, width))


def _matrix(found: Any, width: int) -> tuple[tuple[float, ...], ...] | None:
    """A transition matrix K×K; None where it is none. No prediction hangs on it."""
    try:
        rows = tuple(tuple(map(float, row)) for row in found or ())
    except (TypeError, ValueError):
        return None
    return rows if [len(row) for row in rows] == [width] * width else None
