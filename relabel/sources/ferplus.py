"""FER+: ten votes for each picture of FER2013, in a csv beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...core.schema import LabelSet
from .vocabulary import ids_of, vocabulary

FILE = "fer2013new.csv"
VOTED = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
OTHERS = ("unknown", "NF")
COLUMNS = ("Usage", "Image name", *VOTED, *OTHERS)


@dataclass(frozen=True)
class Votes:
    """What a row of votes comes to.

    Attributes:
        label: class id, None where the votes went elsewhere.
        probs: the classes' shares of the votes for classes, None with the label.
        problem: what is wrong with the row, as a sentence's end.
    """

    label: int | None = None
    probs: list[float] | None = None
    problem: str | None = None


def count_votes(row: Mapping[str, str], *, contempt: bool) -> Votes:
    """The label of a row of votes: the class with most of them, the first in canonical order where several have.

    There is none where `unknown`, `NF` (no face) or an expression that is no class here has more votes than every
    class, or nobody voted for one.

    Args:
        row: votes by column.
        contempt: whether contempt is a class.
    """
    texts = {name: row.get(name, "") for name in (*VOTED, *OTHERS)}
    wrong = next((name for name, text in texts.items() if not (text.isascii() and text.isdigit())), None)
    if wrong is not None:
        return Votes(problem=f"its votes for '{wrong}' are '{texts[wrong][:40]}'; a number was expected")
    votes = {name: int(text[:9]) for name, text in texts.items()}
    ids = ids_of(VOTED, contempt=contempt)
    counts = [0] * len(vocabulary(contempt=contempt))
    for name, index in ids.items():
        if index is not None:
            counts[index] = votes[name]
    elsewhere = max(count for name, count in votes.items() if ids.get(name) is None)
    most, total = max(counts), sum(counts)
    if not total or elsewhere > most:
        return Votes()
    return Votes(counts.index(most), [count / total for count in counts])


def label_set() -> LabelSet:
    """`expression_ferplus`, with probabilities."""
    told = {"source": "FER+", "file": FILE, "votes": "ten people an image; the majority is the label"}
    return LabelSet.categorical("expression", "ferplus", "human", told, probs=True)
