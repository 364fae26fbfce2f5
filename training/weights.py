"""Tensors from files that others made: safetensors or torch's own format, and nothing in them is ever executed."""

from __future__ import annotations

import hashlib
import json
import pickle
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..core.errors import UserError, first_line
from ..core.files import sha256_file

HEADER_KEY = "noisyfer"
"""The metadata key of a safetensors file of ours."""

MAX_HEADER = 100 * 2**20
"""Bytes that safetensors allows for a header."""

SEAL = "sha256"
"""The key of the digest that a file of ours carries of everything else in it: torch checks no sums of its own."""

_HEADER_SEAL = "content_sha256"
"""The same in the header of a safetensors file."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params")
_PREFIXES = ("module.", "_orig_mod.")


def is_safetensors(file: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON object, and its brace.

    Raises:
        UserError: it cannot be read.
    """
    with _opening(file), file.open("rb") as stream:
        start = stream.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= MAX_HEADER


def weights_digest(file: Path | None) -> str:
    """A run's word for the file of its initial weights: SHA-256 of its bytes, empty for none.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    if file is None:
        return ""
    with _opening(file):
        return sha256_file(file)


def read_header(file: Path) -> dict[str, Any] | None:
    """The JSON object that noisyfer wrote into a safetensors file, or None where it is another one.

    Raises:
        UserError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not is_safetensors(file):
        return None
    try:
        with safe_open(file, "pt") as opened:
            text = (opened.metadata() or {}).get(HEADER_KEY)
        header = None if text is None else json.loads(text)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise _damaged(file, error) from error
    if not isinstance(header, dict):
        return None
    header.pop(_HEADER_SEAL, None)
    return header


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    A dictionary inside a training checkpoint (`state_dict`, `model` …) is found, and the prefixes that parallel or
    compiled training puts before every name are taken off.

    Raises:
        UserError: it is missing, damaged, holds no tensors, or wants to run code when it is opened.
    """
    if is_safetensors(file):
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, "pt") as opened:
                stored, tensors = opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not iterable)
        except SafetensorError as error:
            raise _damaged(file, error) from error
        if HEADER_KEY in stored:
            _check_header_seal(stored[HEADER_KEY], tensors, file)
        return tensors
    tensors = _tensors_in(load_plain(file))
    if not tensors:
        raise UserError(
            f"{file} holds no named tensors; a state dict was expected, as torch.save(network.state_dict(), FILE) "
            "writes it."
        )
    return tensors


def write_weights(file: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON object as one safetensors file.

    Args:
        file: is overwritten; wrap it in `whole_file`.
        tensors: by name.
        header: JSON values.
    """
    from safetensors.torch import save

    stored = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    seal = sealed({**stored, HEADER_KEY: _json(header)})[SEAL]
    # one key, since the order of several is not always the same in the file; written by Python, so that a full disk is
    # an OSError like everywhere else
    file.write_bytes(save(stored, {HEADER_KEY: _json({**header, _HEADER_SEAL: seal})}))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _check_header_seal(text: str, tensors: Mapping[str, Tensor], file: Path) -> None:
    try:
        header = json.loads(text)
        seal = header.pop(_HEADER_SEAL, None)
        content = {**tensors, HEADER_KEY: _json(header)}
    except (ValueError, RecursionError, AttributeError) as error:
        raise _damaged(file, error) from error
    if seal is not None:
        check_seal({**content, SEAL: seal}, file)


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors and plain values by name, and under `SEAL` the SHA-256 of what they are."""
    digest = hashlib.sha256()
    for piece in _bytes_of({name: content[name] for name in sorted(content) if name != SEAL}):
        digest.update(piece)
    return {**content, SEAL: digest.hexdigest()}


def check_seal(content: Mapping[str, Any], file: Path) -> None:
    """Compare what was read from a file with its digest; files of an older noisyfer have none.

    Raises:
        UserError: the file has been damaged since it was written.
    """
    if SEAL in content and sealed(content)[SEAL] != content[SEAL]:
        raise UserError(f"{file} is damaged: its content is not what was written. Copy it again, or make it anew.")


def _bytes_of(value: Any) -> Iterator[bytes]:
    """Bytes that differ wherever nested tensors and plain values do."""
    if isinstance(value, Tensor):
        yield f"tensor {value.dtype} {tuple(value.shape)}:".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}:".encode()
        for key, inner in value.items():
            yield from _bytes_of(key)
            yield from _bytes_of(inner)
    elif isinstance(value, (list, tuple)):
        yield f"list {len(value)}:".encode()
        for inner in value:
            yield from _bytes_of(inner)
    else:
        yield f"{type(value).__name__} {value!r};".encode()


def load_stored(stream: BinaryIO, device: torch.device | str = "cpu") -> Any:
    """`torch.load` of tensors and plain values alone, from what today's `torch.save` writes.

    A tar archive, as torch wrote them before 2017, is refused: torch unpacks one into the system's temporary folder.

    Raises:
        pickle.UnpicklingError: it is such an archive, is damaged, or holds more.
        Exception: nearly any, on a damaged file.
    """
    begin = stream.tell()
    try:
        with tarfile.open(fileobj=stream, mode="r:"):
            raise pickle.UnpicklingError("it is a tar archive, as PyTorch wrote them before 2017")
    except tarfile.ReadError:
        stream.seek(begin)
    return torch.load(stream, map_location=device, weights_only=True)


def load_plain(file: Path) -> Any:
    """What torch stored in a file, tensors on the CPU; nothing but tensors and plain values is opened.

    Raises:
        UserError: it is missing, damaged, or wants to run code when it is opened.
    """
    try:
        with _opening(file), file.open("rb") as stream:
            return load_stored(stream)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Weights only" in str(error):
            raise UserError(
                f"{file} was not opened: it holds more than plain tensors and would run code of its own. Save the "
                "state dict alone (torch.save(network.state_dict(), FILE)) where you trust it, or export ONNX."
            ) from error
        raise _damaged(file, error) from error
    except UserError:
        raise
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        raise _damaged(file, error) from error


def _tensors_in(loaded: Any) -> dict[str, Tensor]:
    """The state dict in what was loaded; empty where there is none."""
    if not isinstance(loaded, Mapping):
        return {}
    tensors = {name: value for name, value in loaded.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        inner = [loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)]
        return _tensors_in(inner[0]) if inner else {}
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


@contextmanager
def _opening(file: Path) -> Iterator[None]:
    """Turn the errors of opening a file into sentences."""
    if not file.exists():
        raise UserError(f"There is no file {file}.")
    if not file.is_file():
        raise UserError(f"{file} is a folder or a device; the file of a network was expected.")
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror or error}.") from error


def _damaged(file: Path, error: BaseException) -> UserError:
    return UserError(
        f"{file} is no file of network weights, or it is damaged or truncated ({first_line(error)}). Copy or download "
        "it again."
    )
