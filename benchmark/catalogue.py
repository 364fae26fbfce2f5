"""The methods there are and what each can use, for people and for programs."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Any

from ..core.config import options
from ..models.methods import METHODS, Uses
from .settings import RunSettings

_LABELS = {
    "chosen": "the chosen label sets",
    "truth": "the true label set",
    "majority": "the chosen sets' majority vote",
}


@dataclass(frozen=True)
class Entry:
    """A method in words.

    Attributes:
        name: as in `--method`.
        summary: a sentence.
        paper: authors, venue and year.
        uses: what it can learn from.
        devices: it can train on several.
        options: by name, the default and the meaning of each.
    """

    name: str
    summary: str
    paper: str
    uses: Uses
    devices: bool
    options: dict[str, dict[str, Any]]

    @property
    def usable(self) -> str:
        """What it can use, in words."""
        uses = self.uses
        kinds = "classes, valence and arousal" if uses.continuous else "classes"
        parts = [f"learns from {_LABELS[uses.labels]}: {kinds}"]
        if uses.labels == "chosen" and not uses.several:
            parts.append("one set only")
        if not uses.missing:
            parts.append("a label on every sample")
        if uses.maps:
            parts.append("an encoder with feature maps")
        if self.devices:
            parts.append("several devices")
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return asdict(self)


def catalogue() -> list[Entry]:
    """All methods by name."""
    found = []
    for name in METHODS:
        method = METHODS[name]
        summary = (inspect.getdoc(method) or "").partition("\n\n")[0].replace("\n", " ")
        found.append(Entry(name, summary, method.paper, method.uses, method.parallel, _described(method.config_class)))
    return found


def run_options() -> dict[str, dict[str, Any]]:
    """The options that every method's runs have: by name, the default and the meaning of each."""
    return _described(RunSettings)


def _described(config_class: type) -> dict[str, dict[str, Any]]:
    return {
        public: {"default": field.default, "meaning": field.metadata["meaning"]}
        for public, field in options(config_class).items()
    }
