"""`noisyfer relabel`."""

from __future__ import annotations

from pathlib import Path

import click

from .common import sentences
from .run_options import engine_options


@click.command("relabel")
@click.option(
    "--source",
    required=True,
    metavar="NAME",
    help="A dataset in its own layout (see 'noisyfer sources'), or manifest:FILE to add to a manifest.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="[NAME=]FILE",
    help="A teacher: a .ckpt of 'noisyfer pretrain' or 'export', a run's folder, an .onnx with a .json beside it, or "
    "timm:ARCH:FILE. May be repeated; each is an annotator, called NAME or like its file (a run: its method). Without "
    "any, the dataset's own labels are written.",
)
@click.option(
    "--root", type=click.Path(path_type=Path), help="The dataset.  [default: $NOISYFER_DATA/NAME, datasets/NAME]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The manifest.  [default: data_manifests/<source>_by_<model>.parquet]",
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only this split.")
@click.option("--limit", default=0, metavar="N", help="Only the first N rows.")
@click.option("--labels", type=click.Path(path_type=Path), help="A csv of labels, for --source folder.")
@click.option("--contempt", is_flag=True, help="Keep contempt as an eighth expression.")
@click.option("--probs/--no-probs", default=True, show_default=True, help="Keep class probabilities.")
@click.option("--whole", is_flag=True, help="Take pictures whole: look for no faces, align nothing.")
@click.option(
    "--save-faces",
    is_flag=True,
    help="Keep the aligned faces in Parquet files beside the manifest; 'bench' then decodes no photograph again.",
)
@click.option("--face-size", default=128, show_default=True, help="Side of the kept faces in pixels.")
@click.option("--batch", default=32, show_default=True, help="Images per step.")
@click.option("--shard-rows", default=512, show_default=True, help="Rows between two points from which a job goes on.")
@click.option("--workers", default=2, show_default=True, help="Threads that decode.")
@click.option("--max-failed", default=0.5, show_default=True, help="Share of rows that may fail.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
@engine_options("This process, or Ray (pip install 'noisyfer[ray]'); the table is the same.")
@click.option("--actors", default=0, metavar="N", help="Labelling processes of Ray at most; 0 for as many as fit.")
@click.option(
    "--parts",
    metavar="URL",
    help="Where shards under way are kept, such as s3://bucket/folder.  [default: beside the manifest]",
)
@click.option("--again", is_flag=True, help="Start over where a job is finished or under way.")
@sentences
def command(
    source: str,
    models: tuple[str, ...],
    root: Path | None,
    out: Path | None,
    split: str | None,
    limit: int,
    labels: Path | None,
    contempt: bool,
    probs: bool,
    whole: bool,
    save_faces: bool,
    face_size: int,
    batch: int,
    shard_rows: int,
    workers: int,
    max_failed: float,
    device: str,
    engine: str,
    address: str | None,
    actors: int,
    parts: str | None,
    again: bool,
) -> None:
    """Label a dataset by pretrained models, as a manifest.

    Every image of the dataset becomes a row; one that cannot be labelled has a status that says why. After Ctrl-C or
    a kill the same command does only what is missing, and the table is the same.

    \b
    Examples:
      noisyfer relabel --source affectnet --model raf.ckpt
      noisyfer relabel --source folder --root photos --model raf.ckpt --model emotions.onnx
      noisyfer relabel --source manifest:data_manifests/affectnet_by_raf.parquet --model b.ckpt
      noisyfer relabel --source affectnet --model raf.ckpt --engine ray --address 10.0.0.1:6379
    """
    from .. import api
    from ..relabel.present import print_report
    from .stopping import stopping

    hand = "finishing the shard in hand" if engine == "local" else "giving up the shards in the workers' hands"
    with stopping(hand) as stop:
        report = api.relabel(
            source,
            models,
            root=root,
            out=out,
            split=split,
            limit=limit,
            labels=labels,
            contempt=contempt,
            probs=probs,
            whole=whole,
            save_faces=save_faces,
            face_size=face_size,
            batch=batch,
            shard_rows=shard_rows,
            workers=workers,
            max_failed=max_failed,
            device=device,
            engine=engine,
            address=address,
            actors=actors,
            parts=parts,
            again=again,
            stop=stop,
        )
    print_report(report)
