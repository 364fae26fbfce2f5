"""Which other files an ONNX file refers to, found without loading it and without ONNX's own library.

ONNX keeps a network as a protocol buffer (https://protobuf.dev/programming-guides/encoding). Large tensors may lie in
other files, named by a tensor's `external_data`. These names are all that is looked for here; the field numbers are
those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..core.errors import UserError
from ..images.references import canonical

# message → field → message, for every way from a model to a tensor
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
MAX_DEPTH = 100
_SHOWN = 200


def external_files(file: Path) -> list[Path]:
    """The files beside a network's that hold some of its tensors.

    Args:
        file: the `.onnx` file.

    Raises:
        UserError: it cannot be read, is no protocol buffer, or names a file outside its own folder.
    """
    try:
        content = memoryview(file.read_bytes())
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror or error}.") from error
    try:
        names = list(dict.fromkeys(_locations(content, "model", 0)))
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no ONNX file, or it is damaged or truncated. Export or copy it again.") from error
    return [_beside(file, name) for name in names]


def _beside(file: Path, name: str) -> Path:
    spelling = canonical(name)
    folder = file.parent.resolve()
    try:
        if spelling is None or not (folder / spelling).resolve().is_relative_to(folder):
            raise UserError(
                f"{file} was refused: it wants to read tensors from {name[:_SHOWN]!r}, which leads outside its own "
                "folder. Export it as a single file, or put its data beside it."
            )
        path = folder / spelling
        there = path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long for the file system; links in a circle
        reason = getattr(error, "strerror", None) or "links in a circle"
        raise UserError(
            f"{file} wants to read tensors from {name[:_SHOWN]!r}, which cannot be opened ({reason}). Export "
            "it as a single file, or put its data beside it."
        ) from error
    if not there:
        raise UserError(f"{file} keeps tensors in {path.name!r}, which is not beside it. Copy that file there too.")
    return path


def _locations(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    """The values of all `external_data` entries called `location`."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if kind == "entry":
        texts = {number: bytes(value).decode() for number, value in _fields(message) if number in (_KEY, _VALUE)}
        if texts.get(_KEY) == "location":
            yield texts.get(_VALUE, "")
        return
    for number, value in _fields(message):
        inner = _INSIDE[kind].get(number)
        if inner is not None:
            yield from _locations(value, inner, depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each field that holds bytes; the other ones are stepped over."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, place = _varint(message, place)
            continue
        if wire == _BYTES:
            length, place = _varint(message, place)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError("unknown wire type")
        if number == 0 or place + length > len(message):
            raise ValueError("a field ends after its message")
        if wire == _BYTES:
            yield number, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise ValueError("a number without an end")
