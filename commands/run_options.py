"""Options and words that the commands which train have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import UserError
from ..core.names import number_ranges
from ..core.terminal import say

if TYPE_CHECKING:
    from ..benchmark.run import Plan

_LEARNING = (
    click.option(
        "--manifest",
        type=click.Path(path_type=Path),
        help="The manifest to learn from.  [default: data_manifests/cifar10.parquet, made when it is not there]",
    ),
    click.option(
        "--protocol",
        metavar="NAME",
        help="raf-base or affectnet-base: the paper's label sets, λ, start epoch and image size for a relabelled "
        "manifest.",
    ),
    click.option(
        "--labels", metavar="SET,…", help="Label sets to learn from.  [default: all noisy ones, or the protocol's]"
    ),
    click.option(
        "--preset",
        help="smoke (seconds), small (two cores, 5 to 40 minutes) or paper.  [default: paper on a GPU, else small]",
    ),
    click.option(
        "--init",
        type=click.Path(path_type=Path),
        help="Weights to start from: VGG-Face's .pth (with --set width=1), torchvision's VGG-16 or a vgg teacher; or "
        "those of the --arch.",
    ),
)
_PLACES = (
    click.option("--data", type=click.Path(path_type=Path), help="The dataset's folder or archive, if it has moved."),
    click.option(
        "--out", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder of run folders."
    ),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto."),
    click.option(
        "--logger",
        "loggers",
        default="tensorboard",
        show_default=True,
        metavar="NAME,…",
        help="Where figures go besides the run's folder: tensorboard, mlflow, wandb (offline), several, or ''.",
    ),
)


def engine_options(help_: str) -> Callable[[Any], Any]:
    """`--engine` and `--address`: where the work is done.

    Args:
        help_: what the two engines are.
    """
    engine = click.option(
        "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help=help_
    )
    address = click.option(
        "--address",
        metavar="HOST:PORT",
        help="Ray's head node, or 'auto' for the cluster on this machine.  [default: $RAY_ADDRESS, else processes of "
        "this machine]",
    )
    return lambda command: engine(address(command))


def learning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is learned from: --manifest, --protocol, --labels, --preset, --init."""
    return _with(_LEARNING, command)


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where things are and go: --data, --out, --device, --logger."""
    return _with(_PLACES, command)


def _with(options: Sequence[Callable[..., Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def seed_list(text: str) -> list[int]:
    """The seeds of `--seeds`, such as 0,1,2 or 0-2."""
    try:
        return number_ranges(text)
    except UserError as error:
        raise click.BadParameter(str(error), param_hint="--seeds") from error


def check_jobs(jobs: int) -> None:
    """Refuse fewer than one run at a time."""
    if jobs < 1:
        raise click.BadParameter("at least one run must be under way", param_hint="--jobs")


def announce(plans: Sequence[Plan]) -> None:
    """Say what the user should know before a run starts."""
    for note in dict.fromkeys(note for plan in plans for note in plan.choice.notes):
        say(note)
    for plan in plans:
        if plan.others and not plan.folder.path.exists():
            other, changed = plan.others[-1]
            say(
                f"{plan.config.method}: a new folder, since the configuration differs from {other.name} "
                f"({'; '.join(changed)})."
            )
