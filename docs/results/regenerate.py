"""Tables and figures of docs/results.md from the committed runs: `python docs/results/regenerate.py`.

Every NAME.json in this folder that 'noisyfer bench --table' wrote (its table.json under another name) fills the block
`<!-- begin NAME -->` of its page, and its curves go to NAME.png beside it. A table whose runs were made in parts is
several files NAME.PART.json. The page is docs/results.md, for the table of λ docs/lambda.md, with one more figure.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import click
from noisyfer.benchmark.evidence import finished_runs, markdown, merge_evidence, read_evidence, systems
from noisyfer.benchmark.pictures import draw_systems, draw_weights
from noisyfer.core.pages import fill_page

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "results.md"
LAMBDA_PAGE = FOLDER.parent / "lambda.md"


def main() -> None:
    """Rewrite the pages' blocks and the figures."""
    texts: dict[Path, dict[str, str]] = {}
    files = sorted(FOLDER.glob("*.json"), key=lambda file: file.name.split("."))
    for name, parts in groupby(files, key=lambda file: file.name.split(".")[0]):
        document = merge_evidence([read_evidence(file) for file in parts])
        draw_systems(FOLDER / f"{name}.png", finished_runs(document))
        page, title = PAGE, document["title"]
        if document["table"] == "lambda":
            page, title = LAMBDA_PAGE, title.removesuffix(", on CIFAR-10")  # it was run on digits
            draw_weights(FOLDER / f"{name}-scores.png", finished_runs(document))
        block = f"{markdown(systems(document))}\n\n![{title}](results/{name}.png)"
        texts.setdefault(page, {})[name] = block
    for page, blocks in texts.items():
        fill_page(page, blocks)
        click.echo(f"{page.name}: {', '.join(blocks)}")


if __name__ == "__main__":
    main()
