"""What every script here shares: ways timed in turn, medians and quartiles, peak memory, tables as text and as JSON.

Scripts are run as `python perf/x.py`, so they write `from measure import compare, …`. A script ends with
`finish(json_file, Table(…))`, which prints its tables and, with `--json FILE`, writes them for `perf/report.py`.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import numpy as np

PACKAGES = ("torch", "numpy", "pyarrow", "pandas", "pillow", "timm", "facenet-pytorch")
Cell = str | int | float


@dataclass(frozen=True)
class Spread:
    """The median of some measurements, and their quartiles; all in the unit of the measurements."""

    low: float
    median: float
    high: float

    def text(self, digits: int = 1) -> str:
        """Like `46.0 (44.5 to 48.5)`, with so many digits after the point."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


@dataclass(frozen=True)
class Table:
    """A table of results: what was measured in words, the columns' heads, and a row of cells a way."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def text(self) -> str:
        """The table with its columns lined up, under its title."""
        lines = [list(self.columns), *(list(map(cell_text, row)) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.columns))]
        body = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
        return "\n".join([self.title, *(line.rstrip() for line in body)])

    def markdown(self) -> str:
        """The table as Markdown, under its title."""
        lines = [list(self.columns), ["---"] * len(self.columns), *(list(map(cell_text, row)) for row in self.rows)]
        return "\n".join([self.title, "", *("| " + " | ".join(line) + " |" for line in lines)])


def cell_text(cell: Cell) -> str:
    """A cell as text: words as they are, whole numbers with commas, other numbers with four digits."""
    if isinstance(cell, float):
        return f"{cell:,.4g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def compare(ways: Mapping[str, Callable[[], object]], repeats: int, warmups: int = 1) -> dict[str, list[float]]:
    """Seconds each way took, `repeats` numbers a way; the ways run in turn, so that all meet the same disturbances.

    Before that every way runs `warmups` times untimed: the first pass allocates and chooses kernels.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warmups + repeats):
        for name, call in ways.items():
            began = time.perf_counter()
            call()
            took = time.perf_counter() - began
            if turn >= warmups:
                seconds[name].append(took)
    return seconds


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of one or more measurements."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return Spread(float(low), float(median), float(high))


def rates(count: float, seconds: Sequence[float]) -> Spread:
    """Median and quartiles of how many were done a second, `count` of them in each of the `seconds`."""
    return spread([count / took for took in seconds])


def times_faster(ours: Sequence[float], other: Sequence[float]) -> Spread:
    """How many times less time ours took: other / ours, turn by turn, as `compare` gives them."""
    return spread([b / a for a, b in zip(ours, other, strict=True)])


def peak_mb() -> float:
    """The peak memory of this process so far, in MB of 2^20 bytes.

    `VmHWM` where there is one: `ru_maxrss` of a new process starts at its parent's size on Linux.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def in_own_process(script: str, *arguments: str, first: Callable[[], None] | None = None) -> dict[str, Any]:
    """Run a script with arguments in a process of its own; the JSON object in its last line of output.

    `first` is called in the new process before the script.

    Raises: `click.ClickException` with the end of its error output where it fails.
    """
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, preexec_fn=first)
    if done.returncode:
        command = shlex.join([Path(script).name, *arguments])
        raise click.ClickException(f"{command} failed in its own process: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def processor() -> str:
    """The processor's name, as the system gives it."""
    file = Path("/proc/cpuinfo")
    names = [line for line in file.read_text().splitlines() if "model name" in line] if file.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()


def machine() -> dict[str, str]:
    """The hardware, PyTorch's compute threads, the versions of Python and of the libraries, and today's date (UTC)."""
    import torch

    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "compute threads": str(torch.get_num_threads()),
        "GPU": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "system": platform.system(),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            about[package] = version(package)
        except PackageNotFoundError:
            about[package] = "not installed"
    return about


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--json FILE`, which it receives as `json_file: Path | None` and hands to `finish`."""
    option = click.option(
        "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the tables here."
    )
    return option(command)


def command_line() -> str:
    """How this script was called, as a reader would call it again: without `--json`."""
    kept: list[str] = []
    skip = False
    for word in sys.argv[1:]:
        if not skip and word != "--json" and not word.startswith("--json="):
            kept.append(word)
        skip = word == "--json"
    return shlex.join(["python", f"perf/{Path(sys.argv[0]).name}", *kept])


def finish(json_file: Path | None, *tables: Table) -> None:
    """Print the tables, and write them as JSON, with the command and the machine, where a file is asked for."""
    for table in tables:
        print("\n" + table.text())
    if json_file is not None:
        found = {"command": command_line(), "machine": machine(), "tables": [asdict(table) for table in tables]}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
