"""Noisy validation labels: a part of a manifest's training images, held out with one of their noisy labels each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.errors import UserError
from ..core.schema import LabelSet
from ..core.streams import rng
from ..manifest import Labels, Manifest, write_manifest

HOLDOUT = "holdout"
"""The annotator of the noisy labels that a search is scored against; in its own manifests only."""

_DRAWN = "one of the parents' labels, at random"


def is_holdout(label_set: LabelSet) -> bool:
    """Whether a set holds a search's validation labels, and was not merely given their annotator's name by somebody."""
    return label_set.annotator == HOLDOUT and label_set.provenance.get("method") == _DRAWN


def make_holdout(
    manifest: Manifest, names: Sequence[str], share: float, seed: int, out: Path, labelled_by: str = ""
) -> Manifest:
    """A manifest of the training images alone, some of which are its split `val`; no label but those learned from.

    A held-out image's label is that of one of its annotators, drawn at random among those who gave one: what a user
    without clean labels has to choose by. Noisy labels rank methods as clean ones do where the noise is the same for
    all, and only approximately elsewhere.

    Args:
        manifest: what is searched on.
        names: the label sets that are learned from; the only ones that are kept.
        share: of the training images that is held out, above 0 and below 1.
        seed: of the choice of images and of labels.
        out: the new manifest.
        labelled_by: a label set; images without a label of it are left out. Which ones have it is all that is taken
            from it: it may be the truth. Empty for all images.

    Raises:
        UserError: there are too few training images, there is no such set, or the place cannot be written.
    """
    train = manifest.select(splits=["train"])
    view = train.select(label_sets=names)
    kept = train.labels(labelled_by).present if labelled_by else np.ones(view.rows, bool)
    held = round(int(kept.sum()) * share)
    if not 0 < held < kept.sum():
        labelled = f" that '{labelled_by}' labels" if labelled_by else ""
        raise UserError(
            f"{manifest.path} has {kept.sum()} training images{labelled}, too few to hold out {share:.0%} of them."
        )
    split = np.full(len(kept), "train", dtype=object)
    split[rng(seed, HOLDOUT, "images").permutation(np.flatnonzero(kept))[:held]] = "val"
    additions, columns = list[LabelSet](), dict[str, pa.Array]()
    for task in dict.fromkeys(view.header.label_sets[name].task for name in names):
        parents = [name for name in names if view.header.label_sets[name].task == task]
        label_set, values = _drawn(task, parents, [view.labels(name) for name in parents], split == "val", seed)
        additions.append(label_set)
        columns |= values
    parent = {"file": manifest.path.name, "sha256": manifest.fingerprint}
    header = view.header.with_label_sets(additions, (parent,)).seen_from(out.parent, manifest.path.parent)
    rows = view.extended(columns | {"split": pa.array(split, pa.string())})
    return write_manifest(out, header, _of_kept(rows, kept))


def _of_kept(tables: Iterable[pa.Table], kept: np.ndarray[Any, np.dtype[np.bool_]]) -> Iterator[pa.Table]:
    """Successive tables without the rows that are not kept."""
    start = 0
    for table in tables:
        yield table.filter(pa.array(kept[start : start + table.num_rows]))
        start += table.num_rows


def _drawn(
    task: str, parents: Sequence[str], sets: Sequence[Labels], held: np.ndarray[Any, Any], seed: int
) -> tuple[LabelSet, dict[str, pa.Array]]:
    """One annotator's label of each held-out image, and the columns to store them in."""
    present = np.stack([labels.present for labels in sets])
    chance = rng(seed, HOLDOUT, "annotator", task).random(present.shape)
    chosen = np.where(present, chance, -1.0).argmax(axis=0)
    values = np.stack([labels.values for labels in sets])[chosen, np.arange(len(held))]
    missing = ~(held & present.any(axis=0))
    provenance = {"method": _DRAWN, "parents": list(parents), "seed": seed}
    if values.ndim == 1:
        label_set, parts = LabelSet.categorical(task, HOLDOUT, "aggregate", provenance), [values.astype(np.int16)]
    else:
        label_set = LabelSet.valence_arousal(HOLDOUT, "aggregate", provenance, task)
        parts = list(values.T.astype(np.float32))
    return label_set, {
        name: pa.array(part, mask=missing) for name, part in zip(label_set.columns.values(), parts, strict=True)
    }
