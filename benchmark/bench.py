"""Several methods on one manifest: plan them all before the first is started, then one table and one figure."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..core.files import write_json
from ..images.cifar import open_cifar10
from ..images.digits import Digits
from ..manifest import Manifest
from ..models.methods import METHODS
from ..training.device import choose_device, default_preset
from ..training.parallel import check_devices, check_strategy
from .cifar import make_cifar
from .loggers import DEFAULT_LOGGERS
from .pictures import draw_comparison
from .protocols import PAPER_CHANGES, find_protocol, protocol_labels
from .reporting.shapes import read_rows
from .run import Plan, execute, plan_run
from .settings import resolve, usable_options
from .watch import Watcher

DEFAULT_MANIFEST = Path("data_manifests/cifar10.parquet")


def open_or_make(path: Path | None, data: Path | None, say: Callable[[str], Any]) -> Manifest:
    """Open a manifest; without one named, CIFAR-10's, made as `make-cifar` would where it is not there.

    Args:
        path: the manifest, or None.
        data: where CIFAR-10 is, if it has to be made.
        say: is told when a manifest is made.
    """
    if path is not None:
        return Manifest.open(path)
    default = DEFAULT_MANIFEST.with_name("digits.parquet") if str(data) == "digits" else DEFAULT_MANIFEST
    if not default.exists():
        say(f"There is no {default} yet: making it, as 'noisyfer make-cifar --rates 0.2,0.3,0.4' would.")
        return make_cifar(data=data)
    return Manifest.open(default)


def dataset_root(manifest: Manifest, data: Path | None) -> Path | None:
    """The root that a manifest's references are relative to, for a dataset at `data`; None for the manifest's hint.

    Args:
        manifest: whose images are wanted.
        data: the dataset's folder or archive. `digits` is the packaged digits for a manifest of these alone, and a
            folder's name like any other for the rest.

    Raises:
        UserError: there is no such dataset.
    """
    dataset = manifest.header.dataset.name
    if data is None or (str(data) == "digits" and dataset == Digits.name):
        return None
    if dataset == "cifar10":
        return open_cifar10(data).root  # the folder itself, the one above, an archive: as make-cifar takes them
    if not data.exists():
        raise UserError(f"There is no folder or archive {data}; --data must name the dataset's.")
    return data


def whole_seed(seed: Any) -> int:
    """A seed as Python's own number: a run is named by it, so `numpy.int64(0)` must be no other one than `0`.

    Raises:
        UserError: it is no whole number of at least 0.
    """
    try:
        number = int(operator.index(seed))
    except TypeError:
        number = -1
    if number < 0 or isinstance(seed, bool):
        raise UserError(f"seed is {seed!r}; a whole number of at least 0 was expected.")
    return number


def check_request(
    methods: Sequence[str],
    preset: str | None,
    changes: Mapping[str, Any],
    device: str,
    protocol: str | None = None,
    devices: int = 1,
    strategy: str = "auto",
) -> list[str]:
    """Check what can be checked before there is a manifest; returns the methods' names, `all` resolved.

    Raises:
        UserError: an unknown method, preset, option, device, strategy or protocol, or a value that is not allowed.
    """
    check_strategy(strategy)
    check_devices(devices, choose_device(device))
    chosen = preset or default_preset(choose_device(device))
    filled = _filled(changes, protocol, chosen)
    named = [name for name in dict.fromkeys(methods) if name != "all"]
    for name in named:
        METHODS[name]  # an unknown one raises, also beside "all"
    names = list(METHODS) if "all" in methods else named
    if not names:
        raise UserError(
            f"No method is named; give one, several with commas between them, or 'all': {', '.join(METHODS)}."
        )
    for name in names:
        resolve(name, chosen, filled)
    usable = set[str]().union(*map(usable_options, names))
    for change in changes:
        if change not in usable:
            raise UserError(f"None of {', '.join(names)} has the option {change}; leave it out.")
    return names


def plan_bench(
    manifest: Manifest,
    methods: Sequence[str],
    *,
    preset: str | None = None,
    protocol: str | None = None,
    labels: Sequence[str] = (),
    seed: int = 0,
    changes: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    root: Path | None = None,
    init: Path | None = None,
    devices: int = 1,
    loggers: Sequence[str] = DEFAULT_LOGGERS,
) -> list[Plan]:
    """Check all runs before anything is loaded; see `plan_run`.

    Args:
        manifest: where images and labels come from.
        methods: registered names, or `all`.
        preset: None for `paper` on a GPU and `small` on a CPU.
        protocol: `raf-base` or `affectnet-base`, which names label sets and values where the user does not.
        labels: label sets to learn from; empty for all noisy ones, or the protocol's.
        seed: of every run.
        changes: option values that differ from the preset's.
        out: the folder of run folders.
        device: `cpu`, `cuda` or `auto`.
        root: the dataset's folder or archive.
        init: weights for the encoder's convolutions; None to start at random.
        devices: how many processes, a device each, share every batch.
        loggers: where figures go besides the run's folder: `tensorboard`, `mlflow`, `wandb`.

    Raises:
        UserError: anything that makes one of the runs impossible.
    """
    names = check_request(methods, preset, changes or {}, device, protocol)
    chosen_device = choose_device(device)
    chosen_preset = preset or default_preset(chosen_device)
    seed = whole_seed(seed)
    partly = protocol is not None and not labels
    if protocol is not None and partly:
        labels = protocol_labels(manifest, protocol)
    return [
        plan_run(
            manifest,
            name,
            preset=chosen_preset,
            seed=seed,
            labels=labels,
            partly=partly,
            changes=_filled(changes or {}, protocol, chosen_preset),
            out=out,
            device=chosen_device,
            root=root,
            init=init,
            devices=devices,
            loggers=loggers,
        )
        for name in names
    ]


def run_bench(plans: Sequence[Plan], watcher: Watcher | None = None, *, again: bool = False) -> list[dict[str, Any]]:
    """Execute the plans one after another; with several, draw and store their comparison.

    Returns:
        The results in the plans' order.

    Raises:
        UserError: a run fails, see `execute`, or the metrics of a finished one are damaged.
    """
    results = [execute(plan, watcher, again=again) for plan in plans]
    if len(plans) > 1:
        folder = comparison_folder(plans)
        write_json(
            folder / "comparison.json",
            {plan.folder.path.name: result for plan, result in zip(plans, results, strict=True)},
        )
        curves = {plan.config.method: read_rows(plan.folder) for plan in plans}
        draw_comparison(folder / "comparison.png", curves)
    return results


def comparison_folder(plans: Sequence[Plan]) -> Path:
    """Where the comparison of these runs goes."""
    return runs_folder(plans, f"{plans[0].manifest.path.stem}-comparison-seed{plans[0].config.seed}")


def runs_folder(plans: Sequence[Plan], stem: str) -> Path:
    """A folder beside those of runs, for what is said of all of them: the same plans give the same folder."""
    names = "\n".join(plan.folder.path.name for plan in plans)
    digest = hashlib.sha256(names.encode()).hexdigest()[:8]
    return plans[0].folder.path.parent / f"{stem}-{digest}"


def _filled(changes: Mapping[str, Any], protocol: str | None, preset: str) -> dict[str, Any]:
    """The user's values before the protocol's."""
    if protocol is None:
        return dict(changes)
    return {**find_protocol(protocol).changes, **(PAPER_CHANGES if preset == "paper" else {}), **changes}
