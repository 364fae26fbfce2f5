"""`noisyfer sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..core.errors import UserError
from ..core.names import comma_list
from ..core.terminal import say, silent
from .common import Settings, print_json, sentences
from .config_file import read_config
from .run_options import announce, check_jobs, engine_options, learning_options, place_options, seed_list

if TYPE_CHECKING:
    from ..benchmark.search import Search, Trial
    from ..benchmark.tables import TableRun
    from ..manifest import Manifest

_NOT_REQUESTED = ("grid", "jobs", "engine", "address", "again", "list_only", "as_json")
"""Parameters that say how a sweep goes and not what it is."""


@sentences
def _read_grid(context: click.Context, _: click.Parameter, grid: Path | None) -> Path | None:
    """Take the options from a grid's file, or from the queue of an earlier sweep; what is typed goes before them."""
    if grid is None:
        return None
    from ..benchmark.sweep import read_queue

    found = read_queue(grid)["request"] if grid.is_dir() else read_config(grid, context.command)
    context.default_map = {**(context.default_map or {}), **found}
    return grid


@click.command("sweep")
@click.argument("grid", required=False, type=click.Path(path_type=Path), is_eager=True, callback=_read_grid)
@click.option("--method", "methods", multiple=True, metavar="NAME", help="Names, a comma list, or 'all'.")
@click.option("--seeds", default="0", show_default=True, metavar="N,…", help="Seeds, such as 0,1,2 or 0-2.")
@click.option("--lambda", "lambda_", metavar="X,…", help="Values of λ (proposed).")
@click.option("--epochs", metavar="N,…", help="Passes over the training images.")
@click.option("--arch", metavar="NAME,…", help="Encoders: vgg, or models of timm such as resnet18.")
@click.option("--set", "changes", cls=Settings, help="Values of any other option: KEY=V1,V2; may be repeated.")
@learning_options
@place_options
@click.option("--jobs", default=1, show_default=True, metavar="N", help="Runs side by side, on as many GPUs or cores.")
@engine_options("Processes of this machine, or tasks of Ray (pip install 'noisyfer[ray]'); the results are the same.")
@click.option(
    "--search",
    default=0,
    metavar="N",
    help="Let Optuna choose N combinations, of lists and of ranges such as 0.1..1 or 1e-4..1e-2:log, by noisy "
    "validation labels.",
)
@click.option("--again", is_flag=True, help="Start over where a run is finished or under way.")
@click.option("--list", "list_only", is_flag=True, help="Show the runs and how far they are; start none.")
@click.option("--json", "as_json", is_flag=True, help="Print the queue for programs.")
@click.pass_context
@sentences
def command(
    context: click.Context,
    grid: Path | None,
    methods: tuple[str, ...],
    seeds: str,
    lambda_: str | None,
    epochs: str | None,
    arch: str | None,
    changes: tuple[str, ...],
    manifest: Path | None,
    protocol: str | None,
    labels: str | None,
    preset: str | None,
    init: Path | None,
    data: Path | None,
    out: Path,
    device: str,
    loggers: str,
    jobs: int,
    engine: str,
    address: str | None,
    search: int,
    again: bool,
    list_only: bool,
    as_json: bool,
) -> None:
    """Run a grid: every method with every combination of values, over seeds.

    GRID is a TOML file with these options, or the folder of an earlier sweep. Each run resumes by itself, and one that
    fails stops no other: after Ctrl-C or a kill the same command, or 'noisyfer sweep FOLDER', goes on.

    \b
    Examples:
      noisyfer sweep grid.toml --jobs 2
      noisyfer sweep --method vgg-all,proposed --lambda 0.2,0.4,0.8 --seeds 0-2
      noisyfer sweep runs/sweep-cifar10-1a2b3c4d --list
      noisyfer sweep --method proposed --lambda 0.1..1 --set learning_rate=1e-4..1e-2:log --search 20
    """
    from ..benchmark.bench import dataset_root, open_or_make

    check_jobs(jobs)
    if not methods:
        raise click.UsageError("Missing option '--method': in GRID, or on the command line.")
    short = {"lambda": lambda_, "epochs": epochs, "arch": arch}
    values = _values(changes) | {name: comma_list(text) for name, text in short.items() if text is not None}
    opened = open_or_make(manifest, data, silent if as_json else say)
    common: dict[str, Any] = {"preset": preset, "protocol": protocol, "out": out, "device": device, "init": init}
    common |= {"root": dataset_root(opened, data), "loggers": comma_list(loggers)}
    chosen = comma_list(labels)
    if search:
        if engine != "local":
            raise UserError("A --search chooses each run by those before it, in one process; leave out --engine.")
        if again or list_only:
            raise UserError("A --search goes on where it is and has no queue to show; leave out --again and --list.")
        _search(opened, comma_list(methods), values, seed_list(seeds), search, jobs, chosen, common, as_json)
        return
    _refuse_ranges(values)
    from ..benchmark.sweep import plan_sweep

    runs = plan_sweep(opened, comma_list(methods), values, seed_list(seeds), labels=chosen, **common)
    cluster = (engine, address)
    _sweep(runs, _request(context), protocol, jobs, again, cluster, list_only=list_only, as_json=as_json)


def _values(changes: tuple[str, ...]) -> dict[str, list[str]]:
    from ..core.config import parse_settings

    return {name: comma_list(text) for name, text in parse_settings(changes).items()}


def _refuse_ranges(values: dict[str, list[str]]) -> None:
    from ..benchmark.search import is_range

    for name, several in values.items():
        if any(map(is_range, several)):
            raise UserError(f"{name} is the range {','.join(several)}, which only a search takes: add --search 20.")


def _request(context: click.Context) -> dict[str, Any]:
    """The options of this sweep as `default_map` takes them, for its queue file."""
    found = {}
    for name, value in context.params.items():
        if name in _NOT_REQUESTED or value is None or value == ():
            continue
        found[name] = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
    return found


def _sweep(
    runs: list[TableRun],
    request: dict[str, Any],
    protocol: str | None,
    jobs: int,
    again: bool,
    cluster: tuple[str, str | None],
    *,
    list_only: bool,
    as_json: bool,
) -> None:
    from ..benchmark.evidence import read_evidence, systems
    from ..benchmark.present_table import GridDisplay, print_queue, print_systems
    from ..benchmark.ray_grid import grid_runner
    from ..benchmark.sweep import Queue, run_sweep

    queue = Queue(request, runs)
    folder, entries = queue.folder, queue.entries
    if list_only:
        print_json(entries) if as_json else print_queue(entries, folder)
        return
    announce([run.plan for run in runs])
    if not as_json:
        say(f"{len(runs)} runs, {sum(entry['state'] == 'finished' for entry in entries)} of them finished: {folder}")
    with grid_runner(*cluster) as runner, GridDisplay(runs, silent=as_json) as display:
        outcomes = run_sweep(queue, protocol=protocol, jobs=jobs, again=again, heed=display.heed, runner=runner)
    if as_json:
        print_json(entries)
    else:
        document = read_evidence(folder / "table.json")
        print_systems(document["title"], systems(document), folder)
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    if failed:
        raise click.ClickException(f"{failed} of {len(runs)} runs failed; the same command tries them again.")


def _search(
    manifest: Manifest,
    methods: list[str],
    values: dict[str, list[str]],
    seeds: list[int],
    trials: int,
    jobs: int,
    labels: list[str],
    common: dict[str, Any],
    as_json: bool,
) -> None:
    from ..benchmark.present_table import GridDisplay, print_trials
    from ..benchmark.search import Search, is_range, run_search

    if len(methods) != 1 or methods == ["all"] or len(seeds) != 1:
        raise click.UsageError("A --search is of one --method, with one of --seeds.")
    fixed = {name: several[0] for name, several in values.items() if len(several) == 1 and not is_range(several[0])}
    space = {name: several for name, several in values.items() if name not in fixed}
    search = Search(manifest, methods[0], space, trials, seeds[0], labels, {**common, "changes": fixed})
    if not as_json:
        say(f"The search's files: {search.folder}")

    def watch(runs: Any) -> Any:
        return GridDisplay(runs, silent=as_json).heed

    found = run_search(search, jobs=jobs, watch=watch)
    if as_json:
        print_json([vars(trial) for trial in found])
    else:
        print_trials(found, _suggestion(search, fixed, found))
    if all(trial.score is None for trial in found):
        raise click.ClickException("Every trial failed.")


def _suggestion(search: Search, fixed: dict[str, str], trials: list[Trial]) -> str:
    """The command that trains with the best values on all training images, and else as the search did."""
    import shlex

    from ..benchmark.search import best_trial

    best = best_trial(trials)
    if best is None:
        return ""
    words = ["noisyfer", "bench", "--method", search.method, "--manifest", str(search.manifest.path)]
    context = click.get_current_context()
    for name in ("protocol", "labels", "preset", "init", "data", "out", "device"):
        if context.get_parameter_source(name) != ParameterSource.DEFAULT:
            words += [f"--{name}", str(context.params[name])]
    if search.seed:
        words += ["--seed", str(search.seed)]
    for name, value in {**fixed, **best.values}.items():
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)
