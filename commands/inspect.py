"""`noisyfer inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.terminal import say
from .common import print_json, sentences


@click.command("inspect")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    default="audit.html",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page's file; a page that is there is replaced.",
)
@click.option("--suspects", default=100, show_default=True, metavar="N", help="Suspicious labels on the page, a task.")
@click.option(
    "--scores",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a copy of the manifest with each label's quality, in columns <set>_quality.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file of --scores where it is there already.")
@click.option(
    "--probs",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Judge labels by a run's predictions: its folder, or a Parquet file with id and <task>_probs.",
)
@click.option("--truth", metavar="SET", help="The set that is true, or none.  [default: what the manifest knows]")
@click.option("--data", type=click.Path(path_type=Path), help="Where the manifest's images are, if they have moved.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON for programs instead.")
@sentences
def command(
    manifest: Path,
    out: Path,
    suspects: int,
    scores: Path | None,
    overwrite: bool,
    probs: Path | None,
    truth: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Audit the labels of a manifest: agreement, κ, estimated noise, and the most suspicious labels with pictures.

    The page is one file that opens from disk and asks nobody for anything.

    \b
    Examples:
      noisyfer inspect data_manifests/digits.parquet
      noisyfer inspect data_manifests/raf_by_affectnet.parquet -o audit.html --scores scored.parquet
    """
    from ..benchmark.inspect import inspect_manifest
    from ..manifest import Manifest

    found = inspect_manifest(
        Manifest.open(manifest),
        out=out,
        scores=scores,
        suspects=suspects,
        probs=probs,
        truth=truth,
        root=data,
        overwrite=overwrite,
    )
    if as_json:
        print_json(found.audit.to_json() | {"notes": list(found.notes), "page": str(out)})
    else:
        from ..benchmark.inspecting.present import print_audit

        print_audit(found.audit)
        for sentence in found.notes:
            say(sentence)
        if scores is not None:
            say(f"{scores}: the manifest with {', '.join(found.columns)}.")
        say(f"{out}: {out.stat().st_size / 1e6:.2f} MB.")
