"""`noisyfer make-faces`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.terminal import say
from .common import seed_option, sentences


@click.command("make-faces")
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default=Path("datasets"),
    show_default=True,
    help="Where raf/, affectnet/ and the truth are written.",
)
@click.option("--n", default=2000, show_default=True, help="Training images of each dataset; a quarter more to test.")
@seed_option("Seed of all random streams.")
@click.option("--workers", default=0, help="Processes that draw.  [default: one a core]")
@click.option("--sheet", metavar="FILE", type=click.Path(path_type=Path), help="Also write a PNG of samples.")
@sentences
def command(out: Path, n: int, seed: int, workers: int, sheet: Path | None) -> None:
    """Draw two small datasets of faces, in the layouts of RAF-DB and AffectNet.

    Drawn faces are for trying the tool, not for science. Their true expression, valence and arousal are known and
    lie beside the datasets; the annotators' labels in the datasets are partly wrong.

    \b
    Examples:
      noisyfer make-faces
      noisyfer make-faces --out datasets --n 300 --sheet faces.png
    """
    from ..relabel.drawn.make import FacesOptions, make_faces
    from ..relabel.drawn.present import FacesDisplay, print_made

    with FacesDisplay() as display:
        made = make_faces(out, FacesOptions(n=n, seed=seed, workers=workers), display.progress)
    print_made(made)
    if sheet is not None:
        from ..relabel.drawn.sheet import write_sheet

        write_sheet(sheet, seed)
        say(f"Wrote {sheet}.")
