"""`noisyfer doctor`."""

from __future__ import annotations

import sys

import click

from ..core.terminal import say
from .common import print_json, sentences


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead.")
@click.option("--device", default="auto", show_default=True, help="Of the self-check: cpu, cuda, or auto.")
@sentences
def command(as_json: bool, device: str) -> None:
    """Print versions, devices, threads and datasets, and try a small job from end to end.

    Exits with status 1 where the job does not work. What it prints belongs in a bug report.

    \b
    Examples:
      noisyfer doctor
      noisyfer doctor --json
    """
    from ..benchmark.doctor import devices, self_check, versions
    from ..relabel.sources.lookup import look_up
    from ..training.device import choose_device

    choose_device(device)
    packages, machine, sources = versions(), devices(), look_up()
    if not as_json:
        for name, number in packages.items():
            say(f"{name:16} {number}")
        for found in machine:
            say(f"{found['device']:16} {found['name']}, {found['mib']:,} MiB")
        for entry in sources:
            say(f"{entry.name:16} {entry.state}")
    check = self_check(device)
    if as_json:
        print_json(
            {
                "versions": packages,
                "devices": machine,
                "sources": {entry.name: entry.state for entry in sources},
                "self_check": {"seconds": check.seconds, "problem": check.problem},
            }
        )
    elif check.problem:
        say(f"self-check       failed after {check.seconds:.1f} s. {check.problem}")
    else:
        say(f"self-check       passed in {check.seconds:.1f} s: noisy digits, one epoch of 'proposed', its score")
    if check.problem:
        sys.exit(1)
