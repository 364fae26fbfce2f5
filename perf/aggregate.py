"""Label sets of five annotators on a million samples into one, by each way there is: time and memory.

    python perf/aggregate.py --rows 1000000 --annotators 5

Every way reads a manifest, aggregates, and writes a new manifest with the probabilities, in a process of its own. The
annotators err on 20, 30, 40, … % of ten classes and leave out a tenth of the samples each; those of valence and
arousal add noise; a model is right on 70 %. `--slow-rows` is for ways that need hours for all rows.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
from measure import Table, finish, in_own_process, json_option, peak_mb
from noisyfer.manifest import Dataset, Header, LabelSet, Manifest, Task, write_manifest

CLASSES = 10
MISSING = 0.1
WAYS = {
    "majority": "`majority`",
    "dawid-skene": "`dawid-skene`",
    "dawid-skene by crowd-kit": "crowd-kit's `DawidSkene` on the same labels, nothing written",
    "mace": "`mace` (crowd-kit)",
    "crowdlab": "`crowdlab` (cleanlab)",
    "glad": "`glad` (crowd-kit)",
    "mean": "`mean`",
    "median": "`median`",
    "weighted": "`weighted`",
}
SLOW = ("glad",)


def write(path: Path, rows: int, annotators: int) -> Manifest:
    """A manifest of the truth, so many annotators of classes and of valence and arousal, and a model's outputs."""
    draw = np.random.default_rng(0)
    truth = draw.integers(0, CLASSES, rows).astype(np.int16)
    feeling = draw.uniform(-1, 1, (rows, 2)).astype(np.float32)
    sets = [LabelSet.categorical("class", "clean", "human", {}), LabelSet.valence_arousal("clean", "human", {})]
    columns: dict[str, Any] = {
        "id": np.char.add("train_", np.arange(rows).astype(str)),
        "split": pa.repeat("train", rows),
        "image": np.char.add("train/", np.arange(rows).astype(str)),
        "status": pa.repeat("ok", rows),
        "detail": pa.nulls(rows, pa.string()),
        "class_clean": truth,
        "valence_clean": feeling[:, 0],
        "arousal_clean": feeling[:, 1],
    }
    for number in range(annotators):
        absent = draw.random(rows) < MISSING
        wrong = draw.random(rows) < 0.2 + 0.1 * number
        labels = np.where(wrong, (truth + draw.integers(1, CLASSES, rows)) % CLASSES, truth).astype(np.int16)
        noisy = np.clip(feeling + draw.normal(0, 0.1 + 0.1 * number, feeling.shape), -1, 1).astype(np.float32)
        columns[f"class_a{number}"] = pa.array(labels, mask=absent)
        columns[f"valence_a{number}"] = pa.array(noisy[:, 0], mask=absent)
        columns[f"arousal_a{number}"] = pa.array(noisy[:, 1], mask=absent)
        sets.append(LabelSet.categorical("class", f"a{number}", "synthetic", {}))
        sets.append(LabelSet.valence_arousal(f"a{number}", "synthetic", {}))
    probs = np.full((rows, CLASSES), 0.02, np.float32)
    best = np.where(draw.random(rows) < 0.3, draw.integers(0, CLASSES, rows), truth)
    probs[np.arange(rows), best] += 1 - probs[0].sum()
    columns["class_model"] = best.astype(np.int16)
    columns["class_model_probs"] = pa.FixedSizeListArray.from_arrays(pa.array(probs.ravel()), CLASSES)
    sets.append(LabelSet.categorical("class", "model", "model", {}, probs=True))
    tasks = {
        "class": Task("class", "categorical", tuple(f"class{number}" for number in range(CLASSES))),
        "va": Task("va", "continuous"),
    }
    header = Header(Dataset("crowd"), tasks, {found.name: found for found in sets})
    return write_manifest(path, header, [pa.table(columns)])


def crowd_kit(manifest: Manifest, names: list[str]) -> float:
    """crowd-kit's own Dawid and Skene; returns its accuracy."""
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    truth = manifest.labels("class_clean").values
    told = [manifest.labels(name) for name in names]
    present = np.stack([labels.present for labels in told])
    sets, samples = np.nonzero(present)
    frame = pd.DataFrame(
        {"task": samples, "worker": sets, "label": np.stack([labels.values for labels in told])[present]}
    )
    found = DawidSkene(n_iter=100).fit_predict(frame)
    return float((found.to_numpy() == truth[found.index.to_numpy()]).mean())


def alone(way: str, file: Path, annotators: int) -> dict[str, Any]:
    """What a way took in this process: seconds, processor seconds and MB, and how good its result is."""
    from noisyfer.benchmark.aggregate import aggregate

    task = "va" if way in ("mean", "median", "weighted") else "class"
    manifest, names = Manifest.open(file), [f"{task}_a{number}" for number in range(annotators)]
    before, wall, processor = peak_mb(), time.perf_counter(), time.process_time()
    if way == "dawid-skene by crowd-kit":
        score = f"{crowd_kit(manifest, names):.2%}"
    else:
        probs = "class_model" if way == "crowdlab" else None
        out = file.with_name(f"{way}.parquet")
        scores = aggregate(manifest, way, labels=names, probs=probs, out=out, overwrite=True).result.scores
        score = f"{scores['accuracy']:.2%}" if task == "class" else f"CCC {scores['ccc']:.3f}"
    return {
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "before": before,
        "peak": peak_mb(),
        "score": score,
    }


@click.command()
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--slow-rows", default=10_000, show_default=True, help="Samples for ways that need hours for all.")
@click.option("--annotators", default=5, show_default=True)
@click.option("--ways", default=",".join(WAYS), help="Only these ways, with commas between them.  [default: all]")
@click.option("--alone", "inner", nargs=2, hidden=True, help="WAY FILE: run one way in this process.")
@json_option
def main(
    rows: int, slow_rows: int, annotators: int, ways: str, inner: tuple[str, str] | None, json_file: Path | None
) -> None:
    """Print seconds and peak memory of each way."""
    if inner:
        print(json.dumps(alone(inner[0], Path(inner[1]), annotators)))
        return
    lines = []
    with tempfile.TemporaryDirectory() as name:
        files = {}
        for count in {rows, min(slow_rows, rows)}:
            files[count] = Path(name) / f"{count}.parquet"
            write(files[count], count, annotators)
        for way in ways.split(","):
            count = min(slow_rows, rows) if way in SLOW else rows
            found = in_own_process(__file__, "--annotators", str(annotators), "--alone", way, str(files[count]))
            lines.append(
                [
                    WAYS[way],
                    count,
                    f"{found['seconds']:,.1f}",
                    f"{found['processor']:,.1f}",
                    f"{found['before']:,.0f} MB",
                    f"{found['peak']:,.0f} MB",
                    found["score"],
                ]
            )
    title = (
        f"{annotators} annotators, each without a label on {MISSING:.0%} of the samples; {CLASSES} classes, or valence "
        "and arousal. Each way once, in a process of its own: read, aggregate, score, write."
    )
    columns = ["way", "samples", "seconds", "processor seconds", "memory before", "peak memory", "against the truth"]
    finish(json_file, Table(title, columns, lines))


if __name__ == "__main__":
    main()
