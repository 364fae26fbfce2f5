"""`noisyfer bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import comma_list, sentences

if TYPE_CHECKING:
    from ..benchmark.run import Plan


@click.command("bench")
@click.option(
    "--method",
    "methods",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A name of 'noisyfer methods', a comma list, or 'all'. May be repeated.",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="The manifest to learn from.  [default: data_manifests/cifar10.parquet, made when it is not there]",
)
@click.option(
    "--protocol",
    metavar="NAME",
    help="raf-base or affectnet-base: the paper's label sets, λ, start epoch and image size for a relabelled manifest.",
)
@click.option(
    "--labels", metavar="SET,…", help="Label sets to learn from.  [default: all noisy ones, or the protocol's]"
)
@click.option(
    "--preset", help="smoke (seconds), small (two cores, minutes) or paper.  [default: paper on a GPU, else small]"
)
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="Weights to start from: VGG-Face's .pth (with --set width=1), torchvision's VGG-16 or a vgg teacher; or those "
    "of the --arch.",
)
@click.option("--arch", metavar="NAME", help="The encoder: vgg, or a model of timm such as resnet18.  [default: vgg]")
@click.option("--seed", default=0, show_default=True, help="Seed of weights, order, dropout and latent vectors.")
@click.option("--epochs", metavar="N", help="Passes over the training images.")
@click.option("--lambda", "lambda_", metavar="X", help="λ, weight of the adversarial part (proposed).")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other option of the run or the method; see docs/bench.md.",
)
@click.option("--data", type=click.Path(path_type=Path), help="The dataset's folder or archive, if it has moved.")
@click.option(
    "--out", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder of run folders."
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
@click.option(
    "--devices", default=1, show_default=True, metavar="N", help="Processes that share every batch, a GPU each."
)
@click.option("--strategy", default="auto", show_default=True, help="How several devices work together: auto, ddp.")
@click.option("--again", is_flag=True, help="Start over where a run is finished or under way.")
@sentences
def command(
    methods: tuple[str, ...],
    manifest: Path | None,
    protocol: str | None,
    labels: str | None,
    preset: str | None,
    init: Path | None,
    arch: str | None,
    seed: int,
    epochs: str | None,
    lambda_: str | None,
    changes: tuple[str, ...],
    data: Path | None,
    out: Path,
    device: str,
    devices: int,
    strategy: str,
    again: bool,
) -> None:
    """Train methods on noisy labels and score them on clean ones.

    Each run has a folder; after Ctrl-C or a kill the same command goes on from the last epoch, to the same result bit
    for bit. The headline figure is the last epoch's: no clean label chooses anything.

    \b
    Examples:
      noisyfer bench --method proposed
      noisyfer bench --method vgg-clean,vgg-majority,vgg-all,proposed --preset small
      noisyfer bench --method proposed --labels class_flip40 --lambda 0.3 --set start_epoch=8
      noisyfer bench --method vgg-all,proposed --protocol raf-base --manifest data_manifests/raf_by_affectnet.parquet
    """
    from ..benchmark.bench import check_request, dataset_root, open_or_make, plan_bench, run_bench
    from ..benchmark.present import Display, print_options, print_table
    from ..core.config import parse_settings

    settings = parse_settings(changes)
    short = {"epochs": epochs, "lambda": lambda_, "arch": arch}
    settings |= {name: value for name, value in short.items() if value is not None}
    names = comma_list(methods)
    check_request(names, preset, settings, device, protocol, devices, strategy)
    opened = open_or_make(manifest, data, click.echo)
    plans = plan_bench(
        opened,
        names,
        preset=preset,
        protocol=protocol,
        labels=comma_list(labels),
        seed=seed,
        changes=settings,
        out=out,
        device=device,
        root=dataset_root(opened, data),
        init=init,
        devices=devices,
    )
    _announce(plans)
    print_options(plans)
    with Display() as display:
        results = run_bench(plans, display, again=again)
    print_table(plans, results)


def _announce(plans: list[Plan]) -> None:
    """Say what the user should know before a run starts."""
    for note in dict.fromkeys(note for plan in plans for note in plan.choice.notes):
        click.echo(note)
    for plan in plans:
        if plan.others and not plan.folder.path.exists():
            other, changed = plan.others[-1]
            click.echo(
                f"{plan.config.method}: a new folder, since the configuration differs from {other.name} "
                f"({'; '.join(changed)})."
            )
