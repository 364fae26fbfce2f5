"""Noisy validation labels: a part of a manifest's training images, held out with one of their noisy labels each."""

from __future__ import annotations

from collections.abc import Sequence
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


def make_holdout(manifest: Manifest, names: Sequence[str], share: float, seed: int, out: Path) -> Manifest:
    """A manifest of the training images alone, some of which are its split `val`; no clean label is in it.

    A held-out image's label is that of one of its annotators, drawn at random among those who gave one: what a user
    without clean labels has to choose by. Noisy labels rank methods as clean ones do where the noise is the same for
    all, and only approximately elsewhere.

    Args:
        manifest: what is searched on.
        names: the label sets that are learned from; the only ones that are kept.
        share: of the training images that is held out, above 0 and below 1.
        seed: of the choice of images and of labels.
        out: the new manifest.

    Raises:
        UserError: there are too few training images, or the place cannot be written.
    """
    view = manifest.select(splits=["train"], label_sets=names)
    rows = view.rows
    held = round(rows * share)
    if not 0 < held < rows:
        raise UserError(f"{manifest.path} has {rows} training images, too few to hold out {share:.0%} of them.")
    split = np.full(rows, "train", dtype=object)
    split[rng(seed, HOLDOUT, "images").permutation(rows)[:held]] = "val"
    additions, columns = list[LabelSet](), dict[str, pa.Array]()
    for task in dict.fromkeys(view.header.label_sets[name].task for name in names):
        parents = [name for name in names if view.header.label_sets[name].task == task]
        label_set, values = _drawn(task, parents, [view.labels(name) for name in parents], split == "val", seed)
        additions.append(label_set)
        columns |= values
    parent = {"file": manifest.path.name, "sha256": manifest.fingerprint}
    header = view.header.with_label_sets(additions, (parent,)).seen_from(out.parent, manifest.path.parent)
    return write_manifest(out, header, view.extended(columns | {"split": pa.array(split, pa.string())}))


def _drawn(
    task: str, parents: Sequence[str], sets: Sequence[Labels], held: np.ndarray[Any, Any], seed: int
) -> tuple[LabelSet, dict[str, pa.Array]]:
    """One annotator's label of each held-out image, and the columns to store them in."""
    present = np.stack([labels.present for labels in sets])
    chance = rng(seed, HOLDOUT, "annotator", task).random(present.shape)
    chosen = np.where(present, chance, -1.0).argmax(axis=0)
    values = np.stack([labels.values for labels in sets])[chosen, np.arange(len(held))]
    missing = ~(held & present.any(axis=0))
    provenance = {"method": "one of the parents' labels, at random", "parents": list(parents), "seed": seed}
    if values.ndim == 1:
        label_set, parts = LabelSet.categorical(task, HOLDOUT, "aggregate", provenance), [values.astype(np.int16)]
    else:
        label_set = LabelSet.valence_arousal(HOLDOUT, "aggregate", provenance, task)
        parts = list(values.T.astype(np.float32))
    return label_set, {
        name: pa.array(part, mask=missing) for name, part in zip(label_set.columns.values(), parts, strict=True)
    }
