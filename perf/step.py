"""A training step of any method against its plain form: `python perf/step.py --width 1 --batch 64 --steps 5`.

Both forms start from the same weights and take their steps in turn on the same random batch. Seconds a step are
medians with quartiles, the gain is taken turn by turn, and the peak allocation is that of one step above weights and
optimizer state. The last line is the (last) method's `X images/s`. Methods without a plain form in `plain.py`, and
devices other than the CPU, are timed alone.
"""

from __future__ import annotations

from typing import Any

import click
import torch
from allocation import peak_allocation
from measure import Table, compare, finish, json_option, rates, spread, times_faster
from noisyfer.core.config import with_settings
from noisyfer.models.methods import METHODS, Batch, LabelSetSpec, Method, Problem
from noisyfer.models.methods.vgg import VGG
from plain import PlainProposed, PlainVGG


def label_sets(count: int) -> tuple[LabelSetSpec, ...]:
    """Ten-class label sets."""
    return tuple(LabelSetSpec(f"class_{number}", "class", 10) for number in range(count))


def random_batch(sets: tuple[LabelSetSpec, ...], size: int, rows: int, device: str = "cpu") -> Batch:
    """Random images and labels, in the layout that the feed hands out."""
    images = torch.randint(0, 256, (rows, size, size, 3), dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
    labels = {found.name: torch.randint(0, 10, (rows,), device=device) for found in sets}
    masks = {found.name: torch.ones(rows, dtype=torch.bool, device=device) for found in sets}
    return Batch(images, labels, masks, torch.arange(rows, device=device))


def build(method: str, sets: tuple[LabelSetSpec, ...], size: int, width: float, device: str = "cpu") -> Method:
    """A method as `noisyfer bench` would build it, its adversarial part switched on."""
    config = with_settings(METHODS[method].config_class(), {"width": width})
    used = sets if METHODS[method].uses.labels == "chosen" else sets[:1]
    built = METHODS[method](Problem(size, used, samples=1), config, torch.device(device))
    built.start_epoch(0)
    return built


def plain_form(method: Method, size: int) -> Any:
    """The plain form with the same weights, or None where there is none."""
    sets, config = method.problem.label_sets, method.config
    if "decoder" in method.networks:
        plain: Any = PlainProposed(size, sets, config)
    elif isinstance(method, VGG):
        plain = PlainVGG(size, sets, config.width, config.hidden, config.learning_rate)
    else:
        return None
    for name, network in plain.networks.items():
        network.load_state_dict(method.networks[name].state_dict())
    return plain


def measured(method: str, width: float, batch: int, size: int, steps: int, sets: int, device: str) -> list[str]:
    """A table's row for one method."""
    torch.manual_seed(0)
    specs = label_sets(sets)
    ours = build(method, specs, size, width, device)
    data = random_batch(specs, size, batch, device)
    ways = {"ours": lambda: ours.update(data)["loss"].item()}
    plain = plain_form(ours, size) if device == "cpu" else None
    if plain is not None:
        ways["plain"] = lambda: plain.update(data)["loss"].item()
    seconds = compare(ways, steps)
    row = [method, spread(seconds["ours"]).text(3), rates(batch, seconds["ours"]).text(1)]
    if plain is None:
        return [*row, "", "", "", ""]
    peak, plain_peak = (peak_allocation(ways[way]) / 2**20 for way in ("ours", "plain"))
    gain = times_faster(seconds["ours"], seconds["plain"]).text(2)
    return [
        *row,
        rates(batch, seconds["plain"]).text(1),
        gain,
        f"{peak:.0f}",
        f"{plain_peak:.0f} ({peak / plain_peak:.0%})",
    ]


@click.command()
@click.option("--method", default="proposed", show_default=True, help="Names with commas between them, or all.")
@click.option("--width", default=1.0, show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--size", default=32, show_default=True)
@click.option("--steps", default=7, show_default=True)
@click.option("--sets", default=3, show_default=True, help="Ten-class label sets.")
@click.option("--device", default="cpu", show_default=True)
@json_option
def main(method: str, width: float, batch: int, size: int, steps: int, sets: int, device: str, json_file: Any) -> None:
    """Time training steps, each in turn with its plain form."""
    names = list(METHODS) if method == "all" else method.split(",")
    rows = [measured(name, width, batch, size, steps, sets, device) for name in names]
    where = f"{torch.get_num_threads()} threads, {device}"
    title = f"width {width:g}, batch {batch}, {size} px, {sets} sets, {where}, {steps} steps a form"
    columns = [
        "method",
        "s a step",
        "images/s",
        "plain form, images/s",
        "times faster",
        "peak MB",
        "plain form's (share)",
    ]
    finish(json_file, Table(title, columns, rows))
    print(f"{rows[-1][2].split()[0]} images/s")


if __name__ == "__main__":
    main()
