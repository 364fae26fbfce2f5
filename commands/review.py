"""`noisyfer review`."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from ..core.errors import UserError
from ..core.terminal import say
from .common import sentences

_ALONE = {"--decisions": ("port", "limit", "probs", "data"), "--apply": ("out", "annotator", "only_decided")}
"""By mode, the parameters that the other one does not read."""


@click.command("review")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--decisions", metavar="CSV", type=click.Path(path_type=Path, dir_okay=False), help="Append decisions to it; or"
)
@click.option(
    "--apply", "applied", metavar="CSV", type=click.Path(path_type=Path, dir_okay=False), help="make a label set of it."
)
@click.option("--set", "name", metavar="SET", help="The label set.  [default: the first annotator's, or the csv's]")
@click.option("--port", default=0, show_default=True, help="Of 127.0.0.1; 0 for a free one.")
@click.option("--limit", default=2000, show_default=True, metavar="N", help="Labels of this session at most.")
@click.option("--probs", metavar="RUN", type=click.Path(path_type=Path), help="Judge labels by it, as inspect does.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the manifest's images are, if they have moved.")
@click.option("--out", type=click.Path(path_type=Path), help="With --apply: the new manifest.")
@click.option("--as", "annotator", default="reviewed", show_default=True, help="With --apply: the annotator's name.")
@click.option("--only-decided", is_flag=True, help="With --apply: keep only labels that were accepted or changed.")
@sentences
def command(
    manifest: Path,
    decisions: Path | None,
    applied: Path | None,
    name: str | None,
    port: int,
    limit: int,
    probs: Path | None,
    data: Path | None,
    out: Path | None,
    annotator: str,
    only_decided: bool,
) -> None:
    """Accept or change labels by the keyboard, the most suspicious first; then make a label set of the decisions.

    The page is on 127.0.0.1 alone, behind a token. Every decision is on disk before the next picture is shown, and
    the same command goes on.

    \b
    Examples:
      noisyfer review data_manifests/raf.parquet --decisions decisions.csv --set expression_human
      noisyfer review data_manifests/raf.parquet --apply decisions.csv --out data_manifests/corrected.parquet
    """
    from ..manifest import Manifest

    if (decisions is None) == (applied is None):
        raise UserError("Give either --decisions CSV, to review, or --apply CSV, to make a label set of decisions.")
    _refuse_useless("--decisions" if applied is None else "--apply")
    opened = Manifest.open(manifest)
    if applied is not None:
        if out is None:
            raise UserError("--apply needs --out, the new manifest.")
        from ..benchmark.reviewing.apply import apply_decisions

        done = apply_decisions(opened, applied, out, name=name, annotator=annotator, only_decided=only_decided)
        for sentence in done.notes:
            say(sentence)
        say(f"{out}: {done.name}, {', '.join(f'{count:,} {what}' for what, count in done.counts.items())}.")
    elif decisions is not None:
        from ..benchmark.review import review

        # the address is needed whatever is silenced
        made = review(opened, decisions, name=name, port=port, most=limit, probs=probs, root=data, say=click.echo)
        say(f"{made:,} decisions were added to {decisions}.")


def _refuse_useless(mode: str) -> None:
    """Refuse options that would do nothing; what the environment says is for any review and passed over.

    Args:
        mode: `--decisions` or `--apply`.

    Raises:
        UsageError: options of the other mode alone were typed, or are in the --config file.
    """
    (other,) = _ALONE.keys() - {mode}
    context = click.get_current_context()
    asked = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
    given = [
        max(parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.name in _ALONE[other] and context.get_parameter_source(parameter.name) in asked
    ]
    if given:
        raise click.UsageError(f"With {mode} leave out {' and '.join(given)}, which only {other} reads.")
