"""make-cifar on 60,000 images, against a script that flips label by label and writes a pandas frame.

    python perf/make_cifar.py --repeats 5

Writes random pixels as CIFAR-10's Python version to a temporary folder, then times in turn: noisyfer's `make_cifar`;
a plain loop over the labels (flips with 20, 30 and 40 %, their majority) whose frame pandas writes; and the same loop
with the SHA-256 over labels and pixels that a manifest records. The peak memory of each is that of a process of its
own.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import click
from measure import Table, compare, finish, in_own_process, json_option, peak_mb, spread

RATES = {"flip20": 0.2, "flip30": 0.3, "flip40": 0.4}
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def write_cifar(root: Path, images: int) -> Path:
    """Random pixels and labels in CIFAR-10's Python version, pickled as Python 2 did, a sixth in each of its files."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    from cifar_files import tiny_cifar, write_python

    count = images // len(BATCHES)
    return write_python(root, tiny_cifar(per_batch=count, test=count))


def plain(folder: Path, out: Path, hashed: bool) -> None:
    """What a script does: read, flip each label with some chance, take the majority, and let pandas write it."""
    import pandas as pd

    draw, digest, rows = random.Random(0), hashlib.sha256(), []
    for name in BATCHES:
        batch = pickle.loads((folder / name).read_bytes(), encoding="bytes")  # noqa: S301 (written just above)
        if hashed:
            digest.update(bytes(batch[b"labels"]) + batch[b"data"].tobytes())
        for row, label in enumerate(batch[b"labels"]):
            split = "test" if name == "test_batch" else "train"
            sample = {"id": f"{split}_{len(rows):05d}", "split": split, "image": f"{folder.name}/{name}#{row}"}
            sample["class_clean"] = label
            if split == "train":
                for annotator, rate in RATES.items():
                    flipped = draw.choice([other for other in range(10) if other != label])
                    sample[f"class_{annotator}"] = flipped if draw.random() < rate else label
                votes = Counter(sample[f"class_{annotator}"] for annotator in RATES)
                sample["class_majority"] = votes.most_common(1)[0][0]
            rows.append(sample)
    frame = pd.DataFrame(rows)
    frame.attrs["fingerprint"] = digest.hexdigest()
    frame.to_parquet(out)


def ways(folder: Path, work: Path) -> Mapping[str, Callable[[], object]]:
    """Each way by its name; all read from `folder` and write a file into `work`."""

    def noisyfer() -> object:
        from noisyfer.benchmark.cifar import make_cifar

        return make_cifar(data=folder, out=work / "ours.parquet")

    return {
        "noisyfer make-cifar": noisyfer,
        "plain loop and pandas": lambda: plain(folder, work / "plain.parquet", hashed=False),
        "the same with the SHA-256": lambda: plain(folder, work / "hashed.parquet", hashed=True),
    }


@click.command()
@click.option("--images", default=60_000, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--alone", nargs=3, hidden=True, help="WAY FOLDER WORK: run one way in this process.")
@json_option
def main(images: int, repeats: int, alone: tuple[str, str, str] | None, json_file: Path | None) -> None:
    """Print seconds and peak memory of each way."""
    if alone:
        ways(Path(alone[1]), Path(alone[2]))[alone[0]]()
        print(json.dumps({"peak": peak_mb()}))
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = write_cifar(work, images)
        seconds = compare(ways(folder, work), repeats)
        peaks = {way: in_own_process(__file__, "--alone", way, str(folder), name)["peak"] for way in seconds}
    rows = [[way, spread(found).text(2), f"{peaks[way]:,.0f} MB"] for way, found in seconds.items()]
    title = f"{images:,} images, label sets with 20, 30 and 40 % of flips and their majority; {repeats} repeats."
    finish(json_file, Table(title, ["way", "seconds (quartiles)", "peak of the process"], rows))


if __name__ == "__main__":
    main()
