"""Commands as processes of their own, and what they leave on disk, looked at from outside."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import safetensors.torch
import torch
from PIL import Image

SECONDS = 900
"""After which a command has hung."""

VOLATILE = ("seconds", "images_per_second", "peak_memory_mib")
"""Keys of JSON files that say how long something took, and differ from run to run."""

MEASURED = re.compile(r" \| [0-9]+\.[0-9] \| [0-9]+ \|$", re.MULTILINE)
"""Minutes and MiB at the end of a line of `table.md`."""

GROWING = re.compile(r"events\.out\.tfevents|\.lock$|decisions\.csv$")
"""Files that are appended to, and so may end anywhere: their own tests look at them."""


@dataclass(frozen=True)
class Ended:
    """How a command came to its end."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """Everything that was printed, for a failing assertion."""
        return f"exit status {self.code}\n{self.out}\n{self.err}"

    def is_a_sentence(self) -> bool:
        """Whether it failed as it should: `Error: …`, and no traceback."""
        return self.code == 1 and "Error: " in self.err and "Traceback" not in self.err


def words(*arguments: str | Path) -> list[str]:
    """The command line of a command."""
    return [sys.executable, "-m", "noisyfer.cli", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """This process's, with one compute thread and no dataset of the user's."""
    found = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    found.pop("NOISYFER_DATA", None)
    return found


def start(where: Path, *arguments: str | Path, first: Callable[[], None] | None = None, **more: Any) -> Any:
    """Start a command in a folder; what it prints goes to `out.txt` and `err.txt` beside the folder.

    `first` is called in the new process before the command.
    """
    with (where.parent / "out.txt").open("wb") as out, (where.parent / "err.txt").open("wb") as err:
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, "env": environment()}
        return subprocess.Popen(words(*arguments), cwd=where, preexec_fn=first, **{**given, **more})


def run(where: Path, *arguments: str | Path, seconds: float = SECONDS, **more: Any) -> Ended:
    """Run a command in a folder to its end, for so many seconds at most; `more` is for `start`."""
    process = start(where, *arguments, **more)
    try:
        code = process.wait(seconds)
    finally:
        process.kill()
        process.wait()
    return Ended(code, told(where, "out.txt"), told(where, "err.txt"))


def told(where: Path, name: str) -> str:
    """What the last command in a folder printed."""
    return (where.parent / name).read_text(encoding="utf-8", errors="replace")


def files(folder: Path) -> list[Path]:
    """All files below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def hidden(path: Path, folder: Path) -> bool:
    """Whether a file is under a temporary name, or in a folder that is."""
    return any(part.startswith(".tmp-") for part in path.relative_to(folder).parts)


def leftovers(folder: Path) -> list[str]:
    """Temporary names below a folder, and the folders of jobs under way."""
    found = [path for path in folder.rglob("*") if path.name.startswith(".tmp-") or path.name.endswith(".parts")]
    return sorted(str(path.relative_to(folder)) for path in found)


def partial(folder: Path) -> list[str]:
    """Files under a final name that are not whole, each with the reason."""
    found = []
    for path in files(folder):
        if hidden(path, folder):
            continue
        try:
            content(path)
        except FileNotFoundError:
            continue  # tidied up by a child of the killed process
        except Exception as error:  # whatever a reader raises on a part of a file
            found.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}")
    return found


def contents(folder: Path) -> dict[str, str]:
    """By path the digest of what each file says, without what differs between any two runs."""
    return {str(path.relative_to(folder)): content(path) for path in files(folder) if not GROWING.search(path.name)}


def processes_in(folder: Path, patience: float = 60) -> list[str]:
    """Processes that still work in a folder after a while, in which Ray's, of low priority, may notice the end."""
    deadline = time.monotonic() + patience
    while found := [entry.name for entry in Path("/proc").glob("[0-9]*") if _works_in(entry, folder)]:
        if time.monotonic() > deadline:
            return found
        time.sleep(0.1)
    return []


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:  # it has just ended, or is another user's
        return False


def content(path: Path) -> str:
    """A digest of what a file says; raises where it is not whole."""
    data = path.read_bytes()
    if GROWING.search(path.name):
        return ""
    if path.suffix in (".json", ".jsonl"):
        texts = data.decode().splitlines() if path.suffix == ".jsonl" else [data.decode()]
        data = json.dumps([_lasting(json.loads(text)) for text in texts], sort_keys=True).encode()
    elif path.suffix == ".pt":
        data = b"".join(_tensor_bytes(torch.load(io.BytesIO(data), weights_only=True)))
    elif path.suffix == ".ckpt":
        safetensors.torch.load(data)
    elif path.suffix == ".md":
        data = MEASURED.sub("", data.decode()).encode()
    elif path.suffix == ".parquet":
        pq.read_table(path, page_checksum_verification=True)
    elif path.suffix in (".png", ".jpg"):
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
    elif path.suffix == ".html" and not data.rstrip().endswith(b"</html>"):
        raise ValueError("no end of the page")
    elif not data:
        raise ValueError("empty")
    return hashlib.sha256(data).hexdigest()


def _lasting(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lasting(each) for key, each in value.items() if key not in VOLATILE}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


def _tensor_bytes(value: Any) -> Iterator[bytes]:
    if isinstance(value, torch.Tensor):
        yield str((value.dtype, tuple(value.shape))).encode()
        yield value.detach().cpu().numpy().tobytes()
    elif isinstance(value, Mapping):
        for key in value:
            yield str(key).encode()
            yield from _tensor_bytes(value[key])
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensor_bytes(each)
    else:
        yield str(value).encode()
