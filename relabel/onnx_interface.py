"""What an ONNX network takes and gives, and whether a sidecar says the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UserError
from .sidecar import LAYOUTS, Sidecar

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation that most published networks were trained with; proposed, never assumed."""

KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}

_USUAL = {
    1: "valence",
    2: ["valence", "arousal"],
    9: ["logits", "valence", "arousal"],
    10: ["logits", "valence", "arousal"],
}
"""What an output of so many columns most likely is; `logits` otherwise."""


@dataclass(frozen=True)
class Interface:
    """What a network says of its inputs and outputs.

    Attributes:
        input: the only input's name.
        kind: its element type.
        shape: of the input, a name or None where a dimension is free.
        outputs: shapes by name.
    """

    input: str
    kind: str
    shape: tuple[Any, ...]
    outputs: Mapping[str, tuple[Any, ...]]

    @property
    def batch(self) -> int:
        """Images that it takes at a time, 0 for any."""
        return self.shape[0] if isinstance(self.shape[0], int) else 0

    @property
    def layout(self) -> str:
        """Where its channels seem to be."""
        return "NHWC" if self.shape[3] in (1, 3) and self.shape[1] not in (1, 3) else "NCHW"

    def channels_and_size(self, layout: str) -> tuple[Any, Any, Any]:
        """Channels, height and width."""
        _, first, second, third = self.shape
        return (first, second, third) if layout == "NCHW" else (third, first, second)


def read_interface(session: Any, file: Path) -> Interface:
    """The interface of a session.

    Raises:
        UserError: it does not take one batch of images, or is damaged.
    """
    try:
        inputs = [(each.name, each.type, each.shape or ()) for each in session.get_inputs()]
        outputs = {each.name: tuple(each.shape or ()) for each in session.get_outputs()}
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is damaged: a name in it is no text (UTF-8). Export it anew.") from error
    if len(inputs) != 1 or inputs[0][1] not in KINDS or len(inputs[0][2]) != 4:
        found = "; ".join(f"{name}: {kind} {shape_text(shape)}" for name, kind, shape in inputs) or "none"
        raise UserError(
            f"{file} has the inputs {found}. One input was expected, of floats, with four dimensions: images, "
            "channels, height, width (or channels last)."
        )
    name, kind, shape = inputs[0]
    return Interface(name, kind, tuple(shape), outputs)


def template(interface: Interface) -> dict[str, Any]:
    """A sidecar to fill in, with what the network itself tells."""
    layout = interface.layout
    channels, height, _ = interface.channels_and_size(layout)
    widths = {name: shape[-1] if shape else None for name, shape in interface.outputs.items()}
    guesses = {
        name: _USUAL.get(width, "logits") if isinstance(width, int) else "logits" for name, width in widths.items()
    }
    classes = [
        width - (2 if isinstance(guesses[name], list) else 0)
        for name, width in widths.items()
        if isinstance(width, int) and "logits" in guesses[name]
    ]
    grey = channels == 1
    return {
        "classes": ["…"] * (classes[0] if classes else 7),
        "vocabulary": {},
        "size": height if isinstance(height, int) else 224,
        "color": "GREY" if grey else "RGB",
        "layout": layout,
        "mean": [0.0] if grey else list(IMAGENET[0]),
        "std": [1.0] if grey else list(IMAGENET[1]),
        "align": True,
        "outputs": guesses,
    }


def check_input(interface: Interface, sidecar: Sidecar, file: Path, path: Path) -> None:
    """Compare what a network takes with its sidecar.

    Raises:
        UserError: channels, size or batch differ.
    """
    channels, height, width = interface.channels_and_size(sidecar.layout)
    wanted = 1 if sidecar.color == "GREY" else 3
    if isinstance(channels, int) and channels != wanted:
        other = next(layout for layout in LAYOUTS if layout != sidecar.layout)
        hint = f" Its layout seems to be {other}." if interface.channels_and_size(other)[0] == wanted else ""
        raise UserError(
            f"{file} takes {shape_text(interface.shape)}, so {channels} channels in the layout {sidecar.layout}, and "
            f"{path} says color {sidecar.color}, which has {wanted}.{hint}"
        )
    fixed = [side for side in (height, width) if isinstance(side, int)]
    if any(side != sidecar.size for side in fixed):
        raise UserError(
            f"{file} takes images of {'×'.join(map(str, fixed))} pixels, and {path} says size {sidecar.size}."
            + ("" if len(set(fixed)) == 1 else " Only square ones can be given.")
        )
    if interface.batch and sidecar.batch not in (0, interface.batch):
        raise UserError(f"{file} takes {interface.batch} images at a time, and {path} says batch {sidecar.batch}.")


def output_names(interface: Interface, sidecar: Sidecar, file: Path, path: Path) -> tuple[str, ...]:
    """The outputs that the sidecar speaks of, as the network names them.

    Raises:
        UserError: there are none of these names.
    """
    there = ", ".join(f"'{name}' {shape_text(shape)}" for name, shape in interface.outputs.items())
    if "" in sidecar.outputs:
        if len(interface.outputs) > 1:
            raise UserError(
                f"{file} has several outputs: {there}. 'outputs' in {path} must say which is what, as an object of "
                "name and meaning."
            )
        return tuple(interface.outputs)
    for name in sidecar.outputs:
        if name not in interface.outputs:
            raise UserError(f"'outputs' in {path} names '{name}', and {file} has the outputs {there}.")
    return tuple(sidecar.outputs)


def shape_text(shape: Any) -> str:
    """A shape for people, `?` for a free side."""
    return "×".join("?" if side is None else str(side) for side in shape or ()) or "a single number"
