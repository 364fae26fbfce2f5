"""A search for option values by Optuna, scored on noisy validation labels: no clean label chooses anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError
from ..core.files import locked, write_json
from ..manifest import Manifest
from ..models.methods import METHODS
from ..training.device import choose_device, default_preset
from ..training.folder import identity
from ..training.weights import weights_digest
from .bench import plan_bench
from .choose import learnable
from .evaluate import main_score
from .grid import Heed, Outcome, run_grid
from .holdout import is_holdout, make_holdout
from .protocols import find_protocol, protocol_labels
from .run import Plan
from .settings import refuse_empty
from .tables import Row, TableRun

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

SHARE = 0.1
"""Of the training images, held out for their noisy labels."""


@dataclass(frozen=True)
class Trial:
    """One try of a search.

    Attributes:
        number: from 0.
        values: of the options, as they are typed.
        score: on the noisy validation labels after the last epoch; None where the run failed.
        failure: why it failed, as a sentence.
    """

    number: int
    values: Mapping[str, str]
    score: float | None
    failure: str = ""


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        manifest: whose training images and noisy labels are used.
        method: a registered name.
        space: by option the values to choose from, or one range: `0.1..1`, `1..4`, `1e-4..1e-2:log`.
        trials: how many tries in all, earlier ones of the same search included.
        seed: of the held-out part, of the sampler and of every run.
        labels: label sets to learn from; empty for all noisy ones, or the protocol's.
        common: further arguments of `plan_bench`.

    Raises:
        UserError: the space is empty.
    """

    manifest: Manifest
    method: str
    space: Mapping[str, Sequence[str]]
    trials: int
    seed: int
    labels: Sequence[str]
    common: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.space:
            raise UserError(
                "A search needs something to choose, such as --set lambda=0.1..1 or --set batch_size=32,64."
            )

    @cached_property
    def folder(self) -> Path:
        """Where the held-out manifest and the trials' journal go: the same search goes on there.

        Raises:
            UserError: the device is unknown or not there, or the file of initial weights cannot be read.
        """
        stem = f"search-{self.manifest.path.stem}-{self.method}-seed{self.seed}"
        return Path(self.common.get("out", "runs")) / f"{stem}-{identity(self._request(), self.manifest.fingerprint)}"

    def _request(self) -> dict[str, Any]:
        """What tells searches apart, as it decides their runs: scores of one must not guide another."""
        device = choose_device(self.common.get("device", "auto"))
        return {
            "method": self.method,
            "space": {name: list(several) for name, several in self.space.items()},
            "labels": list(self.labels),
            "preset": self.common.get("preset") or default_preset(device),
            "protocol": self.common.get("protocol"),
            "device": device,
            "init": weights_digest(self.common.get("init")),
            "changes": _texts(self.common.get("changes") or {}),
        }

    @property
    def labelled_by(self) -> str:
        """The run's setting of this name, the user's before the protocol's; empty for none."""
        protocol = self.common.get("protocol")
        values = {} if protocol is None else find_protocol(protocol).changes
        return str({**values, **(self.common.get("changes") or {})}.get("labelled_by", ""))


def is_range(text: str) -> bool:
    """Whether a value is a range of a search, such as `0.1..1`."""
    return ".." in text


def run_search(
    search: Search, *, jobs: int = 1, watch: Callable[[Sequence[TableRun]], Heed] | None = None
) -> list[Trial]:
    """Try values until there are as many trials as asked for; a killed search goes on with the runs under way.

    Args:
        search: what is searched.
        jobs: runs side by side.
        watch: is given the runs of each round and says who heeds their messages.

    Returns:
        All trials, in their order; also in `search.json` of the search's folder.

    Raises:
        UserError: Optuna is not installed, an option or a range is wrong, the method needs clean labels, another
            process works on this search.
    """
    if find_spec("optuna") is None:
        raise UserError("A search needs Optuna: pip install 'noisyfer[search]'.")
    with locked(search.folder):
        held, space = _prepared(search)
        study = _study(search)
        known = _whole(study, space)
        trials = [_told(trial) for trial in known if trial.state.is_finished()]
        under_way = [(trial.number, trial.params) for trial in known if not trial.state.is_finished()]
        while len(trials) < search.trials:
            wanted = min(jobs, search.trials - len(trials))
            round_ = under_way[:wanted]
            del under_way[:wanted]
            while len(round_) < wanted:
                asked = study.ask(space)
                round_.append((asked.number, asked.params))
            runs = [_run(search, held, number, _texts(values)) for number, values in round_]
            heed = watch(runs) if watch is not None else None
            outcomes = run_grid([run.plan for run in runs], jobs=jobs, heed=heed)
            for (number, values), outcome in zip(round_, outcomes, strict=True):
                trials.append(_tell(study, number, values, outcome))
        trials.sort(key=lambda trial: trial.number)
        write_json(search.folder / "search.json", _document(search, held, trials))
    return trials


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with the highest score first, equal ones in their order, and those that failed at the end."""
    return sorted(trials, key=lambda trial: math.inf if trial.score is None else -trial.score)


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest score, the first of several; None where all failed."""
    return next((trial for trial in ranked(trials) if trial.score is not None), None)


def _prepared(search: Search) -> tuple[Manifest, dict[str, BaseDistribution]]:
    """The held-out manifest, made where it is not there, and Optuna's space; all that can be wrong is said here."""
    if METHODS[search.method].uses.labels == "truth":
        raise UserError(f"{search.method} learns from clean labels; a search is for those who have none.")
    refuse_empty(search.space)
    if "labelled_by" in search.space:
        raise UserError("labelled_by says which images a search has, so there is nothing to choose: give it one value.")
    space = {name: _distribution(name, several) for name, several in search.space.items()}
    labels, protocol = search.labels, search.common.get("protocol")
    if protocol is not None and not labels:
        labels = protocol_labels(search.manifest, protocol)
    # nobody need know the truth here: the held-out labels are noisy ones
    chosen, _ = learnable(search.manifest, search.method, labels, partly=protocol is not None)
    names = [found.name for found in chosen]
    path = search.folder / "holdout.parquet"
    if path.exists():
        held = Manifest.open(path)
        _check_ends(search, held, space)
        return held, space
    held = make_holdout(search.manifest, names, SHARE, search.seed, path, search.labelled_by)
    try:
        _check_ends(search, held, space)
    except UserError:
        path.unlink()  # a search that cannot be leaves none
        raise
    return held, space


def _check_ends(search: Search, held: Manifest, space: Mapping[str, BaseDistribution]) -> None:
    """Plan a run with the first and one with the last value of every range and list."""
    for pick in (0, -1):
        ends = {name: str(each.to_external_repr(_ends(each)[pick])) for name, each in space.items()}
        _plan(search, held, ends)


def _ends(distribution: Any) -> tuple[Any, Any]:
    if hasattr(distribution, "choices"):
        return 0, len(distribution.choices) - 1
    return distribution.low, distribution.high


def _distribution(name: str, several: Sequence[str]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not any(map(is_range, several)):
        return CategoricalDistribution(tuple(several))
    text, _, scale = several[0].partition(":")
    low, _, high = text.partition("..")
    if len(several) > 1 or scale not in ("", "log"):
        raise UserError(f"{name} is {','.join(several)}; one range such as 0.1..1 or 1e-4..1e-2:log was expected.")
    kind: Any = IntDistribution if low.isdecimal() and high.isdecimal() else FloatDistribution
    convert: Any = int if kind is IntDistribution else float
    try:
        return kind(convert(low), convert(high), log=bool(scale))  # type: ignore[no-any-return]
    except ValueError as error:
        raise UserError(f"{name} is {several[0]}, which is no range from a smaller to a larger number.") from error


def _study(search: Search) -> Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(search.folder / "trials.log")))
    study = optuna.create_study(storage=storage, study_name="search", direction="maximize", load_if_exists=True)
    # a resumed search must not draw again what it has drawn already
    study.sampler = optuna.samplers.TPESampler(seed=search.seed + len(study.trials))
    return study


def _whole(study: Study, space: Mapping[str, BaseDistribution]) -> list[FrozenTrial]:
    """The trials with a value for every option.

    A kill while Optuna draws leaves one with some of its values. It was never run and could not be as it was meant, so
    it is told to have failed, and another one takes its place.
    """
    from optuna.trial import TrialState

    whole = []
    for trial in study.trials:
        if space.keys() <= trial.params.keys():
            whole.append(trial)
        elif not trial.state.is_finished():
            study.tell(trial.number, state=TrialState.FAIL)
    return whole


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _plan(search: Search, held: Manifest, values: Mapping[str, str]) -> Plan:
    labels = [found.name for found in held.header.label_sets.values() if not is_holdout(found)]
    common = {name: value for name, value in search.common.items() if name != "changes"}
    # the images that it names are all there are, and its labels may be the truth, which is not there
    fixed = {**(search.common.get("changes") or {}), "labelled_by": ""}
    (plan,) = plan_bench(
        held,
        [search.method],
        labels=labels,
        seed=search.seed,
        changes={**fixed, **values},
        **common,
    )
    return plan


def _run(search: Search, held: Manifest, number: int, values: Mapping[str, str]) -> TableRun:
    return TableRun(Row(f"trial {number}", search.method, changes=values), _plan(search, held, values))


def _told(trial: Any) -> Trial:
    score = None if trial.value is None else float(trial.value)
    return Trial(trial.number, _texts(trial.params), score, "" if score is not None else "failed earlier")


def _tell(study: Study, number: int, values: Mapping[str, Any], outcome: Outcome) -> Trial:
    from optuna.trial import TrialState

    if outcome.result is None:
        study.tell(number, state=TrialState.FAIL)
        return Trial(number, _texts(values), None, outcome.failure)
    score = main_score(outcome.result["last"]["test"])[1]
    study.tell(number, score)
    return Trial(number, _texts(values), score)


def _document(search: Search, held: Manifest, trials: Sequence[Trial]) -> dict[str, Any]:
    best = best_trial(trials)
    return {
        "method": search.method,
        "manifest": {"name": search.manifest.path.name, "sha256": search.manifest.fingerprint},
        "holdout": {"name": held.path.name, "sha256": held.fingerprint, "share": SHARE},
        "space": {name: list(several) for name, several in search.space.items()},
        "seed": search.seed,
        "best": None if best is None else best.number,
        "trials": [
            {"number": each.number, "values": dict(each.values), "score": each.score, "failure": each.failure}
            for each in trials
        ],
    }
