"""What sources share: csv files that stream, references that are safe, ids that are unique, landmarks, hashes."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...core.files import sha256_file
from ...images.references import canonical, split_reference

IMAGE_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".pnm",
        ".avif",
    )
)

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Names of splits, as folders and in csv files, and the split that they mean."""

REFUSED = "refused"
"""Status of a row whose image lies outside the root, and the folder of the name that stands in for its path."""

BAD_ROW = "bad_row"

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_MAX_FIELD = 2**20
_LONGEST_STAND_IN = 160


def csv_rows(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a csv file one by one: UTF-8 with or without a byte order mark, any line ends, quoted commas.

    Args:
        path: the file; its first line names the columns, in any order and any case, others among them.
        required: columns that must be there.
        optional: columns that may be.

    Yields:
        The number of the row's (last) line, counted from 1, and its texts without outer blanks by column; a column
        that the file lacks, or a row that ends before it, is left out. Empty lines are passed over.

    Raises:
        UserError: it cannot be read, is UTF-16, lacks a column, or has a field of more than a million characters.
    """
    with _opened(path) as reader:
        places = _places(path, next(reader, []), required, optional)
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                count = len(fields)
                yield reader.line_num, {name: fields[at].strip() for name, at in places if at < count}


def csv_columns(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> frozenset[str]:
    """Which of these columns a csv file has.

    Raises:
        UserError: as in `csv_rows`.
    """
    with _opened(path) as reader:
        return frozenset(name for name, _ in _places(path, next(reader, []), required, optional))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    line = 0
    try:
        with path.open("rb") as raw:
            if raw.read(2) in _UTF16:
                raise UserError(f"{path} is a text in UTF-16; csv in UTF-8 was expected. Save it as 'CSV UTF-8'.")
        csv.field_size_limit(_MAX_FIELD)
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            reader = csv.reader(stream)
            try:
                yield reader
            finally:
                line = reader.line_num
    except OSError as error:
        raise unreadable(path, error) from error
    except csv.Error as error:
        raise UserError(
            f"Line {line:,} of {path} cannot be read as csv ({error}). A quotation mark may be missing there."
        ) from error


def _places(path: Path, head: list[str], required: Sequence[str], optional: Sequence[str]) -> list[tuple[str, int]]:
    names = [name.strip().casefold() for name in head]
    missing = [name for name in required if name.casefold() not in names]
    if missing:
        found = ", ".join(f"'{name}'" for name in head[:16])[:400] if any(names) else "none"
        raise UserError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {listed(missing)}. It has the columns {found}; "
            f"expected {listed(required)}{f', perhaps {listed(optional)}' if optional else ''}, separated by commas."
        )
    wanted = [*required, *(name for name in optional if name.casefold() in names)]
    twice = [name for name in wanted if names.count(name.casefold()) > 1]
    if twice:
        raise UserError(f"{path} has the column {listed(twice)} more than once; one of each was expected.")
    return [(name, names.index(name.casefold())) for name in wanted]


def listed(names: Iterable[str]) -> str:
    """Names in quotes, with commas."""
    return ", ".join(f"'{name}'" for name in names)


def unreadable(path: Path, error: OSError) -> UserError:
    """The sentence for an annotation file that cannot be read."""
    return UserError(f"Cannot read {path}: {error.strerror or error}. Restore the file, or change its permissions.")


def number(text: str) -> float | None:
    """A finite number, or None where the text is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def safe_reference(file: str) -> tuple[str, str | None]:
    """An image's path as an annotation has it, in its one spelling and safe for a manifest.

    Returns:
        The reference, and None; or, for a path that is absolute, empty or could lead out of the root, a stand-in below
        `refused/` that names no file of the dataset, and what is wrong, as a sentence's end.
    """
    spelling = _respelt(file)
    # once more, as a respelt name may end like a row of a packed file: `..#1/` becomes `..#1`
    if spelling is not None and (spelling == file or _respelt(spelling) == spelling):
        return spelling, None
    parts = [part.lstrip(".") for part in re.split(r"[/\\\0]", file)]
    stand_in = "/".join([REFUSED, *filter(None, parts)])[:_LONGEST_STAND_IN].rstrip("/")
    return stand_in, f"its path {file[:_LONGEST_STAND_IN]!r} is empty, absolute or leads out of the dataset"


def _respelt(reference: str) -> str | None:
    file, _ = split_reference(reference)
    spelling = canonical(file)
    return None if spelling is None else spelling + reference[len(file) :]


class UniqueIds:
    """Makes ids unique in the order they come: the second `a` becomes `a~2`, the third `a~3`.

    Only 60 bits of each id's hash are held, 70 bytes an id. Two different ids of one hash are taken for the same: the
    later one gets a number that it would not have needed.
    """

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def __call__(self, wanted: str) -> str:
        """The id, or the first free numbered one."""
        name, count = wanted, 1
        while (key := _hash(name)) in self._taken:
            count += 1
            name = f"{wanted}~{count}"
        self._taken.add(key)
        return name


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 4


def eyes_of_68(numbers: Sequence[str] | Sequence[float]) -> tuple[float, float, float, float] | None:
    """The eye centres of 68 landmarks in the order of iBUG's 300-W: the means of points 36–41 and 42–47.

    Args:
        numbers: x and y in turn, 136 numbers or their texts; those of other points are not looked at. Points 36–41
            are the person's right eye, left in the picture.

    Returns:
        Left x, left y, right x, right y; None where there are not 136, or those of the eyes are not finite.
    """
    if len(numbers) != 136:
        return None
    try:
        eyes = [float(value) for value in numbers[72:96]]
    except ValueError:
        return None
    left_x, left_y, right_x, right_y = (sum(eyes[start : start + 12 : 2]) / 6 for start in (0, 1, 12, 13))
    return (left_x, left_y, right_x, right_y) if math.isfinite(left_x + left_y + right_x + right_y) else None


def hash_files(root: Path, files: Iterable[str], more: Mapping[str, str] | None = None) -> str:
    """SHA-256 over files' names and contents, in hexadecimal.

    Args:
        root: the folder that the files are relative to.
        files: in the order in which they count.
        more: other things that count, by name.

    Raises:
        UserError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(f"{file}\0{sha256_file(root / file)}\n".encode())
        except OSError as error:
            raise unreadable(root / file, error) from error
    for name, value in (more or {}).items():
        digest.update(f"{name}\0{value}\n".encode())
    return digest.hexdigest()
