"""`noisyfer methods`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from .common import print_json, sentences


@click.command("methods")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead, with every option.")
@sentences
def command(name: str | None, as_json: bool) -> None:
    """Print the ways to learn from noisy labels: what each is, where it is from, what it can use.

    With NAME, that one and every option that 'bench --set' takes with it, with its default.

    \b
    Examples:
      noisyfer methods
      noisyfer methods proposed
      noisyfer methods --json
    """
    from ..benchmark.catalogue import catalogue, run_options
    from ..core.errors import unknown_name

    found = {entry.name: entry for entry in catalogue()}
    if name is not None and name not in found:
        raise unknown_name("method", name, found)
    shown = list(found.values()) if name is None else [found[name]]
    if as_json:
        entries = [entry.to_json() for entry in shown]
        print_json(entries if name is None else entries[0] | {"run_options": run_options()})
        return
    for entry in shown:
        click.secho(entry.name, bold=True, nl=False)
        click.echo(f"  {entry.summary} ({entry.paper})")
        click.echo(f"  → {entry.usable}\n")
    if name is None:
        click.echo("'noisyfer methods NAME' lists the options of one, docs/methods.md has the details.")
    else:
        _print_options("Options of the method", shown[0].options)
        _print_options("Options of its runs", run_options())
        click.echo("Defaults are the paper's; the presets smoke and small change some of them.")


def _print_options(title: str, options: Mapping[str, Mapping[str, Any]]) -> None:
    formatter = click.HelpFormatter()
    with formatter.section(title):
        formatter.write_dl(
            [(key, f"{each['meaning']}  [{each['default'] or repr(each['default'])}]") for key, each in options.items()]
        )
    click.echo(formatter.getvalue())
