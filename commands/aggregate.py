"""`noisyfer aggregate`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.names import comma_list
from ..core.terminal import say
from .common import print_json, seed_option, sentences


@click.command("aggregate")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--method",
    required=True,
    help="majority, dawid-skene, glad, mace or crowdlab; for valence and arousal mean, median or weighted.",
)
@click.option("--task", metavar="TASK", help="The task.  [default: the only one with several noisy label sets]")
@click.option("--labels", metavar="SET,…", help="The label sets.  [default: all noisy ones of the task]")
@click.option("--name", metavar="NAME", help="The new annotator.  [default: the method]")
@click.option("--probs", metavar="SET", help="For crowdlab: whose class probabilities are the model's.")
@seed_option("Of ties.")
@click.option("--out", type=click.Path(path_type=Path), help="The new manifest.  [default: <manifest>_with_<NAME>]")
@click.option("--overwrite", is_flag=True, help="Replace the output where it is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead.")
@sentences
def command(
    manifest: Path,
    method: str,
    task: str | None,
    labels: str | None,
    name: str | None,
    probs: str | None,
    seed: int,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make one label set of several annotators', as one more in a new manifest.

    Labels may be missing. Each annotator's reliability is estimated, and where the manifest has the truth, everyone is
    scored against it. glad, mace and crowdlab need pip install 'noisyfer[audit]'.

    \b
    Examples:
      noisyfer aggregate data_manifests/cifar10.parquet --method dawid-skene
      noisyfer aggregate crowd.parquet --method mace --labels expression_anna,expression_ben,expression_cleo
      noisyfer aggregate predicted.parquet --method crowdlab --probs class_vgg-all
      noisyfer aggregate faces.parquet --method weighted --name experts
    """
    from ..benchmark.aggregate import aggregate

    found = aggregate(
        manifest,
        method,
        task=task,
        labels=comma_list(labels),
        name=name,
        probs=probs,
        seed=seed,
        out=out,
        overwrite=overwrite,
    )
    if as_json:
        print_json(found.to_json())
        return
    from ..benchmark.present_aggregate import print_aggregated

    print_aggregated(found)
    say(f"Written: {found.manifest.path}")
