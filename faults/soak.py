"""Hours of work with kills at random moments: memory flat, descriptors flat, nothing lost.

    python faults/soak.py --minutes 60 --images 200000

First many small pictures, some of them broken, are relabelled; then a bench of many short epochs runs. Both are killed
by `kill -9` again and again and started anew, for half of the minutes each, and then run to their end. One line a
minute says how far it is; at the end of each a JSON object has its figures.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from harness import contents, leftovers, run, start, told

DISTINCT = 200


@dataclass
class Watched:
    """Figures of a command's lives."""

    name: str
    kills: int = 0
    lives: list[list[tuple[float, float, int]]] = field(default_factory=list)

    def look(self, pid: int, age: float) -> None:
        """Note age in seconds, resident MB and open descriptors."""
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            resident = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
            handles = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except (OSError, StopIteration):
            return  # it has just ended
        self.lives[-1].append((age, resident, handles))

    def figures(self) -> dict[str, Any]:
        """Peak and growth of memory and descriptors; growth in the second half of its longest life, all loaded."""
        longest = max(self.lives, key=len)
        warm = longest[len(longest) // 2 :]
        ages, resident, handles = (np.array(column, dtype=float) for column in zip(*warm, strict=True))
        slope = float(np.polyfit(ages / 60, resident, 1)[0]) if len(warm) > 2 and np.ptp(ages) > 0 else 0.0
        return {
            "kills": self.kills,
            "lives": len(self.lives),
            "longest_life_minutes": round(longest[-1][0] / 60, 2),
            "resident_mb": {
                "halfway": round(resident[0], 1),
                "end": round(resident[-1], 1),
                "peak": round(max(sample[1] for life in self.lives for sample in life), 1),
                "growth_a_minute": round(slope, 3),
            },
            "descriptors": {"halfway": int(handles[0]), "end": int(handles[-1]), "most": int(handles.max())},
        }


def endure(
    watched: Watched, where: Path, words: list[str], until: float, mean: float, drawn: Any, done: Callable[[], str]
) -> float:
    """Run a command to its end, killed after random times until a given moment; returns the minutes it took."""
    began = said = time.monotonic()
    while True:
        watched.lives.append([])
        process, born = start(where, *words), time.monotonic()
        dies = born + float(drawn.exponential(mean))
        while process.poll() is None:
            now = time.monotonic()
            watched.look(process.pid, now - born)
            if now - said >= 60:
                said = now
                _, resident, handles = (watched.lives[-1] or [(0.0, 0.0, 0)])[-1]
                print(
                    f"{(now - began) / 60:5.1f} min  {watched.name}: {done()}, {watched.kills} kills, "
                    f"{resident:,.0f} MB, {handles} descriptors",
                    flush=True,
                )
            if dies < now < until:
                process.send_signal(signal.SIGKILL)
                process.wait()
                watched.kills += 1
                break
            time.sleep(0.5)
        else:
            if process.returncode:
                raise click.ClickException(f"{watched.name} ended with {process.returncode}: {told(where, 'err.txt')}")
            return (time.monotonic() - began) / 60


def write_pictures(root: Path, images: int, broken: float, drawn: Any) -> int:
    """Hard links to a few small pictures, and some to broken ones; returns how many are broken."""
    from PIL import Image

    root.mkdir()
    for number in range(DISTINCT):
        Image.fromarray(drawn.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(root.parent / f"{number}.png")
    (root.parent / "broken.png").write_bytes((root.parent / "0.png").read_bytes()[:200])
    spoilt = drawn.random(images) < broken
    for number in range(images):
        name = "broken" if spoilt[number] else str(number % DISTINCT)
        # a file takes 65,000 links at most
        source = root.parent / f"{name}.png"
        target = root / f"{number:06d}.png"
        if name == "broken":
            target.write_bytes(source.read_bytes())
        else:
            os.link(source, target)
    return int(spoilt.sum())


def relabelling(work: Path, images: int, broken: float, minutes: float, mean: float, drawn: Any) -> dict[str, Any]:
    """Relabel many small pictures, with kills, and count what came of it."""
    from noisyfer.manifest import Manifest

    spoilt = write_pictures(work / "pictures", images, broken, drawn)
    words = ["relabel", "--source", "folder", "--root", "pictures", "--whole", "--model", "raf.ckpt"]
    watched, parts = Watched("relabel"), work / "m.parquet.parts"

    def done() -> str:
        return f"{512 * len(list(parts.glob('part-*.json'))):,} of {images:,} rows"

    until = time.monotonic() + 60 * minutes
    took = endure(watched, work, [*words, "--out", "m.parquet"], until, mean, drawn, done)
    manifest = Manifest.open(work / "m.parquet")
    manifest.validate()
    table = manifest.read(["id", "status"])
    good = table["status"].to_pylist().count("ok")
    if (len(set(table["id"].to_pylist())), good) != (images, images - spoilt) or leftovers(work):
        raise click.ClickException(f"{len(table)} rows, {good} labelled of {images}, left over: {leftovers(work)}")
    return {"images": images, "broken": spoilt, "labelled": good, "minutes": round(took, 2), **watched.figures()}


def benching(work: Path, epochs: int, minutes: float, mean: float, drawn: Any) -> dict[str, Any]:
    """A run of many short epochs, with kills, which must end as one without."""
    words = ["bench", "--manifest", "data_manifests/digits.parquet", "--preset", "smoke", "--method", "vgg-all"]
    words += ["--epochs", str(epochs), "--out"]
    watched = Watched("bench")

    def done() -> str:
        rows = [len(file.read_text().splitlines()) for file in work.glob("cut/*/metrics.jsonl")]
        return f"{sum(rows)} of {epochs} epochs"

    took = endure(watched, work, [*words, "cut"], time.monotonic() + 60 * minutes, mean, drawn, done)
    whole = run(work, *words, "whole", seconds=86_400)
    if whole.code or contents(work / "cut") != contents(work / "whole") or leftovers(work):
        raise click.ClickException(f"The run with kills differs from the one without: {whole.told}")
    return {"epochs": epochs, "equal": True, "minutes": round(took, 2), **watched.figures()}


@click.command()
@click.option("--minutes", default=60.0, show_default=True, help="With kills; then all runs to its end.")
@click.option("--images", default=200_000, show_default=True, help="Pictures to relabel.")
@click.option("--broken", default=0.01, show_default=True, help="Share of them that is broken.")
@click.option("--epochs", default=200, show_default=True, help="Of the bench.")
@click.option("--mean", default=90.0, show_default=True, help="Mean of the seconds between two kills.")
@click.option("--seed", default=0, show_default=True, help="Of the moments and pictures.")
@click.option("--work", type=click.Path(path_type=Path), help="An empty folder.  [default: a temporary one]")
def main(minutes: float, images: int, broken: float, epochs: int, mean: float, seed: int, work: Path | None) -> None:
    """Relabel and bench with kills, and print what it took."""
    drawn = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        where = (work or Path(name)) / "work"
        where.mkdir(parents=True)
        for line in (
            "make-cifar --data digits",
            "make-faces --out datasets --n 20",
            "pretrain --source raf --out raf.ckpt --preset smoke",
        ):
            ended = run(where, *line.split())
            if ended.code:
                raise click.ClickException(ended.told)
        print(json.dumps({"relabel": relabelling(where, images, broken, minutes / 2, mean, drawn)}), flush=True)
        print(json.dumps({"bench": benching(where, epochs, minutes / 2, mean, drawn)}))


if __name__ == "__main__":
    main()
