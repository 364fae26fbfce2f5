"""`noisyfer pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.names import comma_list
from ..core.terminal import say
from .common import Settings, seed_option, sentences

if TYPE_CHECKING:
    from ..manifest import Manifest


@click.command("pretrain")
@click.option("--source", metavar="NAME", help="A dataset in its own layout with human labels; see 'noisyfer sources'.")
@click.option("--manifest", type=click.Path(path_type=Path), help="A manifest with human labels, instead of --source.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The teacher's file, such as raf.ckpt.")
@click.option(
    "--root", type=click.Path(path_type=Path), help="The dataset.  [default: $NOISYFER_DATA/NAME, datasets/NAME]"
)
@click.option("--labels", type=click.Path(path_type=Path), help="A csv of labels, for --source folder.")
@click.option("--contempt", is_flag=True, help="Keep contempt as an eighth expression.")
@click.option("--arch", default="vgg", show_default=True, help="vgg (the paper's), or any model of timm.")
@click.option("--task", "tasks", metavar="TASK,…", help="expression, va or both.  [default: all with human labels]")
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="Weights to start from: VGG-Face's .pth (with --width 1), timm's weights for --arch, or a .ckpt.",
)
@click.option(
    "--preset", help="smoke (seconds), small (two cores, minutes) or paper.  [default: paper on a GPU, else small]"
)
@click.option("--epochs", metavar="N", help="Passes over the training images.")
@click.option("--batch", metavar="N", help="Images per step.")
@click.option("--size", metavar="S", help="Side of the faces in pixels; vgg takes 32, 64 or 128.")
@click.option("--width", metavar="W", help="Multiplier of vgg's channel counts.")
@click.option("--balance", is_flag=True, help="Draw every class equally often.")
@seed_option("Seed of weights, order, augmentation and dropout.")
@click.option("--set", "changes", cls=Settings, help="Any other option; see the documentation on teachers.")
@click.option("--workers", default=2, show_default=True, help="Threads that decode while faces are looked for.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
@click.option("--again", is_flag=True, help="Start over, and replace --out.")
@sentences
def command(
    source: str | None,
    manifest: Path | None,
    out: Path,
    root: Path | None,
    labels: Path | None,
    contempt: bool,
    arch: str,
    tasks: str | None,
    init: Path | None,
    preset: str | None,
    epochs: str | None,
    batch: str | None,
    size: str | None,
    width: str | None,
    balance: bool,
    seed: int,
    changes: tuple[str, ...],
    workers: int,
    device: str,
    again: bool,
) -> None:
    """Train a teacher on a dataset's human labels.

    First the dataset's labels and faces are written to data_manifests/NAME.parquet, where they are not there already.
    The figure that counts is the last epoch's on validation images: the split val, else a tenth of train. After Ctrl-C
    or a kill the same command goes on from the last epoch.

    \b
    Examples:
      noisyfer pretrain --source raf --out raf.ckpt
      noisyfer pretrain --source affectnet --out affectnet.ckpt --task expression,va --init vgg_face.pth --width 1
      noisyfer pretrain --source raf --out raf.ckpt --arch efficientnet_b0 --init efficientnet_b0.safetensors
    """
    from ..core.config import parse_settings
    from ..core.errors import UserError
    from ..relabel.pretrain import pretrain
    from ..relabel.pretrain_plan import check_request, plan_pretraining
    from ..relabel.pretrain_present import PretrainDisplay, print_plan, print_result
    from ..training.device import choose_device, default_preset

    if (source is None) == (manifest is None):
        raise UserError("Say what to learn from: either --source NAME or --manifest FILE.")
    chosen = choose_device(device)
    preset = preset or default_preset(chosen)
    short = {"epochs": epochs, "batch_size": batch, "image_size": size, "width": width}
    settings = parse_settings(changes) | {name: value for name, value in short.items() if value is not None}
    settings |= {"sampling": "balanced"} if balance else {}
    check_request(out, architecture=arch, preset=preset, changes=settings, init=init)
    opened = _open(source, manifest, root, labels, contempt, workers, chosen)
    plan = plan_pretraining(
        opened,
        out,
        architecture=arch,
        tasks=comma_list(tasks),
        preset=preset,
        changes=settings,
        init=init,
        seed=seed,
        device=chosen,
        root=root if manifest is not None else None,
    )
    print_plan(plan)
    with PretrainDisplay() as display:
        result = pretrain(plan, display, again=again)
    print_result(plan, result)


def _open(
    source: str | None,
    manifest: Path | None,
    root: Path | None,
    labels: Path | None,
    contempt: bool,
    workers: int,
    device: str,
) -> Manifest:
    """The manifest to learn from; a source's own is made where it is not there."""
    from ..core.errors import Stopped, UserError
    from ..manifest import Manifest
    from ..relabel.job import run_job
    from ..relabel.plan import JobOptions, open_source, plan_job
    from ..relabel.present import JobDisplay
    from ..relabel.sources import SourceOptions
    from .stopping import stopping

    if source is None:
        if labels is not None or contempt:
            raise UserError("A manifest has its label sets already: --contempt and --labels are for datasets.")
        return Manifest.open(manifest or Path())
    opened = open_source(source, root, SourceOptions(contempt=contempt, labels=labels))
    job = plan_job(source, opened, (), None, JobOptions(workers=workers, device=device))
    try:
        with stopping("finishing the shard in hand") as stop, JobDisplay(f"labels and faces of {source}") as display:
            found = run_job(job, display, stop=stop).manifest
    except Stopped:
        raise
    except UserError as error:
        if "--" not in str(error):
            raise
        raise UserError(
            f"{error} These are options of 'noisyfer relabel --source {source}', which writes the same manifest; "
            f"one that is there already is taken as it is by 'noisyfer pretrain --manifest {job.out}'."
        ) from error
    say(f"Labels and faces: {found.path}, {found.rows:,} samples.")
    return found
