"""`noisyfer bench`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..core.names import comma_list
from ..core.terminal import say
from .common import Settings, seed_option, sentences
from .run_options import announce, check_jobs, learning_options, place_options, seed_list


@click.command("bench")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    help="A name of 'noisyfer methods', a comma list, or 'all'. May be repeated.",
)
@click.option(
    "--table",
    metavar="NAME",
    help="All runs of a table over --seeds: 1, 2, 3 (the paper's), further, noise or lambda; with --method only rows "
    "of these methods.",
)
@click.option(
    "--row",
    "systems",
    multiple=True,
    metavar="NAME",
    help="Of a --table only the rows of this name; * stands for anything, as in '*three sets'. May be repeated.",
)
@learning_options
@click.option("--arch", metavar="NAME", help="The encoder: vgg, or a model of timm such as resnet18.  [default: vgg]")
@seed_option("Seed of weights, order, dropout and latent vectors.")
@click.option("--seeds", metavar="N,…", help="Seeds of a --table, such as 0,1,2 or 0-2.  [default: 0]")
@click.option("--epochs", metavar="N", help="Passes over the training images.")
@click.option(
    "--lambda",
    "lambda_",
    metavar="X",
    help="λ, weight of the adversarial part (proposed); auto: found without clean labels.",
)
@click.option(
    "--set",
    "changes",
    cls=Settings,
    help="Any other option of the run or the method, as 'noisyfer methods NAME' lists them.",
)
@place_options
@click.option(
    "--devices", default=1, show_default=True, metavar="N", help="Processes that share every batch, a GPU each."
)
@click.option(
    "--strategy",
    default="auto",
    show_default=True,
    help="How several devices work together: auto, ddp or ddp_spawn, which are the same.",
)
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    metavar="N",
    help="Runs of a --table side by side, on as many GPUs or threads.",
)
@click.option("--again", is_flag=True, help="Start over where a run is finished or under way.")
@sentences
def command(
    methods: tuple[str, ...],
    table: str | None,
    systems: tuple[str, ...],
    manifest: Path | None,
    protocol: str | None,
    labels: str | None,
    preset: str | None,
    init: Path | None,
    arch: str | None,
    seed: int,
    seeds: str | None,
    epochs: str | None,
    lambda_: str | None,
    changes: tuple[str, ...],
    data: Path | None,
    out: Path,
    device: str,
    loggers: str,
    devices: int,
    strategy: str,
    jobs: int,
    again: bool,
) -> None:
    """Train methods on noisy labels and score them on clean ones.

    Each run has a folder; after Ctrl-C or a kill the same command goes on from the last epoch, to the same result bit
    for bit. The headline figure is the last epoch's: no clean label chooses anything.

    \b
    Examples:
      noisyfer bench --method proposed
      noisyfer bench --method vgg-clean,vgg-majority,vgg-all,proposed --preset small
      noisyfer bench --method proposed --labels class_flip40 --lambda 0.3 --set start_epoch=8
      noisyfer bench --method vgg-all,proposed --protocol raf-base --manifest data_manifests/raf_by_affectnet.parquet
      noisyfer bench --table 1 --seeds 0,1,2 --jobs 2
    """
    from ..core.config import parse_settings

    settings = parse_settings(changes)
    short = {"epochs": epochs, "lambda": lambda_, "arch": arch}
    settings |= {name: value for name, value in short.items() if value is not None}
    plan: dict[str, Any] = {
        "preset": preset,
        "changes": settings,
        "out": out,
        "device": device,
        "init": init,
        "devices": devices,
    }
    plan["loggers"] = comma_list(loggers)
    request = _Request(comma_list(methods), manifest, data, strategy, again, {**plan, "protocol": protocol})
    if table is not None:
        _refuse_beside_table(labels, seed)
        _bench_table(request, table, systems, seeds, jobs)
        return
    if seeds is not None or jobs != 1 or systems:
        raise click.UsageError("--seeds, --jobs and --row belong to a --table; of single runs there is --seed.")
    if not methods:
        raise click.UsageError("Missing option '--method' or '--table'.")
    _bench_methods(request, comma_list(labels), seed)


@dataclass(frozen=True)
class _Request:
    """What single runs and a table are both asked with; `plan` is for `plan_bench`."""

    methods: list[str]
    manifest: Path | None
    data: Path | None
    strategy: str
    again: bool
    plan: dict[str, Any]


def _bench_methods(request: _Request, labels: list[str], seed: int) -> None:
    from ..benchmark.bench import check_request, dataset_root, open_or_make, plan_bench, run_bench
    from ..benchmark.present import Display, print_options, print_table

    asked = {name: request.plan[name] for name in ("preset", "changes", "device", "protocol", "devices")}
    check_request(request.methods, strategy=request.strategy, **asked)
    opened = open_or_make(request.manifest, request.data, say)
    root = dataset_root(opened, request.data)
    plans = plan_bench(opened, request.methods, labels=labels, seed=seed, root=root, **request.plan)
    announce(plans)
    print_options(plans)
    with Display() as display:
        results = run_bench(plans, display, again=request.again)
    print_table(plans, results)


def _refuse_beside_table(labels: str | None, seed: int) -> None:
    if labels is not None:
        raise click.UsageError("A --table chooses the label sets of its rows; leave out --labels.")
    if seed:
        raise click.UsageError("A --table takes --seeds, such as --seeds 0,1,2; leave out --seed.")


def _bench_table(request: _Request, table: str, systems: tuple[str, ...], seeds: str | None, jobs: int) -> None:
    from ..benchmark.answers import comparable_runs, read_answers
    from ..benchmark.confusions import draw_table_confusions
    from ..benchmark.evidence import gather, store
    from ..benchmark.evidence import systems as found_systems
    from ..benchmark.examples import draw_examples
    from ..benchmark.grid import run_grid
    from ..benchmark.present_table import GridDisplay, print_systems
    from ..benchmark.tables import find_table, plan_table, table_folder
    from ..training.parallel import check_strategy

    check_strategy(request.strategy)
    chosen = seed_list(seeds or "0")
    check_jobs(jobs)
    runs = plan_table(
        table,
        chosen,
        methods=request.methods,
        systems=systems,
        manifest=request.manifest,
        data=request.data,
        say=say,
        **request.plan,
    )
    announce([run.plan for run in runs])
    folder = table_folder(table, runs)
    with GridDisplay(runs) as display:
        outcomes = run_grid([run.plan for run in runs], jobs=jobs, again=request.again, heed=display.heed)
    document = gather(table, find_table(table).title, request.plan["protocol"], runs, outcomes)
    store(folder, document)
    comparable = comparable_runs(runs, outcomes)
    if comparable and (answers := read_answers(comparable)):
        draw_examples(folder / "examples.png", comparable, answers)
        draw_table_confusions(folder / "confusions.png", comparable, answers)
    print_systems(document["title"], found_systems(document), folder)
    if any(outcome.failure for outcome in outcomes):
        raise click.ClickException("Some runs failed; the same command tries them again.")
