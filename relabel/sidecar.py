"""The JSON file beside somebody else's network: what goes in, what comes out, and by which names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import UserError, unknown_name
from ..core.fields import Fields
from ..core.files import read_json
from ..core.schema import Task
from ..models.networks.backbone import LARGEST, SMALLEST

ROLES = ("logits", "probabilities", "valence", "arousal", "skip")
"""What a column of an output may be; `logits` and `probabilities` take as many as there are classes, the others one."""

KEYS = (
    *("classes", "vocabulary", "task", "size", "align", "color", "layout", "scale", "mean", "std", "outputs", "batch"),
    "notes",
)
COLORS = ("RGB", "BGR", "GREY")
LAYOUTS = ("NCHW", "NHWC")
SCALES = (1.0, 255.0)
MAX_BATCH = 4096


@dataclass(frozen=True)
class Piece:
    """Some columns of an output.

    Attributes:
        role: of `ROLES`.
        first: column.
        width: columns.
    """

    role: str
    first: int
    width: int


@dataclass(frozen=True)
class Sidecar:
    """What a sidecar says.

    Attributes:
        classes: by their common names, in the order of the outputs; empty where there is no categorical output.
        task: the categorical task's name.
        size: S, pixels.
        align: whether it wants aligned faces; else whole pictures.
        color: order of the channels: `RGB`, `BGR`, or one channel, `GREY`.
        layout: `NCHW` or `NHWC`.
        scale: pixels are from 0 to this before mean and std.
        mean: a number a channel, in the order of `color`, subtracted.
        std: a number a channel, divided by.
        outputs: the pieces by the output's name; the empty name stands for the only output.
        batch: images at a time, 0 for any.
    """

    classes: tuple[str, ...]
    task: str
    size: int
    align: bool
    color: str
    layout: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    outputs: Mapping[str, tuple[Piece, ...]]
    batch: int = 0

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks that it answers."""
        found = {self.task: Task(self.task, "categorical", self.classes)} if self.classes else {}
        if "valence" in self.roles:
            found["va"] = Task("va", "continuous")
        return found

    @property
    def roles(self) -> dict[str, tuple[str, Piece]]:
        """Output and columns by role, the skipped ones left out."""
        return {
            piece.role: (name, piece)
            for name, pieces in self.outputs.items()
            for piece in pieces
            if piece.role != "skip"
        }

    def width(self, output: str) -> int:
        """The columns that an output should have."""
        return sum(piece.width for piece in self.outputs[output])


def sidecar_path(model: Path) -> Path:
    """The sidecar of a model's file: the same name with `.json`."""
    return model.with_suffix(".json")


def read_sidecar(
    path: Path,
    template: Mapping[str, Any],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Sidecar:
    """Read and check a sidecar.

    Args:
        path: of the sidecar.
        template: what it should look like, filled with what is known of the network; printed where it is missing.
        mean: what stands for a missing `mean` with scale 1.
        std: likewise.

    Raises:
        UserError: it is missing (with the one to fill in), no JSON, or says something that cannot be.
    """
    if not path.exists():
        lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in template.items()]
        text = "{\n" + ",\n".join(lines) + "\n}"
        raise UserError(
            f"A JSON file beside the network must say what it takes and what comes out, and there is no {path}. "
            f"Fill this in and save it there:\n{text}\nThe documentation on teachers says what each line means."
        )
    fields = Fields(read_json(path), str(path))
    fields.only(KEYS)
    color = fields.text("color", "RGB", COLORS)
    channels = 1 if color == "GREY" else 3
    scale = fields.number("scale", 1, 255, 1.0)
    if scale not in SCALES:
        raise fields.wrong("scale", "1 (pixels from 0 to 1) or 255 (pixels from 0 to 255)")
    known = channels == 3 and scale == 1
    means = fields.numbers("mean", channels, tuple(mean) if known and mean else None)
    deviations = fields.numbers("std", channels, tuple(std) if known and std else None)
    _check_normalisation(fields, scale, means, deviations)
    classes = _common_names(fields)
    return Sidecar(
        classes=classes,
        task=fields.text("task", "expression"),
        size=fields.whole("size", SMALLEST, LARGEST),
        align=fields.flag("align", True),
        color=color,
        layout=fields.text("layout", "NCHW", LAYOUTS),
        scale=scale,
        mean=means,
        std=deviations,
        outputs=_outputs(fields, len(classes)),
        batch=fields.whole("batch", 0, MAX_BATCH, 0),
    )


def _check_normalisation(fields: Fields, scale: float, mean: Sequence[float], std: Sequence[float]) -> None:
    if not all(-scale <= value <= scale for value in mean) or not all(0 < value <= scale for value in std):
        hint = ' For pixels from 0 to 255 add "scale": 255.' if scale == 1 else ""
        raise UserError(
            f"'mean' in {fields.where} is {list(mean)} and 'std' {list(std)}; for pixels from 0 to {scale:g} a mean "
            f"from -{scale:g} to {scale:g} and a std above 0 and up to {scale:g} were expected.{hint}"
        )


def _common_names(fields: Fields) -> tuple[str, ...]:
    """The classes under the names that `vocabulary` gives them."""
    if not fields.has("classes"):
        return ()
    theirs = fields.names("classes", 2)
    vocabulary = fields.inner("vocabulary")
    for name in vocabulary.value:
        if name not in theirs:
            raise UserError(f"{vocabulary.where}: {unknown_name('class', name, theirs)}")
    ours = tuple(vocabulary.text(name, name) for name in theirs)
    if len(set(ours)) != len(ours):
        raise UserError(f"{vocabulary.where} gives two classes the same name ({', '.join(ours)}).")
    return ours


def _outputs(fields: Fields, classes: int) -> dict[str, tuple[Piece, ...]]:
    """Every output's pieces, each role at most once, valence and arousal together."""
    told = fields.value.get("outputs") or "logits"
    by_name = told if isinstance(told, Mapping) else {"": told}
    outputs = {name: _pieces(fields, entry, classes) for name, entry in by_name.items()}
    roles = [piece.role for pieces in outputs.values() for piece in pieces if piece.role != "skip"]
    repeated = next((role for role in roles if roles.count(role) > 1), None)
    if repeated is not None:
        raise UserError(f"'outputs' in {fields.where} names {repeated} twice; once was expected.")
    categorical = [role for role in roles if role in ("logits", "probabilities")]
    if len(categorical) > 1:
        raise UserError(f"'outputs' in {fields.where} has logits and probabilities; choose one of them.")
    if ("valence" in roles) != ("arousal" in roles):
        raise UserError(f"'outputs' in {fields.where} must have valence and arousal both, or neither.")
    if bool(categorical) != bool(classes):
        found = "no 'classes' for them" if categorical else "'classes', and no output that tells them apart"
        raise UserError(
            f"{fields.where} has {'logits or probabilities and ' if categorical else ''}{found}. Give both, or neither."
        )
    if not roles:
        raise UserError(f"'outputs' in {fields.where} names nothing that could be a label.")
    return outputs


def _pieces(fields: Fields, entry: Any, classes: int) -> tuple[Piece, ...]:
    names = [entry] if isinstance(entry, str) else entry
    if not isinstance(names, list) or not names or not all(name in ROLES for name in names):
        raise UserError(
            f"'outputs' in {fields.where} holds {entry!r:.80}; one of {', '.join(ROLES)}, or a list of them in the "
            "order of the columns was expected."
        )
    pieces, first = [], 0
    for name in names:
        width = classes if name in ("logits", "probabilities") else 1
        pieces.append(Piece(name, first, width))
        first += width
    return tuple(pieces)
