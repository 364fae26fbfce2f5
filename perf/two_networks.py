"""Two VGGs on one batch, as Co-teaching trains them: one after the other, or batched into one pass by torch.func.

python perf/two_networks.py --width 0.25 --batch 64
"""

from __future__ import annotations

import copy
from pathlib import Path

import click
import torch
from measure import Table, compare, finish, json_option, rates, times_faster
from noisyfer.models.networks import Classifier, VGGTrunk
from torch import Tensor
from torch.nn import functional


@click.command()
@click.option("--width", default=0.25, show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--repeats", default=7, show_default=True)
@json_option
def main(width: float, batch: int, repeats: int, json_file: Path | None) -> None:
    """Time forward and backward of two networks."""
    torch.manual_seed(0)
    networks = [Classifier(VGGTrunk(32, width), 10).to(memory_format=torch.channels_last).eval() for _ in range(2)]
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    stacked, _ = torch.func.stack_module_state(networks)  # type: ignore[arg-type]
    skeleton = copy.deepcopy(networks[0]).to("meta")
    # torch's own convolutions: a batching rule exists for them, and for our functions on small images it does not
    for module in skeleton.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.__class__ = torch.nn.Conv2d

    def one(parameters: dict[str, Tensor]) -> Tensor:
        return functional.cross_entropy(torch.func.functional_call(skeleton, parameters, (images,)), labels)

    def batched() -> None:
        parameters = {name: value.detach().requires_grad_(True) for name, value in stacked.items()}
        torch.vmap(one)(parameters).sum().backward()

    def in_turn() -> None:
        for network in networks:
            network.zero_grad()
            functional.cross_entropy(network(images), labels).backward()

    seconds = compare({"one after the other": in_turn, "batched": batched}, repeats)
    rows = [[way, rates(batch, found).text(1)] for way, found in seconds.items()]
    gain = times_faster(seconds["batched"], seconds["one after the other"])
    rows.append(["batched, times faster", gain.text(2)])
    title = f"Two VGGs, forward and backward, width {width:g}, batch {batch}, {torch.get_num_threads()} threads"
    finish(json_file, Table(title, ["way", "images/s through both"], rows))


if __name__ == "__main__":
    main()
