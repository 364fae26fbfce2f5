"""What the functions of the API share: the words for places and names, and a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Place = str | Path
Names = str | Sequence[str]
"""One name, several with commas between them, or a list."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where its files are.
        result: what its `result.json` holds.
    """

    folder: Path
    result: Mapping[str, Any]

    @property
    def scores(self) -> Mapping[str, Mapping[str, float]]:
        """The last epoch's test scores by task that is scored and name, such as `scores["class"]["accuracy"]`."""
        found: Mapping[str, Mapping[str, float]] = self.result["last"]["test"]
        return found


def run_folder(run: Run | Place) -> Path:
    """The folder of a run that was given as itself or as its folder."""
    return run.folder if isinstance(run, Run) else Path(run)


def as_path(place: Place | None) -> Path | None:
    """A place as a path, where there is one."""
    return None if place is None else Path(place)
