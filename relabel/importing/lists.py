"""Lists of a name and one label or two on each line, as RAF-DB's authors and others publish them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.errors import UserError
from ..sources.annotations import unreadable
from ..tables import BATCH_ROWS, numbers
from .base import FORMATS, Format, Peek, ReadOptions, Rows, size_within
from .orders import named

MAX_BYTES = 2**29

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LINE = re.compile(rf".*\S\.[A-Za-z]{{3,4}}[ \t]+({_NUMBER}|nan|[A-Za-z]+)([ \t]+({_NUMBER}|nan))?[ \t]*")


@FORMATS.register("raf-list")
class RafList(Format):
    """A name and an id, or a name and valence and arousal, on each line, with blanks between them.

    RAF-DB's own list has `train_00001.jpg 5` in ids 1 to 7, and so have the noisy lists published for EAC (Zhang et
    al., ECCV 2022: `noise01.txt`, …) and the model labels published with the paper of this project's method
    (`list_label_AffectnetModel.txt`; `list_va_AffectnetModel.txt` with two numbers a line). The lists of SCN (Wang et
    al., CVPR 2020: `0.1noise_train.txt`) have a path on the author's machine, `…/train_00001_aligned.jpg`, and ids 0
    to 6 in the same order.
    """

    summary: ClassVar[str] = "'train_00001.jpg 5' a line, RAF-DB's ids from 1 or from 0; or valence and arousal"
    rank: ClassVar[int] = 3

    def __init__(self) -> None:
        self._order = ""
        self._assumed = False

    def fits(self, peek: Peek) -> bool:
        """Whether the first lines are of this form."""
        lines = [line for line in peek.text.splitlines()[:20] if line.strip()]
        whole = lines[:-1] if len(lines) > 1 else lines
        return bool(whole) and "\0" not in peek.text and all(_LINE.fullmatch(line) for line in whole)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Rows]:
        """The lines in batches.

        Raises:
            UserError: the ids could be counted from 0 or from 1.
        """
        names, first, second, where = _lines(path)
        if any(second):
            for start in range(0, len(names), BATCH_ROWS):
                part = slice(start, start + BATCH_ROWS)
                va = np.stack([numbers(first[part]), numbers(second[part])], axis=1)
                yield Rows(names[part], where[part], va=va)
            return
        self._order = options.ids or self._detected(path, set(first))
        for start in range(0, len(names), BATCH_ROWS):
            part = slice(start, start + BATCH_ROWS)
            yield Rows(names[part], where[part], classes={"expression": named(first[part], self._order)})

    def _detected(self, path: Path, ids: set[str]) -> str:
        if not any(text.isdecimal() for text in ids):
            return "raf"  # names of classes, if anything
        from_zero, from_one = "0" in ids, "7" in ids
        if from_zero == from_one:
            found = "both a 0 and a 7" if from_zero else "neither a 0 nor a 7"
            raise UserError(
                f"{path} has {found} among its ids, so it cannot be told whether they are RAF-DB's own 1 to 7 or "
                "count from 0. Say --ids raf or --ids zero."
            )
        self._assumed = True
        return "zero" if from_zero else "raf"

    def notes(self) -> tuple[str, ...]:
        """Which ids were assumed."""
        if not self._assumed:
            return ()
        span, mark, order = ("0 to 6", "a 0", "zero") if self._order == "zero" else ("1 to 7", "a 7", "raf")
        return (
            f"The ids are taken for RAF-DB's in the order {span}, since there is {mark} among them (--ids {order}).",
        )

    def about(self) -> dict[str, Any]:
        """The order of the ids."""
        return {"ids": self._order} if self._order else {}


def _lines(path: Path) -> tuple[list[str], list[str], list[str], list[int]]:
    """Names, first and second values, and line numbers; a name may hold blanks."""
    size_within(path, MAX_BYTES)
    names, first, second, where = [], [], [], []
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                fields = line.rsplit(maxsplit=2)
                pair = len(fields) == 3 and _is_value(fields[1])
                name = fields[0] if pair or len(fields) < 3 else line.rsplit(maxsplit=1)[0].strip()
                names.append(name)
                first.append(fields[-2] if pair else fields[-1] if len(fields) > 1 else "no label")
                second.append(fields[-1] if pair else "")
                where.append(number)
    except OSError as error:
        raise unreadable(path, error) from error
    return names, first, second, where


def _is_value(text: str) -> bool:
    return re.fullmatch(rf"{_NUMBER}|nan|-?inf", text, re.IGNORECASE) is not None
