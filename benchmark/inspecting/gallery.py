"""The most suspicious labels with their pictures: paged, and filtered by label set and by pair of classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from ...core.errors import UserError
from ...core.web import image, render
from ...manifest import Manifest
from .audit import TaskAudit
from .suspects import Suspect, most_suspicious, opinions_of
from .thumbnails import Thumbnail, Thumbnails, samples_of

PACKAGE = __package__
SIDE = 112
"""Pixels of a thumbnail's longer side."""
MOST_BYTES = 12_000
"""Of one thumbnail."""
ALL_BYTES = 12_000_000
"""Of all thumbnails of a page; suspects beyond that are shown without a picture."""
PER_PAGE = 24
LONGEST_TEXT = 300
"""Characters of an id or a reason that are shown."""


@dataclass(frozen=True)
class Tile:
    """A suspect as it is shown; all texts are plain.

    Attributes:
        suspect: what it is of.
        sample: its id and split.
        picture: markup of the picture, or None.
        missing: why there is no picture.
        label: the given class.
        suggested: the believed class.
        opinions: by label set, the class it gave, or a dash.
        place: of its label set in the filter.
        pair: of its classes in the filter.
    """

    suspect: Suspect
    sample: str
    picture: Markup | None
    missing: str
    label: str
    suggested: str
    opinions: Sequence[tuple[str, str]]
    place: int
    pair: str


def gallery(
    manifest: Manifest, task: str, found: TaskAudit, most: int, root: Path | None, notes: list[str]
) -> Markup | None:
    """The gallery of a task; None where nothing is suspicious.

    Args:
        manifest: opened.
        task: its name.
        found: the task's audit.
        most: suspects at most.
        root: where the images are, if not at the manifest's hint.
        notes: gets a sentence where pictures are missing.
    """
    suspects = most_suspicious(found.opinions, found.judged, most)
    if not suspects:
        return None
    pictures = _pictures(manifest, [each.row for each in suspects], root, notes)
    samples = samples_of(manifest, [each.row for each in suspects], ["id", "split"])
    classes = found.opinions.task.classes
    sets = list(dict.fromkeys(each.name for each in suspects))
    tiles = []
    for each in suspects:
        sample = f"{str(samples[each.row]['id'])[:LONGEST_TEXT]} ({samples[each.row]['split']})"
        said = [(name, "–" if id_ is None else classes[id_]) for name, id_ in opinions_of(found.opinions, each.row)]
        verdict = classes[each.label], classes[each.suggested]
        place, pair = sets.index(each.name), f"{each.label}-{each.suggested}"
        tiles.append(Tile(each, sample, *pictures[each.row], *verdict, said, place, pair))
    pairs = Counter((each.pair, f"{each.label} → {each.suggested}") for each in tiles)
    options = [(key, f"{text} ({count})") for (key, text), count in pairs.most_common()]
    return render(
        "gallery.html",
        PACKAGE,
        task=task,
        tiles=tiles,
        sets=sets,
        pairs=options,
        per_page=PER_PAGE,
        total=len(tiles),
        truth=found.opinions.truth,
    )


def _pictures(
    manifest: Manifest, rows: Sequence[int], root: Path | None, notes: list[str]
) -> Mapping[int, tuple[Markup | None, str]]:
    """By row its picture, or why there is none."""
    left, found, failed = ALL_BYTES, dict[int, tuple[Markup | None, str]](), 0
    with Thumbnails(manifest, rows, side=SIDE, most=MOST_BYTES, root=root) as thumbnails:
        for row in thumbnails.in_order():
            made: Thumbnail = thumbnails.of(row) if left > 0 else "the page has no room for more pictures"
            failed += isinstance(made, str)
            if isinstance(made, str):
                found[row] = None, made[:LONGEST_TEXT]
            else:
                left -= len(made)
                found[row] = image(made, ""), ""
    if failed:
        notes.append(f"{failed:,} of {len(found):,} pictures cannot be shown; their tiles say why.")
        if failed == len(found):
            notes.append(f"The images were looked for in {root or manifest.root}; --data says where they are.")
    return found


def check_suspects(most: int) -> int:
    """How many suspects may be shown.

    Raises:
        UserError: fewer than none, or more than a browser can hold.
    """
    if not 0 <= most <= 5000:
        raise UserError(f"--suspects is {most}; 0 to 5000 was expected.")
    return most
