"""Face detection: pictures one by one with the library as it comes, against batches with ours.

    python perf/detection.py --folder photographs --repeats 5

Takes pictures from a folder, resized to a square of so many pixels, and times in turn: facenet-pytorch's MTCNN with its
defaults on one picture at a time, the same on batches, and noisyfer's detector on one at a time and on batches. Medians
and quartiles over the repeats are printed, the shares, in how many pictures each found a face, and with
`--large` the peak memory of the detector on so many photographs of 4000×3000.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import click
import numpy as np
import torch
from facenet_pytorch import MTCNN
from measure import Table, compare, finish, json_option, peak_mb, rates, times_faster
from noisyfer.images.decode import decode_rgb, picture_size
from noisyfer.relabel.faces import Detector, detection_shrink
from PIL import Image


def pictures(folder: Path, count: int, size: int) -> list[Image.Image]:
    """The first pictures of a folder as squares, again from the start where there are too few."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        raise click.UsageError(f"There is no .jpg or .png file in {folder}.")
    decoded = [decode_rgb(file, file.name).resize((size, size)) for file in files[:count]]
    return list(islice(cycle(decoded), count))


def parts(images: Sequence[Image.Image], length: int) -> Iterator[Sequence[Image.Image]]:
    """The pictures, so many at a time."""
    for start in range(0, len(images), length):
        yield images[start : start + length]


def large(folder: Path, count: int, batch: int) -> Table:
    """How the peak memory grows with photographs of 4000×3000, decoded as the job does."""
    rows = []
    canvas = Image.fromarray(np.random.default_rng(0).integers(60, 90, (3000, 4000, 3), dtype=np.uint8))
    canvas.paste(pictures(folder, 1, 1500)[0], (1200, 700))
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "large.jpg"
        canvas.save(file, quality=90)
        del canvas
        detector, before, faces = Detector(), peak_mb(), 0
        for done in range(batch, count + 1, batch):
            width, height = picture_size(file, file.name)
            images = [decode_rgb(file, file.name, detection_shrink(width, height)) for _ in range(batch)]
            faces += sum(face is not None for face in detector.detect(images, [width] * batch))
            rows.append([done, f"{peak_mb():,.0f} MB", faces])
    title = f"Photographs of 4000×3000, {batch} at a time; the process had {before:,.0f} MB before."
    return Table(title, ["photographs", "peak so far", "with a face"], rows)


@click.command()
@click.option("--folder", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--images", default=64, show_default=True)
@click.option("--size", default=250, show_default=True, help="Width and height in pixels.")
@click.option("--batch", default=32, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--threads", default=0, help="Compute threads; 0 for PyTorch's own choice.")
@click.option("--large", "large_count", default=0, help="Also search so many photographs of 4000×3000.")
@json_option
def main(
    folder: Path,
    images: int,
    size: int,
    batch: int,
    repeats: int,
    threads: int,
    large_count: int,
    json_file: Path | None,
) -> None:
    """Print images per second of each way, and the shares."""
    if threads:
        torch.set_num_threads(threads)
    # first, while nothing else has taken memory
    memory = [large(folder, large_count, batch=8)] if large_count else []
    chosen = pictures(folder, images, size)
    library, ours = MTCNN(keep_all=True), Detector()

    def found_by_library(part: Sequence[Image.Image]) -> int:
        boxes, _, _ = library.detect(list(part), landmarks=True)
        return sum(box is not None for box in boxes)

    def found_by_ours(part: Sequence[Image.Image]) -> int:
        return sum(face is not None for face in ours.detect(part, [size] * len(part)))

    ways: dict[str, tuple[Callable[[Sequence[Image.Image]], int], int]] = {
        "library, one by one": (found_by_library, 1),
        f"library, batches of {batch}": (found_by_library, batch),
        "noisyfer, one by one": (found_by_ours, 1),
        f"noisyfer, batches of {batch}": (found_by_ours, batch),
    }
    counts: dict[str, int] = {}

    def search(way: str) -> None:
        find, length = ways[way]
        counts[way] = sum(find(part) for part in parts(chosen, length))

    for find, _ in ways.values():
        find(chosen[:2])  # the first pass allocates and chooses kernels
    seconds = compare({way: partial(search, way) for way in ways}, repeats, warmups=0)
    slowest = seconds["library, one by one"]
    rows = [
        [way, rates(images, found).text(), times_faster(found, slowest).text(2), counts[way]]
        for way, found in seconds.items()
    ]
    title = f"{images} pictures of {size}×{size}, {torch.get_num_threads()} compute threads; {repeats} repeats."
    columns = ["way", "images/s (quartiles)", "times the library's one by one", "with a face"]
    finish(json_file, Table(title, columns, rows), *memory)


if __name__ == "__main__":
    main()
