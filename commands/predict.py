"""`noisyfer predict`."""

from __future__ import annotations

from pathlib import Path

import click

from .common import sentences


@click.command("predict")
@click.option("--run", required=True, type=click.Path(path_type=Path), help="The folder of a run of 'noisyfer bench'.")
@click.option("--images", metavar="FOLDER", type=click.Path(path_type=Path), help="Label the images of this folder; or")
@click.option("--manifest", metavar="FILE", type=click.Path(path_type=Path), help="those of this manifest.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The new manifest.  [default: data_manifests/<images>_by_<name>.parquet]",
)
@click.option("--as", "name", metavar="NAME", help="The annotator's name.  [default: the run's method]")
@click.option("--data", type=click.Path(path_type=Path), help="Where the manifest's images are, if they have moved.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only this split of the manifest.")
@click.option("--batch-size", default=32, show_default=True, metavar="N", help="Images per step.")
@click.option("--workers", default=2, show_default=True, help="Threads that decode.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
@click.option("--again", is_flag=True, help="Start over where a job is finished or under way.")
@sentences
def command(
    run: Path,
    images: Path | None,
    manifest: Path | None,
    out: Path | None,
    name: str | None,
    data: Path | None,
    split: str | None,
    batch_size: int,
    workers: int,
    device: str,
    again: bool,
) -> None:
    """Label images by a trained run, as a manifest.

    Faces are found and aligned as in training where the run learned faces; else pictures are taken whole. It is
    'noisyfer relabel' with the run as its teacher: every image is a row, and after Ctrl-C or a kill the same command
    goes on.

    \b
    Examples:
      noisyfer predict --run runs/raf_by_affectnet-proposed-seed0-1a2b3c4d --images photos
      noisyfer predict --run runs/digits-vgg-all-seed0-1a2b3c4d --manifest data_manifests/digits.parquet --split test
    """
    from ..relabel.label import predict_images
    from ..relabel.present import print_report
    from .stopping import stopping

    with stopping("finishing the shard in hand") as stop:
        report = predict_images(
            run,
            images=images,
            manifest=manifest,
            out=out,
            root=data,
            name=name,
            split=split,
            batch=batch_size,
            workers=workers,
            device=device,
            again=again,
            stop=stop,
        )
    print_report(report)
