"""Noise by a confusion matrix, shipped or from a CSV file."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError, unknown_name
from .base import CleanLabels, Matrix, NoiseModel, draw, listing

PREFIX = "matrix:"
_FOLDER = Path(__file__).parent
_TOLERANCE = 1e-3  # of a row's sum


class MatrixNoise(NoiseModel):
    """Noise by a row-stochastic K×K matrix T: a sample of class i gets class j with probability T_ij.

    With a rate, all off-diagonal entries are multiplied by one factor (and the diagonal fills up) such that the
    expected share of flips on the given labels is the rate; without, the matrix is taken as it is.
    """

    needs_rate = False

    def __init__(self, name: str, matrix: Matrix, classes: tuple[str, ...] | None, source: str) -> None:
        """Keep a checked matrix.

        Args:
            name: what stands after "matrix:" in the public name.
            matrix: K×K, rows sum to 1.
            classes: the K class names of its rows and columns; None takes the data's order of classes.
            source: where it comes from, for the provenance.
        """
        self.name = PREFIX + name
        stem = re.sub(r"[^a-z0-9]+", "-", Path(name).stem.casefold()).strip("-") or "matrix"
        # these annotators are the truth and its vote; a matrix of that name must not pass for them
        self.stem = f"matrix-{stem}" if stem in ("clean", "human", "majority") else stem
        self.formula = (
            f"a sample of class i gets class j with probability T_ij of {self.name}; with a rate, the off-diagonal "
            f"entries are scaled by one factor to that expected rate ({source})"
        )
        self.matrix = matrix
        self.classes = classes

    def _flip(self, clean: CleanLabels, rate: float | None, rng: np.random.Generator) -> NDArray[np.int64]:
        matrix = self.transition(clean, rate)
        return draw(matrix[clean.labels], rng.random(len(clean.labels)))

    def transition(self, clean: CleanLabels, rate: float | None) -> Matrix:
        """The K×K matrix in the data's class order, scaled to `rate`; rows of absent classes only as far as 1 allows.

        Raises:
            UserError: the classes differ, or no factor reaches the rate.
        """
        matrix = self._in_order_of(clean.classes)
        if rate is None:
            return matrix
        mistakes = matrix.copy()
        np.fill_diagonal(mistakes, 0)
        mass = mistakes.sum(axis=1)
        shares = np.bincount(clean.labels, minlength=len(mass)) / len(clean.labels)
        expected = float(shares @ mass)
        if expected == 0:
            if rate == 0:
                return matrix
            raise UserError(
                f"{self.name} never errs on these labels (its off-diagonal entries are 0), so it cannot be scaled to a "
                f"rate of {rate:g}. Give a matrix with errors, or leave the rate out."
            )
        factor = rate / expected
        worst = int(np.argmax(np.where(shares > 0, mass, -1)))
        if factor * mass[worst] > 1 + 1e-9:
            raise UserError(
                f"{self.name} cannot be scaled to a rate of {rate:g}: class '{clean.classes[worst]}' would be wrong "
                f"with probability {factor * mass[worst]:.3f}, more than 1. The highest rate on these labels is "
                f"{math.floor(1000 * expected / mass[worst]) / 1000:g}."
            )
        scaled: Matrix = mistakes * np.minimum(factor, 1 / np.maximum(mass, 1e-300))[:, None]
        np.fill_diagonal(scaled, np.maximum(1 - scaled.sum(axis=1), 0))
        return scaled

    def _in_order_of(self, classes: tuple[str, ...]) -> Matrix:
        size = len(self.matrix)
        if size != len(classes):
            named = f" ({listing(self.classes)})" if self.classes else ""
            raise UserError(
                f"{self.name} is {size}×{size}{named}, but the data has {len(classes)} classes: {listing(classes)}. "
                f"Give a {len(classes)}×{len(classes)} matrix, or data with the matrix's classes."
            )
        if self.classes is None:
            return self.matrix
        own = [name.casefold() for name in self.classes]
        foreign = [name for name in classes if name.strip().casefold() not in own]
        if foreign:
            raise UserError(
                f"The header of {self.name} names {listing(self.classes)}, but the data's classes are "
                f"{listing(classes)}: no row for {listing(foreign)}. Write the data's class names in the header."
            )
        order = [own.index(name.strip().casefold()) for name in classes]
        return self.matrix[np.ix_(order, order)]


def shipped_matrices() -> list[str]:
    """The names of the matrices that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.csv"))


def matrix_noise(value: str) -> MatrixNoise:
    """The noise of the shipped matrix `value`, or of the CSV file at the path `value`.

    The file holds K rows of K comma-separated probabilities: row i, column j is P(noisy = j | clean = i). A first row
    of K class names lets it be matched with the data by name; lines that start with # are kept as its source.

    Raises:
        UserError: there is no such matrix, or it is not one.
    """
    if value in shipped_matrices():
        return _read(_FOLDER / f"{value}.csv", value)
    path = Path(value)
    if path.suffix.casefold() == ".csv" or path.is_file():
        return _read(path, path.name)
    known = unknown_name("noise matrix", value, shipped_matrices())
    raise UserError(f"{known} Or give the path of a CSV file: {PREFIX}my-matrix.csv.")


def _read(path: Path, name: str) -> MatrixNoise:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        cells = [
            (number, [cell.strip() for cell in next(csv.reader([line]))])
            for number, line in enumerate(lines, start=1)
            if line.strip() and not line.startswith("#")
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no CSV text in UTF-8"
        remedy = f"Give a CSV file of K rows of K numbers, or a shipped matrix: {listing(shipped_matrices())}."
        raise UserError(f"Cannot read the noise matrix {path}: {reason}. {remedy}") from error
    comments = [line.lstrip("# ").rstrip() for line in lines if line.startswith("#")]
    header = _take_header(cells, path)
    matrix = _probabilities(cells, header, path)
    return MatrixNoise(name, matrix, header, " ".join(comments) or f"from the file {path.name}")


def _take_header(cells: list[tuple[int, list[str]]], path: Path) -> tuple[str, ...] | None:
    """Remove and return the row of class names, if there is one; check that what is left is square."""
    header = None
    first = cells[0][1] if cells else []
    # class names can be whole numbers ("0" to "9"): in one row too many, they are a header too
    digits = len(cells) == len(first) + 1 and all(cell.isdecimal() for cell in first)
    if first and (digits or not any(map(_is_number, first))):
        header = tuple(cells.pop(0)[1])
    size = len(cells)
    width = len(header) if header else size
    ragged = [(number, len(row)) for number, row in cells if len(row) != size]
    if size < 2 or ragged or width != size:
        found = f"{size} rows of numbers"
        if ragged:
            found += f", and {ragged[0][1]} columns on line {ragged[0][0]}"
        elif width != size:
            found += f" under a header of {width} names"
        raise UserError(
            f"The noise matrix {path} has {found}, expected as many columns as rows, two at least. Write K rows of K "
            f"probabilities with commas between them, and above them one row of K class names or none."
        )
    if header and len({name.casefold() for name in header}) < size:
        raise UserError(
            f"The header of the noise matrix {path} names a class twice: {listing(header)}. Mend the names."
        )
    return header


def _probabilities(cells: list[tuple[int, list[str]]], header: tuple[str, ...] | None, path: Path) -> Matrix:
    """The numbers as K×K, each row divided by its sum, which must be 1 up to rounding."""
    for number, row in cells:
        for column, cell in enumerate(row, start=1):
            if not _is_number(cell) or not 0 <= float(cell) < math.inf:
                raise UserError(
                    f"The noise matrix {path} has '{cell}' on line {number}, column {column}, expected a probability "
                    f"from 0 to 1. Mend that entry."
                )
    matrix: NDArray[np.float64] = np.array([[float(cell) for cell in row] for _, row in cells])
    sums = matrix.sum(axis=1)
    for index in np.flatnonzero(np.abs(sums - 1) > _TOLERANCE + 1e-9):
        named = f" ('{header[index]}')" if header else ""
        raise UserError(
            f"Row {index + 1}{named} of the noise matrix {path} sums to {sums[index]:.6g}, expected 1 (within "
            f"{_TOLERANCE:g}). Row i holds the shares of the noisy classes among samples of clean class i."
        )
    normalised: Matrix = matrix / sums[:, None]
    return normalised


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
