"""Relabelling end to end against the bare network, and against a plain loop over single pictures.

    python perf/relabel.py --images 192 --repeats 3

Writes photographs of 224 px and an EfficientNet-B0 with random weights to a temporary folder, then times in turn: the
network alone on tensors that are ready; the whole job (decode, label, write, resume points); the plain loop, a
DataLoader that opens one picture at a time with PIL and the network as timm builds it, one picture at a time. Medians
and quartiles over the repeats are printed, and the shares.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from measure import Table, compare, finish, json_option, rates, times_faster
from noisyfer.relabel.job import run_job
from noisyfer.relabel.plan import JobOptions, open_source, plan_job
from noisyfer.relabel.teachers import load_teacher
from PIL import Image

SIZE = 224
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CLASSES = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"]


def write_photographs(folder: Path, count: int) -> None:
    """Smooth random pictures as JPEG files, of about the size of compressed photographs."""
    folder.mkdir(parents=True)
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (28, 28, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(folder / f"{number:06d}.jpg")


def write_teacher(folder: Path, architecture: str) -> str:
    """A network with random weights and its sidecar; returns what `--model` takes."""
    import timm

    torch.manual_seed(0)
    torch.save(timm.create_model(architecture, num_classes=len(CLASSES)).state_dict(), folder / "network.pth")
    sidecar = {"classes": CLASSES, "size": SIZE, "mean": MEAN, "std": STD}
    (folder / "network.json").write_text(json.dumps({**sidecar, "align": False}))
    return f"timm:{architecture}:{folder / 'network.pth'}"


class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """What a plain script does: open, convert, resize, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.jpg"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        picture = Image.open(self.files[index]).convert("RGB").resize((SIZE, SIZE))
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous() / 255
        return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


@click.command()
@click.option("--images", default=192, show_default=True)
@click.option("--batch", default=32, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--architecture", default="efficientnet_b0", show_default=True)
@json_option
def main(images: int, batch: int, repeats: int, architecture: str, json_file: Path | None) -> None:
    """Print images per second of each way, and the shares."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_photographs(work / "photographs", images)
        model = write_teacher(work, architecture)
        teacher = load_teacher(model)
        ready = torch.randint(0, 256, (batch, SIZE, SIZE, 3), dtype=torch.uint8).permute(0, 3, 1, 2)

        def bare() -> None:
            for _ in range(images // batch):
                teacher.predict(ready)

        runs = itertools.count()

        def job() -> None:
            source = open_source("folder", work / "photographs")
            options = JobOptions(batch=batch, whole=True)
            run_job(plan_job("folder", source, [teacher], work / f"m{next(runs)}.parquet", options))

        import timm

        network = timm.create_model(architecture, num_classes=len(CLASSES)).eval()
        network.load_state_dict(torch.load(work / "network.pth", weights_only=True))

        @torch.inference_mode()
        def plain() -> None:
            for picture in torch.utils.data.DataLoader(Pictures(work / "photographs"), batch_size=1):
                network(picture).softmax(dim=1)

        bare()  # the first pass allocates and chooses kernels
        seconds = compare({"bare network": bare, "noisyfer relabel": job, "plain loop": plain}, repeats, warmups=0)
    ours = seconds["noisyfer relabel"]
    rows = [[way, rates(images, found).text(), times_faster(ours, found).text(2)] for way, found in seconds.items()]
    title = f"{images} photographs of {SIZE} px, {architecture}, batches of {batch}; {repeats} repeats."
    finish(json_file, Table(title, ["way", "images/s (quartiles)", "noisyfer's rate / this rate"], rows))


if __name__ == "__main__":
    main()
