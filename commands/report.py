"""`noisyfer report`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.terminal import say
from .common import sentences


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    default="report.html",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page's file; a page that is there is replaced.",
)
@click.option("--title", default="", metavar="TEXT", help="Title of the page.  [default: the folders' names]")
@click.option(
    "--manifest",
    "manifests",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where a manifest is that the runs learned from, if it has moved. May be repeated.",
)
@sentences
def command(runs: tuple[Path, ...], out: Path, title: str, manifests: tuple[Path, ...]) -> None:
    """Write one page of all runs under folders: comparison, curves, matrices, calibration, configurations.

    The page is one file that opens from disk and asks nobody for anything. RUNS are folders that 'noisyfer bench'
    wrote: of many runs, of one, or of a table.

    \b
    Examples:
      noisyfer report runs
      noisyfer report runs/table-1-small-0da30c32 -o table1.html --title "Table 1"
    """
    from ..benchmark.report import write_report
    from ..core.web import refuse_no_page

    refuse_no_page(out)
    written = write_report(runs, out, title=title, manifests=manifests)
    for sentence in written.notes:
        say(sentence)
    unfinished = f" {written.unfinished} unfinished." if written.unfinished else ""
    counted = f"{written.finished} finished runs of {written.systems} systems"
    say(f"{out}: {counted}, {written.size / 1e6:.2f} MB.{unfinished}")
