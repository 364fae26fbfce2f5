"""How long `noisyfer --help` takes to answer, against Python that does nothing and against importing torch.

    python perf/help.py --repeats 15

Each way is a fresh process; they run in turn, the files being in the page cache after a first untimed turn.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
from measure import Table, compare, finish, json_option, spread


def process(*command: str) -> Callable[[], object]:
    """A call that runs a command to its end without its output; it raises where the command fails."""
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@click.command()
@click.option("--repeats", default=15, show_default=True)
@json_option
def main(repeats: int, json_file: Path | None) -> None:
    """Print the seconds of each way."""
    noisyfer = shutil.which("noisyfer", path=str(Path(sys.executable).parent))
    if noisyfer is None:
        raise click.ClickException("There is no command noisyfer beside this Python. Install the package: make install")
    ways = {
        "`python -c pass`": process(sys.executable, "-c", "pass"),
        "`noisyfer --help`": process(noisyfer, "--help"),
        "`noisyfer bench --help`": process(noisyfer, "bench", "--help"),
        '`python -c "import torch"`': process(sys.executable, "-c", "import torch"),
    }
    seconds = compare(ways, repeats)
    rows = [[way, spread(found).text(3)] for way, found in seconds.items()]
    title = f"Wall time of a fresh process, median and quartiles of {repeats}."
    finish(json_file, Table(title, ["process", "seconds (quartiles)"], rows))


if __name__ == "__main__":
    main()
