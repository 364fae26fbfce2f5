"""Hostile cases in a child process that may use so much memory and time and no more, many cases a child.

A case that hangs is ended by an alarm, one that crashes the interpreter ends the child: the parent sees which case it
was and goes on with a new child behind it. An audit hook notes whatever starts a program, connects, or writes outside
the child's own folder.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Case = list[Any]
Judge = Callable[[Case], str]
"""Puts one case to the product and says how it ended; it raises where the product did not end as it should."""

STARTING = frozenset(("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"))
REACHING = frozenset(("subprocess.Popen", "socket.connect", "socket.bind", "urllib.Request", "ftplib.connect"))
CHANGING = frozenset(
    ("os.remove", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.chmod", "os.chown")
)


@dataclass(frozen=True)
class Ending:
    """How a case ended.

    Attributes:
        case: as it was given.
        what: what the judge said, or `raised …`, `killed by …`, `forbidden …`.
        seconds: of computing that it took.
        mebibytes: resident memory at its highest, above what the child had before the first case.
    """

    case: Case
    what: str
    seconds: float = 0.0
    mebibytes: float = 0.0

    @property
    def broken(self) -> bool:
        """Whether it is none of the endings that are promised."""
        return self.what.startswith(("raised", "killed", "forbidden"))


def confined(judge: str, cases: Sequence[Case], folder: Path, *, seconds: int, mebibytes: int) -> list[Ending]:
    """Put cases to a judge in children with bounds.

    Args:
        judge: `module:function`; the function is given the child's folder and returns a `Judge`.
        cases: JSON values.
        folder: a new folder, which the cases may write to.
        seconds: of computing for a case, and ten times as many on the clock.
        mebibytes: of address space, above what the child has before the first case.
    """
    folder.mkdir(parents=True)
    endings: list[Ending] = []
    while len(endings) < len(cases):
        with tempfile.TemporaryDirectory() as beside:
            given, told = Path(beside, "cases.json"), Path(beside, "endings")
            given.write_text(json.dumps(cases[len(endings) :]))
            command = [
                sys.executable,
                __file__,
                judge,
                str(folder),
                str(given),
                str(told),
                str(seconds),
                str(mebibytes),
            ]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
            lines = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
        endings += [Ending(cases[len(endings) + place], *line) for place, line in enumerate(lines)]
        if done.returncode == 0:
            assert len(endings) == len(cases), done.stderr
        elif done.returncode > 0:
            raise AssertionError(f"the child itself failed: {done.stderr[-2000:]}")
        else:
            name = signal.Signals(-done.returncode).name
            endings.append(
                Ending(cases[len(endings)], f"killed by {name} {done.stderr[-300:]}".strip(), float(seconds))
            )
    return endings


def told(error: Exception) -> str:
    """What an error tells its user; one line."""
    text = str(error)
    assert text
    assert "\n" not in text, text
    assert text.encode()  # what is no text cannot be printed
    return text


def summary(endings: Sequence[Ending], title: str) -> str:
    """How the cases ended, in a line."""
    kinds = Counter(re.split(r"[:\s]", ending.what)[0] for ending in endings)
    often = ", ".join(f"{what} {number:,}" for what, number in kinds.most_common(8))
    slowest, largest = max(endings, key=lambda each: each.seconds), max(endings, key=lambda each: each.mebibytes)
    return (
        f"{title}: {len(endings):,} cases; {often}; slowest {slowest.seconds:.2f} s {slowest.case[:3]}; "
        f"most memory {largest.mebibytes:,.0f} MiB {largest.case[:3]}"
    )


def check(endings: Sequence[Ending], title: str, count: int) -> None:
    """Print how the cases ended, and fail where one did not end as promised."""
    print(summary(endings, title))
    assert len(endings) == count
    broken = [ending for ending in endings if ending.broken]
    shown = "\n".join(f"{str(ending.case)[:200]}: {ending.what[-1500:]}" for ending in broken[:10])
    assert not broken, f"{len(broken)} of {count} cases ended in another way than promised:\n{shown}"


def _main(judge: str, folder: str, given: str, told: str, seconds: str, mebibytes: str) -> None:
    module, _, function = judge.partition(":")
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "tests")]
    decide: Judge = getattr(importlib.import_module(module), function)(Path(folder))
    forbidden: list[str] = []
    _watch(Path(folder).resolve(), forbidden)
    before = _status("VmHWM")
    limit = (_status("VmSize") + int(mebibytes) * 1024) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with Path(told).open("w") as out:
        for case in json.loads(Path(given).read_text()):
            Path("/proc/self/clear_refs").write_text("5")  # the highest resident size begins anew
            forbidden.clear()
            start = time.process_time()
            _alarms(float(seconds))
            what = _judged(decide, case)
            _alarms(0)
            passed = time.process_time() - start
            peak = max(0, _status("VmHWM") - before) / 1024
            out.write(json.dumps([f"forbidden {forbidden[:3]}" if forbidden else what, passed, peak]) + "\n")
            out.flush()


def _alarms(seconds: float) -> None:
    """End this process after so many seconds of computing, or ten times as many on the clock: other programs' load is
    not held against a case, but one that waits for ever is."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)


def _judged(decide: Judge, case: Case) -> str:
    try:
        return decide(case)
    except BaseException:  # whatever it is, it is a finding
        return f"raised {traceback.format_exc(limit=-6)}"


def _watch(folder: Path, forbidden: list[str]) -> None:
    """Note what no file may bring about; a hook that stays until the process ends."""
    own = str(folder)

    def allowed(place: Any) -> bool:
        text = os.path.realpath(os.fsdecode(place)) if isinstance(place, (str, bytes, os.PathLike)) else own
        return text in (own, os.devnull) or text.startswith(own + os.sep)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTING or event in REACHING or (event in CHANGING and not allowed(arguments[0])):
            forbidden.append(f"{event} {str(arguments)[:100]}")
        elif event == "open" and _writes(arguments) and not allowed(arguments[0]):
            forbidden.append(f"open for writing {str(arguments)[:100]}")

    sys.addaudithook(hook)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) != 0


def _status(key: str) -> int:
    """A size of this process in KiB, from the kernel."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise KeyError(key)


if __name__ == "__main__":
    _main(*sys.argv[1:])
