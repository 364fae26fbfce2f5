"""The command line: parse, call one library function, print.

Each command is a module of `commands/`. Heavy packages are imported inside the functions that use them, so that
`--help` answers at once.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from . import __version__
from .commands import (
    aggregate,
    bench,
    convert,
    doctor,
    export,
    export_labels,
    import_labels,
    inspect,
    make_cifar,
    make_faces,
    methods,
    predict,
    pretrain,
    relabel,
    report,
    review,
    show,
    sources,
    sweep,
)
from .commands.common_options import with_common_options


class _Commands(click.Group):
    """A group that answers a mistyped command with the nearest one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from .core.errors import unknown_name

            raise click.UsageError(str(unknown_name("command", args[0], self.list_commands(ctx))), ctx)
        return super().resolve_command(ctx, args)


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=_Commands, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="noisyfer")
def main() -> None:
    """Learn facial expressions from noisy labels of several annotators and tasks.

    \b
    Three lines to start with:
      noisyfer make-cifar --data digits
      noisyfer show data_manifests/digits.parquet
      noisyfer bench --method vgg-all,proposed --manifest data_manifests/digits.parquet
    """
    # a locale without λ or –, or a file name that is no text, must not end a command: \u03bb is printed instead
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


for _module in (
    make_cifar,
    make_faces,
    pretrain,
    relabel,
    import_labels,
    export_labels,
    aggregate,
    bench,
    sweep,
    predict,
    export,
    convert,
    doctor,
    report,
    inspect,
    review,
    methods,
    show,
    sources,
):
    main.add_command(with_common_options(_module.command))


if __name__ == "__main__":
    main()
