"""The file of decisions: a csv that only grows, a line on disk before the next picture is shown."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from ...core.errors import UserError
from ...core.files import write_failure
from ...core.formulas import guard, unguard

COLUMNS = ("id", "set", "before", "decision", "class", "time")
DECISIONS = ("accept", "change", "skip", "undo")
_HEADER = (",".join(COLUMNS) + "\n").encode()


@dataclass(frozen=True)
class Decision:
    """One line.

    Attributes:
        id: the sample's.
        set: the label set's name.
        before: the name of the class that the set gave.
        decision: `accept`, `change`, `skip` (no opinion), or `undo`: the sample's last decision does not count.
        given: the name of the class that is right; empty for `skip` and `undo`.
        time: UTC, as `2026-03-01T12:00:00+00:00`.
    """

    id: str
    set: str
    before: str
    decision: str
    given: str
    time: str


def made_now(id: str, set: str, before: str, decision: str, given: str) -> Decision:
    """A decision with the present time, in whole seconds."""
    return Decision(id, set, before, decision, given, datetime.now(UTC).isoformat(timespec="seconds"))


def read_decisions(path: Path) -> tuple[list[Decision], bool]:
    """All decisions of a file in their order, and whether it ends in a line that its writer did not finish.

    Raises:
        UserError: there is none, or a whole line is no decision.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(
            f"There is no file of decisions {path}. 'noisyfer review --decisions {path}' makes it."
        ) from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Give a file of decisions.") from error
    decisions, whole = _parsed(path, data)
    return decisions, whole < len(data)


def standing(decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions that have not been undone, in their order; a sample may have several, of which the last counts."""
    found: list[Decision] = []
    for each in decisions:
        if each.decision != "undo":
            found.append(each)
            continue
        for place in range(len(found) - 1, -1, -1):
            if (found[place].set, found[place].id) == (each.set, each.id):
                del found[place]
                break
    return found


class DecisionFile:
    """A file of decisions, open to be appended to, by this process alone.

    Args:
        path: made where it is not there; what an earlier writer did not finish is cut off.

    Attributes:
        decisions: of the file so far.
        torn: whether something was cut off.

    Raises:
        UserError: another process writes to it, it is something else, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise write_failure(path, error) from error
        try:
            self.decisions, self.torn = self._start()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> DecisionFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def append(self, decision: Decision) -> None:
        """Write a line; when this returns, it is on disk.

        Raises:
            UserError: it cannot be written; then the file is as it was.
        """
        self._write(_line(decision))
        self.decisions.append(decision)

    def _start(self) -> tuple[list[Decision], bool]:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another review is writing to {self.path}. End it first, or give another file by --decisions."
            ) from None
        except OSError as error:
            raise write_failure(self.path, error) from error
        data = self.path.read_bytes()
        decisions, whole = _parsed(self.path, data)
        if whole < len(data):
            os.ftruncate(self._file, whole)
        if not whole:
            self._write(_HEADER)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the new name, too
            finally:
                os.close(folder)
        return decisions, whole < len(data)

    def _write(self, line: bytes) -> None:
        before = os.fstat(self._file).st_size
        try:
            left = line
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, before)
            raise write_failure(self.path, error) from error


def fits_a_line(text: str) -> bool:
    """Whether a text can be a cell: a line of the file is one decision, so that a torn one can be told."""
    return not any(each in text for each in "\r\n\0")


def _line(decision: Decision) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(map(guard, astuple(decision)))
    return stream.getvalue().encode()


def _parsed(path: Path, data: bytes) -> tuple[list[Decision], int]:
    """The decisions of whole lines, and how many bytes those take; 0 where not even the heading is whole."""
    if not data.startswith(_HEADER):
        if _HEADER.startswith(data):
            return [], 0
        raise UserError(
            f"{path} is no file of decisions: it does not begin with '{','.join(COLUMNS)}'. It is left as it is."
        )
    whole = data.rfind(b"\n") + 1
    found = []
    for number, line in enumerate(data[len(_HEADER) : whole].split(b"\n")[:-1], 2):
        found.append(_decision(path, number, line))
    return found, whole


def _decision(path: Path, number: int, line: bytes) -> Decision:
    try:
        rows: Sequence[list[str]] = list(csv.reader([line.decode()], strict=True))
    except (UnicodeDecodeError, csv.Error):
        rows = []
    if len(rows) != 1 or len(rows[0]) != len(COLUMNS) or rows[0][3] not in DECISIONS:
        raise UserError(
            f"Line {number} of {path} is no decision; {', '.join(COLUMNS)} were expected, with one of "
            f"{', '.join(DECISIONS)}. Correct it, or remove it."
        )
    return Decision(*map(unguard, rows[0]))
