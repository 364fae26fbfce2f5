"""A manifest with the quality of every label as further columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ...core.errors import UserError
from ...core.manifest_writer import manifest_writer
from ...core.schema import arrow_schema
from .audit import Audit


def quality_column(name: str) -> str:
    """The column that holds the quality of a label set's labels."""
    return f"{name}_quality"


def write_scores(audit: Audit, out: Path) -> Sequence[str]:
    """Write a copy of the manifest with a float32 column `<set>_quality` for each set that is judged, in [0, 1].

    Null where there is no label, or nothing to judge it by. The metadata does not name the columns, so that every
    command reads the copy as it reads the manifest.

    Args:
        audit: of the manifest.
        out: the new file; a manifest that is there is replaced.

    Returns:
        The names of the columns.

    Raises:
        UserError: a column's name is taken, nothing is judged, or the file cannot be written.
    """
    manifest = audit.manifest
    scores = {
        quality_column(name): pa.array(quality.score, pa.float32(), from_pandas=True)
        for task in audit.tasks.values()
        for name, quality in task.judged.items()
    }
    if not scores:
        raise UserError(f"No label of {manifest.path} can be judged, so there are no scores to write to {out}.")
    taken = sorted(scores.keys() & set(arrow_schema(manifest.header).names))
    if taken:
        raise UserError(f"{manifest.path} has a label set's column '{taken[0]}' already, which scores would take.")
    parent = {"file": manifest.path.name, "sha256": manifest.fingerprint}
    header = manifest.header.with_label_sets((), (parent,)).seen_from(out.parent, manifest.path.parent)
    extra = [pa.field(name, pa.float32()) for name in scores]
    with manifest_writer(out, header, extra=extra) as write:
        for table in manifest.extended(scores):
            write(table)
    return list(scores)
