"""Where the time of a step of `proposed` goes, by network and by kind of work: `python perf/profile_step.py --width 1`.

Times are torch.profiler's own times of operations over a few steps. A backward operation belongs to the network whose
forward operation has its sequence number. Matrix work is convolutions and matrix products.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import torch
from measure import Table, finish, json_option
from step import build, label_sets, random_batch
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

KINDS = {
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward", "aten::_convolution"),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::_slow_conv2d_forward"),
    "matrix times vector (spectral norm)": ("aten::addmv_", "aten::mv", "aten::dot", "aten::linalg_vector_norm"),
    "Adam": ("aten::_fused_adam_",),
    "ReLU": ("aten::clamp_min", "aten::clamp_min_", "aten::threshold_backward"),
    "copies and zeros": ("aten::copy_", "aten::fill_", "aten::zero_", "aten::cat"),
    "sums and products of elements": ("aten::add", "aten::add_", "aten::mul", "aten::mul_", "aten::sum", "aten::div"),
    "pooling, softmax, batch norm": (
        "aten::avg_pool2d",
        "aten::avg_pool2d_backward",
        "aten::max_pool2d_with_indices",
        "aten::max_pool2d_with_indices_backward",
        "aten::_softmax",
        "aten::_softmax_backward_data",
        "aten::native_batch_norm",
        "aten::native_batch_norm_backward",
    ),
}


def watch(networks: dict[str, torch.nn.Module]) -> None:
    """Mark each module's forward in the profile by its name."""
    for name, module in networks.items():
        spans: list[Any] = []

        def before(_: object, __: object, name: str = name, spans: list[Any] = spans) -> None:
            spans.append(record_function(f"module:{name}"))
            spans[-1].__enter__()

        def after(_: object, __: object, ___: object, spans: list[Any] = spans) -> None:
            spans.pop().__exit__(None, None, None)

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)


def owner(event: Any) -> str | None:
    """The innermost marked module that a forward operation ran in."""
    while event is not None:
        if event.name.startswith("module:"):
            return str(event.name.removeprefix("module:"))
        event = event.cpu_parent
    return None


def by_module(events: list[Any], steps: int) -> list[list[str]]:
    """Seconds a step of each network, forward and backward."""
    forward, backward = defaultdict(float), defaultdict(float)
    owners: dict[int, str] = {}
    for event in events:
        name = owner(event)
        if name is None or event.name.startswith("module:"):
            continue
        forward[name] += event.self_cpu_time_total
        if event.sequence_nr >= 0:
            owners[event.sequence_nr] = name
    for event in events:
        if event.name.startswith("autograd::engine::evaluate_function") and event.cpu_parent is None:
            backward[owners.get(event.sequence_nr, "losses and the rest")] += event.cpu_time_total
    rows = []
    for name in dict.fromkeys([*forward, *backward]):
        rows.append([name, *(f"{found[name] / steps / 1e6:.3f}" for found in (forward, backward))])
    return rows


def by_kind(events: list[Any], steps: int) -> tuple[list[list[str]], float]:
    """Seconds a step and shares of each kind of operation; and the share that is matrix work."""
    kinds = {operation: kind for kind, operations in KINDS.items() for operation in operations}
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        if not event.name.startswith("module:"):
            spent[kinds.get(event.name, "everything else, Python between operations left out")] += (
                event.self_cpu_time_total
            )
    total = sum(spent.values())
    rows = [
        [kind, f"{time / steps / 1e6:.3f}", f"{time / total:.1%}"]
        for kind, time in sorted(spent.items(), key=lambda item: -item[1])
    ]
    return rows, (spent["convolutions"] + spent["matrix products"]) / total


@click.command()
@click.option("--width", default=1.0, show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--size", default=32, show_default=True)
@click.option("--steps", default=2, show_default=True)
@json_option
def main(width: float, batch: int, size: int, steps: int, json_file: Path | None) -> None:
    """Print a step's time by network and by kind of work."""
    torch.manual_seed(0)
    sets = label_sets(3)
    method, data = build("proposed", sets, size, width), random_batch(sets, size, batch)
    method.update(data)
    with FlopCounterMode(display=False) as counted:
        method.update(data)
    discriminator: Any = method.networks["discriminator"]
    parts = {"encoder": method.networks["encoder"], "decoder": method.networks["decoder"]}
    parts |= {"D, image stream": discriminator.image, "D, latent stream": discriminator.latent}
    parts |= {f"D, label stream {number}": stream for number, stream in enumerate(discriminator.labels)}
    watch({**parts, "D, joint stream": discriminator.joint})
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            method.update(data)
    events = list(found.events())
    kinds, share = by_kind(events, steps)
    where = f"width {width:g}, batch {batch}, {size} px, {torch.get_num_threads()} threads"
    modules = Table(
        f"By network, {where}", ["part", "forward, s a step", "backward, s a step"], by_module(events, steps)
    )
    work = f"By kind of work; {share:.0%} is matrix work, {counted.get_total_flops() / 1e9:.0f} GFLOP a step"
    finish(json_file, modules, Table(work, ["kind", "s a step", "share"], kinds))


if __name__ == "__main__":
    main()
