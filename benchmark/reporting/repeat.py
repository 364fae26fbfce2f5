"""The command that makes a run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ...core.config import to_dict
from ...core.errors import UserError
from ..settings import resolve
from .find import FoundRun


def repeat_command(run: FoundRun, manifest: str = "") -> str:
    """A line for the shell that plans the very same run; where its folder is whole, it is only read.

    A table does not tell where first weights were: then their digest stands for their file.

    Args:
        run: from its folder or from a table.
        manifest: where the manifest was found; empty for where the run had it.
    """
    config, places = run.config, run.places
    given = manifest or places.get("manifest") or f"data_manifests/{run.manifest['name']}"
    words = ["noisyfer", "bench", "--method", config["method"], "--manifest", given]
    if config["labels"]:
        words += ["--labels", ",".join(config["labels"])]
    if config.get("preset"):
        words += ["--preset", config["preset"]]
    words += ["--seed", str(config["seed"])]
    if config.get("init"):
        words += ["--init", str(places.get("init") or f"FILE-WITH-SHA-256-{config['init']}")]
    if places.get("data"):
        words += ["--data", str(places["data"])]
    if config.get("device"):
        words += ["--device", config["device"]]
    if run.machine.get("devices", 1) != 1:
        words += ["--devices", str(run.machine["devices"])]
    for name, value in changes(config).items():
        words += ["--set", f"{name}={value}"]
    if run.folder is not None and str(run.folder.path.parent) != "runs":
        words += ["--out", str(run.folder.path.parent)]
    return shlex.join(map(str, words))


def changes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a run that are not its preset's; all, where this version does not know the preset or method.

    Args:
        config: `run` of a `config.json`.
    """
    preset: dict[str, Any] = {}
    try:
        for part in resolve(config["method"], config.get("preset", ""), {}):
            preset |= to_dict(part)
    except UserError:
        preset = {}  # of another version of noisyfer
    values = {**config["settings"], **config["options"]}
    return {name: value for name, value in values.items() if name not in preset or preset[name] != value}
