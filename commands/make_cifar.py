"""`noisyfer make-cifar`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.terminal import say
from .common import seed_option, sentences


@click.command("make-cifar")
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
@seed_option("Seed of all random streams.")
@sentences
def command(rates: str | None, noise: str, data: str | None, out: Path | None, seed: int) -> None:
    """Write a manifest of CIFAR-10 with noisy label sets.

    The test labels are never touched. Adding or removing a rate leaves the other label sets bit for bit as they were.

    \b
    Examples:
      noisyfer make-cifar --rates 0.2,0.3,0.4
      noisyfer make-cifar --noise asymmetric --rates 0.4 --out asym.parquet
      noisyfer make-cifar --data digits
    """
    from ..benchmark.cifar import make_cifar
    from ..benchmark.noise import parse_rates
    from ..benchmark.present import print_label_sets

    numbers = None if rates is None else parse_rates(rates)
    manifest = make_cifar(numbers, data=data, out=out, noise=noise, seed=seed)
    print_label_sets(manifest)
    say(f"Wrote {manifest.path}: {manifest.rows:,} samples.")
