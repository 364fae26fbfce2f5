"""How labels are imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...core.config import parse_settings
from ...core.errors import UserError, unknown_name
from ...core.schema import SPLITS, TRUTH_ANNOTATORS
from .base import FORMATS
from .collect import DUPLICATES
from .join import BY
from .orders import ORDERS

KINDS = ("imported", "human", "model")
ROLES = ("image", "id", "expression", "class", "label", "valence", "arousal", "annotator")


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_BETWEEN = re.compile(rf",\s*(?=(?:{'|'.join(ROLES)})\s*=)")


def parse_columns(texts: Iterable[str]) -> dict[str, str]:
    """Take `image=FILE,expression=LABEL` apart; a comma ends a column's name only where a role follows.

    Raises:
        UserError: a part is not of the form `role=column`.
    """
    return parse_settings(part for text in texts for part in _BETWEEN.split(text))


@dataclass(frozen=True)
class ImportOptions:
    """How labels are imported.

    Attributes:
        annotator: who labelled; empty where the files say so. Where they name their annotators it is put in front.
        format: a name of `FORMATS`, or empty to look at each file.
        task: only labels of this task, and the task of labels whose file does not say which; empty for all.
        by: how rows are joined to samples: `auto`, `id`, `file` or `position`.
        split: only samples of this split; empty for all.
        kind: of the new label sets: `imported`, `human` or `model`; empty for what `kind_of` says.
        columns: role to column, as of `ReadOptions`.
        ids: the order of class ids that are numbers, as of `ReadOptions`.
        duplicates: which of contradicting labels counts: `refuse`, `first` or `last`.
        max_unmatched: the share of a file's rows that may find no sample, or whose label may be unusable.
        overwrite: replace what stands at the output.
    """

    annotator: str = ""
    format: str = ""
    task: str = ""
    by: str = "auto"
    split: str = ""
    kind: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    ids: str = ""
    duplicates: str = "refuse"
    max_unmatched: float = 0.5
    overwrite: bool = False

    def kind_of(self, annotator: str) -> str:
        """The kind of an annotator's label sets.

        Where none is said it is `human` for `human` and `clean`, whose labels others are scored against: as merely
        imported ones they would pass for noisy. Else it is `imported`.
        """
        return self.kind or ("human" if {annotator, self.annotator} & set(TRUTH_ANNOTATORS) else "imported")

    def check(self) -> None:
        """See whether all options have values that are allowed.

        Raises:
            UserError: one has not.
        """
        choices = {
            "by": BY,
            "kind": ("", *KINDS),
            "duplicates": DUPLICATES,
            "split": ("", *SPLITS),
            "ids": ("", *ORDERS),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise unknown_name(f"value of {name}", getattr(self, name), [value for value in known if value])
        for role in self.columns:
            if role not in ROLES:
                raise unknown_name("role of a column", role, ROLES)
        if self.annotator and not _NAME.fullmatch(self.annotator):
            raise UserError(f"The annotator is named {self.annotator!r}; letters, digits and _ . - were expected.")
        if self.format:
            FORMATS[self.format]
        if not 0 <= self.max_unmatched <= 1:
            raise UserError(f"max_unmatched is {self.max_unmatched}; a share from 0 to 1 was expected.")
