"""One page of all runs under some folders: `noisyfer report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from ..core.errors import UserError
from ..core.web import Section, joined, listed, note, page, write_page
from .reporting.audit import audit, find_source
from .reporting.figures import by_manifest, calibration, classes, confusions, curves
from .reporting.find import Found, find_runs
from .reporting.group import Group, grouped
from .reporting.synthesis import syntheses
from .reporting.tables import comparison, noise, runs

LARGEST = 5_000_000
"""Bytes that a page is kept below: pictures get what the rest leaves them."""

FRAME = 100_000
"""Bytes that are kept for style, script and notes."""

NAMED_PATHS = 2
"""Paths that the title names; of more it says how many."""


@dataclass(frozen=True)
class Written:
    """What became of a report.

    Attributes:
        finished: runs that it compares.
        unfinished: runs that it lists only.
        systems: that the finished ones are of.
        notes: sentences about what is damaged, failed or left out; they are on the page too.
        size: of the file, in bytes.
    """

    finished: int
    unfinished: int
    systems: int
    notes: tuple[str, ...]
    size: int


def write_report(paths: Sequence[Path], out: Path, *, title: str = "", manifests: Sequence[Path] = ()) -> Written:
    """Write a page that holds everything it shows, whole or not at all.

    Args:
        paths: folders of runs, of one run, or of a table.
        out: the page's file.
        title: plain text; empty for one of the first paths' names.
        manifests: where runs' manifests are, if they have moved.

    Raises:
        UserError: no run is there, a manifest that is named is not, or the page cannot be written.
    """
    missing = [path for path in manifests if not path.exists()]
    if missing:
        raise UserError(f"There is no manifest {missing[0]}. Give the file or folder that the runs learned from.")
    found = find_runs(paths)
    groups = grouped(found.finished)
    notes = list(found.notes)
    sections = _sections(groups, found, manifests, notes)
    names = ", ".join(path.resolve().name for path in paths[:NAMED_PATHS])
    more = len(paths) - NAMED_PATHS
    names += f" and {more} more" if more > 0 else ""
    html = page(title or f"Runs in {names}", sections, lead=_lead(groups, found))
    write_page(out, html)
    systems = sum(len(group.systems) for group in groups)
    return Written(len(found.finished), len(found.unfinished), systems, tuple(notes), len(html.encode()))


def _lead(groups: Sequence[Group], found: Found) -> str:
    systems = sum(len(group.systems) for group in groups)
    said = f"{_count(len(found.finished), 'finished run')} of {_count(systems, 'system')}"
    said += f" on {_count(len(groups), 'manifest')}." if groups else "."
    if found.unfinished:
        said += f" {_count(len(found.unfinished), 'unfinished run')} listed below."
    return said


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _sections(groups: Sequence[Group], found: Found, manifests: Sequence[Path], notes: list[str]) -> list[Section]:
    sources = {group.sha256: find_source(group, manifests) for group in groups}
    known = {digest: source.classes for digest, source in sources.items()}
    places = {digest: str(source.manifest.path) for digest, source in sources.items() if source.manifest is not None}

    def each(parts: Sequence[Markup]) -> Markup:
        return by_manifest(groups, parts)

    sections = []
    if groups:
        calibrations = each([calibration(group, notes) for group in groups])
        matrices = each([confusions(group, known, opened=group is groups[0]) for group in groups])
        noises = [part for part in map(noise, groups) if part is not None]
        sections = [
            Section("comparison", "Comparison", joined(note(_HEADLINE), *map(comparison, groups))),
            Section("curves", "Curves", joined(note(_CURVES), each([curves(group) for group in groups]))),
            Section("classes", "Classes", joined(note(_CLASSES), each([classes(group, known) for group in groups]))),
            Section("confusion", "Confusion matrices", matrices),
            Section("calibration", "Calibration", joined(note(_CALIBRATION), calibrations)),
            *([Section("noise", "Noise estimates", joined(*noises))] if noises else []),
            Section("manifest", "Manifest", each([audit(sources[group.sha256]) for group in groups])),
        ]
    sections.append(Section("runs", "Runs", runs(groups, found, places)))
    left = LARGEST - FRAME - sum(len(section.body.encode(errors="backslashreplace")) for section in sections)
    pictures = syntheses(groups, max(0, left), notes)
    if pictures is not None:
        sections.insert(-2, Section("synthesis", "Synthesised images", pictures))
    if notes:
        sections.insert(1 if groups else 0, Section("left-out", "Left out", listed(notes)))
    return sections


_HEADLINE = (
    "Scores are of test images. The headline is the last epoch's, mean ± sample standard deviation over seeds; the "
    "oracle is the best epoch by test labels. 'agrees' is how often predictions on training images equal their labels: "
    "to agree with noisy labels is to have memorised them. A system is all runs that differ in nothing but their seed."
)
_CURVES = (
    "The mean over seeds, with a band from the lowest to the highest seed. A press on a name hides it; over a chart "
    "the pointer, or in it the arrow keys, read values. Unfinished runs have none here."
)
_CLASSES = "After the last epoch, on test images, mean over seeds; a class that no test image has is left out."
_CALIBRATION = (
    "How often predictions are right (up) that were made with so much confidence (across, in 15 intervals). On the "
    "dashed line a system knows what it knows; below it, it is too sure of itself. Test images of all seeds together."
)
