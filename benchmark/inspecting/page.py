"""An audit as one page: opened from disk, with no request to anywhere."""

from __future__ import annotations

from pathlib import Path

from ...core.web import Section, asset, heading, joined, listed, note, page, write_page
from .affect import affect
from .audit import Audit
from .gallery import PACKAGE, gallery
from .sections import agreement, counts, label_sets, noise


def write_audit_page(audit: Audit, out: Path, *, suspects: int, root: Path | None = None) -> list[str]:
    """Write the page, whole or not at all.

    Args:
        audit: what it shows.
        out: the file.
        suspects: how many of the most suspicious labels of a task are shown.
        root: where the images are, if not at the manifest's hint.

    Returns:
        Sentences on what is missing; they are on the page too.

    Raises:
        UserError: `out` cannot be written.
    """
    notes = audit.all_notes
    galleries = []
    for task, found in audit.tasks.items():
        made = gallery(audit.manifest, task, found, suspects, root, notes) if suspects else None
        if made is not None:
            galleries.append(joined(heading(task), made) if len(audit.tasks) > 1 else made)
    sections = [Section("sets", "Label sets", label_sets(audit))]
    if audit.tasks:
        sections.append(Section("counts", "Class counts", counts(audit)))
    sections.append(Section("agreement", "Agreement", agreement(audit)))
    for key, title, body in (("noise", "Noise", noise(audit)), ("affect", "Valence and arousal", affect(audit))):
        if body is not None:
            sections.append(Section(key, title, body))
    if galleries:
        sections.append(Section("suspects", "Suspicious labels", joined(note(_SUSPECTS), *galleries)))
    if notes:
        sections.insert(1, Section("notes", "To be known", listed(notes)))
    rows = sum(sum(found.values()) for found in audit.summary.samples.values())
    lead = f"{rows:,} samples, {len(audit.manifest.header.label_sets)} label sets."
    style, script = asset("gallery.css", PACKAGE), asset("gallery.js", PACKAGE)
    html = page(f"Labels of {audit.manifest.path.name}", sections, lead=lead, style=style, script=script)
    write_page(out, html)
    return notes


_SUSPECTS = (
    "Each annotator's labels whose quality is lowest: quality is the probability of the given label under what the set "
    "is judged by (cleanlab's self-confidence). Each annotator's worst come first, then each one's second, and so on. "
    "Suspicious is not wrong: look at the picture."
)
