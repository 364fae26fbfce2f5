"""Which sources there are, and which of them are in the usual places."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from .base import SOURCES, usual_places


@dataclass(frozen=True)
class Entry:
    """A source and where it was found.

    Attributes:
        name: as in `--source`.
        layout: what is expected below its root, some lines.
        obtain: where it can be asked for.
        stand_in: what to try the tool with without it; empty for most.
        options: the options that it has a use for.
        root: the first of the usual places that is there, None for none.
        problem: why what is there cannot be used, None where it can or nothing is there.
    """

    name: str
    layout: str
    obtain: str
    stand_in: str
    options: tuple[str, ...]
    root: Path | None
    problem: str | None

    @property
    def state(self) -> str:
        """Whether it is there, in words."""
        if self.root is None:
            return f"not here: looked for {' and '.join(map(str, usual_places(self.name)))}"
        return f"here: {self.root}" if self.problem is None else f"here, but not as it should be. {self.problem}"

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {**asdict(self), "root": None if self.root is None else str(self.root)}


def look_up() -> list[Entry]:
    """All sources by name; those that are in a usual place are checked."""
    found = []
    for name in SOURCES:
        source = SOURCES[name]
        root = next((place for place in usual_places(name) if place.exists()), None)
        problem = None
        if root is not None:
            try:
                source(root).check()
            except UserError as error:
                problem = str(error)
        found.append(
            Entry(name, source.layout, source.obtain, source.stand_in, tuple(sorted(source.uses)), root, problem)
        )
    return found
