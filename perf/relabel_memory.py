"""Peak memory of a relabelling job for few and for many images.

    python perf/relabel_memory.py --images 2000,20000

Each size runs in a process of its own, over hard links to the same pictures, with a small teacher. The peak of the
whole process is printed, last the ratio of the largest to the smallest.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import click
from measure import Table, finish, in_own_process, json_option, peak_mb

from relabel import write_photographs, write_teacher

PICTURES = 200


def label(root: Path, model: str, out: Path) -> None:
    """Run the job and print the peak memory of this process in MB, as JSON."""
    from noisyfer.relabel.job import run_job
    from noisyfer.relabel.plan import JobOptions, open_source, plan_job
    from noisyfer.relabel.teachers import load_teacher

    job = plan_job("folder", open_source("folder", root), [load_teacher(model)], out, JobOptions(whole=True))
    run_job(job)
    print(json.dumps({"peak": peak_mb()}))


@click.command()
@click.option("--images", default="2000,20000", show_default=True, help="Numbers of images, commas between them.")
@click.option("--architecture", default="mobilenetv3_small_050", show_default=True)
@click.option("--label", "inner", nargs=3, hidden=True, help="ROOT MODEL OUT: run the job in this process.")
@json_option
def main(images: str, architecture: str, inner: tuple[str, str, str] | None, json_file: Path | None) -> None:
    """Print the peak for each number of images, and the ratio."""
    if inner:
        label(Path(inner[0]), inner[1], Path(inner[2]))
        return
    counts = [int(count) for count in images.split(",")]
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_photographs(work / "pictures", PICTURES)
        model = write_teacher(work, architecture)
        files = sorted((work / "pictures").iterdir())
        for count in counts:
            root = work / f"photographs{count}"
            root.mkdir()
            for number in range(count):
                os.link(files[number % PICTURES], root / f"{number:06d}.jpg")
            out = str(work / f"m{count}.parquet")
            peaks.append(float(in_own_process(__file__, "--label", str(root), model, out)["peak"]))
    rows = [[count, f"{peak:,.0f} MB"] for count, peak in zip(counts, peaks, strict=True)]
    title = f"Peak memory of a relabelling job with {architecture}; largest / smallest: {max(peaks) / min(peaks):.3f}."
    finish(json_file, Table(title, ["images", "peak of the process"], rows))


if __name__ == "__main__":
    main()
