"""Which runs belong together: those on one manifest, and of them those that differ in nothing but their seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..evidence import System, systems
from .find import FoundRun

SAME = ("method", "preset", "labels", "truth", "device", "init", "settings", "options")
"""What runs of one system share; the seed is what they differ in."""


@dataclass(frozen=True)
class SystemRuns:
    """Runs that differ in their seed alone.

    Attributes:
        name: the method, or a table's row, and the options by which it differs from others of this name.
        runs: at least one, by seed.
    """

    name: str
    runs: tuple[FoundRun, ...]


@dataclass(frozen=True)
class Group:
    """Everything that learned from one manifest.

    Attributes:
        name: the manifest's file name.
        sha256: of its bytes.
        systems: at least one, with different names.
    """

    name: str
    sha256: str
    systems: tuple[SystemRuns, ...]

    @property
    def names(self) -> list[str]:
        """The systems' names, in their order."""
        return [system.name for system in self.systems]

    def evidence(self) -> list[System]:
        """What is said of each system: scores, agreement, time and memory over its seeds."""
        runs = [
            {
                "system": system.name,
                "method": run.config["method"],
                "published": {"": run.published},
                "seed": run.config["seed"],
                "labels": run.label_tasks,
                "result": run.result,
            }
            for system in self.systems
            for run in system.runs
        ]
        return systems({"protocol": "", "runs": runs})


def grouped(runs: Sequence[FoundRun]) -> list[Group]:
    """Finished runs by manifest and system.

    Args:
        runs: finished ones.
    """
    by_manifest: dict[tuple[str, str], dict[str, list[FoundRun]]] = {}
    for run in runs:
        found = by_manifest.setdefault((run.manifest["name"], run.manifest["sha256"]), {})
        found.setdefault(_system_key(run), []).append(run)
    return [
        Group(name, digest, _with_names([sorted(each, key=_seed) for each in found.values()]))
        for (name, digest), found in sorted(by_manifest.items())
    ]


def class_names(run: FoundRun, task: str, known: Mapping[str, Sequence[str]]) -> list[str]:
    """The names of a task's classes: the run's own, the manifest's, or else their ids.

    Args:
        run: finished.
        task: categorical.
        known: the manifest's classes by task, as far as they are known.
    """
    result = run.result or {}
    number = len(result["confusion"][task])
    stored = result.get("classes")
    for names in (stored.get(task) if isinstance(stored, dict) else None, known.get(task)):
        if isinstance(names, (list, tuple)) and len(names) == number:
            return [str(name) for name in names]
    return [str(place) for place in range(number)]


def _seed(run: FoundRun) -> int:
    return int(run.config["seed"])


def _system_key(run: FoundRun) -> str:
    return json.dumps([run.config.get(name) for name in SAME], sort_keys=True)


def _with_names(found: Sequence[Sequence[FoundRun]]) -> tuple[SystemRuns, ...]:
    """Names that tell the systems apart, in the order method by method."""
    bases = [_base(runs) for runs in found]
    values = [_values(runs[0].config) for runs in found]
    named = []
    for base, own, runs in zip(bases, values, found, strict=True):
        others = [other for other_base, other in zip(bases, values, strict=True) if other_base == base]
        differing = [key for key in own if any(other.get(key) != own[key] for other in others)]
        told = ", ".join(f"{key} {own[key]}" for key in differing)
        named.append(SystemRuns(f"{base} ({told})" if told else base, tuple(runs)))
    return tuple(sorted(named, key=lambda system: system.runs[0].config["method"]))


def _base(runs: Sequence[FoundRun]) -> str:
    return next((run.row for run in runs if run.row), str(runs[0].config["method"]))


def _values(config: Mapping[str, Any]) -> dict[str, str]:
    """Everything of a configuration but the seed, flat and as text."""
    flat = {name: config.get(name) for name in ("preset", "device", "init")}
    flat |= {"labels": "+".join(map(str, config["labels"])), "truth": "+".join(map(str, config["truth"].values()))}
    flat |= {**config["settings"], **config["options"]}
    return {name: str(value) for name, value in flat.items() if value not in (None, "")}
