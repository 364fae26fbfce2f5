"""`noisyfer methods`."""

from __future__ import annotations

import click

from .common import print_json, sentences


@click.command("methods")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead, with every option.")
@sentences
def command(as_json: bool) -> None:
    """Print the ways to learn from noisy labels: what each is, where it is from, what it can use.

    \b
    Examples:
      noisyfer methods
      noisyfer methods --json
      noisyfer bench --method vgg-all,proposed
    """
    from ..benchmark.catalogue import catalogue

    found = catalogue()
    if as_json:
        print_json([entry.to_json() for entry in found])
        return
    for entry in found:
        click.secho(entry.name, bold=True, nl=False)
        click.echo(f"  {entry.summary} ({entry.paper})")
        click.echo(f"  → {entry.usable}\n")
    click.echo("docs/methods.md has the details.")
