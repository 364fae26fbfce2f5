"""`noisyfer inspect`: what is right and wrong with a manifest's labels, as figures, a page and scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.files import refuse_existing
from ..core.web import refuse_no_page
from ..manifest import Manifest
from .inspecting.audit import Audit, audit_manifest
from .inspecting.gallery import check_suspects
from .inspecting.page import write_audit_page
from .inspecting.scores import write_scores


@dataclass(frozen=True)
class Inspected:
    """What became of an inspection.

    Attributes:
        audit: all figures.
        notes: sentences on what is missing and why.
        columns: of quality scores that were written.
    """

    audit: Audit
    notes: tuple[str, ...]
    columns: tuple[str, ...] = ()


def inspect_manifest(
    manifest: Manifest,
    *,
    out: Path | None = None,
    scores: Path | None = None,
    suspects: int = 100,
    probs: Path | None = None,
    truth: str | None = None,
    root: Path | None = None,
    overwrite: bool = False,
) -> Inspected:
    """Audit a manifest's labels, and write what is asked for, each whole or not at all.

    Args:
        manifest: opened.
        out: the page; None for none. It takes the place of a page that is there, and of nothing else.
        scores: a copy of the manifest with the quality of every label; None for none.
        suspects: how many of the most suspicious labels of a task the page shows, 0 to 5000.
        probs: a run's folder, or a Parquet file of predictions, to judge labels by; None for the other annotators.
        truth: the label set that is true; `none` for none, None to find it.
        root: where the images are, if not at the manifest's hint.
        overwrite: replace a manifest that is there by the one with scores.

    Raises:
        UserError: something that was named is not there or does not fit, a label is out of range, or a file is
            there already or cannot be written.
    """
    check_suspects(suspects)
    if out is not None:
        refuse_no_page(out)
    if scores is not None:
        refuse_existing(scores, "--scores", overwrite=overwrite)
    audit = audit_manifest(manifest, probs=probs, truth=truth)
    columns = write_scores(audit, scores) if scores is not None else ()
    notes = audit.all_notes if out is None else write_audit_page(audit, out, suspects=suspects, root=root)
    return Inspected(audit, tuple(notes), tuple(columns))
