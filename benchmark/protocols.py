"""Which label sets are learned from where none is named.

By default all noisy ones; by one of the paper's evaluations on faces (Sec. 5.2) certain ones, with certain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import UserError, look_up
from ..core.schema import NOISY_KINDS, TRUTH_ANNOTATORS, LabelSet
from ..manifest import Manifest


@dataclass(frozen=True)
class Protocol:
    """One evaluation.

    Attributes:
        learns: task and kind of the label sets to learn from.
        changes: values of run and method, which the user's own go before.
    """

    learns: tuple[tuple[str, str], ...]
    changes: Mapping[str, Any] = field(default_factory=dict)


_FACES = {"image_size": 64, "hidden": 500}

PAPER_CHANGES: Mapping[str, Any] = {"augment": "affine"}
"""What comes on top with the preset `paper`; the small presets see too few images for it (docs/bench.md)."""

PROTOCOLS: dict[str, Protocol] = {
    "raf-base": Protocol(
        (("expression", "model"), ("va", "model")),
        # on RAF-DB: all from the teacher, scored by the human expressions
        {**_FACES, "lambda": 1.0, "start_epoch": 6},
    ),
    "affectnet-base": Protocol(
        (("expression", "model"), ("va", "human")),
        # on AffectNet: the teacher's expressions and the human valence and arousal, scored by both human sets. Its
        # contempt, faceless and uncertain images, which the human set of seven expressions does not label, are not in
        # the paper's 283,910 and 3,500 (Sec. 5.2)
        {**_FACES, "lambda": 0.4, "start_epoch": 0, "labelled_by": "expression_human"},
    ),
}
"""λ is the paper's (supplement, Sec. C); start epochs, 64 pixels and 500 hidden units are its authors' code's, whose
game begins after epoch 5 and −1, counted from 0."""


def noisy_label_sets(manifest: Manifest) -> list[LabelSet]:
    """The label sets that are learned from, and aggregated, where the user names none.

    The truth is told by its annotator, so that annotator's sets are none of them, whatever their kind: what is scored
    against must not be learned from unasked.
    """
    sets = manifest.header.label_sets.values()
    return [found for found in sets if found.kind in NOISY_KINDS and found.annotator not in TRUTH_ANNOTATORS]


def find_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        UserError: there is none.
    """
    return look_up("protocol", name, PROTOCOLS)


def protocol_labels(manifest: Manifest, name: str) -> list[str]:
    """The label sets of a manifest that a protocol learns from.

    Raises:
        UserError: one is not there, or several would do.
    """
    chosen = []
    for task, kind in find_protocol(name).learns:
        sets = manifest.header.label_sets.values()
        found = [each.name for each in sets if each.task == task and each.kind == kind]
        if not found:
            raise UserError(
                f"{manifest.path} has no {task} label set of kind '{kind}', from which --protocol {name} learns; there "
                f"are: {', '.join(manifest.header.label_sets) or 'none'}. A teacher trained with --task expression,va "
                "writes both kinds of labels in 'noisyfer relabel'."
            )
        if len(found) > 1:
            raise UserError(
                f"{manifest.path} has several {task} label sets of kind '{kind}': {', '.join(found)}. Say with "
                f"--labels which ones --protocol {name} should learn from."
            )
        chosen += found
    return chosen
