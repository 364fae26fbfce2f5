"""Put the measured tables into docs/performance.md.

    python perf/report.py perf-results

Every file NAME.json, or NAME.PART.json, that a script wrote with `--json` goes into the page's block between
`<!-- begin NAME -->` and `<!-- end NAME -->`, the parts of one block in the order of their names. The block `machine`
gets hardware and versions. Blocks without a file stay as they are. The page is replaced whole or not at all.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import click
from measure import PACKAGES, Table
from noisyfer.core.errors import UserError
from noisyfer.core.pages import fill_page

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
MACHINE = "machine"
OWN = ("date", "compute threads")
"""What a result says for itself, since scripts may differ in it."""


def read_results(folder: Path) -> dict[str, list[Mapping[str, Any]]]:
    """The results of a folder by the name of their block.

    Raises: `click.ClickException` where there are none, or one is no result of a script here.
    """
    results: dict[str, list[Mapping[str, Any]]] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
            tables = [Table(**table) for table in result["tables"]]
            entry = {"command": result["command"], "machine": dict(result["machine"]), "tables": tables}
        except (ValueError, KeyError, TypeError) as error:
            raise click.ClickException(f"{file} was not written by a script's --json. Remove it.") from error
        results.setdefault(file.name.split(".")[0], []).append(entry)
    if not results:
        raise click.ClickException(f"There is no .json file in {folder}. Run make perf, or a script with --json.")
    return results


def common_machine(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """The machine that all results were measured on, with the latest date.

    Raises: `click.ClickException` where hardware or versions differ: the page would lie about some of them.
    """
    machines = [entry["machine"] for entries in results.values() for entry in entries]
    for found in machines:
        different = [key for key in machines[0] | found if key not in OWN and machines[0].get(key) != found.get(key)]
        if different:
            key = different[0]
            raise click.ClickException(
                f"The results differ in {key}: {machines[0].get(key)} and {found.get(key)}. Measure all of them anew."
            )
    return {**machines[0], "date": max(found["date"] for found in machines)}


def day(text: str) -> str:
    """An ISO date as in `25 November 2026`."""
    found = date.fromisoformat(text)
    return f"{found.day} {found:%B %Y}"


def machine_text(machine: Mapping[str, str]) -> str:
    """Date, hardware and versions as a paragraph."""
    hardware = f"{machine['cores']} cores of {machine['processor']} ({machine['vector instructions']})"
    gpu = "without a GPU" if machine["GPU"] == "none" else f"with {machine['GPU']}"
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", *PACKAGES) if name in machine)
    return textwrap.fill(
        f"Measured on {day(machine['date'])} on {hardware}, {gpu}; {machine['system']}, {versions}.", 125
    )


def block_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """The content of a block: for each result its command, date, threads and tables."""
    parts = []
    for entry in entries:
        own = entry["machine"]
        plural = "" if own["compute threads"] == "1" else "s"
        parts.append(f"`{entry['command']}` ({day(own['date'])}, {own['compute threads']} compute thread{plural}):")
        parts += [table.markdown() for table in entry["tables"]]
    return "\n\n".join(parts)


def block_texts(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """The content of every block: the results' and the machine's."""
    return {name: block_text(entries) for name, entries in results.items()} | {
        MACHINE: machine_text(common_machine(results))
    }


@click.command()
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--page", default=PAGE, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its blocks.")
def main(results: Path, page: Path) -> None:
    """Rewrite the page's blocks from the .json files in the folder RESULTS."""
    found = read_results(results)
    try:
        fill_page(page, block_texts(found))
    except UserError as error:
        raise click.ClickException(str(error)) from error
    print(f"{page.name}: {', '.join(sorted(found))}")


if __name__ == "__main__":
    main()
