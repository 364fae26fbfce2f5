"""Synthesised images of runs, small enough for all of them to be on one page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from ...core.errors import first_line
from ...core.web import image, joined, note
from .group import Group

STEPS = ((1000, 85), (800, 80), (640, 75), (480, 70), (360, 60), (260, 50))
"""Longest side and JPEG quality that are tried one after another."""


def syntheses(groups: Sequence[Group], budget: int, notes: list[str]) -> Markup | None:
    """The pictures of all runs that drew one, side by side; None where none did.

    Args:
        groups: finished runs.
        budget: bytes that all of them together may take, as they stand in the page.
        notes: gets a sentence for every picture that cannot be shown.
    """
    there = [
        (f"{system.name}, seed {run.config['seed']}", run.folder.path / "synthesis.png")
        for each in groups
        for system in each.systems
        for run in system.runs
        if run.folder is not None and (run.folder.path / "synthesis.png").exists()
    ]
    share = budget * 3 // 4 // max(1, len(there))  # base64 makes four bytes of three
    figures = []
    for name, path in there:
        try:
            data = _shrunk(path, share)
        except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises on damaged pictures
            notes.append(f"{path} cannot be shown: {first_line(error)}.")
            continue
        if data is None:
            notes.append(f"{path} is left out, since {len(there)} pictures do not fit on the page.")
            continue
        figures.append(image(data, f"Images synthesised by {name}", name))
    if not figures:
        return None
    return joined(
        note("A column a class, a row a latent vector; reduced and compressed, the runs' folders have the originals."),
        Markup('<div class="grid">{}</div>').format(joined(*figures)),
    )


def _shrunk(path: Path, most: int) -> bytes | None:
    """The picture as a JPEG of at most so many bytes; None where the smallest is still larger."""
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as opened:
        picture = opened.convert("RGB")
    for side, quality in STEPS:
        smaller = picture.copy()
        smaller.thumbnail((side, side), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        smaller.save(stream, "JPEG", quality=quality, optimize=True)
        if stream.tell() <= most:
            return stream.getvalue()
    return None
