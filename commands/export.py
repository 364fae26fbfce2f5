"""`noisyfer export`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.terminal import say
from .common import sentences


@click.command("export")
@click.option("--run", required=True, type=click.Path(path_type=Path), help="The folder of a run of 'noisyfer bench'.")
@click.option(
    "--format",
    required=True,
    help="checkpoint (one safetensors file for noisyfer), onnx, timm (a state dict, of runs with a timm --arch), or "
    "pt2 (torch.export).",
)
@click.option("--out", type=click.Path(path_type=Path), help="The file.  [default: <run>.ckpt, .onnx, …]")
@click.option("--overwrite", is_flag=True, help="Replace the file where it is there already.")
@sentences
def command(run: Path, format: str, out: Path | None, overwrite: bool) -> None:
    """Write a trained run as one file for other programs, and for 'noisyfer relabel --model'.

    Beside all but a checkpoint a JSON file says what goes in and what comes out. Before the file appears it is opened
    again, and its answers are compared with the run's own.

    \b
    Examples:
      noisyfer export --run runs/raf_by_affectnet-proposed-seed0-1a2b3c4d --format onnx --out proposed.onnx
      noisyfer export --run runs/digits-vgg-all-seed0-1a2b3c4d --format checkpoint
    """
    from ..relabel.export_run import export_run

    made = export_run(run, format, out, overwrite=overwrite)
    say(f"Wrote {made.file}{f' and {made.sidecar.name}' if made.sidecar else ''}.")
    say(f"Its answers are the run's own to within {made.difference:.1e}.")
    if made.model:
        say(f"Next: noisyfer relabel --source NAME --model {made.model}")
