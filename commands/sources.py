"""`noisyfer sources`."""

from __future__ import annotations

import click

from .common import print_json, sentences


@click.command("sources")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead.")
@sentences
def command(as_json: bool) -> None:
    """Print the datasets that can be read: their layout, where to ask for them, whether they are here.

    A dataset is looked for in $NOISYFER_DATA/NAME and in datasets/NAME; 'relabel' and 'pretrain' take any other folder
    by --root.

    \b
    Examples:
      noisyfer sources
      noisyfer sources --json
    """
    from ..relabel.sources.lookup import look_up

    found = look_up()
    if as_json:
        print_json([entry.to_json() for entry in found])
        return
    for entry in found:
        click.secho(entry.name, bold=True)
        click.echo("".join(f"  {line}\n" for line in entry.layout.splitlines()), nl=False)
        click.echo(f"  {entry.obtain}")
        if entry.stand_in and entry.root is None:
            click.echo(f"  {entry.stand_in}")
        click.echo(f"  → {entry.state}\n")
    click.echo("A manifest is a source too: --source manifest:FILE adds labels to it. docs/sources.md has the details.")
