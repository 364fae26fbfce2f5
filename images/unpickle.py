"""Reads the pickles of CIFAR-10's Python version, and of labels for it, without running anything that is in them.

A pickle is a program. The standard unpickler runs it and imports what it names; here `pickletools` only takes it apart
into instructions, and the few that such files consist of are carried out on plain lists, texts and inert stand-ins
for numpy's names. Nothing is imported, called or allocated because a file says so.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


class BadPickle(Exception):
    """The pickle is damaged or holds what CIFAR's files do not; the message ends a sentence, without a full stop."""


@dataclass(frozen=True)
class _Name:
    """An importable name that the file mentions; it is compared, never imported."""

    text: str


@dataclass
class _Dtype:
    """Stands in for a numpy dtype: `u1`, `i8`, … or `O`; `order` is its byte order where that matters."""

    kind: str = "u1"
    order: str = "<"


@dataclass
class _Array:
    """Stands in for a numpy array until all is known of it; one of objects has the list of them."""

    values: npt.NDArray[Any] | list[Any] | None = None


_ENCODE = "_codecs.encode"
_DTYPE = "numpy.dtype"
_NDARRAY = "numpy.ndarray"
_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_FROMBUFFER = ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")
_ALLOWED = frozenset((_ENCODE, _DTYPE, _NDARRAY, *_RECONSTRUCT, *_FROMBUFFER))

_MARK = object()


def read_pickle(data: bytes) -> dict[str, Any]:
    """The dictionary in a pickle of protocol 2 to 5, written by Python 2 or 3 and any numpy.

    Returns:
        Its entries, keys as text. Values are None, booleans, integers, bytes (Python 2's texts), texts, lists, tuples,
        dictionaries, and numpy arrays (uint8, two axes, C order), read-only.

    Raises:
        BadPickle: it is no pickle, is truncated, or asks for anything else; nothing of it was run.
    """
    return _dictionary(_top(data, _Machine()))


def read_integer_arrays(data: bytes, *, skip: int = 0) -> dict[str, Any]:
    """The dictionary in a pickle of integer arrays, as numpy's and PyTorch's files of labels hold it.

    Args:
        data: the pickle, or several one after the other.
        skip: how many pickles come before it.

    Returns:
        As of `read_pickle`, with arrays of any integers, of one or two axes. A dictionary that stands alone in an
        array of objects, as `numpy.save` stores one, is taken out of it.

    Raises:
        BadPickle: it is no pickle, is truncated, or asks for anything else; nothing of it was run.
    """
    stream = io.BytesIO(data)
    for _ in range(skip):
        _top(stream, _Machine(kinds=_INTEGERS))
    top = _top(stream, _Machine(kinds=_INTEGERS))
    if isinstance(top, _Array) and isinstance(top.values, list) and len(top.values) == 1:
        top = top.values[0]
    return _dictionary(top)


def _top(data: bytes | io.BytesIO, machine: _Machine) -> Any:
    try:
        return machine.run(data)
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, AttributeError, AssertionError) as error:
        raise BadPickle(f"it is no pickle, or a truncated or damaged one ({error})".replace("\n", " ")) from error


def _dictionary(top: Any) -> dict[str, Any]:
    if not isinstance(top, dict):
        raise BadPickle(f"it holds a {type(top).__name__.strip('_').lower()}, not a dictionary")
    result = {}
    for key, value in top.items():
        result[key.decode("latin-1") if isinstance(key, bytes) else key] = _finished(value)
    return result


_BYTES_ONLY = ("u1",)
_INTEGERS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "O")
_SPELLINGS = {"uint8": "u1", "O8": "O", "O4": "O"}


class _Machine:
    """Carries out the instructions of one pickle on a stack of inert values.

    Args:
        kinds: the dtypes that arrays may have; with more than bytes, arrays of one axis are let through too.
    """

    def __init__(self, kinds: tuple[str, ...] = _BYTES_ONLY) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.kinds = kinds
        self.axes = (2,) if kinds == _BYTES_ONLY else (1, 2)

    def run(self, data: bytes | io.BytesIO) -> Any:
        """Carry out all instructions; returns what the pickle holds."""
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                break
            action = _ACTIONS.get(opcode.name)
            if action is None:
                asks = f" to call {_shown(str(argument).replace(' ', '.'))}" if opcode.name == "INST" else ""
                raise BadPickle(f"it uses the instruction {opcode.name}{asks}, which those files have no need of")
            action(self, argument)
        return self.stack.pop()

    def last(self, count: int) -> tuple[Any, ...]:
        """Take the topmost `count` values off the stack."""
        values = tuple(self.stack[-count:])
        if len(values) < count or any(value is _MARK for value in values):
            raise ValueError("an instruction lacks its operands")
        del self.stack[-count:]
        return values

    def to_mark(self) -> list[Any]:
        """Take all values above the topmost mark off the stack, and the mark."""
        position = len(self.stack) - 1
        while self.stack[position] is not _MARK:  # an IndexError where there is no mark
            position -= 1
        values = self.stack[position + 1 :]
        del self.stack[position:]
        return values

    def put(self, index: int) -> None:
        """Remember the topmost value."""
        self.memo[index] = self.stack[-1]

    def extend(self, values: tuple[Any, ...] | list[Any]) -> None:
        """Append to the list on the stack."""
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError("values are appended to something that is no list")
        target.extend(values)

    def set_items(self, values: tuple[Any, ...] | list[Any]) -> None:
        """Set entries of the dictionary on the stack; `values` are keys and values in turn."""
        target = self.stack[-1]
        keys = values[::2]
        if not isinstance(target, dict) or len(values) % 2 or not all(isinstance(key, (str, bytes)) for key in keys):
            raise ValueError("entries that are no texts are set, or not in a dictionary")
        target.update(zip(keys, values[1::2], strict=True))

    def name(self, module: Any, attribute: Any) -> None:
        """Push a stand-in for an importable name, if it is one that CIFAR's files hold."""
        text = f"{_text(module)}.{_text(attribute)}"
        if text not in _ALLOWED:
            raise BadPickle(f"it asks for {_shown(text)}; expected only lists, texts and one array of numpy's")
        self.stack.append(_Name(text))

    def call(self, function: Any, arguments: Any) -> None:
        """Do by hand what calling one of the allowed names would do."""
        name = function.text if isinstance(function, _Name) else ""
        if name == _ENCODE:  # how protocol 2 spells bytes
            text, encoding = arguments
            if encoding not in ("latin1", "latin-1"):
                raise BadPickle("it encodes a text in another way than latin1")
            self.stack.append(text.encode("latin-1"))
        elif name == _DTYPE:
            given = _text(arguments[0])
            kind = given.lstrip("|<")
            kind = _SPELLINGS.get(kind, kind)
            if kind not in self.kinds:
                expected = "uint8 (u1)" if self.kinds == _BYTES_ONLY else "integers"
                raise BadPickle(f"it holds an array of type {_shown(given)}; expected {expected}")
            self.stack.append(_Dtype(kind))
        elif name in _RECONSTRUCT:
            if arguments[0] != _Name(_NDARRAY):
                raise BadPickle("it builds an array that is no numpy.ndarray")
            self.stack.append(_Array())
        elif name in _FROMBUFFER:
            raw, dtype, shape, order, *_ = arguments
            self.stack.append(_Array(self.values(raw, dtype, shape, order != "C")))
        else:
            raise BadPickle(f"it calls {name or 'something that is no name'}; expected only what builds an array")

    def build(self, target: Any, state: Any) -> None:
        """Fill in the state of the array on the stack; of a dtype's state only the order of bytes matters."""
        if isinstance(target, _Array) and target.values is None:
            _, shape, dtype, fortran, raw = state
            target.values = self.values(raw, dtype, shape, fortran)
        elif isinstance(target, _Dtype):
            target.order = _text(state[1])
        else:
            raise BadPickle("it sets the state of something that is no numpy array")
        self.stack.append(target)

    def values(self, raw: Any, dtype: Any, shape: Any, fortran: Any) -> npt.NDArray[Any] | list[Any]:
        """The values of an array, read-only, from the bytes that the file has; a list for one object."""
        if isinstance(dtype, _Dtype) and dtype.kind == "O" and shape == () and isinstance(raw, list):
            return raw
        if not isinstance(dtype, _Dtype) or dtype.kind == "O" or not isinstance(raw, (bytes, bytearray)):
            raise BadPickle("it holds an array whose values are no bytes; expected " + " or ".join(self.kinds))
        axes = [axis for axis in shape if type(axis) is int and axis >= 0] if isinstance(shape, tuple) else []
        if len(axes) not in self.axes or len(shape) != len(axes) or fortran:
            raise BadPickle("it holds an array that has not two axes in C order")
        kind = np.dtype(f"{'>' if dtype.order == '>' else '<'}{dtype.kind}")
        if math.prod(axes) * kind.itemsize != len(raw):
            claim, found = "×".join(f"{axis:,}" for axis in axes), len(raw) // kind.itemsize
            raise BadPickle(f"it holds an array that claims {claim} values but has {found:,}")
        return np.frombuffer(bytes(raw), dtype=kind).reshape(axes)


_LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_OLD_TEXTS = ("BINSTRING", "SHORT_BINSTRING")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")

# Functions of the machine and the instruction's argument. They belong to no machine: one that held functions bound to
# itself would live, with tens of megabytes on its stack, until the garbage collector came by.
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys((*_LITERALS, *_BYTES), lambda machine, value: machine.stack.append(value)),
    **dict.fromkeys(
        ("BINSTRING", "SHORT_BINSTRING"), lambda machine, text: machine.stack.append(text.encode("latin-1"))
    ),
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, _: None),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), lambda machine, index: machine.put(index)),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, index: machine.stack.append(machine.memo[index])),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.to_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.stack.append(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.stack.append(machine.last(3)),
    "APPEND": lambda machine, _: machine.extend(machine.last(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.to_mark()),
    "GLOBAL": lambda machine, name: machine.name(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(*machine.last(2)),
    "REDUCE": lambda machine, _: machine.call(*machine.last(2)),
    "BUILD": lambda machine, _: machine.build(*machine.last(2)),
}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):  # never str(value): lists of lists of the same list print exponentially
        raise ValueError("something that is no text stands where a name should")
    return value


def _shown(text: str) -> str:
    return text[:80] if text.isprintable() else ascii(text[:80])


def _finished(value: Any) -> Any:
    if not isinstance(value, _Array):
        return value
    if value.values is None or isinstance(value.values, list):
        raise BadPickle("it holds an array without values")
    return value.values
