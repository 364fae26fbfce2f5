"""The command line: parse, call one library function, print.

Heavy packages are imported inside the commands that use them, so that `--help` answers at once.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .core.errors import UserError

if TYPE_CHECKING:
    from .benchmark.run import Plan

INTERRUPTED = 130


class _Commands(click.Group):
    """A group that answers a mistyped command with the nearest one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from .core.errors import unknown_name

            raise click.ClickException(str(unknown_name("command", args[0], self.list_commands(ctx))))
        return super().resolve_command(ctx, args)


def _sentences(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a `UserError` into its sentence on stderr and exit status 1; Ctrl-C into status 130."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("Stopped. Nothing half-written is left. To go on, run the same command again.", err=True)
            sys.exit(INTERRUPTED)

    return guarded


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="noisyfer")
def main() -> None:
    """Learn facial expressions from noisy labels of several annotators and tasks.

    \b
    Three lines to start with:
      noisyfer make-cifar --data digits
      noisyfer show data_manifests/digits.parquet
      noisyfer bench --method vgg-all,proposed --manifest data_manifests/digits.parquet
    """


@main.command("make-cifar")
@click.option("--rates", help="Noise rates in [0, 1), one label set each.  [default: 0.2,0.3,0.4]")
@click.option(
    "--noise",
    default="uniform",
    show_default=True,
    metavar="MODEL",
    help="uniform (the paper's: the share of labels replaced by another class), uniform-all (any class), pairflip, "
    "asymmetric, instance, or matrix:FILE with a row-stochastic CSV; matrix:raf-affectnet is shipped.",
)
@click.option(
    "--data",
    metavar="PATH",
    help="CIFAR-10 as a folder or archive (Python, binary or Parquet layout), or 'digits' for scikit-learn's digits.  "
    "[default: $NOISYFER_DATA, then datasets/, then a download]",
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="[default: data_manifests/<data>.parquet]")
@click.option("--seed", default=0, show_default=True, help="Seed of all random streams.")
@_sentences
def make_cifar_command(rates: str | None, noise: str, data: str | None, out: Path | None, seed: int) -> None:
    """Write a manifest of CIFAR-10 with noisy label sets.

    The test labels are never touched. Adding or removing a rate leaves the other label sets bit for bit as they were.

    \b
    Examples:
      noisyfer make-cifar --rates 0.2,0.3,0.4
      noisyfer make-cifar --noise asymmetric --rates 0.4 --out asym.parquet
      noisyfer make-cifar --data digits
    """
    from .benchmark.cifar import make_cifar
    from .benchmark.noise import parse_rates
    from .benchmark.present import print_label_sets

    numbers = None if rates is None else parse_rates(rates)
    manifest = make_cifar(numbers, data=data, out=out, noise=noise, seed=seed)
    print_label_sets(manifest)
    click.echo(f"Wrote {manifest.path}: {manifest.rows:,} samples.")


@main.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Also read every row and check ids, image paths and labels.")
@_sentences
def show(manifest: Path, check: bool) -> None:
    """Print what is in a manifest: samples, label sets, classes, agreement.

    \b
    Example:
      noisyfer show data_manifests/cifar10.parquet
    """
    from .benchmark.present import print_manifest
    from .manifest import Manifest

    opened = Manifest.open(manifest)
    print_manifest(opened)
    if check:
        opened.validate()
        click.echo("Checked: ids, splits, image paths and labels are in order.")


@main.command()
@click.option(
    "--method",
    "methods",
    multiple=True,
    required=True,
    metavar="NAME",
    help="vgg-clean, vgg-majority, vgg-all, proposed, a comma list, or 'all'. May be repeated.",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="The manifest to learn from.  [default: data_manifests/cifar10.parquet, made when it is not there]",
)
@click.option("--labels", metavar="SET,…", help="Label sets to learn from.  [default: all noisy ones]")
@click.option(
    "--preset", help="smoke (seconds), small (two cores, minutes) or paper.  [default: paper on a GPU, else small]"
)
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
@click.option("--again", is_flag=True, help="Start over where a run is finished or under way.")
@_sentences
def bench(
    methods: tuple[str, ...],
    manifest: Path | None,
    labels: str | None,
    preset: str | None,
    seed: int,
    epochs: str | None,
    lambda_: str | None,
    changes: tuple[str, ...],
    data: Path | None,
    out: Path,
    device: str,
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
    """
    from .benchmark.bench import check_request, dataset_root, open_or_make, plan_bench, run_bench
    from .benchmark.present import Display, print_options, print_table
    from .core.config import parse_settings

    settings = parse_settings(changes)
    settings |= {name: value for name, value in (("epochs", epochs), ("lambda", lambda_)) if value is not None}
    names = [name.strip() for text in methods for name in text.split(",") if name.strip()]
    check_request(names, preset, settings, device)
    opened = open_or_make(manifest, data, click.echo)
    plans = plan_bench(
        opened,
        names,
        preset=preset,
        labels=[name.strip() for name in labels.split(",") if name.strip()] if labels else [],
        seed=seed,
        changes=settings,
        out=out,
        device=device,
        root=dataset_root(opened, data),
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


if __name__ == "__main__":
    main()
