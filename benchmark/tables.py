"""The paper's tables, and ours, as runs: which method learns from which label sets with which values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..core.config import to_dict
from ..core.errors import UserError, look_up
from ..core.schema import LabelSet
from ..manifest import Manifest
from ..models.adversarial_weight import RULES
from .bench import check_request, dataset_root, plan_bench, runs_folder
from .cifar import make_cifar
from .protocols import find_protocol, noisy_label_sets, protocol_labels
from .run import Plan
from .settings import resolve, usable_options


@dataclass(frozen=True)
class NoisyCifar:
    """A manifest that tables on CIFAR-10 learn from.

    Attributes:
        suffix: of its file's name.
        noise: the noise model.
        rates: of its label sets.
    """

    suffix: str = ""
    noise: str = "uniform"
    rates: tuple[float, ...] = (0.2, 0.3, 0.4)


@dataclass(frozen=True)
class Row:
    """One system of a table.

    Attributes:
        system: its name, as the paper has it where it is the paper's.
        method: a registered name.
        published: the paper's figures, accuracy in %, by protocol ("" on CIFAR-10) and metric. A row of faces is there
            for these protocols only.
        first: learn from the first so many noisy label sets only; 0 for all.
        tasks: of a protocol's label sets, learn from those of these tasks only; empty for all.
        changes: option values of this row.
        data: what it learns from, where the table is on CIFAR-10.
    """

    system: str
    method: str
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    first: int = 0
    tasks: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    data: NoisyCifar = NoisyCifar()


@dataclass(frozen=True)
class BenchTable:
    """Systems that are compared with each other.

    Attributes:
        title: what it shows.
        rows: the systems.
        faces: it is on a relabelled manifest of faces, under a protocol.
    """

    title: str
    rows: tuple[Row, ...]
    faces: bool = False


@dataclass(frozen=True)
class TableRun:
    """A run of a table."""

    row: Row
    plan: Plan


def _accuracy(published: float) -> dict[str, dict[str, float]]:
    return {"": {"accuracy": published}}


def _expression(raf: float, affectnet: float, **affect: float) -> dict[str, dict[str, float]]:
    return {"raf-base": {"accuracy": raf}, "affectnet-base": {"accuracy": affectnet, **affect}}


def _affect(ccc: float, mse: float) -> dict[str, dict[str, float]]:
    return {"affectnet-base": {"ccc": ccc, "mse": mse}}


def _ablations(first: int, what: str, published: Sequence[float]) -> tuple[Row, ...]:
    systems: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("VGG, a head a set", "vgg-all", {"share": "trunk"}),
        ("without joint score", "proposed-no-joint", {}),
        ("without marginal scores", "proposed-no-marginal", {}),
        ("without decoder", "proposed-no-decoder", {}),
        ("proposed", "proposed", {}),
    )
    return tuple(
        Row(f"{system}, {what}", method, _accuracy(figure), first=first, changes=changes)
        for (system, method, changes), figure in zip(systems, published, strict=True)
    )


_LEVELS = {
    "10, 20, 30 %": NoisyCifar("-low", rates=(0.1, 0.2, 0.3)),
    "20, 30, 40 %": NoisyCifar(),
    "40, 50, 60 %": NoisyCifar("-high", rates=(0.4, 0.5, 0.6)),
}
_MODELS = {
    "uniform": NoisyCifar(),
    "asymmetric": NoisyCifar("-asymmetric", "asymmetric"),
    "instance": NoisyCifar("-instance", "instance"),
}

TABLES: dict[str, BenchTable] = {
    "1": BenchTable(
        "Table 1: CIFAR-10 with three noisy label sets",
        (
            Row("VGG, clean labels", "vgg-clean", _accuracy(88.55)),
            Row("VGG, majority vote", "vgg-majority", _accuracy(82.36)),
            Row("VGG, all labels", "vgg-all"),
            Row("VGG, all labels, a head a set", "vgg-all", _accuracy(80.23), changes={"share": "trunk"}),
            Row("AIR", "air", _accuracy(76.37)),
            Row("SCE", "sce", _accuracy(86.34)),
            Row("Co-teaching", "co-teaching", _accuracy(84.21)),
            Row("LTNet", "ltnet", _accuracy(87.23)),
            Row("proposed", "proposed", _accuracy(87.90)),
        ),
    ),
    "2": BenchTable(
        "Table 2: faces relabelled by a network, single-task and multi-task",
        (
            Row("VGG, expression", "vgg-all", _expression(72.64, 43.42), tasks=("expression",)),
            Row("VGG, valence/arousal", "vgg-all", _affect(0.6254, 0.1438), tasks=("va",)),
            Row("SCE, expression", "sce", _expression(73.96, 42.87), tasks=("expression",)),
            Row("Co-teaching, expression", "co-teaching", _expression(75.43, 42.36), tasks=("expression",)),
            Row("proposed, expression", "proposed", _expression(74.02, 44.52), tasks=("expression",)),
            Row("proposed, valence/arousal", "proposed", _affect(0.6354, 0.1284), tasks=("va",)),
            Row("VGG, both tasks", "vgg-all", _expression(73.15, 43.36, ccc=0.6263, mse=0.1354)),
            Row("proposed, both tasks", "proposed", _expression(76.10, 46.08, ccc=0.6727, mse=0.1248)),
        ),
        faces=True,
    ),
    "3": BenchTable(
        "Table 3: what the parts of the adversarial model do, on CIFAR-10",
        (
            *_ablations(1, "one set", (77.82, 77.93, 83.65, 83.51, 84.78)),
            *_ablations(0, "three sets", (80.23, 79.10, 85.48, 87.88, 87.90)),
        ),
    ),
    "further": BenchTable(
        "Methods that the paper does not compare with, on CIFAR-10 with three noisy label sets",
        tuple(
            Row(system, method)
            for system, method in (
                ("GCE", "gce"),
                ("ELR", "elr"),
                ("forward correction", "forward"),
                ("DivideMix, reduced", "dividemix"),
                ("SCN", "scn"),
                ("EAC", "eac"),
                ("crowd layer", "crowd-layer"),
                ("Dawid-Skene, then VGG", "dawid-skene"),
            )
        ),
    ),
    "noise": BenchTable(
        "Noise models: 20, 30 and 40 % of three kinds, on CIFAR-10",
        tuple(
            Row(f"{system}, {kind}", method, data=data)
            for kind, data in _MODELS.items()
            for system, method in (
                ("VGG, all labels", "vgg-all"),
                ("Co-teaching", "co-teaching"),
                ("proposed", "proposed"),
            )
        ),
    ),
    "lambda": BenchTable(
        "The weight λ of the adversarial part at three noise levels, on CIFAR-10",
        tuple(
            Row(f"λ {value}, {level}", "proposed", changes=changes, data=data)
            for level, data in _LEVELS.items()
            for value, changes in (
                *((value, {"lambda": value}) for value in ("0.2", "0.4", "0.6", "0.8", "1.0")),
                *((f"by {rule}", {"lambda_rule": rule}) for rule in RULES if rule != "fixed"),
            )
        ),
    ),
}
"""Published figures are the paper's. Its VGG on all labels has a head a set: only so can its cross entropy go to 0."""


def find_table(name: str) -> BenchTable:
    """The table of this name.

    Raises:
        UserError: there is none.
    """
    return look_up("table", name, TABLES)


def plan_table(
    name: str,
    seeds: Sequence[int],
    *,
    methods: Sequence[str] = (),
    systems: Sequence[str] = (),
    manifest: Path | None = None,
    data: Path | None = None,
    protocol: str | None = None,
    changes: Mapping[str, Any] | None = None,
    say: Callable[[str], Any] = print,
    **common: Any,
) -> list[TableRun]:
    """Plan all runs of a table, the first seed of every system before the second.

    Args:
        name: of the table.
        seeds: at least one.
        methods: only the rows of these methods; empty for all.
        systems: only the rows with one of these names, shell patterns such as `*three sets`; empty for all.
        manifest: learn from this one; None for the table's own, made where they are not there.
        data: where the dataset is, if it is not at the manifest's hint.
        protocol: of a table of faces.
        changes: option values of every row that has the option.
        say: is told when a manifest is made.
        common: further arguments of `plan_bench`.

    Raises:
        UserError: an unknown name, a change that undoes what a row is named for, a table that needs a protocol or
            another manifest, a manifest with other noise under the name of the table's own, a run that is impossible.
    """
    table = find_table(name)
    _check_protocol(name, table, manifest, protocol)
    rows = _chosen_rows(name, table, methods, systems, protocol)
    _check_data(name, rows, manifest)
    check_request(
        [row.method for row in rows], common.get("preset"), changes or {}, common.get("device", "auto"), protocol
    )
    for row in rows:
        _check_changes(row, changes or {})
    opened = {row.data: _open(row.data, manifest, data, say) for row in rows}
    if manifest is None:
        for row in rows:
            _check_noise(row, opened[row.data], alone=len(opened) == 1)
    return [
        TableRun(row, _plan_row(row, opened[row.data], data, protocol, seed, changes or {}, common))
        for seed in dict.fromkeys(seeds)
        for row in rows
    ]


def table_folder(name: str, runs: Sequence[TableRun]) -> Path:
    """Where a table's files go: the same runs give the same folder."""
    first = runs[0].plan
    return runs_folder([run.plan for run in runs], f"table-{name}-{first.config.preset}")


def _chosen_rows(
    name: str, table: BenchTable, methods: Sequence[str], systems: Sequence[str], protocol: str | None
) -> tuple[Row, ...]:
    rows = [row for row in table.rows if not table.faces or protocol in row.published]
    there = list(dict.fromkeys(row.method for row in rows))
    for method in methods:
        if method not in (*there, "all"):
            raise UserError(f"Table {name} has no row of {method}; its methods are {', '.join(there)}.")
    for pattern in systems:
        if not any(fnmatchcase(row.system, pattern) for row in rows):
            names = "; ".join(row.system for row in rows)
            raise UserError(f"Table {name} has no row '{pattern}'. Its rows are: {names}.")
    return tuple(
        row
        for row in rows
        if (not methods or "all" in methods or row.method in methods)
        and (not systems or any(fnmatchcase(row.system, pattern) for pattern in systems))
    )


def _check_protocol(name: str, table: BenchTable, manifest: Path | None, protocol: str | None) -> None:
    if table.faces and (manifest is None or protocol is None):
        raise UserError(
            f"Table {name} is on faces: say which ones with --manifest and which label sets with --protocol."
        )
    if not table.faces and protocol is not None:
        raise UserError(f"Table {name} is on CIFAR-10 and follows no --protocol; leave it out.")
    if protocol is not None:
        find_protocol(protocol)


def _check_data(name: str, rows: Sequence[Row], manifest: Path | None) -> None:
    if manifest is not None and len({row.data for row in rows}) > 1:
        raise UserError(
            f"Table {name} compares several kinds of noise and makes its own manifests; leave out --manifest."
        )


def _check_changes(row: Row, changes: Mapping[str, Any]) -> None:
    """Refuse values that make a row another system than its name and its published figures are for."""
    # a rule, such as `lambda=auto` is, finds another λ than a row's; a row of a rule keeps it from whatever λ it starts
    own = [*row.changes, *(["lambda_rule"] if "lambda" in row.changes else [])]
    typed = {name: value for name, value in changes.items() if name in (*own, "lambda")}
    named, asked = _values_of(row, {}), _values_of(row, typed)
    if any(named[name] != asked[name] for name in own):
        kept = ", ".join(f"{name}={value}" for name, value in row.changes.items())
        raise UserError(
            f"'{row.system}' is the row of {kept}, which {', '.join(f'{name}={typed[name]}' for name in typed)} would "
            f"undo. Leave that out, or choose other rows with --row."
        )


def _values_of(row: Row, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A row's values with these changes, and otherwise the defaults: no preset has what a row is named for."""
    settings, options = resolve(row.method, "paper", {**row.changes, **changes})
    return {**to_dict(settings), **to_dict(options)}


def _open(noisy: NoisyCifar, manifest: Path | None, data: Path | None, say: Callable[[str], Any]) -> Manifest:
    if manifest is not None:
        return Manifest.open(manifest)
    dataset = "digits" if str(data) == "digits" else "cifar10"
    path = Path("data_manifests") / f"{dataset}{noisy.suffix}.parquet"
    if path.exists():
        return Manifest.open(path)
    say(f"There is no {path} yet: making it.")
    return make_cifar(noisy.rates, noise=noisy.noise, data=data, out=path)


def _noisy_sets(row: Row, manifest: Manifest) -> list[LabelSet]:
    return noisy_label_sets(manifest)[: row.first or None]


def _check_noise(row: Row, manifest: Manifest, *, alone: bool) -> None:
    """Refuse a manifest under the name of a table's own whose labels are not what the row says of them."""
    sets, rates = _noisy_sets(row, manifest), row.data.rates[: row.first or None]
    noises = [(found.provenance.get("noise"), found.provenance.get("rate")) for found in sets]
    if sorted(noises, key=str) != sorted(((row.data.noise, rate) for rate in rates), key=str):
        raise UserError(
            f"'{row.system}' is for {row.data.noise} noise of {', '.join(map(str, rates))}, and {manifest.path} has "
            f"other noisy label sets: {', '.join(found.name for found in sets) or 'none'}. Rename the file, and the "
            f"table makes its own{', or learn from it as it is with --manifest' if alone else ''}."
        )


def _plan_row(
    row: Row,
    manifest: Manifest,
    data: Path | None,
    protocol: str | None,
    seed: int,
    changes: Mapping[str, Any],
    common: Mapping[str, Any],
) -> Plan:
    labels: list[str] = []
    if row.first:
        labels = [found.name for found in _noisy_sets(row, manifest)]
    elif row.tasks and protocol is not None:
        sets = manifest.header.label_sets
        labels = [found for found in protocol_labels(manifest, protocol) if sets[found].task in row.tasks]
    # an option of one row's method is none of another's
    usable = usable_options(row.method)
    chosen = {name: value for name, value in {**row.changes, **changes}.items() if name in usable}
    (plan,) = plan_bench(
        manifest,
        [row.method],
        protocol=protocol,
        labels=labels,
        seed=seed,
        changes=chosen,
        root=dataset_root(manifest, data),
        **common,
    )
    return plan
