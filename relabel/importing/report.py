"""What became of the rows of the imported files, counted and with the first ones named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...manifest import Manifest

NAMED = 5
"""How many examples are kept of each thing that went wrong."""


@dataclass
class Tally:
    """A number of rows and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, count: int, examples: Sequence[str] = ()) -> None:
        """Count some more; of the examples only as many are kept as are wanted."""
        self.count += count
        self.first += examples[: NAMED - len(self.first)]

    def __str__(self) -> str:
        shown = ", ".join(self.first)
        return (
            f"{self.count:,} ({shown}{', …' if self.count > len(self.first) else ''})" if shown else f"{self.count:,}"
        )


@dataclass
class FileReport:
    """One imported file.

    Attributes:
        path: the file.
        format: the name of its format.
        sha256: of its bytes.
        rows: its rows.
        joined_by: by rule, how many rows it joined to a sample.
        unmatched: rows that no sample goes by.
        ambiguous: rows that several samples go by.
        missing: rows that say there is no label.
        unusable: rows whose label cannot be used.
        clipped: rows whose valence or arousal was clipped.
        tasks: the tasks that it has labels of.
        notes: how the file was read, as whole sentences.
        about: what its format adds to a provenance.
    """

    path: Path
    format: str
    sha256: str = ""
    rows: int = 0
    joined_by: dict[str, int] = field(default_factory=dict)
    unmatched: Tally = field(default_factory=Tally)
    ambiguous: Tally = field(default_factory=Tally)
    missing: int = 0
    unusable: Tally = field(default_factory=Tally)
    clipped: int = 0
    tasks: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def matched(self) -> int:
        """Rows that were joined to a sample."""
        return self.rows - self.unmatched.count - self.ambiguous.count

    def provenance(self) -> dict[str, Any]:
        """What a label set remembers of this file, as JSON."""
        return {
            "file": self.path.name,
            "sha256": self.sha256,
            "format": self.format,
            "joined_by": dict(self.joined_by),
            "rows": self.rows,
            "matched": self.matched,
            "unmatched": self.unmatched.count,
            "ambiguous": self.ambiguous.count,
            "missing": self.missing,
            "unusable": self.unusable.count,
            "clipped": self.clipped,
            **self.about,
        }


@dataclass(frozen=True)
class SetReport:
    """One new label set.

    Attributes:
        name: of the set.
        labelled: by split, how many samples have a label, and of how many.
        unlabelled: samples without one in the splits that have any.
    """

    name: str
    labelled: Mapping[str, tuple[int, int]]
    unlabelled: Tally


@dataclass(frozen=True)
class ImportReport:
    """What `import_labels` did.

    Attributes:
        manifest: the new manifest.
        files: one report a file.
        sets: one report a new label set.
        repeated: labels that were there more than once, and equal.
        contradictions: labels that were there more than once with different values, of which one was taken.
    """

    manifest: Manifest
    files: tuple[FileReport, ...]
    sets: tuple[SetReport, ...]
    repeated: int
    contradictions: Tally
